"""Max-pooling inside a convolution: windows that touch and do not overlap, on a unit that is still in the cache.

``conv2d_relu_max_pool2d_forward`` never writes the convolution's result to memory, only the largest number of each
window (a quarter of it, with 2x2 windows); the backward pass makes from the pooled gradient what the convolution's
passes ask for, again a unit at a time.
"""

from __future__ import annotations

from . import masks, simd
from .parts import part

#: Windows in a tile.
ROWS = 3


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
        total, at, n = simd.tile_load(source, pixels, used, 1), 0, 0
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
