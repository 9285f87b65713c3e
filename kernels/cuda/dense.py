from __future__ import annotations

from . import conv2d
from .checks import checks


def dense_forward(x, w, b=None):
    """Multiply every row with a matrix and add the bias; as in ``kernels.reference.dense_forward``."""
    return _forward(*checks.dense_forward(x, w, b), relu=False)


def dense_relu_forward(x, w, b=None):
    """``relu(dense_forward(...))`` in one pass."""
    return _forward(*checks.dense_forward(x, w, b), relu=True)


def dense_backward(dy, x, w, input_gradient=True):
    """Gradients; as in ``kernels.reference.dense_backward``."""
    dy, x, w = checks.dense_backward(dy, x, w)
    return _backward(dy, None, x, w, input_gradient)


def dense_relu_backward(dy, y, x, w, input_gradient=True):
    """The same through ``dense_relu_forward``, whose result is ``y``."""
    dy, x, w, y = checks.dense_backward(dy, x, w, y)
    return _backward(dy, y, x, w, input_gradient)


def _image(rows):
    return rows.reshape(rows.shape[0], 1, 1, rows.shape[1])


def _forward(x, w, b, relu):
    y = conv2d.forward(_image(x), w.reshape(1, 1, *w.shape), b, (1, 1), ((0, 0), (0, 0)),
                       (x.shape[0], 1, 1, w.shape[1]), relu)
    return y.reshape(x.shape[0], w.shape[1])


def _backward(dy, y, x, w, input_gradient):
    dx, dw, db = conv2d.backward(_image(dy), None if y is None else _image(y), _image(x), w.reshape(1, 1, *w.shape),
                                 (1, 1), ((0, 0), (0, 0)), input_gradient)
    return None if dx is None else dx.reshape(x.shape), dw.reshape(w.shape), db
