"""Plans: which pixels a convolution multiplies with which weights, as tables of offsets.

``product`` needs to know where things stand in memory, and a plan says so for one **unit** of work: a few small images
or a band of rows of a large one, so little that it stays in the second-level cache. Offsets within a unit are the
same for every unit, hence computed once per shape and kept. They count array elements.

    row[p]     where the window of output pixel p starts, in the unit's part of the (padded) image
    step[k]    how far from there the k-th input of a window lies, k = (m KW + n) C + c
    out[p]     where output pixel p stands in the unit's part of the result

The three passes of a convolution are one product with these tables in three roles:

    y[out[p] + o]             += sum_k  x[row[p] + step[k]]  w[k, o]           forward
    dw[k O + o]               += sum_p  x[step[k] + row[p]]  dy[out[p] + o]    the kernel's gradient
    dx[row[p] + step[mn] + c] += sum_o  dy[out[p] + o]       w[m, n, c, o]     the input's, for every m and n

(Where the stride is 1, dx may also be computed as the forward pass of another convolution: ``convolution.gather``.)

If there is padding, a unit of x is first copied to a scratch array with its border of zeros, and ``row`` and ``step``
are those of the copy; otherwise they are those of x itself.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from . import simd
from .parts import part
from .tables import numbers_of, table_of

#: Bytes of image and result that a unit may have: what a second-level cache of 512 KB holds beside the weights.
UNIT_BYTES = 1 << 18

#: The most images of a single pixel, rows of a dense layer, in a unit. Such a pixel may have thousands of channels, but
#: they are gone over a few at a time, and what counts is that dw's sums are long and that weights are read seldom.
UNIT_ROWS = 256

#: What a unit costs besides its arithmetic, in output pixels.
UNIT_OVERHEAD = 6


class Plan(NamedTuple):
    """Sizes and tables of a convolution, as the kernels see them."""

    height: int  # of an image
    width: int
    channels: int
    padded_height: int
    padded_width: int
    top: int  # zeros above and to the left of it
    left: int
    padded: int  # whether there is padding, so that units are copied
    out_height: int  # of a result
    out_width: int
    row_step: int  # the vertical stride
    images: int  # in a unit,
    band: int  # of each of them so many rows of the result,
    bands: int  # and so many units one below the other
    block_height: int  # rows of an image in memory, from one image of a unit to the next
    row: np.ndarray
    step: np.ndarray
    out: np.ndarray

    @property
    def numbers(self):
        """All but the tables."""
        return self[:-3]

    @property
    def tables(self):
        """``row``, ``step`` and ``out``."""
        return self[-3:]


#: How many numbers a plan has: in a ``packed`` array, those of the kernel stand behind them.
PLAN_NUMBERS = len(Plan._fields) - 3


@part
def unpacked(packed):
    """The plan, inside a kernel, of which ``packed`` has the first numbers and the first tables (``tables.py``)."""
    return Plan(*numbers_of(packed, 0, PLAN_NUMBERS), table_of(packed, 1), table_of(packed, 2), table_of(packed, 3))


@lru_cache(256)
def plan_of(shape, kernel, outputs, stride, padding, result, itemsize, shares, together=1, extra=0):
    """The plan for images of ``shape``, with units that ``shares`` workers can share out evenly.

    ``result`` is (OH, OW), or less where the rest is not asked for. Bands have a multiple of ``together`` rows. A unit
    needs room for ``extra`` numbers for each pixel of the result, besides ``outputs``.
    """
    count, height, width, channels = shape
    (top, bottom), (left, right) = padding
    padded = any((top, bottom, left, right))
    padded_height, padded_width = height + top + bottom, width + left + right
    if padded_height * padded_width == 1:
        images, band = _rows(count, outputs, itemsize, shares), 1
    else:
        images, band = _unit(count, padded_height, padded_width * channels, kernel[0], stride[0], *result,
                             outputs + extra, itemsize, shares, together)
    block_height = padded_height if band == result[0] else (band - 1) * stride[0] + kernel[0]
    image, i, j = np.ogrid[:images, :band, :result[1]]
    row = ((image * block_height + i * stride[0]) * padded_width + j * stride[1]) * channels
    m, n, c = np.ogrid[:kernel[0], :kernel[1], :channels]
    step = (m * padded_width + n) * channels + c
    return Plan(height, width, channels, padded_height, padded_width, top, left, int(padded), *result, stride[0],
                images, band, math.ceil(result[0] / band), block_height, row.ravel(), step.ravel(),
                np.arange(row.size) * outputs)


def _unit(count, height, row_size, kernel, stride, rows, columns, outputs, itemsize, shares, together):
    """Images in a unit, and rows of the result of each: the choice that costs the busiest worker least.

    The cost counts output pixels: those of the worker's units, the tiles that stick out at the end of each, and the
    rows of the image that two neighbouring bands both need.
    """
    limit = UNIT_BYTES // itemsize
    choices = []
    for images in range(1, max(count, 1) + 1):
        if images > 1 and images * (height * row_size + rows * columns * outputs) > limit:
            break
        units = math.ceil(count / images)
        choices.append((math.ceil(units / shares) * (images * rows * columns + UNIT_OVERHEAD), -images, rows))
    whole_fits = height * row_size + rows * columns * outputs <= limit
    for band in range((rows - 1) // together * together, 0, -together):
        read = (band - 1) * stride + kernel
        fits = read * row_size + band * columns * outputs <= limit
        if band > together and not fits:
            continue
        units = count * math.ceil(rows / band)
        pixels = band * columns * (1 + 0.1 * (read - band * stride) / read)
        cost = math.ceil(units / shares) * (pixels + UNIT_OVERHEAD)
        if not whole_fits and len(choices) == 1 and choices[0][2] == rows:
            choices.clear()
        choices.append((cost, -1, band))
    _, images, band = min(choices)
    return -images, band


def _rows(count, outputs, itemsize, shares):
    """Images of one pixel in a unit: many, but workers share out every unit's panels, evenly to within an eighth."""
    panels = max(1, math.ceil(8 * itemsize * outputs / (simd.PANEL * simd.BITS)))
    units = 1 if panels >= 8 * shares else shares // math.gcd(panels, shares)
    return max(1, math.ceil(count / max(units, math.ceil(count / UNIT_ROWS))))


@lru_cache(256)
def multiples(count, stride):
    """``0, stride, 2 stride, ...``: a table of rows that follow each other."""
    return np.arange(count) * stride
