"""The dense layer on all cores: the convolution of one pixel with a kernel of one pixel."""

from __future__ import annotations

from .. import NO_PADDING
from . import conv2d
from .calls import Calls, writeable
from .checks import checks


def dense_forward(x, w, b=None):
    """``y[n, o] = b[o] + sum_i x[n, i] w[i, o]``, as in ``reference.dense_forward``."""
    (x, w, b), call = _forward_calls.find((x, w, b), (False,))
    return conv2d.run_forward(call, x, w, b)


def dense_relu_forward(x, w, b=None):
    """``relu(dense_forward(...))``; the tile takes the maximum with 0 just before it leaves its registers."""
    (x, w, b), call = _forward_calls.find((x, w, b), (True,))
    return conv2d.run_forward(call, x, w, b)


def dense_backward(dy, x, w, input_gradient=True, out=None):
    """``dx`` (or None), ``dw`` and ``db``, as in ``reference.dense_backward``; ``out`` as in ``kernels.OUT``."""
    return _backward(dy, None, x, w, input_gradient, out, relu=False)


def dense_relu_backward(dy, y, x, w, input_gradient=True, out=None):
    """Gradients through ``dense_relu_forward``, from its result y: dy counts only where y is above 0."""
    return _backward(dy, y, x, w, input_gradient, out, relu=True)


def _backward(dy, y, x, w, input_gradient, out, relu):
    arrays, call = _backward_calls.find((dy, y, x, w, *(out or conv2d.NO_PLACES)), (bool(input_gradient), relu))
    dy, y, x, w, *places = arrays
    return conv2d.run_backward(call, dy, y, None, x, w, *places)


def _prepare_forward(arrays, settings):
    x, w, b = checks.dense_forward(*arrays)
    return tuple(map(writeable, (x, w, b))), conv2d.forward_call(
        *_as_convolution(x, w), (1, 1), x.dtype, (len(x), w.shape[1]), *settings)


def _prepare_backward(arrays, settings):
    dy, y, x, w, dw, db = arrays
    input_gradient, relu = settings
    dy, x, w, *y = checks.dense_backward(dy, x, w, *([y] if relu else []))
    y = y[0] if relu else None
    return (*map(writeable, (dy, y, x, w)), *conv2d.places_of(w, dw, db)), conv2d.backward_call(
        *_as_convolution(x, w), (1, 1), x.dtype, relu, x.shape if input_gradient else None)


def _as_convolution(x, w):
    """Shapes of images and kernels of one pixel, stride and padding."""
    return (len(x), 1, 1, x.shape[1]), (1, 1, *w.shape), (1, 1), NO_PADDING


_forward_calls, _backward_calls = Calls(_prepare_forward), Calls(_prepare_backward)
