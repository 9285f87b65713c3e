"""The kernels of convolution and dense layers: take a unit of work, copy it if need be, multiply, next unit.

``convolve`` computes y, ``spread`` dx, ``correlate`` dw and db. What is multiplied with what stands in
the plan (``plans.py``), how fast is a matter of ``product.py``.

The functions ``..._share(worker, workers, ...)`` do one worker's share, and where there are counters of tasks ``taken``
(``parallel.py``), what others have left of theirs. An array called ``..._scratch`` has a row for each worker. Constants
are written ``np.int64(0)`` where they are passed on: Numba would compile a function once more for every constant it is
called with.
"""

from __future__ import annotations

import numpy as np

from . import simd
from .compiling import kernel
from .packing import add_rows, copy, copy_masked, copy_padded, copy_unpadded, fill, pack_panel, pack_transposed
from .parallel import next_task, none_taken, on_all, take
from .parts import part
from .plans import PLAN_NUMBERS, unpacked
from .pooled import pool_rows, product_of_windows, unpool_rows
from .product import panel_width, product
from .tables import numbers_of, table_of
from .threads import WORTH_THREADS

PANEL = simd.PANEL

#: With so many pixels for each worker, every worker can pack all of the weights for itself.
MANY_PIXELS = 256


@kernel
def convolve(workers, *arguments):
    """y; the arguments are those of ``convolve_share``."""
    on_all(convolve_share, workers, (none_taken(workers), *arguments))


@kernel
def spread(workers, *arguments):
    """dx; the arguments are those of ``spread_share``."""
    on_all(spread_share, workers, (none_taken(workers), *arguments))


@kernel
def correlate(workers, dy, mask, argmax, x, dw, db, tables, zeros, sums, partial, *scratch):
    """dw and db; the arguments are those of ``correlate_share``."""
    splits = numbers_of(tables, PLAN_NUMBERS, 1)[0]
    on_all(correlate_share, workers, (none_taken(workers), dy, mask, argmax, x, partial if splits > 1 else dw, sums,
                                      tables, zeros, *scratch))
    add_splits(workers, dw, db, partial, sums, splits)


@kernel
def spread_and_correlate(workers, dy, mask, argmax, x, w, dx, dw, db, tables, zeros, sums, partial, *others):
    """dx, dw and db; behind the arguments of ``correlate`` stand those of ``spread``."""
    splits = numbers_of(tables, PLAN_NUMBERS, 1)[0]
    on_all(spread_and_correlate_share, workers, (none_taken(workers), none_taken(workers), dy, mask, argmax, x, w, dx,
                                                 partial if splits > 1 else dw, sums, tables, zeros, *others))
    add_splits(workers, dw, db, partial, sums, splits)


@part
def spread_and_correlate_share(worker, workers, taken, taken_of_dw, dy, mask, argmax, x, w, dx, dw, sums, tables, zeros,
                               padded_scratch, dy_scratch, spread_tables, spread_zeros, masked_scratch, w_scratch,
                               dx_scratch, windows_scratch):
    """A worker that finds no more of dx to do goes on to dw, without waiting for the others."""
    spread_share(worker, workers, taken, dy, mask, argmax, w, dx, spread_tables, spread_zeros, masked_scratch,
                 w_scratch, dx_scratch, windows_scratch)
    correlate_share(worker, workers, taken_of_dw, dy, mask, argmax, x, dw, sums, tables, zeros, padded_scratch,
                    dy_scratch)


