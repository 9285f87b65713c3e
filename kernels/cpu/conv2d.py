"""Two-dimensional convolution on all cores. The formulas stand in ``reference/conv2d.py``."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from .. import NO_PADDING, arrays, checks
from . import simd, threads, workspace
from .convolution import add_splits, convolve, correlate, spread
from .plans import multiples, plan_of
from .product import panel_width
from .winners import WORD, backward_from_winners, between_channels
from .workspace import flat

#: Into how many shares the sums over a batch are cut, whatever the number of threads.
SHARES = 8

#: Bytes of an image that are gone over again and again where only the winners of a pooling count: they, and what goes
#: with them, stay in a first-level cache of 32 KB.
GROUP_BYTES = 5 << 12

#: If that takes a border, dx is gathered up to so many outputs, and up to so many pixels with it for one without it.
SHORT, WIDER = 64, 1.45


def conv2d_forward(x, w, b=None, stride=1, padding=NO_PADDING):
    """``y[n, i, j, o] = b[o] + sum_mnc x[n, i SH + m - top, j SW + n - left, c] w[m, n, c, o]``.

    Parameters, results and errors as in ``reference.conv2d_forward``.
    """
    return _forward(*checks.conv2d_forward(x, w, b, stride, padding), relu=False)


def conv2d_relu_forward(x, w, b=None, stride=1, padding=NO_PADDING):
    """``relu(conv2d_forward(...))``; the tile takes the maximum with 0 just before it leaves its registers."""
    return _forward(*checks.conv2d_forward(x, w, b, stride, padding), relu=True)


def conv2d_backward(dy, x, w, stride=1, padding=NO_PADDING, input_gradient=True, out=None):
    """``dx`` (or None), ``dw`` and ``db``, as in ``reference.conv2d_backward``; ``out`` as in ``kernels.OUT``."""
    dy, x, w, stride, padding = checks.conv2d_backward(dy, x, w, stride, padding)
    return _backward(dy, None, x, w, stride, padding, input_gradient, gradients_of(w, out))


def conv2d_relu_backward(dy, y, x, w, stride=1, padding=NO_PADDING, input_gradient=True, out=None):
    """Gradients through ``conv2d_relu_forward``, from its result y: dy counts only where y is above 0.

    Both passes that read dy drop the rest as they read it, so the masked dy is never written to memory.
    """
    dy, x, w, stride, padding, y = checks.conv2d_backward(dy, x, w, stride, padding, y)
    return _backward(dy, y, x, w, stride, padding, input_gradient, gradients_of(w, out))


def conv2d_relu_max_pool2d_forward(x, w, b=None, stride=1, padding=NO_PADDING, pool_size=2):
    """``y, argmax = max_pool2d_forward(relu(conv2d_forward(...)), pool_size)``, in windows that do not overlap.

    What the convolution gives is pooled while it is in the cache, and pixels that no window covers are not computed.
    """
    x, w, b, stride, padding, shape = checks.conv2d_forward(x, w, b, stride, padding)
    pool_size, shape = checks.windows_side_by_side(shape, pool_size)
    argmax = workspace.empty(shape, np.uint8 if math.prod(pool_size) <= 256 else np.int32)
    return _forward(x, w, b, stride, padding, shape, True, pool_size, argmax), argmax


def conv2d_relu_max_pool2d_backward(dy, y, argmax, x, w, stride=1, padding=NO_PADDING, pool_size=2,
                                    input_gradient=True, out=None):
    """Gradients through ``conv2d_relu_max_pool2d_forward``, from its results y and argmax.

    Only the winners of the windows are looked at (``winners.py``), where that pays.
    """
    x, w, _, stride, padding, shape = checks.conv2d_forward(x, w, None, stride, padding)
    pool_size, y_shape = checks.windows_side_by_side(shape, pool_size)
    dy, y = checks.shaped("dy", dy, y_shape, x.dtype), checks.shaped("y", y, y_shape, x.dtype)
    argmax = checks.window_places(argmax, y_shape, pool_size)
    argmax = argmax.astype(np.uint8 if math.prod(pool_size) <= 256 else np.int32, copy=False)
    workers, gradients = threads.get_num_threads(), gradients_of(w, out)
    setup = _winners(x.shape, w.shape, stride, padding, _before_pooling(dy.shape, pool_size), x.dtype, workers,
                     pool_size)
    if setup is None:
        return _backward(dy, y, x, w, stride, padding, input_gradient, gradients, pool_size, argmax)
    return _backward_from_winners(setup, workers, dy, y, argmax, x, w, stride, pool_size, input_gradient, gradients)


def gradients_of(w, out):
    """``dw, db``, to be written: new arrays, or those in ``out``."""
    dw, db = out or (None, None)
    return (workspace.empty(w.shape, w.dtype) if dw is None else checks.target("out[0]", dw, w.shape, w.dtype),
            np.empty(w.shape[-1], w.dtype) if db is None else checks.target("out[1]", db, w.shape[-1:], w.dtype))


_OFFSETS = np.dtype(np.int32)

# of a convolution without pooling
_NO_WINDOW, _NO_PLACES = (0, 0), np.empty(0, np.uint8)


def _forward(x, w, b, stride, padding, shape, relu, pool_size=_NO_WINDOW, argmax=_NO_PLACES):
    y = workspace.empty(shape, x.dtype)
    workers = threads.get_num_threads()
    setup = _convolution(x.shape, w.shape, stride, padding, _before_pooling(shape, pool_size), x.dtype, workers,
                         pool_size[0])
    if b is None:
        bias = _zeros(setup.columns, x.dtype)
    elif setup.columns == shape[3]:
        bias = flat(b)
    else:
        bias = np.zeros(setup.columns, x.dtype)
        bias[:shape[3]] = b
    threads.run(convolve, setup.work * len(x) // threads.PRODUCTS, *setup.tables, len(x), flat(x),
                workspace.scratch("padded x", setup.padded, x.dtype), flat(w), setup.packs,
                workspace.scratch("weights", setup.weights, x.dtype), bias, y.reshape(-1), shape[3], setup.lanes, relu,
                workspace.scratch("unpooled y", setup.unpooled, x.dtype), argmax.reshape(-1), *pool_size,
                workers=workers)
    return y


def _backward(dy, y, x, w, stride, padding, input_gradient, gradients, pool_size=_NO_WINDOW, argmax=_NO_PLACES):
    dw, db = gradients
    if len(x) == 0:
        dw[...], db[...] = 0, 0
        return np.empty_like(x) if input_gradient else None, dw, db
    workers, masked = threads.get_num_threads(), y is not None
    result = _before_pooling(dy.shape, pool_size)
    geometry = x.shape, w.shape, stride, padding, result, x.dtype, workers
    flat_dy = flat(dy)
    gradient = flat_dy, flat(y) if masked else flat_dy, masked, flat(argmax), *pool_size
    work = w.size * len(x) * math.prod(result) // threads.PRODUCTS
    dx = None
    if input_gradient:
        dx = workspace.empty(x.shape, x.dtype)
        threads.run(spread, work, *_spreading(gradient, masked, dx, w, geometry), workers=workers)
    partial, sums, arguments = _correlation(gradient, x, w, dw, geometry)
    threads.run(correlate, work, *arguments, workers=workers)
    if partial is dw:
        db[...] = sums[0, :w.shape[3]]
        return dx, dw, db
    threads.run(add_splits, partial.size, partial, dw.reshape(-1), sums, db, workers=workers)
    return dx, dw, db


def _backward_from_winners(setup, workers, dy, y, argmax, x, w, stride, pool_size, input_gradient, gradients):
    dx = workspace.empty(x.shape if input_gradient else (0,), x.dtype)
    dw, db = gradients
    threads.run(backward_from_winners, math.prod(w.shape[:3]) * dy.size // threads.PRODUCTS, *setup.tables,
                *w.shape[:2], stride[1], len(x), flat(x), flat(dy), flat(y), flat(argmax), *pool_size, setup.group,
                setup.room, flat(w), bool(input_gradient), dx.reshape(-1), dw.reshape(-1), db, setup.lanes,
                setup.splits, setup.block, workspace.scratch("padded x", setup.padded, x.dtype),
                workspace.scratch("weights", setup.weights, x.dtype),
                workspace.scratch("starts", setup.starts, _OFFSETS),
                workspace.scratch("bits", setup.bits, np.dtype(np.int64)),
                workspace.scratch("sources", setup.starts, np.dtype(np.int64)),
                workspace.scratch("gradients", setup.places, x.dtype),
                workspace.scratch("places", setup.places, _OFFSETS),
                workspace.scratch("partial", (setup.splits * w.size,), x.dtype), np.zeros(setup.sums, x.dtype),
                workers=workers)
    return dx if input_gradient else None, dw, db


def _before_pooling(shape, pool_size):
    """Rows and columns of the convolution's result that windows cover, if there are windows; else all."""
    return shape[1] * (pool_size[0] or 1), shape[2] * (pool_size[1] or 1)


