"""Max-pooling inside a convolution: windows that touch and do not overlap, on a unit that is still in the cache.

``conv2d_relu_max_pool2d_forward`` never writes the convolution's result to memory, only the largest number of each
window (a quarter of it, with 2x2 windows); the backward pass makes from the pooled gradient what the convolution's
passes ask for, again a unit at a time.
"""

from __future__ import annotations

import numpy as np

from . import masks, simd
from .parts import part

#: Windows in a tile.
ROWS = 3

#: What is pooled in the registers of a tile: windows of so many pixels at most, and sums of so many terms.
MOST_PIXELS, MOST_TERMS = 4, 64


@part
def pool_rows(source, column, rows, width, columns, used, pool_height, pool_width, y, argmax, to, lanes):
    """Relu and max-pooling of ``rows`` rows of pixels: ``used`` of their ``columns`` channels, from ``column`` on.

    ``y[to + (i OW + j) columns + c]`` gets the largest number of window (i, j), OW = width // pool_width, and argmax
    its place in the window; the first one wins a tie, as in ``pool2d.py``. Only the first pixel of a window needs relu:
    from then on there is something that is not below 0, and no negative number beats that.
    """
    windows = width // pool_width
    for row in range(rows // pool_height):
        for j in range(0, windows, ROWS):
            count = min(ROWS, windows - j)
            start = (row * pool_height * width + j * pool_width) * columns + column
            end = to + (row * windows + j) * columns + column
            for c in range(0, used, lanes):
                pixels = simd.spaced(start + c, pool_width * columns, count, ROWS)
                results = simd.spaced(end + c, columns, count, ROWS)
                arguments = (source, pixels, columns, width * columns, pool_height, pool_width, y, argmax, results)
                if c + lanes > used:
                    _careful_maxima(*arguments, used - c)
                elif _maxima(*arguments, simd.whole(source)):
                    _careful_maxima(*arguments, lanes)


def _maxima_by(name, beats):
    """``maxima(...)``: a tile of ``pool_rows``, ``used`` channels of it: relu, maxima of windows, and their places.

    ``beats(pixel, largest)`` says where a pixel takes the lead. Returns whether there is a NaN: ``masks.tile_above`` is
    the quicker, but finds none.
    """
    def maxima(source, pixels, right, down, pool_height, pool_width, y, argmax, results, used):
        total, at, n = simd.tile_load(source, pixels, used, 1), np.int64(0), np.int64(0)
        largest = simd.tile_relu(total)
        position = masks.tile_counters(largest)
        for i in range(1, pool_height * pool_width):
            at, n = next_pixel(at, n, right, down, pool_width)
            pixel = simd.tile_load(source, simd.shifted(pixels, at), used, 1)
            wins = beats(pixel, largest)
            largest = masks.tile_where(wins, pixel, largest)
            position = masks.tile_advance(position, wins, i)
            total = simd.tile_plus(total, pixel)
        simd.tile_store(largest, y, results, used)
        simd.tile_store(masks.tile_narrow(position, argmax), argmax, results, used)
        return masks.tile_has_nan(total)

    maxima.__name__ = maxima.__qualname__ = name  # no two functions of one name: see compiling.py
    return part(maxima)


_maxima = _maxima_by("maxima", masks.tile_above)
_careful_maxima = _maxima_by("careful_maxima", masks.tile_exceeds)


@part
def product_of_windows(x, base, row, rows, width, pool_height, pool_width, step, terms, w, w_at, w_stride, bias, column,
                       y, argmax, to, columns, used, lanes):
    """``product.product`` and ``pool_rows`` in one, for short sums and windows of at most ``MOST_PIXELS`` pixels.

    The rows of a tile are the pixels of one window, and only their maximum leaves the registers. Such a tile is lower
    than others, and so has more to load for each multiply-add; where the sum is long, that costs more than it saves.
    """
    last, windows = pool_height * pool_width - 1, width // pool_width
    near = (0, _pixel(min(1, last), pool_width, width), _pixel(min(2, last), pool_width, width),
            _pixel(last, pool_width, width))
    for i in range(rows // pool_height):
        arguments = (x, base, row, i * pool_height * width, pool_width, near, windows, step, terms, w, w_at, w_stride,
                     bias, column, y, argmax, to + i * windows * columns + column, columns, used)
        if used <= lanes:
            _windows_1(*arguments)
        elif used <= 2 * lanes:
            _windows_2(*arguments)
        else:
            _windows_4(*arguments)


@part
def _pixel(i, pool_width, width):
    """How far the i-th pixel of a window is from its first, in an image of that width."""
    return i // pool_width * width + i % pool_width


def _windows(vectors):
    """``windows(...)``: some windows side by side, from pixel p on, each in a tile of so many vectors of channels."""

    def windows(x, base, row, p, pool_width, near, count, step, terms, w, w_at, w_stride, bias, column, y, argmax, to,
                columns, used):
        for _ in range(count):
            inputs, at = simd.offsets_beside(row, base, p, near), w_at
            tile = simd.tile_of(bias, column, MOST_PIXELS, vectors)
            for k in range(terms):
                tile = simd.tile_add_outer(tile, x, inputs, step, k, w, at)
                at += w_stride
            pixels = (simd.tile_row(tile, 0, vectors), simd.tile_row(tile, 1, vectors),
                      simd.tile_row(tile, 2, vectors), simd.tile_row(tile, 3, vectors))
            total = simd.tile_plus(simd.tile_plus(pixels[0], pixels[1]), simd.tile_plus(pixels[2], pixels[3]))
            largest, position = _largest(y, *pixels)
            if masks.tile_has_nan(total):
                largest, position = _careful_largest(y, *pixels)
            simd.tile_store(largest, y, (to,), used)
            simd.tile_store(masks.tile_narrow(position, argmax), argmax, (to,), used)
            p, to = p + pool_width, to + columns

    windows.__name__ = windows.__qualname__ = f"windows_{vectors}"  # no two functions of one name: see compiling.py
    return part(windows)


_windows_1, _windows_2 = _windows(1), _windows(2)
_windows_4 = _windows(4) if simd.PANEL == 4 else _windows_2


@part
def _largest(y, a, b, c, d):
    """The largest of relu of four tiles without NaN, and which of them: of the two pairs first, then of their winners.

    Places are numbers of the type of y here: a compiler would narrow integers one by one before it chooses.
    """
    a = simd.tile_relu(a)
    wins_1, wins_2 = masks.tile_above(b, a), masks.tile_above(d, c)
    largest_1, largest_2 = masks.tile_where(wins_1, b, a), masks.tile_where(wins_2, d, c)
    place_1 = masks.tile_where(wins_1, simd.tile_all(y, 1, a), simd.tile_all(y, 0, a))
    place_2 = masks.tile_where(wins_2, simd.tile_all(y, 3, a), simd.tile_all(y, 2, a))
    wins = masks.tile_above(largest_2, largest_1)
    return masks.tile_where(wins, largest_2, largest_1), masks.tile_where(wins, place_2, place_1)


@part
def _careful_largest(y, a, b, c, d):
    """``_largest``, where there may be a NaN: one after the other."""
    largest, place = simd.tile_relu(a), simd.tile_all(y, 0, a)
    for pixel, number in ((b, 1), (c, 2), (d, 3)):
        wins = masks.tile_exceeds(pixel, largest)
        largest = masks.tile_where(wins, pixel, largest)
        place = masks.tile_where(wins, simd.tile_all(y, number, a), place)
    return largest, place


@part
def next_pixel(at, n, right, down, pool_width):
    """The pixel of a window after the one that stands at ``at``, in column n of the window: where it is, its column.

    Pixels are ``right`` numbers apart in a row, and ``down`` in a column.
    """
    if n + 1 < pool_width:
        return at + right, n + 1
    return at + down - n * right, 0


@part
def unpool_rows(height, width, dy, y, argmax, pool_height, pool_width, first, count, low, high, column, columns, used,
                target, stride, lanes):
    """The gradient before relu and pooling: rows [low, high) of ``count`` images, with ``stride`` numbers to a pixel.

    The images have ``height`` rows of ``width`` pixels. A window's gradient goes where its maximum was, if that is
    above 0; everything else becomes 0, and so does what lies behind the ``used`` of the ``columns`` channels, from
    ``column`` on, that are asked for.
    """
    windows = width // pool_width
    for image in range(count):
        for row in range(low, high):
            i, m = ((first + image) * height + row) // pool_height, row % pool_height
            for j in range(0, windows, ROWS):
                here = min(ROWS, windows - j)
                at = (i * windows + j) * columns + column
                to = ((image * (high - low) + row - low) * width + j * pool_width) * stride
                for c in range(0, stride, lanes):
                    wide = min(lanes, used - c)
                    sources = simd.spaced(at + c, columns, here, ROWS)
                    gradient = simd.tile_positive(simd.tile_load(dy, sources, wide, 1),
                                                  simd.tile_load(y, sources, wide, 1))
                    position = simd.tile_load_like(argmax, sources, wide, gradient)
                    zero = simd.tile_all(dy, 0, gradient)
                    targets = simd.spaced(to + c, pool_width * stride, here, ROWS)
                    for n in range(pool_width):
                        holds = masks.tile_equals(position, m * pool_width + n)
                        simd.tile_store(masks.tile_where(holds, gradient, zero), target,
                                        simd.shifted(targets, n * stride), min(lanes, stride - c))
