"""Pooling on the device: forward one thread an output, backward one thread an input.

Neighbouring threads take neighbouring channels, so that what a warp reads stands side by side in memory. Backward, a
thread visits the windows that its pixel lies in and adds up what they send it: every pixel is written by one thread,
in one order, without atomics. The formulas stand in ``kernels/reference/pool2d.py``.
"""

from __future__ import annotations

import functools

import numpy as np

from .. import NO_PADDING
from . import arrays
from .checks import checks
from .device import blocks_for, cuda, launch

uint32, int32 = np.uint32, np.int32

THREADS = 128


def max_pool2d_forward(x, pool_size=2, stride=None, padding=NO_PADDING):
    """``y, argmax``: the largest pixel of every window and where in the window it stood."""
    x, pool_size, stride, padding, y_shape = checks.pool2d_forward(x, pool_size, stride, padding)
    y = arrays.empty(y_shape, x.dtype)
    positions = pool_size[0] * pool_size[1]
    argmax = arrays.empty(y_shape, np.uint8 if positions <= 256 else np.int32)
    argmax.bounds = (0, positions - 1)
    _launch(max_forward(), y.size, (x, y, argmax), x.shape, y_shape, pool_size, stride, padding)
    return y, argmax


def max_pool2d_backward(dy, argmax, x_shape, pool_size=2, stride=None, padding=NO_PADDING):
    """``dx``: every ``dy`` goes to the pixel that was its window's largest."""
    dy, x_shape, pool_size, stride, padding, argmax = checks.pool2d_backward(
        dy, x_shape, pool_size, stride, padding, argmax)
    dx = arrays.empty(x_shape, dy.dtype)
    _launch(max_backward(dy.dtype.type), dx.size, (dy, argmax, dx), x_shape, dy.shape, pool_size, stride, padding)
    return dx


def avg_pool2d_forward(x, pool_size=2, stride=None, padding=NO_PADDING):
    """``y``: the mean of every window's pixels; padding is not counted."""
    x, pool_size, stride, padding, y_shape = checks.pool2d_forward(x, pool_size, stride, padding)
    y = arrays.empty(y_shape, x.dtype)
    _launch(avg_forward(x.dtype.type), y.size, (x, y), x.shape, y_shape, pool_size, stride, padding)
    return y


def avg_pool2d_backward(dy, x_shape, pool_size=2, stride=None, padding=NO_PADDING):
    """``dx``: every ``dy`` is shared equally among its window's pixels."""
    dy, x_shape, pool_size, stride, padding = checks.pool2d_backward(dy, x_shape, pool_size, stride, padding)
    dx = arrays.empty(x_shape, dy.dtype)
    _launch(avg_backward(dy.dtype.type), dx.size, (dy, dx), x_shape, dy.shape, pool_size, stride, padding)
    return dx


def _launch(kernel, threads, operands, x_shape, y_shape, pool_size, stride, padding):
    signed = (np.int32(padding[0][0]), np.int32(padding[1][0]))
    launch(kernel, blocks_for(threads, THREADS), THREADS, *operands, *x_shape[1:], *y_shape[1:3], *pool_size, *stride,
           *signed)


# ---- kernels ------------------------------------------------------------------------------------------------------