def _spreading(gradient, masked, dx, w, geometry):
    """The arguments of ``convolution.spread_share``."""
    setup = _gather(*geometry, masked)
    if setup is None or (setup.padded[1] > 0 and not arrays.is_finite(w)):  # where zeros of a border would give NaN
        setup = _spread(*geometry, masked)
    shape, (kh, kw, channels, outputs) = geometry[:2]
    return (*setup.tables, shape[0], setup.gathers, kh, kw, geometry[2][1], *gradient,
            workspace.scratch("dy", setup.dy, dx.dtype), flat(w),
            workspace.scratch("weights", setup.weights, dx.dtype), _zeros(simd.PANEL * setup.lanes, dx.dtype),
            setup.count_up, dx.reshape(-1), channels, outputs, setup.lanes,
            workspace.scratch("padded dx", setup.padded, dx.dtype),
            workspace.scratch("windows", setup.spread, dx.dtype), setup.windows, setup.pixels)


def _correlation(gradient, x, w, dw, geometry):
    """dw, its partial sums, those of db, and the arguments of ``convolution.correlate_share``."""
    setup = _correlate(*geometry)
    partial = dw if setup.splits == 1 else workspace.scratch("partial", (setup.splits, w.size), w.dtype)
    sums = np.zeros(setup.sums, w.dtype)
    return partial, sums, (
        *setup.tables, setup.taps, len(x), flat(x), *gradient,
        workspace.scratch("padded x", setup.padded, x.dtype), workspace.scratch("packed dy", setup.dy, x.dtype),
        _zeros(simd.PANEL * setup.lanes, x.dtype), partial.reshape(-1), sums, setup.splits, setup.block, w.shape[3],
        setup.lanes)


