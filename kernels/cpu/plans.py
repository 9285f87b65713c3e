"""Plans: which pixels a convolution multiplies with which weights, as tables of offsets.

``product`` needs to know where things stand in memory. A plan says so for one **unit** of work: a few small images or
a band of rows of a large one, little enough to stay in the second-level cache, and the same for every unit, so that
a table is computed once per shape and kept. Offsets count array elements.

The pass over a padded image copies each unit into a scratch array with its border of zeros first; without padding the
tables point into the image itself.

``forward_plan``  y = conv(x, w).
``input_plan``    dx, a convolution of dy with the flipped kernel. For a stride s the rows of dx fall into s **phases**
                  (r + top) mod s, each of which meets its own subset of the kernel's rows: s small dense convolutions
                  instead of one over a dy blown up with zeros.

dw is the forward plan with its tables exchanged.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

#: Bytes of source that a unit may have: a share of a second-level cache of 256 KB or more.
UNIT_BYTES = 160_000


class Plan(NamedTuple):
    """Tables and sizes of one pass. A *grid* is the raster of the pixels that one phase computes."""

    height: int  # of a source image
    width: int
    channels: int
    top: int  # zeros above a source image
    left: int
    padded: bool  # whether units are copied to scratch memory
    block_height: int  # of one image's part of a unit, in memory
    block_width: int
    images: int  # in a unit
    band: int  # rows of each grid in a unit
    bands: int  # units one below the other in an image
    row_step: int  # source rows from one grid row to the next
    image_out: int  # elements of a result image
    row_out: int  # elements from one grid row to the next in the result
    row: np.ndarray  # offset of each grid pixel's window in the unit, phase by phase
    out: np.ndarray  # and of the pixel in the result, from the unit's first one
    step: np.ndarray  # offset of each kernel element in a window, phase by phase
    phases: np.ndarray  # of each phase: rows and columns of its grid, start in row and out, start in step and its end


class Phase(NamedTuple):
    """A dense convolution whose results lie ``stride`` apart."""

    rows: int  # of its grid
    columns: int
    kernel: tuple  # rows and columns of the part of the kernel
    start: tuple  # of its first window in the padded source
    out: tuple  # its first pixel in the result


def forward_plan(shape, kernel, outputs, stride, padding, result, workers, itemsize):
    """The plan of ``conv2d_forward``; ``result`` is (OH, OW)."""
    phase = Phase(*result, kernel, (0, 0), (0, 0))
    (top, bottom), (left, right) = padding
    images, (band, bands) = _unit(shape[0], (phase,), stride, shape[3], kernel[0] * kernel[1], workers, itemsize,
                                  shape[1] + top + bottom, shape[2] + left + right)
    return _plan(shape[1:], (top, left), shape[2] + left + right, any(map(any, padding)), (phase,), stride, (1, 1),
                 result[1], outputs, images, band, bands)


def input_plan(shape, kernel, outputs, stride, padding, result, workers, itemsize, copy):
    """The plan of dx: its source is dy, whose images are ``result`` large and have ``outputs`` channels."""
    (top, _), (left, _) = padding
    vertical, rows = _phases(shape[1], kernel[0], stride[0], top, result[0])
    horizontal, columns = _phases(shape[2], kernel[1], stride[1], left, result[1])
    phases = tuple(Phase(v[0], h[0], (v[1], h[1]), (v[2], h[2]), (v[3], h[3])) for v in vertical for h in horizontal)
    padded = copy or rows != (0, result[0]) or columns != (0, result[1])
    images, (band, bands) = _unit(shape[0], phases, (1, 1), outputs, max(p.kernel[0] * p.kernel[1] for p in phases),
                                  workers, itemsize, rows[1], columns[1])
    return _plan((*result, outputs), (rows[0], columns[0]), columns[1], padded, phases, (1, 1), stride, shape[2],
                 shape[3], images, band, bands)


def _phases(size, kernel, stride, before, outputs):
    """Along one axis: the phases of dx as (pixels, kernel elements, start, first pixel); padding and padded size of dy.

    Pixel r = q s + f of dx meets kernel element m where (r + before - m) / s is whole: m = m0, m0 + s, ... with
    m0 = (f + before) mod s. The last of these J elements meets the first pixel of dy, q + e - (J - 1).
    """
    found = []
    for f in range(min(stride, size)):
        pixels = (size - f + stride - 1) // stride
        first = (f + before) % stride
        elements = max(0, (kernel - first + stride - 1) // stride)
        found.append((pixels, elements, (f + before - first) // stride - (elements - 1), f))
    used = [phase for phase in found if phase[1]] or found[:1]
    zeros = max(0, -min(phase[2] for phase in used))
    padded = max(outputs + zeros, zeros + max(phase[2] + phase[0] + phase[1] - 1 for phase in used))
    return [(p, n, start + zeros if n else 0, f) for p, n, start, f in found], (zeros, padded)


def _unit(images, phases, step, channels, taps, workers, itemsize, height, width):
    """How much one unit takes: ``images, (band, bands)``.

    The cheapest for the slowest worker, counted in pixels: its share of the units, each with tiles that stick out
    (some 4 pixels), the rows that neighbouring bands both read, and an overhead.
    """
    rows, columns = max(p.rows for p in phases), max(p.columns for p in phases)
    kernel_rows = max(max(p.kernel[0] for p in phases), 1)
    limit = UNIT_BYTES // itemsize
    overhead = 2 + 600 // (channels * max(taps, 1)) * 0
    best = None
    for group in _sizes(images):
        if group > 1 and group * height * width * channels > limit:
            break
        share = math.ceil(math.ceil(images / group) / workers)
        cost = share * (group * rows * columns * len(phases) + 6 + overhead)
        if best is None or cost < best[0]:
            best = cost, group, (rows, 1)
    for band in range(1, rows):
        bands = -(-rows // band)
        read = ((band - 1) * step[0] + kernel_rows) * width * channels
        if (band > 1 and read > limit) or band * columns < 24:
            continue
        share = -(-images * bands // workers)
        cost = share * (band * columns * len(phases) + 6 + overhead + read // max(1, 32 * taps))
        whole_fits = height * width * channels <= limit
        if best is None or cost < best[0] or (not whole_fits and best[2][1] == 1):
            best = cost, 1, (band, bands)
    return best[1], best[2]


def _sizes(images):
    return range(1, max(1, min(images, 1024)) + 1)


def _plan(source, before, padded_width, padded, phases, step, stride, out_width, out_channels, images, band, bands):
    height, width, channels = source
    block_width = padded_width if padded else width
    reach = max((p.start[0] + p.kernel[0] for p in phases if p.kernel[0]), default=1)
    block_height = (band - 1) * step[0] + reach if padded else height
    rows, outs, steps, table, pixel, element = [], [], [], [], 0, 0
    image_out = 0
    for phase in phases:
        i, q, p = np.ogrid[:images, :min(band, phase.rows), :phase.columns]
        y, x = phase.start[0] + q * step[0], phase.start[1] + p * step[1]
        rows.append((((i * block_height + y) * block_width + x) * channels).ravel())
        y, x = phase.out[0] + q * stride[0], phase.out[1] + p * stride[1]
        outs.append((i, y, x))
        m, n, c = np.ogrid[:phase.kernel[0], :phase.kernel[1], :channels]
        steps.append(((m * block_width + n) * channels + c).ravel())
        table.append((phase.rows, phase.columns, pixel, element, element + steps[-1].size))
        pixel, element = pixel + rows[-1].size, element + steps[-1].size
    out_height = sum(p.rows for p in phases if p.out[1] == 0)
    image_out = out_height * out_width * out_channels
    outs = [(i * image_out + (y * out_width + x) * out_channels).ravel() for i, y, x in outs]
    return Plan(height, width, channels, *before, padded, block_height, block_width, images, band, bands, step[0],
                image_out, stride[0] * out_width * out_channels, _table(rows), _table(outs), _table(steps),
                np.array(table, np.int64))


def _table(parts):
    return np.ascontiguousarray(np.concatenate(parts), dtype=np.int64)


forward_plan = lru_cache(256)(forward_plan)
input_plan = lru_cache(256)(input_plan)
