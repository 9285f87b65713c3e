"""dx of images with few channels and many outputs, as dot products: vectors run along the outputs.

    dx[i, j, c] = sum_mn  dot(dy[(i + top - m) / SH, (j + left - n) / SW, :], w[m, n, c, :])

over those m and n for which both are whole numbers and lie in dy. A vector of channels would be empty for the most
part, but ``w[m, n, c]`` and the pixels of dy are rows of O numbers that fill whole vectors. A tile holds a vector of
partial sums for each of some pixels and channels of dx; when it has gone over the taps (m, n) and over the outputs, the
lanes of every vector are added up.

Pixels of dx that the same taps reach make a **class**: all that are not near a border, where the stride is 1, and some
rows and columns beside it. Every tile is of one class, so there is no border to fill with zeros and no padding to copy,
and a stride only makes more classes. ``tables_of`` makes the tables: for each pixel of a unit, class after class,
``place`` in dx and ``source``, the pixel of dy that belongs to its first tap; for each class the steps from there, and
through w, a vector at a time.
"""

from __future__ import annotations

import numpy as np

from . import simd
from .compiling import kernel
from .convolution import unit_of_dy
from .parallel import next_task, none_taken, on_all
from .parts import part
from .tables import numbers_of, table_of

#: Pixels in a tile by its channels, of which there are up to three: their sums stay in registers.
PIXELS = {1: 8, 2: 8, 3: 8} if simd.BITS == 512 else {1: 8, 2: 6, 3: 4}

#: Steps that tables may have, over all classes. (Kernels of 7x7 have 17,000 with four vectors of outputs.)
LONGEST = 1 << 16


@kernel
def spread_dots(workers, *arguments):
    """dx; the arguments are those of ``dots_share``."""
    on_all(dots_share, workers, (none_taken(workers), *arguments))


@part
def dots_share(worker, workers, taken, dy, mask, argmax, w, dx, tables, zeros, dy_scratch):
    """A worker's units of dx: ``together`` images, or a band of rows of one; the tables are those of ``tables_of``."""
    (images, together, bands, classes, masked, pool_height, pool_width, height, width, channels, out_height, out_width,
     outputs, lanes) = numbers_of(tables, 0, 14)
    first_pixels, counts, rows, source = (table_of(tables, 1), table_of(tables, 2), table_of(tables, 3),
                                          table_of(tables, 4))
    place, steps, dy_step, w_step = table_of(tables, 5), table_of(tables, 6), table_of(tables, 7), table_of(tables, 8)
    units = (images + together - 1) // together * bands
    unit = next_task(worker, workers, units, taken)
    while unit >= 0:
        first, band = unit // bands * together, unit % bands
        count, low = min(together, images - first), rows[2 * band]
        values, base = unit_of_dy(out_height, out_width, dy, mask, masked, argmax, pool_height, pool_width, first,
                                  count, low, rows[2 * band + 1], outputs, lanes, dy_scratch[worker])
        base -= low * out_width * outputs  # sources count from the first row
        to = first * height * width * channels
        for k in range(classes):
            start = first_pixels[band * classes + k]
            end = start + counts[band * classes + k] * count
            for c in range(0, channels, 3):
                arguments = (values, base, source, start, end, dy_step, w_step, steps[k], steps[k + 1], w, c * outputs,
                             outputs, zeros, dx, to + c, place)
                if c + 3 <= channels:
                    _dots_3(*arguments)
                elif c + 2 == channels:
                    _dots_2(*arguments)
                else:
                    _dots_1(*arguments)
        unit = next_task(worker, workers, units, taken)


def _tiles(channels):
    """``dots(...)``: so many channels of the pixels [start, end)."""
    pixels = PIXELS[channels]

    def dots(dy, base, source, start, end, dy_step, w_step, first, last, w, w_at, outputs, zeros, dx, to, place):
        rows = simd.spaced(w_at, outputs, channels, channels)
        for p in range(start, end, pixels):
            inputs = simd.offsets(source, base, p, end - 1, pixels)
            tile = simd.tile_of(zeros, np.int64(0), pixels, channels)
            for t in range(first, last - 1, 2):  # two at a time: see product.py
                tile = simd.tile_add_products(tile, dy, inputs, dy_step, w, rows, w_step, t)
                tile = simd.tile_add_products(tile, dy, inputs, dy_step, w, rows, w_step, t + 1)
            if (last - first) % 2 == 1:
                tile = simd.tile_add_products(tile, dy, inputs, dy_step, w, rows, w_step, last - 1)
            simd.tile_store_sums(tile, dx, simd.offsets(place, to, p, end - 1, pixels))

    dots.__name__ = dots.__qualname__ = f"dots_{channels}"  # no two functions of one name
    return part(dots)