# ---- what depends on the shapes alone, kept from call to call ------------------------------------------------------


class Convolution(NamedTuple):
    """How ``convolve`` is called. ``padded``, ``weights`` and so on, here and below, are shapes of work arrays."""

    tables: tuple  # the plan, packed
    lanes: int
    columns: int  # of y, with those that fill up the last panel
    packs: bool
    padded: tuple
    weights: tuple
    unpooled: tuple
    work: int  # multiply-adds for one image


class Spread(NamedTuple):
    """How ``spread_share`` is called."""

    tables: tuple  # if dx is gathered, the plan is that of a convolution of dy
    gathers: bool
    lanes: int
    count_up: np.ndarray
    padded: tuple
    weights: tuple
    dy: tuple
    spread: tuple
    windows: np.ndarray  # with few channels: where the windows stand in ``spread``, and the pixels of dy in dy
    pixels: np.ndarray


class Correlation(NamedTuple):
    """How ``correlate_share`` is called: the sum over the batch in ``splits`` parts, taps in blocks of ``block``."""

    tables: tuple
    lanes: int
    taps: np.ndarray
    splits: int
    block: int
    padded: tuple
    dy: tuple
    sums: tuple


class Winners(NamedTuple):
    """How ``winners_share`` is called."""

    tables: tuple
    lanes: int
    group: int  # windows that a tile goes over
    room: int  # for so many, in whole vectors
    splits: int
    block: int  # channels of y
    padded: tuple
    weights: tuple
    starts: tuple
    bits: tuple
    places: tuple
    sums: tuple


@lru_cache(256)
def _convolution(shape, w_shape, stride, padding, result, dtype, workers, pool_height):
    lanes, outputs = simd.lanes(dtype), w_shape[3]
    plan, tables = plan_of(shape, w_shape[:2], outputs, stride, padding, result, dtype.itemsize, workers,
                           pool_height or 1)
    columns, terms = _whole(outputs, lanes), len(plan.step)
    pixels = shape[0] * math.prod(result)
    # rows of w that are wider than a panel can be used as they are, but not as fast
    packs = outputs != columns or (outputs > simd.PANEL * lanes and pixels >= 512)
    widest = min(columns, simd.PANEL * lanes)
    return Convolution(tables, lanes, columns, packs, _padded(plan, workers),
                       (workers, (terms + 1) * widest if packs else 0),
                       (workers, len(plan.row) * outputs if pool_height else 0), math.prod(result) * outputs * terms)


@lru_cache(256)
def _gather(shape, w_shape, stride, padding, result, dtype, workers, masked):
    """``Spread`` for ``convolution.gather``; None if that cannot be used, or is slower than adding up in memory."""
    lanes, (kh, kw, channels, outputs) = simd.lanes(dtype), w_shape
    border = tuple((size - 1 - before, rows - rest + before) for size, (before, _), rows, rest in zip(
        w_shape[:2], padding, shape[1:3], result))
    if stride != (1, 1) or min(map(min, border)) < 0:
        return None
    if any(map(any, border)) and (channels < lanes or outputs > SHORT):
        return None
    plan, tables = plan_of((shape[0], *result, outputs), (kh, kw), channels, stride, border, shape[1:3],
                           dtype.itemsize, workers)
    if plan.padded_height * plan.padded_width > WIDER * math.prod(result):
        return None
    weights = (kh * kw * outputs + lanes) * min(_whole(channels, lanes), simd.PANEL * lanes)
    pixels = plan.images * plan.block_height * plan.width
    return Spread(tables, True, lanes, multiples(0, 1), _padded(plan, workers), (workers, weights),
                  (workers, pixels * outputs if masked else 0), (workers, 0), multiples(0, 1), multiples(0, 1))


