"""How the kernels of a convolution are called: what depends on the shapes alone, computed once and kept.

Each function makes what a kernel is given behind the arrays of the call (``workspace.Fixed``): numbers and tables in
one array, those of the plan before the kernel's own, and room for the arrays that it works in, most of them with a row
for each worker. They all take the shapes of x and w, stride and padding, the rows and columns of the result that are
asked for, the type of the numbers, and how many workers there are; then what else the kernel has to know. A kernel
takes its ``numbers`` apart in the order in which they stand here.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from . import plans, pooled, simd
from .dots import PIXELS, tables_of
from .picked import WIDEST
from .plans import multiples, plan_of
from .pool2d import places_type
from .product import panel_width
from .tables import packed
from .winners import WIDEST as WIDEST_ROW
from .winners import WORD, between_channels
from .workspace import Fixed, Room, constant

#: Into how many shares the sums over a batch are cut, whatever the number of threads.
SHARES = 8

#: Bytes of an image that are gone over again and again where only the winners of a pooling count: they, and what goes
#: with them, stay in a first-level cache of 32 KB.
GROUP_BYTES = 5 << 12

#: If that takes a border, dx is gathered up to so many outputs, and up to so many pixels with it for one without it.
SHORT, WIDER = 64, 1.45


class Convolution(NamedTuple):
    """How ``convolve`` is called."""

    fixed: Fixed
    columns: int  # of y, with those that fill up the last panel
    work: int  # multiply-adds for one image


class Spread(NamedTuple):
    """How ``spread_share`` is called."""

    fixed: Fixed
    border: bool  # whether dx is gathered from a dy with a border of zeros


@lru_cache(256)
def convolution(shape, w_shape, stride, padding, result, dtype, workers, relu, window):
    """``Convolution``; ``window`` is that of the pooling behind it, (0, 0) where there is none."""
    lanes, outputs = simd.lanes(dtype), w_shape[3]
    plan = plan_of(shape, w_shape[:2], outputs, stride, padding, result, dtype.itemsize, workers, window[0] or 1)
    columns, terms = whole(outputs, lanes), len(plan.step)
    pixels = shape[0] * math.prod(result)
    # rows of w that are wider than a panel can be used as they are, but not as fast
    packs = outputs != columns or (outputs > simd.PANEL * lanes and pixels >= 512)
    widest = min(columns, simd.PANEL * lanes)
    short = math.prod(window) <= pooled.MOST_PIXELS and terms <= pooled.MOST_TERMS  # so it can stay in the registers
    numbers = shape[0], packs, outputs, lanes, relu, *window
    fixed = Fixed((packed((*plan.numbers, *numbers), *plan.tables),
                   Room("bias", (workers, columns if outputs != columns else 0), dtype),
                   Room("padded x", _padded(plan, workers), dtype),
                   Room("weights", (workers, (terms + 1) * widest if packs else 0), dtype),
                   Room("unpooled y", (workers, 0 if not window[0] or short else len(plan.row) * outputs), dtype)))
    return Convolution(fixed, columns, math.prod(result) * outputs * terms)


@lru_cache(256)
def gather(shape, w_shape, stride, padding, result, dtype, workers, masked, window):
    """``Spread`` for ``convolution.gather``; None if that cannot be used, or is slower than adding up in memory."""
    lanes, (kh, kw, channels, outputs) = simd.lanes(dtype), w_shape
    border = tuple((size - 1 - before, rows - rest + before) for size, (before, _), rows, rest in zip(
        w_shape[:2], padding, shape[1:3], result))
    if stride != (1, 1) or min(map(min, border)) < 0:
        return None
    if any(map(any, border)) and (channels < lanes or outputs > SHORT):
        return None
    plan = plan_of((shape[0], *result, outputs), (kh, kw), channels, stride, border, shape[1:3], dtype.itemsize,
                   workers)
    if plan.padded_height * plan.padded_width > WIDER * math.prod(result):
        return None
    weights = (kh * kw * outputs + lanes) * min(whole(channels, lanes), simd.PANEL * lanes)
    pixels = plan.images * plan.block_height * plan.width
    numbers = shape[0], True, kh, kw, stride[1], masked, *window, channels, outputs, lanes
    fixed = _spread_fixed(plan, numbers, (multiples(0, 1),) * 3, dtype, workers, pixels * outputs if masked else 0,
                          weights, 0)
    return Spread(fixed, bool(plan.padded))


@lru_cache(256)
def spread(shape, w_shape, stride, padding, result, dtype, workers, masked, window):
    """``Spread`` for the two ways that add up in memory; ``masked`` if relu does not let all of dy through."""
    lanes, (kh, kw, channels, outputs) = simd.lanes(dtype), w_shape
    # where channels do not fill a vector, but the elements of a kernel with theirs may
    size = whole(kh * kw * channels, lanes) if channels < lanes and kh * kw > 1 else 0
    plan = plan_of(shape, (kh, kw), outputs, stride, padding, result, dtype.itemsize, workers, extra=size)
    rows = plan.images * plan.out_height if plan.bands == 1 else plan.band + -(-kh // stride[0])
    pixels = rows * plan.out_width
    # of a panel's transposed columns whole vectors are written: hence the room behind
    weights = (outputs + lanes) * size if size else (kh * kw * outputs + lanes) * whole(channels, lanes)
    # with few channels: where the windows stand, and the pixels of dy in dy
    tables = (multiples(outputs, 1), multiples(pixels + 1 if size else 0, size),
              multiples(pixels if size else 0, outputs))
    numbers = shape[0], False, kh, kw, stride[1], masked, *window, channels, outputs, lanes
    fixed = _spread_fixed(plan, numbers, tables, dtype, workers, pixels * outputs if masked else 0, weights,
                          pixels * size)
    return Spread(fixed, False)


def _spread_fixed(plan, numbers, tables, dtype, workers, dy, weights, windows):
    """The last three say how much room a worker needs for dy, transposed weights, and windows."""
    return Fixed((packed((*plan.numbers, *numbers), *plan.tables, *tables),
                  constant(0, simd.PANEL * simd.lanes(dtype), dtype), Room("dy", (workers, dy), dtype),
                  Room("weights", (workers, weights), dtype), Room("padded dx", _padded(plan, workers), dtype),
                  Room("windows", (workers, windows), dtype)))


@lru_cache(256)
def dots(shape, w_shape, stride, padding, result, dtype, workers, masked, window):
    """For ``dots_share``; None where channels fill a vector or outputs do not, or where ``spread_windows`` has less to
    do.
    """
    lanes, (kh, kw, channels, outputs) = simd.lanes(dtype), w_shape
    images, height, width = shape[:3]
    if channels >= lanes or outputs % lanes > 0 or kh * kw == 1:
        return None
    # a unit is some images, or a band of rows of one
    size = (math.prod(result) * outputs + height * width * channels) * dtype.itemsize
    together = max(1, min(plans.UNIT_BYTES // size, -(-images // workers)))
    band = -(-height // max(-(-size // plans.UNIT_BYTES), -(-workers // images)))
    most = together * math.prod(result) * outputs * whole(kh * kw * channels, lanes) // lanes
    tables = tables_of(shape, w_shape, stride, padding, result, lanes, together, band, most)
    if tables is None:
        return None
    counts, rows = tables[1:3]
    pixels = together * int((rows[:, 1] - rows[:, 0]).max()) * result[1]
    numbers = images, together, *counts.shape, masked, *window, *shape[1:], *result, outputs, lanes
    return Fixed((packed(numbers, *tables), constant(0, max(PIXELS) * lanes, dtype),
                  Room("dy", (workers, pixels * outputs if masked else 0), dtype)))


@lru_cache(256)
def correlation(shape, w_shape, stride, padding, result, dtype, workers, masked, window):
    """For ``correlate_share``: the sum over the batch in ``splits`` parts, the kernel's elements in blocks."""
    lanes, outputs, terms = simd.lanes(dtype), w_shape[3], math.prod(w_shape[:3])
    wanted = max(1, min(SHARES, shape[0] * math.prod(result) // 1024))
    plan = plan_of(shape, w_shape[:2], outputs, stride, padding, result, dtype.itemsize, wanted)
    splits = min(wanted, -(-shape[0] // plan.images) * plan.bands)
    columns = whole(outputs, lanes)
    numbers = splits, shape[0], masked, *window, -(-terms // (SHARES // splits)), outputs, lanes
    return Fixed((packed((*plan.numbers, *numbers), *plan.tables, multiples(terms, outputs)),
                  constant(0, simd.PANEL * lanes, dtype), Room("sums", (splits + 1, columns), dtype),
                  _parts(splits, terms * outputs, dtype), Room("padded x", _padded(plan, workers), dtype),
                  Room("packed dy", (workers, len(plan.row) * min(columns, simd.PANEL * lanes)), dtype)))


@lru_cache(256)
def picked(shape, w_shape, stride, padding, result, dtype, workers, pool_size):
    """For ``correlate_picked``; None where there is no such instruction, or no window of three or four pixels."""
    if not simd.PICKS or not 2 < math.prod(pool_size) <= 4:
        return None
    lanes, (kh, kw, channels, outputs) = simd.lanes(dtype), w_shape
    wanted = max(1, min(SHARES, shape[0] * math.prod(result) // 1024))
    # beside the image there are four numbers for each of its own, and for each window its gradient and place
    plan = plan_of(shape, (kh, kw), 0, stride, padding, result, dtype.itemsize, wanted, pool_size[0],
                   4 * channels * math.prod(stride) + outputs // 3)
    start, near = _windows_of(plan, pool_size)
    width = panel_width.py_func(min(outputs, WIDEST * lanes), lanes)
    splits = min(wanted, -(-shape[0] // plan.images) * plan.bands)
    # steps and starts count numbers of ``four``
    tables = plan.row, 4 * plan.step, plan.out, 4 * start, near, multiples(kh * kw * channels, outputs)
    places = places_type(pool_size)
    numbers = (math.prod(pool_size), splits, shape[0], math.prod(result) // math.prod(pool_size), outputs, lanes)
    return Fixed((packed((*plan.numbers, *numbers), *tables), Room("found", (workers, 2), places),
                  Room("sums", (splits, outputs), dtype), _parts(splits, math.prod(w_shape), dtype),
                  Room("padded x", _padded(plan, workers), dtype),
                  Room("four", (workers, 4 * (int(start[-1] + plan.step[-1]) + 1 + lanes)), dtype),
                  Room("gradients", (workers, len(start) * width), dtype),
                  Room("which", (workers, len(start) * width), places)))


@lru_cache(256)
def winners(shape, w_shape, stride, padding, result, dtype, workers, window, input_gradient):
    """For ``backward_from_winners``; None where it would not pay: rows of a kernel are not whole vectors, or, for
    windows of one or two pixels, do not fill the widest tile. Without a pooling, windows have one pixel.
    """
    pool_size = window[0] or 1, window[1] or 1
    lanes, (kh, kw, channels, outputs) = simd.lanes(dtype), w_shape
    least = WIDEST_ROW * lanes if math.prod(pool_size) <= 2 else 0
    if kw * channels % lanes > 0 or kw * channels < least or shape[0] == 0:
        return None
    # no numbers for the outputs: what comes before the pooling is never made
    plan = plan_of(shape, w_shape[:2], 0, stride, padding, result, dtype.itemsize, SHARES, pool_size[0])
    # a power of two, so that SHARES tasks of equal size come out; more where else blocks of channels fill no vector
    pixels = shape[0] * math.prod(result)
    splits = 1 << (max(1, min(SHARES, pixels // 1024)).bit_length() - 1)
    while splits < SHARES and outputs * splits < SHARES * lanes and pixels >= 256 * splits:
        splits *= 2
    splits = min(splits, -(-shape[0] // plan.images) * plan.bands)
    # groups of equal size, of at most WORD windows; the pixels that a window has to itself count, not those it shares
    windows, size = math.prod(result) // math.prod(pool_size), math.prod(pool_size) * math.prod(stride) * channels
    group = -(-windows // max(-(-windows * size * dtype.itemsize // GROUP_BYTES), -(-windows // WORD)))
    dw_group = group
    if group == windows:  # small images: dw takes those of several together
        dw_group = min(WORD, max(group, GROUP_BYTES // (size * dtype.itemsize)))
        dw_group = -(-plan.images * windows // -(-plan.images * windows // dw_group))
    # a band of dx, with the windows that reach into it from above and below
    rows = plan.band * stride[0] + 2 * (kh + pool_size[0] * stride[0]) if plan.bands > 1 else 0
    padded = max(_padded(plan, workers)[1], rows * plan.padded_width * channels)
    terms, places, block = kh * kw * channels, group * math.prod(pool_size), -(-outputs // (SHARES // splits))
    offsets, words = np.dtype(np.int32), np.dtype(np.int64)
    numbers = (math.prod(window), input_gradient, lanes, splits, block, kh, kw, stride[1], shape[0], *pool_size, group,
               dw_group)
    return Fixed((packed((*plan.numbers, *numbers), *plan.tables, *_windows_of(plan, pool_size)),
                  Room("found", (workers, 2), places_type(pool_size)), Room("sums", (splits, outputs), dtype),
                  Room("partial", (splits * terms * outputs,), dtype), Room("padded x", (workers, padded), dtype),
                  Room("weights", (workers, (outputs + lanes) * between_channels.py_func(terms, lanes)), dtype),
                  Room("starts", (workers, places), offsets), Room("bits", (workers, max(block, places)), words),
                  Room("sources", (workers, places), words), Room("gradients", (workers, dw_group * block), dtype),
                  Room("places", (workers, dw_group * block), offsets)))


def _parts(splits, size, dtype):
    """Room for that many parts of dw; a single part is dw itself."""
    return Room("partial", (splits * size if splits > 1 else 0,), dtype)


def _windows_of(plan, pool_size):
    """Where a unit's windows start in its part of the (padded) images, and how far from there their pixels are: at
    least four numbers.
    """
    row = plan.row.reshape(plan.images, plan.band, plan.out_width)
    near = row[0, :pool_size[0], :pool_size[1]].ravel()
    return row[:, ::pool_size[0], ::pool_size[1]].ravel(), np.pad(near, (0, max(0, 4 - len(near))))


def _padded(plan, workers):
    """For every worker the part of a padded image that a unit takes, or of the padded dx that it makes."""
    rows = max(plan.block_height, plan.band * plan.row_step, plan.padded_height if plan.bands == 1 else 0)
    return workers, plan.images * rows * plan.padded_width * plan.channels if plan.padded else 0


def whole(columns, lanes):
    """Columns, with those that fill the last panel up."""
    panel = simd.PANEL * lanes
    rest = columns % panel
    return columns - rest + (panel_width.py_func(rest, lanes) if rest else 0)