@part
def convolve_share(worker, workers, taken, x, w, bias, y, argmax, tables, bias_scratch, padded_scratch, w_scratch,
                   y_scratch):
    """``y = x * w + bias``, and relu of it if so asked; ``packs`` if rows of w do not make whole panels.

    With a ``pool_height`` above 0, y and argmax are the maxima of relu of the result in windows of that size. Windows
    are pooled in the registers where there is no scratch array for the result before the pooling.
    """
    plan = unpacked(tables)
    images, packs, columns, lanes, relu, pool_height, pool_width = numbers_of(tables, PLAN_NUMBERS, 7)
    row, step, out = plan.row, plan.step, plan.out
    units = (images + plan.images - 1) // plan.images * plan.bands
    zero, no, terms, pools, unpooled = np.int64(0), np.bool_(False), len(step), pool_height > 0, y_scratch[worker]
    pixels = images * plan.out_height * plan.out_width
    if len(bias) < bias_scratch.shape[1]:  # what stands behind its last number no result gets to see
        copy(bias, zero, bias_scratch[worker], zero, columns, lanes)
        bias = bias_scratch[worker]
    for turn in range(workers):
        share, before = (worker + turn) % workers, zero  # its tasks are the units of all panels; so many lie before o
        task = take(taken, share)
        for o in range(0, columns, PANEL * lanes):
            width = min(PANEL * lanes, columns - o)
            first_unit, last_unit = units_of(share, workers, units, pixels, o, width, columns)
            unit, before = first_unit + task - before, before + last_unit - first_unit
            if unit >= last_unit:
                continue
            weights, w_at, w_stride = w, o, columns
            if packs > 0:
                weights, w_at, w_stride = w_scratch[worker], zero, panel_width(width, lanes)
                sums = w_scratch[worker, terms * w_stride:]  # nobody asks for the sums of weights
                pack_panel(w, w, no, o, columns, terms, width, w_stride, lanes, weights, zero, sums, zero)
            while unit < last_unit:
                first, count, top, rows = place(plan, unit, images)
                source, base = unit_of_x(plan, x, first, count, top, lanes, padded_scratch[worker])
                target, at, window = y, (first * plan.out_height + top) * plan.out_width * columns + o, zero
                if pools:
                    window = (first * plan.out_height + top) // pool_height * (plan.out_width // pool_width) * columns
                    target, at = unpooled, o
                if pools and len(unpooled) == 0:
                    product_of_windows(source, base, row, count * rows, plan.out_width, pool_height, pool_width, step,
                                       terms, weights, w_at, w_stride, bias, o, y, argmax, window, columns, width,
                                       lanes)
                else:
                    product(source, base, row, zero, count * rows * plan.out_width, step, terms, weights, w_at,
                            w_stride, bias, o, target, at, out, width, lanes, no, relu > 0 and not pools)
                    if pools:
                        pool_rows(target, o, count * rows, plan.out_width, columns, width, pool_height, pool_width, y,
                                  argmax, window, lanes)
                task = take(taken, share)
                unit = last_unit + task - before