_dots_1, _dots_2, _dots_3 = _tiles(1), _tiles(2), _tiles(3)


def tables_of(shape, w_shape, stride, padding, result, lanes, together, band, most=None):
    """The tables for units of ``together`` images, or of ``band`` rows of one.

    None if they would be long, or if these units need more than ``most`` multiply-adds of vectors: a large kernel makes
    many classes of few pixels, and a tile that is not full takes as long as one that is.

    Returns
    -------
    first_pixels, counts : arrays of integers, (bands, classes)
        Where pixels of a class begin in ``source`` and ``place``, and how many of them there are in an image.
    rows : array of integers, (bands, 2)
        A band needs rows [rows[b, 0], rows[b, 1]) of dy.
    source, place : arrays of integers
        Of a pixel: where that of dy starts which its first tap reaches, and where it stands in dx; in images of a unit.
    steps : array of integers, (classes + 1,)
        Where the steps of a class begin in the next two.
    dy_step, w_step : arrays of integers
        How far from ``source``, and from the first number of w.
    """
    (_, height, width, channels), outputs = shape, w_shape[3]
    rows, columns = (_classes(*axis) for axis in zip(shape[1:3], w_shape, padding, stride, result))
    bands = -(-height // band)
    counts = np.array([np.bincount(i // band, minlength=bands) for _, i, _ in rows]).T[:, :, None]
    counts = (counts * [len(j) for _, j, _ in columns]).reshape(bands, -1)
    lengths = np.outer([len(taps) for taps, _, _ in rows], [len(taps) for taps, _, _ in columns]).ravel()
    lengths = lengths * (outputs // lanes)
    pixels = PIXELS[min(channels, 3)]
    products = (-(-counts * together // pixels) * pixels * lengths).sum() * channels
    if lengths.sum() > LONGEST or (most is not None and products > most):
        return None
    needed, source, place, dy_step, w_step = [], [], [], [], []
    image, o = np.arange(together)[:, None, None], np.arange(0, outputs, lanes)
    for top in range(0, height, band):
        low, high = result[0], 0
        for taps, i, from_i in rows:
            inside = (top <= i) & (i < top + band)
            i, from_i = i[inside, None], from_i[inside, None]
            if len(i) > 0 and taps:
                low, high = min(low, from_i.min() - len(taps) + 1), max(high, from_i.max() + 1)
            for _, j, from_j in columns:
                source.append((((image * result[0] + from_i) * result[1] + from_j) * outputs).ravel())
                place.append((((image * height + i) * width + j) * channels).ravel())
        # of whole images all rows, for these follow each other in dy
        needed.append((min(low, high), high) if band < height else (0, result[0]))
    for row_taps, _, _ in rows:
        for column_taps, _, _ in columns:
            a, b = np.ogrid[:len(row_taps), :len(column_taps)]
            m, n = np.ix_(np.array(row_taps, int), np.array(column_taps, int))
            dy_step.append((o - ((a * result[1] + b) * outputs)[:, :, None]).ravel())
            w_step.append((o + ((m * w_shape[1] + n) * channels * outputs)[:, :, None]).ravel())
    first_pixels = (np.cumsum(counts) - counts.ravel()).reshape(counts.shape) * together
    return (first_pixels, counts, np.array(needed), np.concatenate(source), np.concatenate(place),
            np.concatenate([[0], np.cumsum(lengths)]), np.concatenate(dy_step), np.concatenate(w_step))


def _classes(size, kernel, padding, step, count):
    """Rows, say, of dx by the taps that reach them: a class's taps, its rows, and the rows of dy for its first tap.

    Row i of dx gets from tap m what stands in row (i + top - m) / step of dy, if there is such a row. Taps of a class
    are ``step`` apart, and their rows of dy one.
    """
    found = {}
    for i in range(size):
        reach = i + padding[0]
        taps = tuple(m for m in range(kernel) if (reach - m) % step == 0 and 0 <= reach - m < count * step)
        found.setdefault(taps, []).append((i, (reach - taps[0]) // step if taps else 0))
    return [(taps, *np.array(pairs).T) for taps, pairs in found.items()]
