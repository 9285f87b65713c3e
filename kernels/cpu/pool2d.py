"""Max-pooling and average-pooling on all cores. The formulas stand in ``reference/pool2d.py``.

All four kernels work on one row of the result at a time, so rows can be shared out among threads: a backward pass too
asks for each row of dx which windows cover it, instead of scattering every window's gradient.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from .. import NO_PADDING
from . import masks, simd, threads, workspace
from .checks import checks
from .compiling import kernel
from .packing import fill
from .parallel import on_all
from .parts import part
from .tables import numbers_of, packed

#: Windows in a tile.
ROWS = 4


def max_pool2d_forward(x, pool_size=2, stride=None, padding=NO_PADDING):
    """``y`` and ``argmax``, as in ``reference.max_pool2d_forward``; argmax has the smallest type that holds it."""
    x, pool_size, stride, padding, shape = checks.pool2d_forward(x, pool_size, stride, padding)
    y = workspace.empty(shape, x.dtype)
    argmax = workspace.empty(shape, places_type(pool_size))
    _run(_max_forward, x.shape, shape, pool_size, stride, padding, x, y, argmax)
    return y, argmax


def places_type(pool_size):
    """The smallest type that holds the places in a window."""
    return np.dtype(np.uint8 if pool_size[0] * pool_size[1] <= 256 else np.int32)


def max_pool2d_backward(dy, argmax, x_shape, pool_size=2, stride=None, padding=NO_PADDING):
    """``dx``, as in ``reference.max_pool2d_backward``."""
    dy, x_shape, pool_size, stride, padding, argmax = checks.pool2d_backward(dy, x_shape, pool_size, stride, padding,
                                                                             argmax)
    argmax = argmax.astype(places_type(pool_size), copy=False)
    dx = workspace.empty(x_shape, dy.dtype)
    _run(_max_backward, x_shape, dy.shape, pool_size, stride, padding, dx, dy, argmax)
    return dx


def avg_pool2d_forward(x, pool_size=2, stride=None, padding=NO_PADDING):
    """``y``, as in ``reference.avg_pool2d_forward``."""
    x, pool_size, stride, padding, shape = checks.pool2d_forward(x, pool_size, stride, padding)
    y = workspace.empty(shape, x.dtype)
    _run(_avg_forward, x.shape, shape, pool_size, stride, padding, x, y)
    return y


def avg_pool2d_backward(dy, x_shape, pool_size=2, stride=None, padding=NO_PADDING):
    """``dx``, as in ``reference.avg_pool2d_backward``."""
    dy, x_shape, pool_size, stride, padding = checks.pool2d_backward(dy, x_shape, pool_size, stride, padding)
    dx = workspace.empty(x_shape, dy.dtype)
    _run(_avg_backward, x_shape, dy.shape, pool_size, stride, padding, dx, dy)
    return dx


class Sizes(NamedTuple):
    """What the kernels need to know about a pooling."""

    images: int
    height: int
    width: int
    channels: int
    out_height: int
    out_width: int
    pool_height: int
    pool_width: int
    row_step: int
    column_step: int
    top: int
    left: int
    lanes: int


#: How many numbers that is.
SIZES = len(Sizes._fields)


def _run(kernel, x_shape, y_shape, pool_size, stride, padding, *arrays):
    sizes = _sizes(x_shape, y_shape, pool_size, stride, padding, simd.lanes(arrays[0].dtype))
    threads.run(kernel, math.prod(x_shape), sizes, *[workspace.flat(array) for array in arrays])


@lru_cache(256)
def _sizes(x_shape, y_shape, pool_size, stride, padding, lanes):
    """``Sizes``, as a kernel gets them (``tables.py``)."""
    return packed(Sizes(*x_shape, *y_shape[1:3], *pool_size, *stride, padding[0][0], padding[1][0], lanes))


@part
def _named(tables):
    return Sizes(*numbers_of(tables, 0, SIZES))


@part
def _inside(index, step, before, window, size):
    """Window ``index``: its first pixel inside the image, the one behind its last, and how many it misses before."""
    start = index * step - before
    return max(0, start), min(size, start + window), max(0, -start)


@part
def _covering(pixel, step, before, window, count):
    """The windows that cover a pixel: the first and the one behind the last."""
    return max(0, (pixel + before - window) // step + 1), min(count, (pixel + before) // step + 1)


@part
def _alike(sizes, j):
    """How many windows from the j-th on, at most a tile of them, lie inside the image: one if it does not."""
    count = 1
    if j * sizes.column_step >= sizes.left:
        while (count < ROWS and j + count < sizes.out_width
               and (j + count) * sizes.column_step - sizes.left + sizes.pool_width <= sizes.width):
            count += 1
    return count


@part
def _max_forward_share(worker, workers, tables, x, y, argmax):
    """Rows of y, a few windows and a vector of channels at a time: maxima and positions stay in registers."""
    sizes = _named(tables)
    rows = sizes.images * sizes.out_height
    for row in range(rows * worker // workers, rows * (worker + 1) // workers):
        image, i = row // sizes.out_height, row % sizes.out_height
        top, bottom, m = _inside(i, sizes.row_step, sizes.top, sizes.pool_height, sizes.height)
        j = 0
        while j < sizes.out_width:
            left, right, n = _inside(j, sizes.column_step, sizes.left, sizes.pool_width, sizes.width)
            count = _alike(sizes, j)
            start = ((image * sizes.height + top) * sizes.width + left) * sizes.channels
            for c in range(0, sizes.channels, sizes.lanes):
                used = min(sizes.lanes, sizes.channels - c)
                pixels = simd.spaced(start + c, sizes.column_step * sizes.channels, count, ROWS)
                largest = simd.tile_load(x, pixels, used, 1)
                position = simd.tile_all(argmax, m * sizes.pool_width + n, largest)
                for r in range(bottom - top):
                    for s in range(right - left):
                        at = (r * sizes.width + s) * sizes.channels
                        pixel = simd.tile_load(x, simd.shifted(pixels, at), used, 1)
                        wins = masks.tile_exceeds(pixel, largest)
                        tap = simd.tile_all(argmax, (m + r) * sizes.pool_width + n + s, largest)
                        largest = masks.tile_where(wins, pixel, largest)
                        position = masks.tile_where(wins, tap, position)
                results = simd.spaced((row * sizes.out_width + j) * sizes.channels + c, sizes.channels, count, ROWS)
                simd.tile_store(largest, y, results, used)
                simd.tile_store(position, argmax, results, used)
            j += count


@kernel
def _max_forward(workers, *arguments):
    on_all(_max_forward_share, workers, arguments)


@part
def _max_backward_share(worker, workers, tables, dx, dy, argmax):
    """Rows of dx: each asks the windows that cover it for the gradients of those whose maximum it holds."""
    sizes = _named(tables)
    row_size = sizes.width * sizes.channels
    # where windows neither overlap nor leave gaps, every pixel is written once, and needs no zero to add to
    tiled = (sizes.column_step == sizes.pool_width and sizes.row_step >= sizes.pool_height and sizes.left == 0
             and sizes.out_width * sizes.pool_width == sizes.width)
    apart = sizes.column_step >= sizes.pool_width
    rows = sizes.images * sizes.height
    for row in range(rows * worker // workers, rows * (worker + 1) // workers):
        image, r = row // sizes.height, row % sizes.height
        first, last = _covering(r, sizes.row_step, sizes.top, sizes.pool_height, sizes.out_height)
        if first >= last or not tiled:
            fill(dx, row * row_size, (row + 1) * row_size, sizes.lanes)
        for i in range(first, last):
            m = r + sizes.top - i * sizes.row_step
            j = 0
            while j < sizes.out_width:
                left, right, n = _inside(j, sizes.column_step, sizes.left, sizes.pool_width, sizes.width)
                count = _alike(sizes, j) if apart else 1  # windows that overlap add to the same pixels in turn
                at = ((image * sizes.out_height + i) * sizes.out_width + j) * sizes.channels
                for c in range(0, sizes.channels, sizes.lanes):
                    used = min(sizes.lanes, sizes.channels - c)
                    windows = simd.spaced(at + c, sizes.channels, count, ROWS)
                    gradient = simd.tile_load(dy, windows, used, 1)
                    position = simd.tile_load_like(argmax, windows, used, gradient)
                    zero = simd.tile_all(dy, 0, gradient)
                    pixels = simd.spaced(row * row_size + left * sizes.channels + c,
                                         sizes.column_step * sizes.channels, count, ROWS)
                    for s in range(right - left):
                        targets = simd.shifted(pixels, s * sizes.channels)
                        holds = masks.tile_equals(position, m * sizes.pool_width + n + s)
                        share = masks.tile_where(holds, gradient, zero)
                        if not tiled:
                            share = simd.tile_plus(share, simd.tile_load(dx, targets, used, 1))
                        simd.tile_store(share, dx, targets, used)
                j += count


@kernel
def _max_backward(workers, *arguments):
    on_all(_max_backward_share, workers, arguments)


@part
def _avg_forward_share(worker, workers, tables, x, y):
    sizes = _named(tables)
    rows = sizes.images * sizes.out_height
    for row in range(rows * worker // workers, rows * (worker + 1) // workers):
        image, i = row // sizes.out_height, row % sizes.out_height
        top, bottom, _ = _inside(i, sizes.row_step, sizes.top, sizes.pool_height, sizes.height)
        j = 0
        while j < sizes.out_width:
            left, right, _ = _inside(j, sizes.column_step, sizes.left, sizes.pool_width, sizes.width)
            count = _alike(sizes, j)
            share = x.dtype.type(1) / x.dtype.type((bottom - top) * (right - left))
            start = ((image * sizes.height + top) * sizes.width + left) * sizes.channels
            for c in range(0, sizes.channels, sizes.lanes):
                used = min(sizes.lanes, sizes.channels - c)
                pixels = simd.spaced(start + c, sizes.column_step * sizes.channels, count, ROWS)
                total = simd.tile_all(x, 0, simd.tile_load(x, pixels, used, 1))
                for r in range(bottom - top):
                    for s in range(right - left):
                        at = (r * sizes.width + s) * sizes.channels
                        total = simd.tile_plus(total, simd.tile_load(x, simd.shifted(pixels, at), used, 1))
                results = simd.spaced((row * sizes.out_width + j) * sizes.channels + c, sizes.channels, count, ROWS)
                simd.tile_store(simd.tile_times(total, share), y, results, used)
            j += count


@kernel
def _avg_forward(workers, *arguments):
    on_all(_avg_forward_share, workers, arguments)


@part
def _avg_backward_share(worker, workers, tables, dx, dy):
    sizes = _named(tables)
    row_size = sizes.width * sizes.channels
    rows = sizes.images * sizes.height
    for row in range(rows * worker // workers, rows * (worker + 1) // workers):
        image, r = row // sizes.height, row % sizes.height
        fill(dx, row * row_size, (row + 1) * row_size, sizes.lanes)
        first, last = _covering(r, sizes.row_step, sizes.top, sizes.pool_height, sizes.out_height)
        for i in range(first, last):
            top, bottom, _ = _inside(i, sizes.row_step, sizes.top, sizes.pool_height, sizes.height)
            for j in range(sizes.out_width):
                left, right, _ = _inside(j, sizes.column_step, sizes.left, sizes.pool_width, sizes.width)
                share = dx.dtype.type(1) / dx.dtype.type((bottom - top) * (right - left))
                at = ((image * sizes.out_height + i) * sizes.out_width + j) * sizes.channels
                for c in range(0, sizes.channels, sizes.lanes):
                    used = min(sizes.lanes, sizes.channels - c)
                    gradient = simd.tile_times(simd.tile_load(dy, (at + c,), used, 1), share)
                    to = row * row_size + left * sizes.channels + c
                    for _ in range(right - left):
                        simd.tile_store(simd.tile_plus(gradient, simd.tile_load(dx, (to,), used, 1)), dx, (to,), used)
                        to += sizes.channels


@kernel
def _avg_backward(workers, *arguments):
    on_all(_avg_backward_share, workers, arguments)