@part
def spread_share(worker, workers, taken, dy, mask, argmax, w, dx, tables, zeros, dy_scratch, w_scratch, padded_scratch,
                 windows_scratch):
    """dx: every pixel of dy spreads over its window.

        dx[row[p] + step[mn] + c] += sum_o dy[out[p] + o] w[mn, c, o]

    The units are bands of dx, so that no two workers write to the same place; for each row m of the kernel, those rows
    of dy take part whose m-th window row lies in the band.

    With ``gathers``, the plan is one for ``gather``, which then does it all.
    """
    plan = unpacked(tables)
    (images, gathers, kh, kw, column_step, masked, pool_height, pool_width, channels, outputs,
     lanes) = numbers_of(tables, PLAN_NUMBERS, 11)
    if gathers > 0:
        gather(worker, workers, taken, plan, images, kh * kw, dy, mask, masked, argmax, pool_height, pool_width,
               dy_scratch, w, w_scratch, zeros, dx, channels, outputs, lanes, padded_scratch)
        return
    row, out, count_up, windows, pixels_of_dy = (plan.row, plan.out, table_of(tables, 4), table_of(tables, 5),
                                                 table_of(tables, 6))
    few = len(windows) > 0
    units = (images + plan.images - 1) // plan.images * bands_of_dx(plan)
    zero = np.int64(0)
    weights, size = w_scratch[worker], zero
    together = kh * kw * channels if few else channels  # columns of the transposed w that are packed side by side
    unit = next_task(worker, workers, units, taken)
    if unit >= 0:
        for k in range(0, kh * kw * channels, together):
            size = pack_columns(w, k * outputs, together, outputs, lanes, weights, size)
    while unit >= 0:
        first, count, top, end = place_in_dx(plan, unit, images)
        lowest, highest = rows_between(plan, top - kh + 1, end)
        source, base = unit_of_dy(plan.out_height, plan.out_width, dy, mask, masked, argmax, pool_height, pool_width,
                                  first, count, lowest, highest, outputs, lanes, dy_scratch[worker])
        if plan.padded:
            target, at = padded_scratch[worker], zero
        else:
            target, at = dx, (first * plan.height + top) * plan.width * channels
        if few:
            spread_windows(plan, kh, kw, column_step, source, base, pixels_of_dy, count, lowest, highest, count_up,
                           outputs, weights, zeros, windows_scratch[worker], windows, target, at, top, end, lanes)
        else:
            size = ((count - 1) * plan.padded_height + end - top) * plan.padded_width * channels
            fill(target, at, at + size, lanes)
            spread_taps(plan, kh, kw, source, base, out, row, count, lowest, count_up, outputs, weights, zeros, target,
                        at, top, end, lanes)
        if plan.padded:
            copy_unpadded(plan, target, zero, first, count, top, end, lanes, dx)
        unit = next_task(worker, workers, units, taken)


@part
def pack_columns(w, at, columns, outputs, lanes, weights, to):
    """So many rows of w (k, O), from element ``at`` on, as columns of a matrix in panels; returns where they end."""
    for k in range(0, columns, PANEL * lanes):
        used = min(PANEL * lanes, columns - k)
        width = panel_width(used, lanes)
        pack_transposed(w, at + k * outputs, used, outputs, width, lanes, weights, to)
        to += outputs * width
    return to


@part
def spread_taps(plan, kh, kw, dy, base, out, row, count, lowest, count_up, outputs, weights, zeros, target, at, top,
                end, lanes):
    """dx, one kernel element after the other; ``lowest`` is the row of dy that stands at ``base``."""
    zero, no, yes, channels, w_at = np.int64(0), np.bool_(False), np.bool_(True), plan.channels, np.int64(0)
    for m in range(kh):
        low, high = rows_between(plan, top - m, end - m)
        pixels = ((count - 1) * plan.out_height + high - low) * plan.out_width if high > low else zero
        source = base + (low - lowest) * plan.out_width * outputs
        for n in range(kw):
            to = at + ((low * plan.row_step + m - top) * plan.padded_width + n) * channels
            for c in range(0, channels, PANEL * lanes):
                used = min(PANEL * lanes, channels - c)
                width = panel_width(used, lanes)
                product(dy, source, out, zero, pixels, count_up, outputs, weights, w_at, width, zeros, zero, target,
                        to + c, row, used, lanes, yes, no)
                w_at += outputs * width


@part
def spread_windows(plan, kh, kw, column_step, dy, base, pixels_of_dy, count, low, high, count_up, outputs, weights,
                   zeros, spread, windows, target, at, top, end, lanes):
    """dx of images with few channels, which would leave part of a vector empty: first what every pixel of dy gives to
    its whole window, KH KW C numbers side by side, then these are added up where they belong.
    """
    zero, no = np.int64(0), np.bool_(False)
    pixels = ((count - 1) * plan.out_height + high - low) * plan.out_width
    size, w_at = kh * kw * plan.channels, zero
    for k in range(0, size, PANEL * lanes):
        width = panel_width(min(PANEL * lanes, size - k), lanes)  # whole vectors: there is room for what fills them up
        product(dy, base, pixels_of_dy, zero, pixels, count_up, outputs, weights, w_at, width, zeros, zero, spread, k,
                windows, width, lanes, no, no)
        w_at += outputs * width
    add_windows(plan, kh, kw, column_step, spread, windows[1], count, low, target, at, top, end, lanes)


