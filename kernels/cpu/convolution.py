"""The kernels of convolution and dense layers: take a unit of work, copy it if need be, multiply, next unit.

``convolve`` computes y, ``spread`` dx, and ``correlate`` dw and db. What is multiplied with what stands in the plan
(``plans.py``), how fast is a matter of ``product.py``.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from .compiling import kernel
from .packing import copy_masked, copy_padded, copy_unpadded, fill, pack_rows
from .product import product


@kernel()
def convolve(worker, workers, plan, images, x, scratch, w, packed, bias, y, columns, lanes, relu):
    """One worker's units of ``y = x * w + bias``, and relu of it if so asked; ``scratch`` has a row per worker."""
    units = (images + plan.images - 1) // plan.images * plan.bands
    for unit in range(units * worker // workers, units * (worker + 1) // workers):
        first, count, top, rows = place(plan, unit, images)
        if plan.padded:
            source, base = scratch[worker], 0
            copy_padded(plan, x, first, count, top * plan.row_step - plan.top, lanes, source)
        else:
            source, base = x, (first * plan.height + top * plan.row_step) * plan.width * plan.channels
        target = (first * plan.out_height + top) * plan.out_width * columns
        product(source, base, plan.row, plan.out, 0, count * rows * plan.out_width, plan.step, 0, len(plan.step), w, 0,
                packed, bias, y, target, columns, lanes, False, relu)


@kernel(parallel=True)
def convolve_on_all(workers, plan, *arguments):
    for worker in prange(workers):
        convolve(np.int64(worker), workers, plan, *arguments)


@kernel()
def spread(worker, workers, plan, images, kh, kw, dy, mask, masked, scratch, w, w_size, zeros, count_up, dx, outputs,
           lanes, padded_scratch):
    """One worker's units of dx: every pixel of dy spreads over its window, one kernel element after the other.

    The units are bands of dx, so that no two workers write to the same place; for each row m of the kernel, those rows
    of dy take part whose m-th window row lies in the band.
    """
    channels, columns = plan.channels, plan.out_width * outputs
    height = plan.band * plan.row_step
    bands = 1 if plan.bands == 1 else (plan.padded_height + height - 1) // height
    weights = w_size // (kh * kw)
    alone = kh == 1 and kw == 1 and plan.out_height == plan.padded_height and plan.out_width == plan.padded_width
    units = (images + plan.images - 1) // plan.images * bands
    for unit in range(units * worker // workers, units * (worker + 1) // workers):
        first = unit // bands * plan.images
        count = min(plan.images, images - first)
        top = unit % bands * height
        end = plan.padded_height if bands == 1 else min(plan.padded_height, top + height)
        lowest, highest = rows_between(plan, top - kh + 1, end)
        start = (first * plan.out_height + lowest) * columns
        if masked:
            source, base = scratch[worker], 0
            copy_masked(dy, mask, start, ((count - 1) * plan.out_height + highest - lowest) * columns, lanes, source)
        else:
            source, base = dy, start
        if plan.padded:
            target, at = padded_scratch[worker], 0
        else:
            target, at = dx, (first * plan.height + top) * plan.width * channels
        if not alone:
            size = ((count - 1) * plan.padded_height + end - top) * plan.padded_width * channels
            fill(target, at, at + size)
        for m in range(kh):
            low, high = rows_between(plan, top - m, end - m)
            pixels = ((count - 1) * plan.out_height + high - low) * plan.out_width
            for n in range(kw):
                if pixels > 0:
                    to = at + ((low * plan.row_step + m - top) * plan.padded_width + n) * channels
                    product(source, base + (low - lowest) * columns, plan.out, plan.row, 0, pixels, count_up, 0,
                            outputs, w, (m * kw + n) * weights, True, zeros, target, to, channels, lanes, not alone,
                            False)
        if plan.padded:
            copy_unpadded(plan, target, first, count, top, end, lanes, dx)


@kernel(parallel=True)
def spread_on_all(workers, plan, *arguments):
    for worker in prange(workers):
        spread(np.int64(worker), workers, plan, *arguments)


@kernel()
def correlate(worker, workers, plan, taps, images, x, dy, mask, masked, scratch, packed_dy, zeros, dw, sums, splits,
              block, columns, lanes):
    """One worker's share of ``dw[k, o] = sum_p x[step[k] + row[p]] dy[p, o]`` and ``db[o] = sum_p dy[p, o]``.

    The work is cut by its shape alone: the units of the batch into ``splits`` sums, each with a dw and db of its own
    (added up by ``add_splits``), and the kernel's elements into blocks. ``taps[k]`` is where row k of dw starts. Every
    block packs the rows of dy that it needs, so db comes with it; ``sums`` has a last row for all but the first block.
    """
    terms = len(taps)
    blocks = (terms + block - 1) // block
    padded_columns = (columns + lanes - 1) // lanes * lanes
    units = (images + plan.images - 1) // plan.images * plan.bands
    for task in range(splits * blocks * worker // workers, splits * blocks * (worker + 1) // workers):
        split, first_tap = task // blocks, task % blocks * block
        unit_first, unit_last = units * split // splits, units * (split + 1) // splits
        for unit in range(unit_first, unit_last):
            first, count, top, rows = place(plan, unit, images)
            pixels = count * rows * plan.out_width
            if plan.padded:
                source, base = scratch[worker], 0
                copy_padded(plan, x, first, count, top * plan.row_step - plan.top, lanes, source)
            else:
                source, base = x, (first * plan.height + top * plan.row_step) * plan.width * plan.channels
            pack_rows(dy, mask, masked, (first * plan.out_height + top) * plan.out_width * columns, pixels, columns,
                      lanes, packed_dy[worker], sums[split if first_tap == 0 else splits])
            product(source, base, plan.step, taps, first_tap, min(terms, first_tap + block), plan.row, 0, pixels,
                    packed_dy[worker], 0, True, zeros, dw, split * terms * padded_columns, padded_columns, lanes,
                    unit > unit_first, False)


@kernel(parallel=True)
def correlate_on_all(workers, plan, *arguments):
    for worker in prange(workers):
        correlate(np.int64(worker), workers, plan, *arguments)


@kernel()
def add_splits(partial, columns, dw, sums, db):
    """``dw[k, o] = sum_s partial[s, k, o]`` in the order of s, without the columns that filled up the vectors."""
    splits, terms, _ = partial.shape
    for k in range(terms):
        for o in range(columns):
            dw[k * columns + o] = partial[0, k, o]
        for s in range(1, splits):
            for o in range(columns):
                dw[k * columns + o] += partial[s, k, o]
    for o in range(columns):
        db[o] = sums[0, o]
    for s in range(1, splits):
        for o in range(columns):
            db[o] += sums[s, o]


@njit(nogil=True)
def place(plan, unit, images):
    """Of a unit: its first image, their number, its first row of the result, and their number."""
    first, top = unit // plan.bands * plan.images, unit % plan.bands * plan.band
    return first, min(plan.images, images - first), top, min(plan.band, plan.out_height - top)


@njit(nogil=True)
def rows_between(plan, low, high):
    """The rows of the result whose first window row lies in [low, high): the first and the one behind the last."""
    first = max(0, (low + plan.row_step - 1) // plan.row_step)
    return first, max(first, min(plan.out_height, (high + plan.row_step - 1) // plan.row_step))
