"""Two-dimensional convolution on all cores: what Python calls. The formulas stand in ``reference/conv2d.py``.

What depends on the shapes alone is in ``setups.py``, the kernels are in ``convolution.py``, and those of certain
gradients in ``dots.py``, ``winners.py`` and ``picked.py``.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from .. import NO_PADDING, arrays
from . import setups, simd, threads, workspace
from .checks import checks
from .convolution import add_splits, convolve, correlate, spread
from .dots import PIXELS, spread_dots
from .picked import correlate_picked
from .winners import backward_from_winners, count_positive
from .workspace import constant, flat


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

    Both passes that read dy drop the rest as they read it, so the masked dy is never written to memory; and where few
    pixels are left, only those are looked at (``winners.py``): relu is like a pooling with windows of one pixel.
    """
    dy, x, w, stride, padding, y = checks.conv2d_backward(dy, x, w, stride, padding, y)
    return _backward_through_relu(dy, y, x, w, stride, padding, input_gradient, gradients_of(w, out))


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

    Only the winners of the windows are looked at, where that pays (``winners.py``), for dw also where images have few
    channels (``picked.py``).
    """
    x, w, _, stride, padding, shape = checks.conv2d_forward(x, w, None, stride, padding)
    pool_size, y_shape = checks.windows_side_by_side(shape, pool_size)
    dy, y = checks.shaped("dy", dy, y_shape, x.dtype), checks.shaped("y", y, y_shape, x.dtype)
    argmax = checks.window_places(argmax, y_shape, pool_size)
    argmax = argmax.astype(np.uint8 if math.prod(pool_size) <= 256 else np.int32, copy=False)
    return _backward_through_relu(dy, y, x, w, stride, padding, input_gradient, gradients_of(w, out), pool_size, argmax)


def gradients_of(w, out):
    """``dw, db``, to be written: new arrays, or those in ``out``."""
    dw, db = out or (None, None)
    return (workspace.empty(w.shape, w.dtype) if dw is None else checks.target("out[0]", dw, w.shape, w.dtype),
            np.empty(w.shape[-1], w.dtype) if db is None else checks.target("out[1]", db, w.shape[-1:], w.dtype))


#: Where fewer than this share of a convolution's pixels have a gradient, to look for them pays.
FEW = 0.45

#: From so many of the results of a pooling, or of relu, the share is estimated: to within 0.02 as a rule, and either
#: way takes about as long where it is that near to ``FEW``.
SAMPLE = 512

# of a convolution without pooling
_NO_WINDOW, _NO_PLACES = (0, 0), np.empty(0, np.uint8)


def _forward(x, w, b, stride, padding, shape, relu, pool_size=_NO_WINDOW, argmax=_NO_PLACES):
    y = workspace.empty(shape, x.dtype)
    workers = threads.get_num_threads()
    setup = setups.convolution(x.shape, w.shape, stride, padding, _before_pooling(shape, pool_size), x.dtype, workers,
                               pool_size[0])
    if b is None:
        bias = constant(0, setup.columns, x.dtype)
    elif setup.columns == shape[3]:
        bias = flat(b)
    else:
        bias = np.zeros(setup.columns, x.dtype)
        bias[:shape[3]] = b
    padded, weights, unpooled = workspace.scratch(setup.scratch)
    threads.run(convolve, setup.work * len(x) // threads.PRODUCTS, *setup.tables, len(x), flat(x), padded, flat(w),
                setup.packs, weights, bias, y.reshape(-1), shape[3], setup.lanes, relu, unpooled, argmax.reshape(-1),
                *pool_size, workers=workers)
    return y


def _backward_through_relu(dy, y, x, w, stride, padding, input_gradient, gradients, pool_size=_NO_WINDOW,
                           argmax=_NO_PLACES):
    """From the winners alone where that pays, else from all pixels; without a pooling windows have one pixel."""
    workers, window = threads.get_num_threads(), (pool_size[0] or 1, pool_size[1] or 1)
    setup = setups.winners(x.shape, w.shape, stride, padding, _before_pooling(dy.shape, pool_size), x.dtype, workers,
                           window)
    if setup and _few_count(y, window):
        places = flat(argmax) if argmax.size > 0 else _first_places(y.size)
        return _backward_from_winners(setup, workers, dy, y, places, x, w, stride, window, input_gradient, gradients)
    return _backward(dy, y, x, w, stride, padding, input_gradient, gradients, pool_size, argmax)


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
        dots = setups.dots(*geometry, masked)
        if dots:
            threads.run(spread_dots, work, *_dots(dots, gradient, dx, w, geometry), workers=workers)
        else:
            threads.run(spread, work, *_spreading(gradient, masked, dx, w, geometry), workers=workers)
    picked = setups.picked(*geometry, pool_size)
    setup = picked or setups.correlation(*geometry)
    *scratch, partial = workspace.scratch(setup.scratch)
    sums = np.zeros(setup.sums, w.dtype)
    if setup.splits == 1:
        partial = dw
    if picked:
        threads.run(correlate_picked, work, *_picking(setup, scratch, dy, y, argmax, x, partial, sums), workers=workers)
    else:
        threads.run(correlate, work, *_correlation(setup, scratch, gradient, x, partial, sums), workers=workers)
    if setup.splits == 1:
        db[...] = sums[0, :w.shape[3]]
        return dx, dw, db
    threads.run(add_splits, partial.size, partial, dw.reshape(-1), sums, db, workers=workers)
    return dx, dw, db


def _backward_from_winners(setup, workers, dy, y, argmax, x, w, stride, pool_size, input_gradient, gradients):
    dx = workspace.empty(x.shape if input_gradient else (0,), x.dtype)
    dw, db = gradients
    threads.run(backward_from_winners, math.prod(w.shape[:3]) * dy.size // threads.PRODUCTS, *setup.tables,
                *w.shape[:2], stride[1], len(x), flat(x), flat(dy), flat(y), argmax, *pool_size, setup.group,
                setup.dw_group, flat(w), bool(input_gradient), dx.reshape(-1), dw.reshape(-1), db, setup.lanes,
                setup.splits, setup.block, *workspace.scratch(setup.scratch), np.zeros(setup.sums, x.dtype),
                workers=workers)
    return dx if input_gradient else None, dw, db


def _few_count(y, pool_size):
    """Whether less than the share ``FEW`` of the pixels that were pooled to y have a gradient.

    A window has at most one, and none where y is 0. The same y always gives the same answer.
    """
    size = math.prod(pool_size)
    if size * FEW > 1:
        return True
    step = _sample_step(y.shape)
    return count_positive(flat(y), step) < FEW * size * len(range(0, y.size, step))


@lru_cache(256)
def _sample_step(shape):
    """How far apart the numbers of a sample lie in an array of shape (N, H, W, C)."""
    step = max(1, math.prod(shape) // SAMPLE)
    # if it had a factor in common with channels, rows or columns, some of them would be left out; if even, of stripes
    while math.gcd(step, 2 * math.prod(shape[1:])) > 1:
        step += 1
    return step


def _first_places(count):
    """An argmax for windows of a single pixel."""
    return constant(0, 1 << count.bit_length(), _NO_PLACES.dtype)


def _before_pooling(shape, pool_size):
    """Rows and columns of the convolution's result that windows cover, if there are windows; else all."""
    return shape[1] * (pool_size[0] or 1), shape[2] * (pool_size[1] or 1)


