"""The kernels of convolution and dense layers: copy a unit if need be, multiply it, next unit.

``convolve`` computes y from x, or dx from dy; ``correlate`` computes dw and db. What is multiplied with what stands in
the plan (``plans.py``), and how fast is a matter of ``product.py``.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from . import simd
from .compiling import kernel
from .product import product

PANEL = simd.PANEL


@kernel()
def convolve(worker, workers, plan, images, x, mask, masked, scratch, w, packed, bias, y, columns, lanes, relu):
    """One worker's units of a convolution: ``y = x * w + bias``, with tables from ``plan``.

    With ``masked``, x counts only where ``mask`` (of the same shape) is above zero. ``scratch`` has a row for each
    worker, the padded unit; it is not used if the plan needs no copy.
    """
    padded_columns = (columns + lanes - 1) // lanes * lanes
    units = (images + plan.images - 1) // plan.images * plan.bands
    for unit in range(units * worker // workers, units * (worker + 1) // workers):
        first, band = unit // plan.bands * plan.images, unit % plan.bands
        count = min(plan.images, images - first)
        top = band * plan.band
        if plan.padded:
            source, source_base = scratch[worker], 0
            copy_unit(plan, x, mask, masked, first, count, top * plan.row_step - plan.top, source)
        else:
            source, source_base = x, (first * plan.height + top * plan.row_step) * plan.width * plan.channels
        target = first * plan.image_out + top * plan.row_out
        for phase in range(len(plan.phases)):
            rows, width, pixel, element, end = plan.phases[phase]
            pixels = count * min(plan.band, rows - top) * width
            if pixels > 0:
                product(source, source_base, plan.row, plan.out, pixel, pixel + pixels, plan.step, element, end, w,
                        element * padded_columns, packed, bias, y, target, columns, lanes, False, relu)


@kernel(parallel=True)
def convolve_on_all(workers, plan, *arguments):
    for worker in prange(workers):
        convolve(np.int64(worker), workers, plan, *arguments)


@kernel()
def correlate(worker, workers, plan, taps, images, x, dy, mask, masked, scratch, packed_dy, zeros, dw, db, splits,
              block, columns, lanes):
    """One worker's share of ``dw[k, o] = sum_p x[step[k] + row[p]] dy[p, o]`` and ``db[o] = sum_p dy[p, o]``.

    The work is cut by its shape alone: the units of the batch into ``splits`` sums, each with a dw and db of its own
    (added up by ``add_splits``), and the kernel's elements into blocks. ``taps[k]`` is where row k of dw starts.
    """
    terms = len(taps)
    blocks = (terms + block - 1) // block
    padded_columns = (columns + lanes - 1) // lanes * lanes
    packs = masked or columns != padded_columns or columns > PANEL * lanes
    rows, width = plan.phases[0, 0], plan.phases[0, 1]
    units = (images + plan.images - 1) // plan.images * plan.bands
    for task in range(splits * blocks * worker // workers, splits * blocks * (worker + 1) // workers):
        split, first_tap = task // blocks, task % blocks * block
        last_tap = min(terms, first_tap + block)
        unit_first, unit_last = units * split // splits, units * (split + 1) // splits
        for unit in range(unit_first, unit_last):
            first, band = unit // plan.bands * plan.images, unit % plan.bands
            count = min(plan.images, images - first)
            top = band * plan.band
            pixels = count * min(plan.band, rows - top) * width
            if plan.padded:
                source, source_base = scratch[worker], 0
                copy_unit(plan, x, mask, False, first, count, top * plan.row_step - plan.top, source)
            else:
                source, source_base = x, (first * plan.height + top * plan.row_step) * plan.width * plan.channels
            at = (first * rows + top) * width * columns
            if first_tap == 0:
                add_rows(dy, mask, masked, at, pixels, columns, db[split], unit == unit_first)
            if packs:
                factor, factor_base = packed_dy[worker], 0
                pack_rows(dy, mask, masked, at, pixels, columns, lanes, factor)
            else:
                factor, factor_base = dy, at
            product(source, source_base, plan.step, taps, first_tap, last_tap, plan.row, 0, pixels, factor,
                    factor_base, packs, zeros, dw, split * terms * padded_columns, padded_columns, lanes,
                    unit > unit_first, False)


@kernel(parallel=True)
def correlate_on_all(workers, plan, *arguments):
    for worker in prange(workers):
        correlate(np.int64(worker), workers, plan, *arguments)


@njit(nogil=True)
def copy_unit(plan, x, mask, masked, first, count, top, target):
    """Copy ``count`` images from ``first`` on, from their row ``top`` on, with a border of zeros."""
    row_size, source_row = plan.block_width * plan.channels, plan.width * plan.channels
    left = plan.left * plan.channels
    right = left + min(source_row, row_size - left)
    # loops instead of slices: Numba takes seconds to compile the error message that a slice might need
    for image in range(count):
        for row in range(plan.block_height):
            at = (image * plan.block_height + row) * row_size
            source = ((first + image) * plan.height + top + row) * source_row - left
            if top + row < 0 or top + row >= plan.height:
                fill(target, at, at + row_size)
                continue
            fill(target, at, at + left)
            copy_row(x, mask, masked, source + left, target, at + left, right - left)
            fill(target, at + right, at + row_size)


@njit(nogil=True)
def copy_row(x, mask, masked, source, target, at, count):
    """``target[at : at + count] = x[source : source + count]``, or 0 where masked and not ``mask > 0``."""
    if masked:
        for i in range(count):
            value = x[source + i]
            target[at + i] = value if mask[source + i] > 0 else x.dtype.type(0)
    else:
        for i in range(count):
            target[at + i] = x[source + i]


@njit(nogil=True)
def fill(target, start, end):
    """``target[start : end] = 0``."""
    for i in range(start, end):
        target[i] = 0


@njit(nogil=True)
def pack_rows(dy, mask, masked, at, pixels, columns, lanes, target):
    """Copy ``pixels`` rows of dy panel by panel, filled up with zeros to whole vectors."""
    panel, to = PANEL * lanes, 0
    for o in range(0, columns, panel):
        used = min(panel, columns - o)
        width = (used + lanes - 1) // lanes * lanes
        for p in range(pixels):
            copy_row(dy, mask, masked, at + p * columns + o, target, to, used)
            fill(target, to + used, to + width)
            to += width


@njit(nogil=True)
def add_rows(dy, mask, masked, at, pixels, columns, total, starts):
    """``total[o] += sum_p dy[p, o]``."""
    if starts:
        fill(total, 0, columns)
    for p in range(pixels):
        source = at + p * columns
        if masked:
            for o in range(columns):
                value = dy[source + o]
                total[o] += value if mask[source + o] > 0 else dy.dtype.type(0)
        else:
            for o in range(columns):
                total[o] += dy[source + o]


@kernel()
def add_splits(partial, columns, dw, partial_db, db):
    """``dw[k, o] = sum_s partial[s, k, o]`` in the order of s, without the columns that filled up the vectors."""
    splits, terms, _ = partial.shape
    for k in range(terms):
        for o in range(columns):
            dw[k * columns + o] = partial[0, k, o]
        for s in range(1, splits):
            for o in range(columns):
                dw[k * columns + o] += partial[s, k, o]
    for o in range(columns):
        db[o] = partial_db[0, o]
    for s in range(1, splits):
        for o in range(columns):
            db[o] += partial_db[s, o]


@kernel()
def pack(w, columns, lanes, target):
    """Lay a matrix ``w`` (rows of ``columns``) out panel by panel, filled up with zeros to whole vectors."""
    pack_rows(w, w, False, 0, len(w) // columns, columns, lanes, target)


@kernel()
def pack_flipped(w, stride, before, size, lanes, target):
    """Lay ``w (KH, KW, C, O)`` out for dx: phase by phase, flipped, with its channels exchanged, in panels of C.

    Row (m, n, o) and column c of a phase's matrix hold w[KH' - 1 - m, KW' - 1 - n, c, o] of the phase's part of w.
    """
    kh, kw, channels, outputs = w.shape
    panel, to = PANEL * lanes, 0
    for fy in range(min(stride[0], size[0])):
        m0 = (fy + before[0]) % stride[0]
        for fx in range(min(stride[1], size[1])):
            n0 = (fx + before[1]) % stride[1]
            if m0 >= kh or n0 >= kw:
                continue
            m_last, n_last = m0 + (kh - 1 - m0) // stride[0] * stride[0], n0 + (kw - 1 - n0) // stride[1] * stride[1]
            for c0 in range(0, channels, panel):
                used = min(panel, channels - c0)
                width = (used + lanes - 1) // lanes * lanes
                for m in range(m_last, -1, -stride[0]):
                    for n in range(n_last, -1, -stride[1]):
                        for c in range(width):
                            if c < used:
                                for o in range(outputs):
                                    target[to + o * width + c] = w[m, n, c0 + c, o]
                            else:
                                for o in range(outputs):
                                    target[to + o * width + c] = 0
                        to += outputs * width
