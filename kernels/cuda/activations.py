"""Activations on the device: one thread an element; softmax: one block of 32 threads a row.

The formulas stand in ``kernels/reference/activations.py``. An elementwise kernel is a formula and nothing else, so the
formulas are what stands here, and one kernel is made around each.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from . import arrays
from .checks import checks
from .device import blocks_for, cuda, device_function, kernel, launch
from .reductions import LANES, tree_maximum, tree_sum

uint32 = np.uint32

#: Threads of a block where every thread works for itself.
THREADS = 128


# ---- formulas: for a number type T, the function of one element ---------------------------------------------------

def _relu(T):
    zero = T(0)
    return lambda x, _: x if x > zero or x != x else zero


def _relu_backward(T):
    zero = T(0)
    return lambda dy, y, _: dy if y > zero else zero


def _leaky_relu(T):
    zero = T(0)
    return lambda x, slope: x if x > zero else slope * x


def _leaky_relu_backward(T):
    zero = T(0)
    return lambda dy, y, slope: dy if y > zero else slope * dy


def _sigmoid(T):
    zero, one = T(0), T(1)

    def sigmoid(x, _):
        small = math.exp(-abs(x))
        return (one if x >= zero else small) / (one + small)
    return sigmoid


def _sigmoid_backward(T):
    one = T(1)
    return lambda dy, y, _: dy * y * (one - y)


def _tanh(T):
    return lambda x, _: math.tanh(x)


def _tanh_backward(T):
    one = T(1)
    return lambda dy, y, _: dy * (one - y * y)


# ---- operations -----------------------------------------------------------------------------------------------

def relu_forward(x):
    """``y = max(x, 0)``; NaN stays NaN."""
    return _forward(_relu, x)


def relu_backward(dy, y):
    """``dx = dy`` where ``y > 0``, else 0."""
    return _backward(_relu_backward, dy, y)


def leaky_relu_forward(x, negative_slope=0.2):
    """``y = x`` where ``x > 0``, else ``negative_slope * x``."""
    return _forward(_leaky_relu, x, checks.slope(negative_slope))


def leaky_relu_backward(dy, y, negative_slope=0.2):
    """``dx = dy`` where ``y > 0``, else ``negative_slope * dy``."""
    return _backward(_leaky_relu_backward, dy, y, checks.slope(negative_slope))


def sigmoid_forward(x):
    """``y = 1 / (1 + exp(-x))``, with ``exp`` never above 1."""
    return _forward(_sigmoid, x)


def sigmoid_backward(dy, y):
    """``dx = dy y (1 - y)``."""
    return _backward(_sigmoid_backward, dy, y)


def tanh_forward(x):
    """Hyperbolic tangent."""
    return _forward(_tanh, x)


def tanh_backward(dy, y):
    """``dx = dy (1 - y^2)``."""
    return _backward(_tanh_backward, dy, y)


def softmax_forward(x):
    """Probabilities over the last axis, ``y_k = exp(x_k - max x) / sum_l exp(x_l - max x)``."""
    x = checks.last_axis("x", x)
    y = arrays.empty(x.shape, x.dtype)
    launch(softmax_forward_kernel(x.dtype.type), x.size // x.shape[-1], LANES, x, y, x.shape[-1])
    return y


def softmax_backward(dy, y):
    """``dx_k = y_k (dy_k - sum_l dy_l y_l)``."""
    dy, y = checks.last_axis("dy", dy, "y", y)
    dx = arrays.empty(y.shape, y.dtype)
    launch(softmax_backward_kernel(y.dtype.type), y.size // y.shape[-1], LANES, dy, y, dx, y.shape[-1])
    return dx


def _forward(formula, x, slope=0.0):
    x = checks.elementwise("x", x)
    y = arrays.empty(x.shape, x.dtype)
    T = x.dtype.type
    launch(forward_kernel(formula, T), blocks_for(x.size, THREADS), THREADS, x, y, T(slope))
    return y


def _backward(formula, dy, y, slope=0.0):
    dy, y = checks.elementwise("dy", dy, "y", y)
    dx = arrays.empty(y.shape, y.dtype)
    T = y.dtype.type
    launch(backward_kernel(formula, T), blocks_for(y.size, THREADS), THREADS, dy, y, dx, T(slope))
    return dx


# ---- kernels ------------------------------------------------------------------------------------------------------

@functools.cache
def forward_kernel(formula, T):
    """``y[i] = formula(x[i], slope)``."""
    function = device_function(formula(T))

    @kernel(formula.__name__.strip("_"))
    def elementwise(x, y, slope):
        i = uint32(cuda.grid(1))
        if i < y.size:
            y[i] = function(x[i], slope)
    return elementwise


@functools.cache
def backward_kernel(formula, T):
    """``dx[i] = formula(dy[i], y[i], slope)``."""
    function = device_function(formula(T))

    @kernel(formula.__name__.strip("_"))
    def elementwise(dy, y, dx, slope):
        i = uint32(cuda.grid(1))
        if i < dx.size:
            dx[i] = function(dy[i], y[i], slope)
    return elementwise


@functools.cache
def softmax_forward_kernel(T):
    """One block a row: 32 threads walk it together, three times (largest, sum, quotients)."""
    zero, lowest = T(0), T(-np.inf)

    @cuda.jit
    def softmax_forward(x, y, classes):
        shared = cuda.shared.array(LANES, T)
        lane = uint32(cuda.threadIdx.x)
        start = uint32(cuda.blockIdx.x * classes)
        largest = lowest
        for k in range(lane, classes, LANES):
            largest = max(largest, x[start + k])
        largest = tree_maximum(shared, lane, largest)
        total = zero
        for k in range(lane, classes, LANES):
            total += math.exp(x[start + k] - largest)
        total = tree_sum(shared, lane, total)
        for k in range(lane, classes, LANES):
            y[start + k] = math.exp(x[start + k] - largest) / total
    return softmax_forward


@functools.cache
def softmax_backward_kernel(T):
    """One block a row, walked twice (sum, products)."""
    zero = T(0)

    @cuda.jit
    def softmax_backward(dy, y, dx, classes):
        shared = cuda.shared.array(LANES, T)
        lane = uint32(cuda.threadIdx.x)
        start = uint32(cuda.blockIdx.x * classes)
        total = zero
        for k in range(lane, classes, LANES):
            total += dy[start + k] * y[start + k]
        total = tree_sum(shared, lane, total)
        for k in range(lane, classes, LANES):
            dx[start + k] = y[start + k] * (dy[start + k] - total)
    return softmax_backward