@lru_cache(256)
def _spread(shape, w_shape, stride, padding, result, dtype, workers, masked):
    lanes, (kh, kw, channels, outputs) = simd.lanes(dtype), w_shape
    # where channels do not fill a vector, but the elements of a kernel with theirs may
    size = _whole(kh * kw * channels, lanes) if channels < lanes and kh * kw > 1 else 0
    plan, tables = plan_of(shape, (kh, kw), outputs, stride, padding, result, dtype.itemsize, workers, extra=size)
    rows = plan.images * plan.out_height if plan.bands == 1 else plan.band + -(-kh // stride[0])
    pixels = rows * plan.out_width
    # of a panel's transposed columns whole vectors are written: hence the room behind
    weights = (outputs + lanes) * size if size else (kh * kw * outputs + lanes) * _whole(channels, lanes)
    return Spread(tables, False, lanes, multiples(outputs, 1), _padded(plan, workers), (workers, weights),
                  (workers, pixels * outputs if masked else 0), (workers, pixels * size),
                  multiples(pixels + 1 if size else 0, size), multiples(pixels if size else 0, outputs))


@lru_cache(256)
def _correlate(shape, w_shape, stride, padding, result, dtype, workers):
    lanes, outputs, terms = simd.lanes(dtype), w_shape[3], math.prod(w_shape[:3])
    wanted = max(1, min(SHARES, shape[0] * math.prod(result) // 1024))
    plan, tables = plan_of(shape, w_shape[:2], outputs, stride, padding, result, dtype.itemsize, wanted)
    splits = min(wanted, -(-shape[0] // plan.images) * plan.bands)
    columns = _whole(outputs, lanes)
    return Correlation(tables, lanes, multiples(terms, outputs), splits, -(-terms // (SHARES // splits)),
                       _padded(plan, workers), (workers, len(plan.row) * min(columns, simd.PANEL * lanes)),
                       (splits + 1, columns))


@lru_cache(256)
def _winners(shape, w_shape, stride, padding, result, dtype, workers, pool_size):
    """None where it would not pay: if rows of a kernel are not whole vectors, or windows have one or two pixels."""
    lanes, (kh, kw, channels, outputs) = simd.lanes(dtype), w_shape
    if kw * channels % lanes > 0 or math.prod(pool_size) <= 2 or shape[0] == 0:
        return None
    # no numbers for the outputs: what comes before the pooling is never made
    plan, tables = plan_of(shape, w_shape[:2], 0, stride, padding, result, dtype.itemsize, SHARES, pool_size[0])
    # a power of two, so that SHARES tasks of equal size come out
    splits = 1 << (max(1, min(SHARES, shape[0] * math.prod(result) // 1024)).bit_length() - 1)
    splits = min(splits, -(-shape[0] // plan.images) * plan.bands)
    # groups of equal size, of at most WORD windows; the pixels that a window has to itself count, not those it shares
    windows, size = math.prod(result) // math.prod(pool_size), math.prod(pool_size) * math.prod(stride) * channels
    group = -(-windows // max(-(-windows * size * dtype.itemsize // GROUP_BYTES), -(-windows // WORD)))
    room = -(-group // lanes) * lanes
    # a band of dx, with the windows that reach into it from above and below
    rows = plan.band * stride[0] + 2 * (kh + pool_size[0] * stride[0]) if plan.bands > 1 else 0
    padded = max(_padded(plan, workers)[1], rows * plan.padded_width * channels)
    terms, pixels, block = kh * kw * channels, group * math.prod(pool_size), -(-outputs // (SHARES // splits))
    return Winners(tables, lanes, group, room, splits, block, (workers, padded),
                   (workers, (outputs + lanes) * between_channels.py_func(terms, lanes)),
                   (workers, max(room, pixels)), (workers, max(block + lanes, pixels)),
                   (workers, (block + lanes) * room), (splits, outputs * lanes))


def _padded(plan, workers):
    """For every worker the part of a padded image that a unit takes, or of the padded dx that it makes."""
    rows = max(plan.block_height, plan.band * plan.row_step, plan.padded_height if plan.bands == 1 else 0)
    return workers, plan.images * rows * plan.padded_width * plan.channels if plan.padded else 0


def _whole(columns, lanes):
    """Columns, with those that fill the last panel up."""
    panel = simd.PANEL * lanes
    rest = columns % panel
    return columns - rest + (panel_width.py_func(rest, lanes) if rest else 0)


@lru_cache(64)
def _zeros(size, dtype):
    return np.zeros(size, dtype)  # never written to
