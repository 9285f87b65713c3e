"""The gradient through a convolution with relu, with or without max-pooling, from the winners alone.

Max-pooling hands the gradient of a window to the one pixel that won it. With windows of 2x2, three quarters of the
gradient that reaches the convolution are zeros, and three quarters of its backward pass would be products with them.
Here they are left out. Of each window q and output channel o only the winner counts:

    dw[k, o]                  += g[q, o] x[place[q, o] + step[k]]
    dx[place[q, o] + step[k]] += g[q, o] w[k, o]
    db[o]                     += g[q, o]

where g is the pooled gradient, 0 where relu lets nothing through, and ``place`` is where in memory the winner's part of
x starts. Two channels have their winners in two places, so channels no longer make a vector, as in ``product.py``; the
inputs of one winner do, k = (m KW + n) C + c: they are KH rows of KW C numbers that follow each other. A winner that
relu turned into 0 has no gradient and is left out as well: on random images nearly half of those in document 2's second
convolution. Relu alone is a pooling with windows of one pixel here, where what it lets through are the winners: in a
network that has learned something that is often a third of the pixels or less.

A tile is a piece of such a row and stays in registers. In dw it is the sum of one channel, which goes over a group of
windows that fits into the first-level cache, those of several images if they are small. In dx it is the sum of one
pixel, which goes over the channels whose winner it is. Which windows or channels take part is written in the bits of an
integer: the lowest says which is next, and is taken off.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from . import masks, simd
from .compiling import kernel
from .convolution import bands_of_dx, place, place_in_dx, rows_between, unit_of_x
from .packing import copy_unpadded, fill, pack_transposed
from .parallel import all_below, next_task, none_taken, on_all
from .parts import part
from .plans import PLAN_NUMBERS, unpacked
from .tables import numbers_of, table_of

#: Vectors of the widest tile: they take half of the registers or more. (Twelve of 512 bits, for 64 channels, would not
#: stay in a first-level cache of 32 KB.)
WIDEST = 6 if simd.BITS == 512 else 12

#: Channels, in dx, or windows, in dw, that are looked at together: the bits of an integer.
WORD = 64


@kernel
def backward_from_winners(workers, dy, y, argmax, x, w, dx, dw, db, tables, found, sums, partial, *scratch):
    """dx, dw and db; the arguments are those of ``winners_share``.

    Nothing is written if argmax is not below ``places``, the number of pixels in a window; returns whether it is.
    (``places`` is 0 where there is no pooling: then argmax is our own, and not looked at.)
    """
    places, _, lanes, splits = numbers_of(tables, PLAN_NUMBERS, 4)
    if places > 0 and not all_below(workers, argmax, places, found):
        return False
    on_all(winners_share, workers, (none_taken(workers), none_taken(workers), dy, y, argmax, x, w, dx, len(db), tables,
                                    sums, partial, *scratch))
    on_all(add_winners_share, workers, (dw, db, sums, partial, splits, lanes))
    return True


@kernel
def count_positive(numbers, step):
    """How many of every ``step``-th of the numbers are above 0."""
    count = 0
    for i in range(0, len(numbers), step):
        count += numbers[i] > 0
    return count


@part
def winners_share(worker, workers, taken, taken_of_dw, dy, y, argmax, x, w, dx, outputs, tables, sums, partial,
                  padded_scratch, w_scratch, starts, bits, sources, gradients, places):
    """A worker's part of dx, if ``wants_dx``, and of the sums over parts of the batch that make dw and db.

    ``group`` is the number of windows that are looked at together for dx, ``dw_group`` that for dw.
    """
    plan, start, near = unpacked(tables), table_of(tables, 4), table_of(tables, 5)
    (_, wants_dx, lanes, splits, block, kh, kw, column_step, images, pool_height, pool_width, group,
     dw_group) = numbers_of(tables, PLAN_NUMBERS, 13)
    if wants_dx > 0:
        spread_winners(worker, workers, taken, plan, kh, kw, column_step, images, dy, y, argmax, pool_height,
                       pool_width, group, w, dx, outputs, lanes, padded_scratch[worker], w_scratch[worker],
                       starts[worker], bits[worker], sources[worker])
    correlate_winners(worker, workers, taken_of_dw, plan, start, near, kh, kw, images, x, dy, y, argmax, pool_height,
                      pool_width, dw_group, outputs, lanes, splits, block, padded_scratch[worker], bits[worker],
                      gradients[worker], places[worker], partial, sums)


@part
def spread_winners(worker, workers, taken, plan, kh, kw, column_step, images, dy, y, argmax, pool_height, pool_width,
                   group, w, dx, outputs, lanes, padded, weights, starts, bits, sources):
    """``dx[place[q, o] + step[k]] += g[q, o] w[k, o]``.

    The units are bands of dx, so that no two workers write to the same place. A band takes all windows that reach into
    it, with room above and below for those parts of them that do not. Groups begin at the same windows whatever the
    bands are, and so every pixel's sum has the same order.
    """
    zero, units = np.int64(0), (images + plan.images - 1) // plan.images * bands_of_dx(plan)
    row_size, run, wide = plan.padded_width * plan.channels, kw * plan.channels, plan.out_width // pool_width
    apart = between_channels(kh * run, lanes)
    unit = next_task(worker, workers, units, taken)
    if unit >= 0:
        pack_transposed(w, zero, kh * run, outputs, apart, lanes, weights, zero)
    while unit >= 0:
        first, count, top, end = place_in_dx(plan, unit, images)
        lowest, highest = rows_between(plan, top - kh + 1, end)
        lowest, highest = lowest // pool_height, highest // pool_height  # rows of windows: bands end where one ends
        above = min(top, lowest * pool_height * plan.row_step)
        below = max(end, (highest * pool_height - 1) * plan.row_step + kh)
        copied = plan.padded > 0 or plan.bands > 1
        target, base = padded, zero
        if not copied:
            target, base = dx, first * plan.height * row_size
        fill(target, base, base + ((count - 1) * plan.padded_height + below - above) * row_size, lanes)
        for image in range(count):
            start = base + image * plan.padded_height * row_size
            for low in range(lowest * wide // group * group, highest * wide, group):
                for o in range(0, outputs, WORD):
                    pixels = sort_by_winners(plan, column_step, y, argmax, pool_height, pool_width, first + image,
                                             max(low, lowest * wide), min(low + group, highest * wide), above, o,
                                             min(WORD, outputs - o), outputs, lanes, starts, bits, sources)
                    _spread(weights, o * apart, kh, run, target, start, row_size, lanes,
                            (pixels, starts, bits, apart, dy, sources))
        if copied:
            copy_unpadded(plan, target, (top - above) * row_size, first, count, top, end, lanes, dx)
        unit = next_task(worker, workers, units, taken)


@part
def correlate_winners(worker, workers, taken, plan, start, near, kh, kw, images, x, dy, y, argmax, pool_height,
                      pool_width, group, outputs, lanes, splits, block, padded, bits, gradients, places, partial,
                      sums):
    """``partial[split, o, k] = sum_q g[q, o] x[place[q, o] + step[k]]`` and ``sums[split, o] = sum_q g[q, o]``.

    The work is cut by its shape alone: the units of the batch into ``splits`` sums, and the channels into blocks.
    """
    blocks = (outputs + block - 1) // block
    units = (images + plan.images - 1) // plan.images * plan.bands
    row_size, run, wide = plan.padded_width * plan.channels, kw * plan.channels, plan.out_width // pool_width
    task = next_task(worker, workers, splits * blocks, taken)
    while task >= 0:
        split, o = task // blocks, task % blocks * block
        used = min(block, outputs - o)
        before = (split * outputs + o) * kh * run
        fill(partial, before, before + used * kh * run, lanes)
        fill(sums[split], o, o + used, lanes)
        for unit in range(units * split // splits, units * (split + 1) // splits):
            first, count, top, rows = place(plan, unit, images)
            source, base = unit_of_x(plan, x, first, count, top, lanes, padded)
            windows = rows // pool_height * wide  # of an image; a group may go on to the next one
            window = (first * plan.out_height + top) // pool_height * wide
            for low in range(0, count * windows, group):
                high = min(low + group, count * windows)
                find_winners(start, near, dy, y, argmax, window, low, high, o, used, outputs, lanes, bits, gradients,
                             places, sums[split])
                _correlate(partial, before, kh, run, source, base, row_size, lanes,
                           (gradients, places, bits, used, kh * run))
        task = next_task(worker, workers, splits * blocks, taken)


@cache
def _spread_tiles(vectors):
    """``spread(...)``: tiles of so many vectors of dx, from ``to`` on, one for each pixel with winners."""

    def spread(weights, k, dx, to, lanes, pixels, starts, bits, apart, dy, sources):
        for j in range(pixels):
            if bits[j] != 0:
                tile, left = simd.tile_load(dx, (to + starts[j],), vectors * lanes, vectors), bits[j]
                while left != 0:
                    o = masks.lowest_bit(left)
                    left &= left - 1  # takes the lowest bit off
                    tile = simd.tile_add_scaled(tile, dy, sources[j] + o, weights, k + o * apart)
                simd.tile_store(tile, dx, (to + starts[j],), vectors * lanes)

    spread.__name__ = spread.__qualname__ = f"spread_winners_{vectors}"  # no two functions of one name
    return part(spread)


@cache
def _correlate_tiles(vectors):
    """``correlate(...)``: tiles of so many vectors of dw, from k on, one for each channel, ``terms`` apart."""

    def correlate(dw, k, x, at, lanes, gradients, places, bits, channels, terms):
        for o in range(channels):
            if bits[o] != 0:
                tile, left = simd.tile_load(dw, (o * terms + k,), vectors * lanes, vectors), bits[o]
                while left != 0:
                    i = masks.lowest_bit(left) * channels + o
                    left &= left - 1
                    tile = simd.tile_add_scaled(tile, gradients, i, x, at + places[i])
                simd.tile_store(tile, dw, (o * terms + k,), vectors * lanes)

    correlate.__name__ = correlate.__qualname__ = f"correlate_winners_{vectors}"
    return part(correlate)


def _row_by_row(name, tiles):
    """``all_tiles(...)``: KH rows of ``run`` numbers in tiles that are as wide as possible.

    The rows of ``matrix``, weights or dw from k on, follow each other; those of the image are ``row_size`` apart.
    """
    whole, half, quarter, one = (tiles(vectors) for vectors in (WIDEST, WIDEST // 2, WIDEST // 4, 1))

    def all_tiles(matrix, k, kh, run, image, start, row_size, lanes, winners):
        for m in range(kh):
            at, end = start + m * row_size, k + run
            while k + WIDEST * lanes <= end:
                whole(matrix, k, image, at, lanes, *winners)
                k, at = k + WIDEST * lanes, at + WIDEST * lanes
            while k + WIDEST // 2 * lanes <= end:
                half(matrix, k, image, at, lanes, *winners)
                k, at = k + WIDEST // 2 * lanes, at + WIDEST // 2 * lanes
            while k + WIDEST // 4 * lanes <= end:
                quarter(matrix, k, image, at, lanes, *winners)
                k, at = k + WIDEST // 4 * lanes, at + WIDEST // 4 * lanes
            while k < end:
                one(matrix, k, image, at, lanes, *winners)
                k, at = k + lanes, at + lanes

    all_tiles.__name__ = all_tiles.__qualname__ = name
    return part(all_tiles)


_spread, _correlate = _row_by_row("spread_rows", _spread_tiles), _row_by_row("correlate_rows", _correlate_tiles)


@part
def between_channels(terms, lanes):
    """So many numbers apart are the weights of two channels: whole vectors, an odd number of them.

    An even number would put the same piece of all channels into the same few sets of a cache.
    """
    return (terms // lanes | 1) * lanes


@part
def sort_by_winners(plan, column_step, y, argmax, pool_height, pool_width, image, low, high, above, first, used,
                    outputs, lanes, starts, bits, sources):
    """Windows [low, high) of an image: for each of their pixels the channels that it won. Returns how many there are.

    Pixel j starts at ``starts[j]``, counted from row ``above`` of the (padded) image. If it won channel ``first`` + o,
    bit o of ``bits[j]`` is set, and the gradient is ``dy[sources[j] + o]``. No bit is set where relu lets nothing
    through.
    """
    row_size, wide = plan.padded_width * plan.channels, plan.out_width // pool_width
    down, right = plan.row_step * row_size, column_step * plan.channels  # from a pixel to those below and beside it
    at, j = (image * (plan.out_height // pool_height) * wide + low) * outputs + first, 0
    like, wide_lanes = simd.tile_zeros(y), simd.whole(argmax)  # the rest is loaded in as many lanes as y has
    for q in range(low, high):
        start = q // wide * pool_height * down - above * row_size + q % wide * pool_width * right
        positive = np.int64(0)
        for o in range(0, used, lanes):
            positive |= masks.bits_of(masks.tile_above_zero(simd.tile_load(y, (at + o,), min(lanes, used - o), 1))) << o
        for m in range(pool_height):
            for n in range(pool_width):
                won, o, pixel = np.int64(0), np.int64(0), m * pool_width + n
                while o + wide_lanes <= used:  # a vector full of places
                    position = simd.tile_load(argmax, (at + o,), wide_lanes, 1)
                    won |= masks.bits_of(masks.tile_equals(position, pixel)) << o
                    o += wide_lanes
                while o < used:
                    position = simd.tile_load_like(argmax, (at + o,), min(lanes, used - o), like)
                    won |= masks.bits_of(masks.tile_equals(position, pixel)) << o
                    o += lanes
                starts[j], bits[j], sources[j] = start + m * down + n * right, won & positive, at
                j += 1
        at += outputs
    return j


@part
def find_winners(start, near, dy, y, argmax, window, low, high, first, used, outputs, lanes, bits, gradients, places,
                 sums):
    """Windows [low, high) of a unit: their gradients, and the places of their winners.

    Those of window ``low`` + i and channel ``first`` + o are number i ``used`` + o; places count from where the unit's
    part of the (padded) images starts. The unit's first window is ``window`` of dy; windows begin at ``start``, and
    their pixels are ``near`` from there. Bit i of ``bits[o]`` is set if that gradient is not 0, and ``sums[first + o]``
    grows by it.
    """
    for o in range(0, used, lanes):
        width = min(lanes, used - o)
        at = (window + low) * outputs + first + o
        total = simd.tile_load(sums, (first + o,), width, 1)
        none, here = simd.tile_all(bits, 0, total), simd.tile_all(places, near[0], total)
        second, third = simd.tile_all(places, near[1], total), simd.tile_all(places, near[2], total)
        fourth, live = simd.tile_all(places, near[3], total), none
        for i in range(high - low):
            gradient = simd.tile_positive(simd.tile_load(dy, (at,), width, 1), simd.tile_load(y, (at,), width, 1))
            position = simd.tile_load_like(argmax, (at,), width, gradient)
            winner = masks.tile_where(masks.tile_equals(position, 1), second, here)
            winner = masks.tile_where(masks.tile_equals(position, 2), third, winner)
            winner = masks.tile_where(masks.tile_equals(position, 3), fourth, winner)
            for pixel in range(4, len(near)):
                winner = masks.tile_where(masks.tile_equals(position, pixel),
                                          simd.tile_all(places, near[pixel], gradient), winner)
            winner = simd.tile_plus(winner, simd.tile_all(places, start[low + i], gradient))
            simd.tile_store(gradient, gradients, (i * used + o,), width)
            simd.tile_store(winner, places, (i * used + o,), width)
            total = simd.tile_plus(total, gradient)
            bit = simd.tile_all(bits, np.int64(1) << i, gradient)
            live = simd.tile_plus(live, masks.tile_where(masks.tile_not_zero(gradient), bit, none))
            at += outputs
        simd.tile_store(total, sums, (first + o,), width)
        simd.tile_store(live, bits, (o,), width)


@part
def add_winners_share(worker, workers, dw, db, sums, partial, splits, lanes):
    """``dw[k, o] = sum_s partial[s, o, k]`` and ``db[o] = sum_s sums[s, o]``, in the order of s."""
    outputs = len(db)
    terms = len(dw) // outputs
    vectors = terms // lanes
    for k in range(vectors * worker // workers * lanes, vectors * (worker + 1) // workers * lanes, lanes):
        for o in range(0, outputs, lanes):
            rows = simd.spaced_square(dw, o * terms + k, terms, outputs - o)
            tile = simd.tile_load(partial, rows, lanes, 1)
            for s in range(1, splits):
                tile = simd.tile_plus(tile, simd.tile_load(partial, simd.shifted(rows, s * len(dw)), lanes, 1))
            targets = simd.spaced_square(dw, k * outputs + o, outputs, lanes)
            simd.tile_store(simd.tile_transpose(tile), dw, targets, min(lanes, outputs - o))
    for o in range(outputs * worker // workers, outputs * (worker + 1) // workers):
        db[o] = 0
        for s in range(splits):
            db[o] += sums[s, o]
