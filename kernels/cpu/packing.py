"""Copies that change the layout: images with a border of zeros, matrices in panels of whole vectors.

A matrix in panels has ``simd.PANEL`` vectors of columns side by side, then the next so many, and so on; each panel's
rows follow each other, so that a tile walks through memory in one direction. The last panel may be narrower
(``product.panel_width``) and is filled up.
"""

from __future__ import annotations

from . import simd
from .parts import part


@part
def copy_padded(plan, x, base, low, high, count, top, lanes, target):
    """Copy rows of ``count`` images, from their row ``top`` on, with a border of zeros.

    At ``base`` stand rows [low, high) of the first image, then those of the next.
    """
    row_size, source_row = plan.padded_width * plan.channels, plan.width * plan.channels
    left = plan.left * plan.channels
    for image in range(count):
        for row in range(plan.block_height):
            at = (image * plan.block_height + row) * row_size
            if top + row < low or top + row >= high:
                fill(target, at, at + row_size, lanes)
                continue
            fill(target, at, at + left, lanes)
            source = base + (image * (high - low) + top + row - low) * source_row
            copy(x, source, target, at + left, source_row, lanes)
            fill(target, at + left + source_row, at + row_size, lanes)


@part
def copy_unpadded(plan, source, base, first, count, top, end, lanes, x):
    """The way back: rows ``top`` to ``end`` of padded images become rows of ``count`` images from ``first`` on.

    At ``base`` stands row ``top`` of the first.
    """
    row_size, target_row = plan.padded_width * plan.channels, plan.width * plan.channels
    for image in range(count):
        for row in range(max(0, top - plan.top), min(plan.height, end - plan.top)):
            at = base + (image * plan.padded_height + row + plan.top - top) * row_size + plan.left * plan.channels
            copy(source, at, x, ((first + image) * plan.height + row) * target_row, target_row, lanes)


# Loops instead of slices: Numba takes seconds to compile the error message that a slice might need. Loops with
# ``while``, as for ``range`` with a step that is not known beforehand a division finds out how often. And vectors made
# by hand: where an index might be below zero, and count from the end, a compiler does not make them, or slow ones.


@part
def copy(x, at, target, to, count, lanes):
    """``target[to : to + count] = x[at : at + count]``."""
    i = 0
    while i < count:
        width = min(lanes, count - i)
        simd.tile_store(simd.tile_load(x, (at + i,), width, 1), target, (to + i,), width)
        i += lanes


@part
def copy_masked(dy, mask, at, count, lanes, target):
    """``target[i] = dy[at + i]`` where ``mask[at + i] > 0``, else 0, for i below ``count``."""
    i = 0
    while i < count:
        width = min(lanes, count - i)
        values = simd.tile_positive(simd.tile_load(dy, (at + i,), width, 1), simd.tile_load(mask, (at + i,), width, 1))
        simd.tile_store(values, target, (i,), width)
        i += lanes


@part
def fill(target, start, end, lanes):
    """``target[start : end] = 0``."""
    zeros = simd.tile_zeros(target)
    while start < end:
        simd.tile_store(zeros, target, (start,), min(lanes, end - start))
        start += lanes


@part
def pack_panel(matrix, mask, masked, at, columns, rows, used, width, lanes, target, to, sums, sums_at):
    """Copy ``used`` columns of a matrix, from element ``at`` on, to a panel ``width`` wide, and add its rows up.

    ``sums[sums_at + o] += sum_row matrix[row, o]``. With ``masked``, numbers count only where ``mask``, of the same
    shape as the matrix, is above zero. What lies behind the used columns becomes 0.
    """
    if width == lanes:
        _pack_1(matrix, mask, masked, at, columns, rows, used, width, target, to, sums, sums_at)
    elif width == 2 * lanes:
        _pack_2(matrix, mask, masked, at, columns, rows, used, width, target, to, sums, sums_at)
    else:
        _pack_4(matrix, mask, masked, at, columns, rows, used, width, target, to, sums, sums_at)


def _pack(vectors):
    """``pack(...)`` for a panel of so many vectors: row by row, as the numbers lie in memory."""

    def pack(matrix, mask, masked, at, columns, rows, used, width, target, to, sums, sums_at):
        total = simd.tile_load(sums, (sums_at,), width, vectors)
        for _ in range(rows):
            values = simd.tile_load(matrix, (at,), used, vectors)
            if masked:
                values = simd.tile_positive(values, simd.tile_load(mask, (at,), used, vectors))
            simd.tile_store(values, target, (to,), width)
            total = simd.tile_plus(total, values)
            at += columns
            to += width
        simd.tile_store(total, sums, (sums_at,), width)

    pack.__name__ = pack.__qualname__ = f"pack_{vectors}"  # no two functions of one name: see compiling.py
    return part(pack)


_pack_1, _pack_2 = _pack(1), _pack(2)
_pack_4 = _pack(4) if simd.PANEL == 4 else _pack_2


@part
def add_rows(panel, rows, width, lanes, sums, at):
    """``sums[at + o] += sum_row panel[row, o]`` for a panel with rows of ``width`` numbers, whole vectors."""
    for o in range(0, width, lanes):
        total = simd.tile_load(sums, (at + o,), lanes, 1)
        for row in range(rows):
            total = simd.tile_plus(total, simd.tile_load(panel, (row * width + o,), lanes, 1))
        simd.tile_store(total, sums, (at + o,), lanes)


@part
def pack_transposed(w, at, channels, outputs, width, lanes, target, to):
    """Copy ``w[c, o]``, from element ``at`` on, to a panel with rows o and columns c, ``width`` wide.

    Square tiles are transposed in registers. The last of them may stick out: there must be room for ``lanes`` more
    rows behind the panel. (Behind the used columns come copies of the last one, which no result gets to see.)
    """
    for c in range(0, width, lanes):
        for o in range(0, outputs, lanes):
            rows = simd.spaced_square(w, at + min(c, channels - 1) * outputs + o, outputs, channels - c)
            tile = simd.tile_transpose(simd.tile_load(w, rows, min(lanes, outputs - o), 1))
            simd.tile_store(tile, target, simd.spaced_square(w, to + o * width + c, width, lanes), lanes)
