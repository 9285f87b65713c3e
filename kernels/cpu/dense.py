"""The dense layer on all cores: the convolution of one pixel with a kernel of one pixel."""

from __future__ import annotations

from .. import NO_PADDING
from . import conv2d
from .checks import checks


def dense_forward(x, w, b=None):
    """``y[n, o] = b[o] + sum_i x[n, i] w[i, o]``, as in ``reference.dense_forward``."""
    return _forward(*checks.dense_forward(x, w, b), relu=False)


def dense_relu_forward(x, w, b=None):
    """``relu(dense_forward(...))``; the tile takes the maximum with 0 just before it leaves its registers."""
    return _forward(*checks.dense_forward(x, w, b), relu=True)


def dense_backward(dy, x, w, input_gradient=True, out=None):
    """``dx`` (or None), ``dw`` and ``db``, as in ``reference.dense_backward``; ``out`` as in ``kernels.OUT``."""
    dy, x, w = checks.dense_backward(dy, x, w)
    return _backward(dy, None, x, w, input_gradient, out)


def dense_relu_backward(dy, y, x, w, input_gradient=True, out=None):
    """Gradients through ``dense_relu_forward``, from its result y: dy counts only where y is above 0."""
    dy, x, w, y = checks.dense_backward(dy, x, w, y)
    return _backward(dy, _as_image(y), x, w, input_gradient, out)


def _forward(x, w, b, relu):
    shape = (x.shape[0], 1, 1, w.shape[1])
    y = conv2d._forward(_as_image(x), w.reshape(1, 1, *w.shape), b, (1, 1), NO_PADDING, shape, relu)
    return y.reshape(x.shape[0], w.shape[1])


def _backward(dy, y, x, w, input_gradient, out):
    dw, db = conv2d.gradients_of(w, out)
    shape = (1, 1, *w.shape)
    dx, _, _ = conv2d._backward(_as_image(dy), y, _as_image(x), w.reshape(shape), (1, 1), NO_PADDING, input_gradient,
                                (dw.reshape(shape), db))
    return dx if dx is None else dx.reshape(x.shape), dw, db


def _as_image(rows):
    return rows.reshape(rows.shape[0], 1, 1, rows.shape[1])
