"""Copies that change the layout: images with a border of zeros, matrices in panels of whole vectors.

A matrix in panels has ``PANEL`` vectors of columns side by side, then the next so many, and so on; each panel's rows
follow each other, so that a tile walks through memory in one direction. The last panel is as narrow as its columns
allow and filled up with zeros to whole vectors.
"""

from __future__ import annotations

from numba import njit

from . import simd
from .compiling import kernel

PANEL = simd.PANEL


@njit(nogil=True)
def copy_padded(plan, x, first, count, top, lanes, target):
    """Copy ``count`` images from ``first`` on, from their row ``top`` on, with a border of zeros."""
    row_size, source_row = plan.padded_width * plan.channels, plan.width * plan.channels
    left = plan.left * plan.channels
    for image in range(count):
        for row in range(plan.block_height):
            at = (image * plan.block_height + row) * row_size
            if top + row < 0 or top + row >= plan.height:
                fill(target, at, at + row_size)
                continue
            fill(target, at, at + left)
            copy(x, ((first + image) * plan.height + top + row) * source_row, target, at + left, source_row, lanes)
            fill(target, at + left + source_row, at + row_size)


@njit(nogil=True)
def copy_unpadded(plan, source, first, count, top, end, lanes, x):
    """The way back: rows ``top`` to ``end`` of padded images become rows of ``count`` images from ``first`` on."""
    row_size, target_row = plan.padded_width * plan.channels, plan.width * plan.channels
    for image in range(count):
        for row in range(max(0, top - plan.top), min(plan.height, end - plan.top)):
            at = (image * plan.padded_height + row + plan.top - top) * row_size + plan.left * plan.channels
            copy(source, at, x, ((first + image) * plan.height + row) * target_row, target_row, lanes)


# loops instead of slices: Numba takes seconds to compile the error message that a slice might need


@njit(nogil=True)
def copy(x, at, target, to, count, lanes):
    """``target[to : to + count] = x[at : at + count]``."""
    for i in range(0, count, lanes):
        width = min(lanes, count - i)
        simd.tile_store(simd.tile_load(x, (at + i,), width, 1), target, (to + i,), width)


@njit(nogil=True)
def copy_masked(dy, mask, at, count, lanes, target):
    """``target[i] = dy[at + i]`` where ``mask[at + i] > 0``, else 0, for i below ``count``."""
    for i in range(0, count, lanes):
        width = min(lanes, count - i)
        values = simd.tile_positive(simd.tile_load(dy, (at + i,), width, 1), simd.tile_load(mask, (at + i,), width, 1))
        simd.tile_store(values, target, (i,), width)


@njit(nogil=True)
def fill(target, start, end):
    """``target[start : end] = 0``."""
    for i in range(start, end):
        target[i] = 0


def _panel(vectors):
    """``panel(...)``: one panel of so many vectors."""

    @njit(nogil=True)
    def panel(matrix, mask, masked, at, columns, rows, used, width, target, to, sums, sums_at):
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

    return panel


_panel_1, _panel_2 = _panel(1), _panel(2)
_panel_3, _panel_4 = (_panel(3), _panel(4)) if PANEL == 4 else (_panel_2, _panel_2)


@njit(nogil=True)
def pack_rows(matrix, mask, masked, at, rows, columns, lanes, target, sums):
    """Copy rows of a matrix from element ``at`` on in panels, and add them up: ``sums[o] += sum_row matrix[row, o]``.

    With ``masked``, numbers count only where ``mask``, of the same shape, is above zero. ``sums`` is as long as the
    columns and what fills them up.
    """
    to = 0
    for o in range(0, columns, PANEL * lanes):
        used = min(PANEL * lanes, columns - o)
        vectors = (used + lanes - 1) // lanes
        width = vectors * lanes
        if vectors == 4:
            _panel_4(matrix, mask, masked, at + o, columns, rows, used, width, target, to, sums, o)
        elif vectors == 3:
            _panel_3(matrix, mask, masked, at + o, columns, rows, used, width, target, to, sums, o)
        elif vectors == 2:
            _panel_2(matrix, mask, masked, at + o, columns, rows, used, width, target, to, sums, o)
        else:
            _panel_1(matrix, mask, masked, at + o, columns, rows, used, width, target, to, sums, o)
        to += rows * width


@kernel()
def pack(w, columns, lanes, target, sums):
    """Lay a matrix ``w`` out in panels."""
    pack_rows(w, w, False, 0, len(w) // columns, columns, lanes, target, sums)


@kernel()
def pack_transposed(w, taps, channels, outputs, lanes, target):
    """Lay ``w[mn, c, o]`` out for dx: for every mn the matrix with rows o and columns c, in panels.

    Square tiles are transposed in registers. A tile that sticks out spoils what comes behind its panel, which is
    written later; the last ones need ``lanes`` more rows of room. (What fills a panel up is not 0 here but copies of
    its last column, which no result gets to see.)
    """
    to = 0
    for tap in range(taps):
        for panel in range(0, channels, PANEL * lanes):
            width = (min(PANEL * lanes, channels - panel) + lanes - 1) // lanes * lanes
            for c in range(0, width, lanes):
                for o in range(0, outputs, lanes):
                    start = (tap * channels + panel + c) * outputs + o
                    rows = simd.spaced_square(w, start, outputs, channels - panel - c)
                    tile = simd.tile_transpose(simd.tile_load(w, rows, min(lanes, outputs - o), 1))
                    simd.tile_store(tile, target, simd.spaced_square(w, to + o * width + c, width, lanes), lanes)
            to += outputs * width
