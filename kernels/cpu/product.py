"""The one matrix product under every layer: a tile that walks two tables of offsets.

Convolution (forward, dx, dw) and dense layers are all

    y[out[p] + o] = bias[o] + sum_k x[row[p] + step[k]] w[k, o]

For a convolution ``row[p]`` is where the window of output pixel p starts in memory and ``step[k]`` is how far its
k-th input lies from there (K = KH KW C of them). With channels last, x[row[p] + step[k]] is the matrix that im2col
would write to memory, KH KW times as large as the image; here it is only looked up. ``plans.py`` has the tables.

``product`` takes one **panel**: so many columns o as fit in a tile, up to ``simd.PANEL`` vectors of them. It goes down
the panel tile by tile, each of which sums in registers. Long sums are cut in chunks, so that this part of w stays in
the cache while the tiles go over it; y keeps the sums in between, so cutting does not change a bit of the result.
"""

from __future__ import annotations

from . import simd
from .parts import part

#: Numbers of w in a chunk: 32 KB in float32.
CHUNK = 1 << 13


@part
def panel_width(columns, lanes):
    """How wide the panel of the first of so many columns is in memory: 1, 2 or ``simd.PANEL`` whole vectors."""
    vectors = (columns + lanes - 1) // lanes
    return (vectors if vectors <= 2 else simd.PANEL) * lanes


@part
def product(x, x_base, row, first, last, step, terms, w, w_at, w_stride, bias, bias_at, y, y_base, out, width, lanes,
            resume, relu):
    """``y[y_base + out[p] + o] = bias[bias_at + o] + sum_k x[x_base + row[p] + step[k]] w[w_at + k w_stride + o]``.

    Parameters
    ----------
    x, w, bias, y : flat arrays
        Rows of w and the bias must have ``panel_width(width)`` numbers that may be read.
    row, out, first, last : arrays of integers, int, int
        p runs over [first, last).
    step, terms : array of integers, int
        k runs over [0, terms).
    width : int
        o runs over [0, width); at most a panel.
    lanes : int
        Numbers in a vector.
    resume : bool
        Add to what y holds, instead of starting from the bias.
    relu : bool
        Store ``max(., 0)``.
    """
    chunk = max(1, CHUNK // panel_width(width, lanes))
    for start in range(0, max(1, terms), chunk):
        end = min(terms, start + chunk)
        goes_on, ends = resume or start > 0, relu and end == terms
        at = w_at + start * w_stride
        if width <= lanes:
            _tiles_1(x, x_base, row, first, last, step, start, end, w, at, w_stride, bias, bias_at, y, y_base, out,
                     width, goes_on, ends)
        elif width <= 2 * lanes:
            _tiles_2(x, x_base, row, first, last, step, start, end, w, at, w_stride, bias, bias_at, y, y_base, out,
                     width, goes_on, ends)
        else:
            _tiles_4(x, x_base, row, first, last, step, start, end, w, at, w_stride, bias, bias_at, y, y_base, out,
                     width, goes_on, ends)


def _tiles(vectors):
    """``tiles(...)``: a panel of so many vectors, in tiles of the height that goes with it."""
    rows = simd.ROWS[vectors]

    def tiles(x, x_base, row, first, last, step, start, end, w, w_at, w_stride, bias, bias_at, y, y_base, out, width,
              resume, relu):
        for p in range(first, last, rows):
            inputs = simd.offsets(row, x_base, p, last - 1, rows)
            outputs = simd.offsets(out, y_base, p, last - 1, rows)
            if resume:
                tile = simd.tile_load(y, outputs, width, vectors)
            else:
                tile = simd.tile_of(bias, bias_at, rows, vectors)
            at = w_at
            for k in range(start, end - 1, 2):  # two at a time: counting takes turns from the multiply-adds
                tile = simd.tile_add_outer(tile, x, inputs, step, k, w, at)
                tile = simd.tile_add_outer(tile, x, inputs, step, k + 1, w, at + w_stride)
                at += 2 * w_stride
            if (end - start) % 2 == 1:
                tile = simd.tile_add_outer(tile, x, inputs, step, end - 1, w, at)
            if relu:
                tile = simd.tile_relu(tile)
            simd.tile_store(tile, y, outputs, width)

    # no two functions of one name: see compiling.py
    tiles.__name__ = tiles.__qualname__ = f"tiles_{vectors}"
    return part(tiles)


_tiles_1, _tiles_2 = _tiles(1), _tiles(2)
_tiles_4 = _tiles(4) if simd.PANEL == 4 else _tiles_2