@part
def add_windows(plan, kh, kw, column_step, spread, size, count, low, target, at, top, end, lanes):
    """``dx[r, j SW + n, c] += sum_i spread[i, j][r - i SH, n, c]``: add up the windows where they belong.

    In each row first every KW-th window, say, which do not overlap, then their neighbours on the right, and so on: a
    sum that was only just stored is slow to load.
    """
    run, apart = kw * plan.channels, (kw + column_step - 1) // column_step
    below = plan.out_width * size - plan.row_step * run  # from a window's row to that of the window below it
    row_size = plan.padded_width * plan.channels
    fill(target, at, at + ((count - 1) * plan.padded_height + end - top) * row_size, lanes)
    for k in range(0, run, lanes):
        width = min(lanes, run - k)
        for image in range(count):
            for r in range(top, end):
                first, last = rows_between(plan, r - kh + 1, r + 1)
                start = (image * plan.out_height + first - low) * plan.out_width * size
                start += (r - first * plan.row_step) * run + k
                to = at + (image * plan.padded_height + r - top) * row_size + k
                for phase in range(apart):
                    j = phase
                    while j < plan.out_width:  # see packing.py
                        place, source = to + j * column_step * plan.channels, start + j * size
                        sums = simd.tile_load(target, (place,), width, 1)
                        for _ in range(first, last):
                            sums = simd.tile_plus(sums, simd.tile_load(spread, (source,), width, 1))
                            source += below
                        simd.tile_store(sums, target, (place,), width)
                        j += apart


@part
def gather(worker, workers, taken, plan, images, taps, dy, mask, masked, argmax, pool_height, pool_width, dy_scratch, w,
           w_scratch, zeros, dx, channels, outputs, lanes, padded_scratch):
    """dx, where the stride is 1: every pixel of dx gathers from the windows that cover it.

        dx[i, j, c] = sum_mno dy[i + top - m, j + left - n, o] w[m, n, c, o]

    This is a convolution of dy, with a border of zeros and the kernel turned by half a turn; in its plan, dy is the
    image. A pixel's sum stays in registers, where ``spread_taps`` adds to dx in memory for each of the kernel's
    elements; but with the border there is more to multiply. A window of a single pixel, as in every dense layer, needs
    no border.
    """
    units = (images + plan.images - 1) // plan.images * plan.bands
    zero, no, weights = np.int64(0), np.bool_(False), w_scratch[worker]
    source, base, held_unit, pixels_of_dx = dy, zero, -1, images * plan.out_height * plan.out_width
    for turn in range(workers):
        share, before = (worker + turn) % workers, zero  # as in ``convolve_share``
        task = take(taken, share)
        for c in range(0, channels, PANEL * lanes):
            used = min(PANEL * lanes, channels - c)
            first_unit, last_unit = units_of(share, workers, units, pixels_of_dx, c, used, channels)
            unit, before = first_unit + task - before, before + last_unit - first_unit
            if unit >= last_unit:
                continue
            width = panel_width(used, lanes)
            for tap in range(taps):
                pack_transposed(w, ((taps - 1 - tap) * channels + c) * outputs, used, outputs, width, lanes, weights,
                                tap * outputs * width)
            while unit < last_unit:
                first, count, top, rows = place(plan, unit, images)
                if unit != held_unit:
                    above = top - plan.top
                    low, high = max(0, above), min(plan.height, above + plan.block_height)
                    source, base = unit_of_dy(plan.height, plan.width, dy, mask, masked, argmax, pool_height,
                                              pool_width, first, count, low, high, outputs, lanes, dy_scratch[worker])
                    if plan.padded:
                        copy_padded(plan, source, base, low, high, count, above, lanes, padded_scratch[worker])
                        source, base = padded_scratch[worker], zero
                    held_unit = unit
                pixel, pixels = (first * plan.out_height + top) * plan.out_width, count * rows * plan.out_width
                product(source, base, plan.row, zero, pixels, plan.step, len(plan.step), weights, zero, width, zeros,
                        zero, dx, pixel * channels + c, plan.out, used, lanes, no, no)
                task = take(taken, share)
                unit = last_unit + task - before