@functools.cache
def max_forward():
    """One thread an output: the first largest pixel of the window, or the first NaN."""
    @cuda.jit
    def max_forward(x, y, argmax, height, width, channels, out_height, out_width, pool_v, pool_h, stride_v, stride_h,
                    top, left):
        i = uint32(cuda.grid(1))
        if i >= y.size:
            return
        channel = uint32(i % channels)
        pixel = uint32(i // channels)
        image = uint32(pixel // uint32(out_height * out_width))
        first_row = int32(uint32(uint32(pixel // out_width) % out_height) * stride_v) - top
        first_column = int32(uint32(pixel % out_width) * stride_h) - left
        found = False
        largest = x[0]
        where = uint32(0)
        for m in range(pool_v):
            for n in range(pool_h):
                row = int32(first_row + int32(m))
                column = int32(first_column + int32(n))
                if row >= 0 and row < int32(height) and column >= 0 and column < int32(width):
                    value = x[uint32(((image * height + uint32(row)) * width + uint32(column)) * channels + channel)]
                    if not found or value > largest or (value != value and largest == largest):
                        found = True
                        largest = value
                        where = uint32(m * pool_h + n)
        y[i] = largest
        argmax[i] = where
    return max_forward


@functools.cache
def max_backward(T):
    """One thread an input: the sum of ``dy`` over the windows that it won."""
    zero = T(0)

    @cuda.jit
    def max_backward(dy, argmax, dx, height, width, channels, out_height, out_width, pool_v, pool_h, stride_v,
                     stride_h, top, left):
        i = uint32(cuda.grid(1))
        if i >= dx.size:
            return
        channel = uint32(i % channels)
        pixel = uint32(i // channels)
        image = uint32(pixel // uint32(height * width))
        padded_row = uint32(uint32(pixel // width) % height + uint32(top))
        padded_column = uint32(pixel % width + uint32(left))
        total = zero
        for m in range(min(pool_v, padded_row + uint32(1))):
            row = uint32(padded_row - uint32(m))
            if row % stride_v == 0 and row // stride_v < out_height:
                for n in range(min(pool_h, padded_column + uint32(1))):
                    column = uint32(padded_column - uint32(n))
                    if column % stride_h == 0 and column // stride_h < out_width:
                        window = uint32(((image * out_height + row // stride_v) * out_width + column // stride_h)
                                        * channels + channel)
                        if argmax[window] == m * pool_h + n:
                            total += dy[window]
        dx[i] = total
    return max_backward


@functools.cache
def avg_forward(T):
    """One thread an output: the sum of the pixels inside the image, over their number."""
    zero, one = T(0), T(1)

    @cuda.jit
    def avg_forward(x, y, height, width, channels, out_height, out_width, pool_v, pool_h, stride_v, stride_h, top,
                    left):
        i = uint32(cuda.grid(1))
        if i >= y.size:
            return
        channel = uint32(i % channels)
        pixel = uint32(i // channels)
        image = uint32(pixel // uint32(out_height * out_width))
        first_row = int32(uint32(uint32(pixel // out_width) % out_height) * stride_v) - top
        first_column = int32(uint32(pixel % out_width) * stride_h) - left
        total = zero
        count = zero
        for m in range(pool_v):
            for n in range(pool_h):
                row = int32(first_row + int32(m))
                column = int32(first_column + int32(n))
                if row >= 0 and row < int32(height) and column >= 0 and column < int32(width):
                    total += x[uint32(((image * height + uint32(row)) * width + uint32(column)) * channels + channel)]
                    count += one
        y[i] = total / count
    return avg_forward


@functools.cache
def avg_backward(T):
    """One thread an input: from every window that covers it, ``dy`` over the number of pixels of that window."""
    zero = T(0)

    @cuda.jit
    def avg_backward(dy, dx, height, width, channels, out_height, out_width, pool_v, pool_h, stride_v, stride_h, top,
                     left):
        i = uint32(cuda.grid(1))
        if i >= dx.size:
            return
        channel = uint32(i % channels)
        pixel = uint32(i // channels)
        image = uint32(pixel // uint32(height * width))
        padded_row = uint32(uint32(pixel // width) % height + uint32(top))
        padded_column = uint32(pixel % width + uint32(left))
        total = zero
        for m in range(min(pool_v, padded_row + uint32(1))):
            row = uint32(padded_row - uint32(m))
            if row % stride_v == 0 and row // stride_v < out_height:
                rows = min(int32(row + pool_v) - top, int32(height)) - max(int32(row) - top, int32(0))
                for n in range(min(pool_h, padded_column + uint32(1))):
                    column = uint32(padded_column - uint32(n))
                    if column % stride_h == 0 and column // stride_h < out_width:
                        columns = (min(int32(column + pool_h) - left, int32(width))
                                   - max(int32(column) - left, int32(0)))
                        window = uint32(((image * out_height + row // stride_v) * out_width + column // stride_h)
                                        * channels + channel)
                        total += dy[window] / T(rows * columns)
        dx[i] = total
    return avg_backward
