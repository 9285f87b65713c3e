"""dw of a convolution with relu and max-pooling, where images have few channels: every lane picks its winner.

As in ``winners.py``, only the pixel that won its window q for output channel o counts:

    dw[k, o] += g[q, o] x[place[q, o] + step[k]]

There a vector runs along the inputs of one winner, k = (m KW + n) C + c; the 3 channels of a first layer do not fill
it. So here its lanes are output channels again. Each has another winner, but with windows of 2x2 there are only four to
choose from, and a processor has an instruction for that: every lane picks one of four numbers. The four that a window's
pixels have for input k are put side by side beforehand, for all windows and inputs at once, as neighbours in one array
of the image's size:

    four[e, i] = x[e + near[i]]            near[i]: from a window's first pixel to its i-th

    dw[k, o] += g[q, o] four[start[q] + step[k], argmax[q, o]]

where start[q] is where the part of x for the window's first pixel begins. A pick and a multiply-add take the place of
four multiply-adds, three of them with zeros; and the gradient before the pooling, which is those zeros for the most
part, is never written.
"""

from __future__ import annotations

import numpy as np

from . import masks, simd
from .compiling import kernel
from .convolution import add_splits, place, unit_of_x
from .packing import fill
from .parallel import all_below, next_task, none_taken, on_all
from .parts import part
from .plans import PLAN_NUMBERS, unpacked
from .product import panel_width
from .tables import numbers_of, table_of

#: The rows of a tile that is one or two vectors of output channels wide. They are inputs of a window: a 3x3 kernel has
#: a multiple of nine. With 16 registers nine do not fit, for each input also needs one for its four numbers.
ROWS = {1: 9, 2: 9} if simd.BITS == 512 else {1: 6, 2: 3}
WIDEST = 2


@kernel
def correlate_picked(workers, dy, y, argmax, x, dw, db, tables, found, sums, partial, *scratch):
    """dw and db, as ``winners.backward_from_winners``; the arguments are those of ``picked_share``."""
    places, splits = numbers_of(tables, PLAN_NUMBERS, 2)
    if not all_below(workers, argmax, places, found):
        return False
    on_all(picked_share, workers, (none_taken(workers), dy, y, argmax, x, tables, sums, partial if splits > 1 else dw,
                                   *scratch))
    add_splits(workers, dw, db, partial, sums, splits)
    return True


@part
def picked_share(worker, workers, taken, dy, y, argmax, x, tables, sums, partial, padded_scratch, four_scratch,
                 gradients_scratch, which_scratch):
    """``partial[split, k, o] = sum_q g[q, o] four[start[q] + step[k], argmax[q, o]]``, ``sums[split, o] = sum_q g``.

    The work is cut by its shape alone: the units of the batch into ``splits`` sums. ``start`` and ``step`` count
    numbers of ``four``; an image has ``windows`` windows.
    """
    plan, start, near, taps = unpacked(tables), table_of(tables, 4), table_of(tables, 5), table_of(tables, 6)
    _, splits, images, windows, columns, lanes = numbers_of(tables, PLAN_NUMBERS, 6)
    step, terms = plan.step, len(taps)
    units = (images + plan.images - 1) // plan.images * plan.bands
    four, gradients, which = four_scratch[worker], gradients_scratch[worker], which_scratch[worker]
    split = next_task(worker, workers, splits, taken)
    while split >= 0:
        to = split * terms * columns
        fill(partial, to, to + terms * columns, lanes)
        fill(sums[split], np.int64(0), columns, lanes)
        for unit in range(units * split // splits, units * (split + 1) // splits):
            first, count, top, rows = place(plan, unit, images)
            source, base = unit_of_x(plan, x, first, count, top, lanes, padded_scratch[worker])
            low = (first * plan.out_height + top) * windows // plan.out_height
            used_windows = count * rows * windows // plan.out_height
            put_side_by_side(source, base, (start[used_windows - 1] + step[terms - 1]) // 4 + 1, near, lanes, four)
            for o in range(0, columns, WIDEST * lanes):
                used = min(WIDEST * lanes, columns - o)
                width = panel_width(used, lanes)
                arguments = (dy, y, argmax, low * columns + o, columns, used_windows, used, width, gradients, which,
                             sums[split], o)
                if width == lanes:
                    _pack_1(*arguments)
                    _tiles_1(four, step, start, used_windows, gradients, which, width, partial, to + o, taps, used)
                else:
                    _pack_2(*arguments)
                    _tiles_2(four, step, start, used_windows, gradients, which, width, partial, to + o, taps, used)
        split = next_task(worker, workers, splits, taken)


@part
def put_side_by_side(x, base, count, near, lanes, four):
    """``four[4 e + i] = x[base + e + near[i]]`` for e below ``count``."""
    e = 0
    while e < count:
        at, width = base + e, min(lanes, count - e)
        pixels = simd.tile_load(x, (at + near[0], at + near[1], at + near[2], at + near[3]), width, 1)
        simd.tile_store(masks.tile_interleave(pixels), four, (4 * e,), 4 * lanes)
        e += lanes


def _packs(vectors):
    """``pack(...)``: ``used`` columns of the pooled gradient, 0 where relu lets nothing through, and of argmax, to a
    panel of so many vectors.

    ``sums[sums_at + o] += sum_q gradients[q, o]``.
    """

    def pack(dy, y, argmax, at, columns, windows, used, width, gradients, which, sums, sums_at):
        total = simd.tile_load(sums, (sums_at,), used, vectors)
        for q in range(windows):
            source, target = (at + q * columns,), (q * width,)
            gradient = simd.tile_positive(simd.tile_load(dy, source, used, vectors),
                                          simd.tile_load(y, source, used, vectors))
            total = simd.tile_plus(total, gradient)
            simd.tile_store(gradient, gradients, target, width)
            simd.tile_store(simd.tile_load_like(argmax, source, used, gradient), which, target, width)
        simd.tile_store(total, sums, (sums_at,), used)

    pack.__name__ = pack.__qualname__ = f"pack_picked_{vectors}"  # no two functions of one name: see compiling.py
    return part(pack)


_pack_1, _pack_2 = _packs(1), _packs(2)


def _tiles(vectors):
    """``tiles(...)``: a panel of so many vectors of output channels, all of its inputs."""
    rows = ROWS[vectors]

    def tiles(four, step, start, windows, gradients, which, width, dw, to, taps, used):
        for k in range(0, len(taps), rows):
            inputs = simd.offsets(step, np.int64(0), k, len(taps) - 1, rows)
            outputs = simd.offsets(taps, to, k, len(taps) - 1, rows)
            tile = simd.tile_load(dw, outputs, used, vectors)
            for q in range(windows):
                tile = masks.tile_add_picked(tile, four, inputs, start[q], gradients, which, q * width)
            simd.tile_store(tile, dw, outputs, used)

    tiles.__name__ = tiles.__qualname__ = f"picked_{vectors}"  # no two functions of one name: see compiling.py
    return part(tiles)


_tiles_1, _tiles_2 = _tiles(1), _tiles(2)