@part
def correlate_share(worker, workers, taken, dy, mask, argmax, x, dw, sums, tables, zeros, padded_scratch, dy_scratch):
    """``dw[taps[k] + o] = sum_p x[step[k] + row[p]] dy[out[p] + o]`` and ``db[o] = sum_p dy[out[p] + o]``.

    The work is cut by its shape alone: the units of the batch into ``splits`` sums, each with a dw and db of its own
    (added up by ``add_splits``), and the kernel's elements into blocks. For each block dy is packed anew, and db comes
    with the first of them; ``sums`` has a last row for what the others add up.
    """
    plan, taps = unpacked(tables), table_of(tables, 4)
    splits, images, masked, pool_height, pool_width, block, columns, lanes = numbers_of(tables, PLAN_NUMBERS, 8)
    row, step, terms = plan.row, plan.step, len(taps)
    blocks = (terms + block - 1) // block
    units = (images + plan.images - 1) // plan.images * plan.bands
    zero, no, factor = np.int64(0), np.bool_(False), dy_scratch[worker]
    task = next_task(worker, workers, splits * blocks, taken)
    while task >= 0:
        split, first_tap = task // blocks, task % blocks * block
        last_tap = min(terms, first_tap + block)
        first_unit, last_unit = units * split // splits, units * (split + 1) // splits
        totals = sums[split if first_tap == 0 else splits]
        fill(totals, zero, len(totals), lanes)
        for unit in range(first_unit, last_unit):
            first, count, top, rows = place(plan, unit, images)
            source, base = unit_of_x(plan, x, first, count, top, lanes, padded_scratch[worker])
            pixel, pixels = (first * plan.out_height + top) * plan.out_width, count * rows * plan.out_width
            for o in range(0, columns, PANEL * lanes):
                used = min(PANEL * lanes, columns - o)
                width = panel_width(used, lanes)
                if pool_height > 0:
                    unpool_rows(plan.out_height, plan.out_width, dy, mask, argmax, pool_height, pool_width, first,
                                count, top, top + rows, o, columns, used, factor, width, lanes)
                    add_rows(factor, pixels, width, lanes, totals, o)
                else:
                    pack_panel(dy, mask, masked > 0, pixel * columns + o, columns, pixels, used, width, lanes, factor,
                               zero, totals, o)
                product(source, base, step, first_tap, last_tap, row, pixels, factor, zero, width, zeros, zero, dw,
                        split * terms * columns + o, taps, used, lanes, unit > first_unit, no)
        task = next_task(worker, workers, splits * blocks, taken)


@part
def add_splits(workers, dw, db, partial, sums, splits):
    """dw and db from their partial sums; where ``splits`` is 1, the only part is in dw and ``partial`` is empty."""
    on_all(add_splits_share, workers if len(partial) >= WORTH_THREADS else np.int64(1), (dw, db, partial, sums, splits))


