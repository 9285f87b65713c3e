"""The dense layer on the device: a convolution of images of one pixel, with a kernel of one pixel.

``x (N, I)`` is N images of 1 x 1 pixels and I channels, ``w (I, O)`` a kernel of 1 x 1. So the products of
``conv2d.py`` serve, and what is said there about tiles and split sums holds here.
"""

from __future__ import annotations

from .. import NO_PADDING
from . import conv2d
from .checks import checks


def dense_forward(x, w, b=None):
    """Multiply every row with a matrix and add the bias; as in ``kernels.reference.dense_forward``."""
    return _forward(*checks.dense_forward(x, w, b), relu=False)


def dense_relu_forward(x, w, b=None):
    """``relu(dense_forward(...))``: the relu costs nothing while the result is in registers."""
    return _forward(*checks.dense_forward(x, w, b), relu=True)


def dense_backward(dy, x, w, input_gradient=True):
    """``dx`` (or None), ``dw``, ``db``; as in ``kernels.reference.dense_backward``."""
    return _backward(*checks.dense_backward(dy, x, w), None, input_gradient)


def dense_relu_backward(dy, y, x, w, input_gradient=True):
    """The same through ``dense_relu_forward``, whose result is ``y``: ``dy`` counts as 0 where ``y`` is not above 0."""
    return _backward(*checks.dense_backward(dy, x, w, y), input_gradient)


def _forward(x, w, b, relu):
    images, outputs = x.shape[0], w.shape[1]
    y = conv2d.forward(_as_images(x), _as_kernel(w), b, (1, 1), NO_PADDING, (images, 1, 1, outputs), relu)
    return y.reshape(images, outputs)


def _backward(dy, x, w, y, input_gradient):
    dx, dw, db = conv2d.backward(_as_images(dy), _as_images(x), _as_kernel(w), (1, 1), NO_PADDING,
                                 None if y is None else _as_images(y), input_gradient)
    return dx if dx is None else dx.reshape(x.shape), dw.reshape(w.shape), db


def _as_images(rows):
    return rows.reshape(rows.shape[0], 1, 1, rows.shape[1])


def _as_kernel(matrix):
    return matrix.reshape(1, 1, *matrix.shape)
