"""The one matrix product under every layer: a tile that walks two tables of offsets.

Convolution (forward, dx, dw) and dense layers are all

    y[out[p] + o] = bias[o] + sum_k x[row[p] + step[k]] w[k, o]

For a convolution ``row[p]`` is where the window of output pixel p starts in memory and ``step[k]`` is how far its
k-th input lies from there (K = KH KW C of them). With channels last, x[row[p] + step[k]] is the matrix that im2col
would write to memory, KH KW times as large as the image; here it is only looked up. For dw the tables swap places:
p counts the kernel's elements and k the pixels.

``product`` splits y into panels of columns (``simd.PANEL`` vectors wide) and each panel into tiles, and sums each tile
in registers. Long sums are cut so that a panel of w stays in the first-level cache while the tiles go over it; y keeps
the sum in between, so cutting does not change a bit of the result.
"""

from __future__ import annotations

from numba import njit

from . import simd

#: Numbers of a panel of w that a chunk has.
CHUNK = 16384


def _tiles(rows, vectors):
    """``tiles(...)``: one panel of y, in tiles of ``rows`` x ``vectors``."""

    @njit(nogil=True)
    def tiles(x, x_base, row, out, first, last, step, step_first, step_last, w, w_at, w_stride, bias, bias_at, y,
              y_base, width, resume, relu):
        for p in range(first, last, rows):
            inputs = simd.offsets(row, x_base, p, last - 1, rows)
            outputs = simd.offsets(out, y_base, p, last - 1, rows)
            if resume:
                tile = simd.tile_load(y, outputs, width, vectors)
            else:
                tile = simd.tile_of(bias, bias_at, rows, vectors)
            at = w_at
            for k in range(step_first, step_last):
                tile = simd.tile_add_outer(tile, x, inputs, step, k, w, at)
                at += w_stride
            if relu:
                tile = simd.tile_relu(tile)
            simd.tile_store(tile, y, outputs, width)

    return tiles


_tiles_1, _tiles_2 = _tiles(simd.ROWS[0], 1), _tiles(simd.ROWS[1], 2)
if simd.PANEL == 4:
    _tiles_3, _tiles_4 = _tiles(simd.ROWS[2], 3), _tiles(simd.ROWS[3], 4)
else:
    _tiles_3 = _tiles_4 = _tiles_2
PANEL = simd.PANEL


@njit(nogil=True)
def product(x, x_base, row, out, first, last, step, step_first, step_last, w, w_first, packed, bias, y, y_base, columns,
            lanes, resume, relu):
    """``y[y_base + out[p] + o] = bias[o] + sum_k x[x_base + row[p] + step[k]] w[k, o]``, in registers.

    Parameters
    ----------
    x, y, w, bias : flat arrays
        ``bias`` is as long as ``columns`` rounded up to whole vectors.
    row, out : arrays of integers
        For p in [first, last).
    step : array of integers
        For k in [step_first, step_last).
    w_first, packed : int, bool
        Where w starts, and its layout: packed by ``pack``, or a matrix whose rows have ``columns`` elements, a
        multiple of ``lanes``.
    lanes : int
        Numbers in a vector, ``simd.lanes`` of the type.
    resume : bool
        Add to what y holds, instead of starting from the bias.
    relu : bool
        Store ``max(., 0)``.
    """
    terms = step_last - step_first
    panel = PANEL * lanes
    for o in range(0, columns, panel):
        width = min(panel, columns - o)
        vectors = (width + lanes - 1) // lanes
        w_stride = vectors * lanes if packed else columns
        w_at = w_first + (o * terms if packed else o)
        chunk = max(1, CHUNK // (vectors * lanes))
        if terms < 2 * chunk:
            chunk = max(1, terms)
        for k in range(0, max(1, terms), chunk):
            k_last = min(terms, k + chunk)
            goes_on = resume or k > 0
            ends = relu and k_last == terms
            at = w_at + k * w_stride
            if vectors == 4:
                _tiles_4(x, x_base, row, out, first, last, step, step_first + k, step_first + k_last, w, at, w_stride,
                         bias, o, y, y_base + o, width, goes_on, ends)
            elif vectors == 3:
                _tiles_3(x, x_base, row, out, first, last, step, step_first + k, step_first + k_last, w, at, w_stride,
                         bias, o, y, y_base + o, width, goes_on, ends)
            elif vectors == 2:
                _tiles_2(x, x_base, row, out, first, last, step, step_first + k, step_first + k_last, w, at, w_stride,
                         bias, o, y, y_base + o, width, goes_on, ends)
            else:
                _tiles_1(x, x_base, row, out, first, last, step, step_first + k, step_first + k_last, w, at, w_stride,
                         bias, o, y, y_base + o, width, goes_on, ends)