@part
def add_splits_share(worker, workers, dw, db, partial, sums, splits):
    """``dw[i] = sum_s partial[s, i]`` and ``db[o] = sum_s sums[s, o]``, in the order of s."""
    i, end, lanes = len(dw) * worker // workers, len(dw) * (worker + 1) // workers, simd.whole(dw)
    while i < end and splits > 1:
        width = min(lanes, end - i)
        total = simd.tile_load(partial, (i,), width, 1)
        for s in range(1, splits):
            total = simd.tile_plus(total, simd.tile_load(partial, (i + s * len(dw),), width, 1))
        simd.tile_store(total, dw, (i,), width)
        i += lanes
    for o in range(len(db) * worker // workers, len(db) * (worker + 1) // workers):
        db[o] = sums[0, o]
        for s in range(1, splits):
            db[o] += sums[s, o]


@part
def units_of(worker, workers, units, pixels, before, width, columns):
    """The units of one panel that are in a worker's share: the first and the one behind the last.

    Of many pixels a share has some units with all of their panels: what a worker reads and writes then stays in its own
    cache, from layer to layer. Of few, a worker whose share has few panels has less to pack: all panels' units are laid
    end to end, a unit of a panel ``width`` wide taking that much room, and the line is cut in equal parts, so that a
    narrow last panel counts for little. So it is where whole units cannot be shared out evenly, to within an eighth or
    so.
    ``before`` columns lie in the panels before this one.
    """
    if pixels >= MANY_PIXELS * workers and (units % workers == 0 or units >= 8 * workers):
        return units * worker // workers, units * (worker + 1) // workers
    start, length = units * before, units * columns
    low, high = length * worker // workers - start, length * (worker + 1) // workers - start
    return (max(0, min(units, (low + width - 1) // width)), max(0, min(units, (high + width - 1) // width)))


@part
def place(plan, unit, images):
    """Of a unit: its first image, their number, its first row of the result, and their number."""
    first, top = unit // plan.bands * plan.images, unit % plan.bands * plan.band
    return first, min(plan.images, images - first), top, min(plan.band, plan.out_height - top)


@part
def bands_of_dx(plan):
    """How many bands one below the other a (padded) dx is made in."""
    height = plan.band * plan.row_step
    return 1 if plan.bands == 1 else (plan.padded_height + height - 1) // height


@part
def place_in_dx(plan, unit, images):
    """Of a unit of dx: its first image, their number, its first row of the (padded) dx, and the one behind its last."""
    bands, height = bands_of_dx(plan), plan.band * plan.row_step
    first, top = unit // bands * plan.images, unit % bands * height
    end = plan.padded_height if bands == 1 else min(plan.padded_height, top + height)
    return first, min(plan.images, images - first), top, end


@part
def unit_of_x(plan, x, first, count, top, lanes, scratch):
    """The array that holds a unit's part of x, and where it starts there; a padded copy if there is padding."""
    if plan.padded:
        start = first * plan.height * plan.width * plan.channels
        copy_padded(plan, x, start, np.int64(0), plan.height, count, top * plan.row_step - plan.top, lanes, scratch)
        return scratch, 0
    return x, (first * plan.height + top * plan.row_step) * plan.width * plan.channels


@part
def unit_of_dy(height, width, dy, mask, masked, argmax, pool_height, pool_width, first, count, low, high, outputs,
               lanes, scratch):
    """The array that holds rows [low, high) of dy, (N, height, width, O), and where they start there: dy, or a copy of
    what gets through.

    Through relu gets what ``masked`` says; with a ``pool_height`` above 0, dy and mask are those of a pooling behind
    it. (Of several images all rows are asked for.)
    """
    if pool_height > 0:
        unpool_rows(height, width, dy, mask, argmax, pool_height, pool_width, first, count, low, high, np.int64(0),
                    outputs, outputs, scratch, outputs, lanes)
        return scratch, 0
    at = (first * height + low) * width * outputs
    if masked > 0:
        size = ((count - 1) * height + high - low) * width * outputs
        copy_masked(dy, mask, at, size, lanes, scratch)
        return scratch, 0
    return dy, at


@part
def rows_between(plan, low, high):
    """The rows of the result whose first window row lies in [low, high): the first and the one behind the last."""
    first = max(0, (low + plan.row_step - 1) // plan.row_step)
    return first, max(first, min(plan.out_height, (high + plan.row_step - 1) // plan.row_step))