def _spreading(gradient, masked, dx, w, geometry):
    """The arguments of ``convolution.spread_share``."""
    setup = setups.gather(*geometry, masked)
    if setup is None or (setup.padded and not arrays.is_finite(w)):  # where zeros of a border would give NaN
        setup = setups.spread(*geometry, masked)
    shape, (kh, kw, channels, outputs) = geometry[:2]
    dy, weights, padded, windows = workspace.scratch(setup.scratch)
    return (*setup.tables, shape[0], setup.gathers, kh, kw, geometry[2][1], *gradient, dy, flat(w), weights,
            constant(0, simd.PANEL * setup.lanes, dx.dtype), setup.count_up, dx.reshape(-1), channels, outputs,
            setup.lanes, padded, windows, setup.windows, setup.pixels)


def _dots(setup, gradient, dx, w, geometry):
    """The arguments of ``dots.dots_share``."""
    shape, w_shape, _, _, result = geometry[:5]
    return (shape[0], *setup.tables, *gradient, *workspace.scratch(setup.scratch), flat(w),
            constant(0, max(PIXELS) * setup.lanes, dx.dtype), dx.reshape(-1), *shape[1:], *result, w_shape[3],
            setup.lanes)


def _correlation(setup, scratch, gradient, x, partial, sums):
    """The arguments of ``convolution.correlate_share``, which writes parts of dw and db to ``partial`` and ``sums``."""
    return (*setup.tables, setup.taps, len(x), flat(x), *gradient, *scratch,
            constant(0, simd.PANEL * setup.lanes, x.dtype), partial.reshape(-1), sums, setup.splits, setup.block,
            setup.columns, setup.lanes)


def _picking(setup, scratch, dy, y, argmax, x, partial, sums):
    """As ``_correlation``, for ``picked.picked_share``."""
    return (*setup.tables, setup.start, setup.near, setup.taps, len(x), flat(x), flat(dy), flat(y), flat(argmax),
            setup.windows, *scratch, partial.reshape(-1), sums, setup.splits, sums.shape[1], setup.lanes)
