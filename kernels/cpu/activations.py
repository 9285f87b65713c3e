"""Activation functions. The formulas stand in ``reference/activations.py``.

They do next to nothing per number, so what counts is memory, and Numba spares NumPy's passes over it. Left to NumPy
are ``tanh_forward``, one pass in vectors as it is, and softmax, which has only a network's few outputs to handle.
"""

from __future__ import annotations

from ..reference.activations import softmax_backward, softmax_forward, tanh_forward
from . import threads, workspace
from .checks import checks
from .compiling import kernel
from .exponential import exponential
from .parallel import on_all, share_of
from .parts import part

__all__ = [
    "leaky_relu_backward",
    "leaky_relu_forward",
    "relu_backward",
    "relu_forward",
    "sigmoid_backward",
    "sigmoid_forward",
    "softmax_backward",
    "softmax_forward",
    "tanh_backward",
    "tanh_forward",
]


def relu_forward(x):
    """``y = max(x, 0)``; NaN stays NaN."""
    x = checks.elementwise("x", x)
    return _run(x, x, 0.0, True)


def relu_backward(dy, y):
    """``dx = dy`` where ``y > 0``, else 0."""
    dy, y = checks.elementwise("dy", dy, "y", y)
    return _run(dy, y, 0.0, False)


def leaky_relu_forward(x, negative_slope=0.2):
    """``y = x`` where ``x > 0``, else ``negative_slope x``."""
    x, negative_slope = checks.elementwise("x", x), checks.slope(negative_slope)
    return _run(x, x, negative_slope, True) if negative_slope == 0 else _run(x, x, negative_slope, False)


def leaky_relu_backward(dy, y, negative_slope=0.2):
    """``dx = dy`` where ``y > 0``, else ``negative_slope dy``."""
    dy, y = checks.elementwise("dy", dy, "y", y)
    return _run(dy, y, checks.slope(negative_slope), False)


def _run(values, signs, slope, keep_nan):
    result = workspace.empty(values.shape, values.dtype)
    threads.run(_rectify, values.size, workspace.flat(values), workspace.flat(signs), slope, keep_nan,
                result.reshape(-1))
    return result


@part
def _rectify_share(worker, workers, values, signs, slope, keep_nan, result):
    """``values`` where ``signs > 0``, else ``slope values``, or 0 if there is no slope."""
    leak, zero = values.dtype.type(slope), values.dtype.type(0)
    v, s, r = share_of(values, worker, workers), share_of(signs, worker, workers), share_of(result, worker, workers)
    if slope != 0:
        for i in range(len(v)):
            r[i] = v[i] if s[i] > 0 else leak * v[i]
    elif keep_nan:
        for i in range(len(v)):
            r[i] = zero if s[i] < 0 else v[i]
    else:
        for i in range(len(v)):
            r[i] = v[i] if s[i] > 0 else zero


@kernel
def _rectify(workers, *arguments):
    on_all(_rectify_share, workers, arguments)


def sigmoid_forward(x):
    """``y = 1 / (1 + exp(-x))``."""
    x = checks.elementwise("x", x)
    y = workspace.empty(x.shape, x.dtype)
    threads.run(_sigmoid, x.size, workspace.flat(x), y.reshape(-1))
    return y


@part
def _sigmoid_share(worker, workers, x, y):
    """Of x below 0 as ``exp(x) / (1 + exp(x))``, since ``exp(-x)`` might be infinite."""
    number = x.dtype.type
    x, y = share_of(x, worker, workers), share_of(y, worker, workers)
    for i in range(len(x)):
        small = exponential(-abs(x[i]), number)
        y[i] = (number(1) if x[i] >= 0 else small) / (number(1) + small)


@kernel
def _sigmoid(workers, *arguments):
    on_all(_sigmoid_share, workers, arguments)


def sigmoid_backward(dy, y):
    """``dx = dy y (1 - y)``."""
    return _by_output(_sigmoid_gradient, dy, y)


def tanh_backward(dy, y):
    """``dx = dy (1 - y^2)``."""
    return _by_output(_tanh_gradient, dy, y)


def _by_output(kernel, dy, y):
    dy, y = checks.elementwise("dy", dy, "y", y)
    dx = workspace.empty(y.shape, y.dtype)
    threads.run(kernel, y.size, workspace.flat(dy), workspace.flat(y), dx.reshape(-1))
    return dx


@part
def _sigmoid_gradient_share(worker, workers, dy, y, dx):
    one = y.dtype.type(1)
    dy, y, dx = share_of(dy, worker, workers), share_of(y, worker, workers), share_of(dx, worker, workers)
    for i in range(len(y)):
        dx[i] = dy[i] * y[i] * (one - y[i])


@kernel
def _sigmoid_gradient(workers, *arguments):
    on_all(_sigmoid_gradient_share, workers, arguments)


@part
def _tanh_gradient_share(worker, workers, dy, y, dx):
    one = y.dtype.type(1)
    dy, y, dx = share_of(dy, worker, workers), share_of(y, worker, workers), share_of(dx, worker, workers)
    for i in range(len(y)):
        dx[i] = dy[i] * (one - y[i] * y[i])


@kernel
def _tanh_gradient(workers, *arguments):
    on_all(_tanh_gradient_share, workers, arguments)
