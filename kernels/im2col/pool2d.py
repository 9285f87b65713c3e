"""Pooling, one window position at a time.

Position (m, n) of all windows together is a grid of pixels a stride apart: a strided view, the size of the output. So
pooling is a running maximum, or sum, over PH PW such views, and no window is ever copied.

The formulas and their derivations stand in ``kernels/reference/pool2d.py``.
"""

from __future__ import annotations

import numpy as np

from .. import NO_PADDING, checks
from .activations import select
from .conv2d import crop, grid, pad


def max_pool2d_forward(x, pool_size=2, stride=None, padding=NO_PADDING):
    """A running maximum; arguments and results as in ``kernels.reference.max_pool2d_forward``.

    ``argmax`` has the smallest integer type that holds a window's last position.
    """
    x, (ph, pw), stride, padding, y_shape = checks.pool2d_forward(x, pool_size, stride, padding)
    _, oh, ow, _ = y_shape
    padded = pad(x, padding, -np.inf)

    # Start from minus infinity and the first position inside the image: padding then cannot win, not even when
    # every pixel of the window is minus infinity.
    first_m = np.maximum(0, padding[0][0] - stride[0] * np.arange(oh))
    first_n = np.maximum(0, padding[1][0] - stride[1] * np.arange(ow))
    y = np.full(y_shape, -np.inf, x.dtype)
    position_type = np.min_scalar_type(ph * pw - 1).type
    argmax = np.empty(y_shape, position_type)
    argmax[:] = (first_m[:, np.newaxis] * pw + first_n)[:, :, np.newaxis]
    for m in range(ph):
        for n in range(pw):
            pixels = padded[grid(m, n, oh, ow, stride)]
            # "not at most" holds for a NaN among the pixels too; a NaN that has won already (y != y) stays
            wins = ~(pixels <= y) & (y == y)
            np.maximum(y, pixels, out=y)
            # the last winner is the winner, and positions only grow
            np.maximum(argmax, wins * position_type(m * pw + n), out=argmax)
    return y, argmax


@np.errstate(over="ignore", invalid="ignore")  # infinity and NaN go through without a warning
def max_pool2d_backward(dy, argmax, x_shape, pool_size=2, stride=None, padding=NO_PADDING):
    """Route ``dy`` to the winners; arguments and result as in ``kernels.reference.max_pool2d_backward``."""
    dy, x_shape, (ph, pw), stride, padding, argmax = checks.pool2d_backward(
        dy, x_shape, pool_size, stride, padding, argmax)
    _, oh, ow, _ = dy.shape
    dx = _padded_zeros(x_shape, padding, dy.dtype)
    for m in range(ph):
        for n in range(pw):
            dx[grid(m, n, oh, ow, stride)] += select(argmax == m * pw + n, dy)
    return np.ascontiguousarray(crop(dx, padding))


@np.errstate(over="ignore", invalid="ignore")
def avg_pool2d_forward(x, pool_size=2, stride=None, padding=NO_PADDING):
    """A running sum, divided by the number of pixels; as in ``kernels.reference.avg_pool2d_forward``."""
    x, (ph, pw), stride, padding, y_shape = checks.pool2d_forward(x, pool_size, stride, padding)
    _, oh, ow, _ = y_shape
    padded = pad(x, padding)
    y = np.zeros(y_shape, x.dtype)
    for m in range(ph):
        for n in range(pw):
            y += padded[grid(m, n, oh, ow, stride)]
    y /= _counts(x.shape, (ph, pw), stride, padding, (oh, ow), x.dtype)
    return y


@np.errstate(over="ignore", invalid="ignore")
def avg_pool2d_backward(dy, x_shape, pool_size=2, stride=None, padding=NO_PADDING):
    """Share ``dy`` among the window's pixels; as in ``kernels.reference.avg_pool2d_backward``."""
    dy, x_shape, (ph, pw), stride, padding = checks.pool2d_backward(dy, x_shape, pool_size, stride, padding)
    _, oh, ow, _ = dy.shape
    share = dy / _counts(x_shape, (ph, pw), stride, padding, (oh, ow), dy.dtype)
    dx = _padded_zeros(x_shape, padding, dy.dtype)
    for m in range(ph):
        for n in range(pw):
            dx[grid(m, n, oh, ow, stride)] += share
    return np.ascontiguousarray(crop(dx, padding))


def _padded_zeros(x_shape, padding, dtype):
    images, height, width, channels = x_shape
    return np.zeros((images, height + sum(padding[0]), width + sum(padding[1]), channels), dtype)


def _counts(x_shape, pool_size, stride, padding, windows, dtype):
    """Number of pixels inside the image for every window, ``(OH, OW, 1)``: rows times columns."""
    sizes = []
    for axis in (0, 1):
        first = stride[axis] * np.arange(windows[axis]) - padding[axis][0]
        last = np.minimum(first + pool_size[axis], x_shape[1 + axis])
        sizes.append(last - np.maximum(first, 0))
    return (sizes[0][:, np.newaxis] * sizes[1])[:, :, np.newaxis].astype(dtype)
