"""Two-dimensional convolution on all cores: what Python calls. The formulas stand in ``reference/conv2d.py``.

A call is found among those that are known (``calls.py``) or is prepared: its arguments are checked, and what depends on
the shapes alone comes from ``setups.py``. Then it runs the kernels, which are in ``convolution.py``, and those of
certain gradients in ``dots.py``, ``winners.py`` and ``picked.py``.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from .. import NO_PADDING, arrays
from .. import checks as of_numpy
from . import setups, simd, threads, workspace
from .calls import Calls, writeable
from .checks import checks
from .convolution import convolve, correlate, spread, spread_and_correlate
from .dots import PIXELS, spread_dots
from .picked import correlate_picked
from .pool2d import places_type
from .winners import backward_from_winners, count_positive
from .workspace import constant


def conv2d_forward(x, w, b=None, stride=1, padding=NO_PADDING):
    """``y[n, i, j, o] = b[o] + sum_mnc x[n, i SH + m - top, j SW + n - left, c] w[m, n, c, o]``.

    Parameters, results and errors as in ``reference.conv2d_forward``.
    """
    (x, w, b), call = _forward_calls.find((x, w, b), (stride, padding))
    return run_forward(call, x, w, b, relu=False)


def conv2d_relu_forward(x, w, b=None, stride=1, padding=NO_PADDING):
    """``relu(conv2d_forward(...))``; the tile takes the maximum with 0 just before it leaves its registers."""
    (x, w, b), call = _forward_calls.find((x, w, b), (stride, padding))
    return run_forward(call, x, w, b, relu=True)


def conv2d_relu_max_pool2d_forward(x, w, b=None, stride=1, padding=NO_PADDING, pool_size=2):
    """``y, argmax = max_pool2d_forward(relu(conv2d_forward(...)), pool_size)``, in windows that do not overlap.

    What the convolution gives is pooled while it is in the cache, and pixels that no window covers are not computed.
    """
    (x, w, b), call = _pooled_forward_calls.find((x, w, b), (stride, padding, pool_size))
    argmax = call.places.empty()
    return run_forward(call, x, w, b, True, argmax), argmax


def conv2d_backward(dy, x, w, stride=1, padding=NO_PADDING, input_gradient=True, out=None):
    """``dx`` (or None), ``dw`` and ``db``, as in ``reference.conv2d_backward``; ``out`` as in ``kernels.OUT``."""
    return _backward(dy, None, x, w, stride, padding, input_gradient, out, relu=False)


def conv2d_relu_backward(dy, y, x, w, stride=1, padding=NO_PADDING, input_gradient=True, out=None):
    """Gradients through ``conv2d_relu_forward``, from its result y: dy counts only where y is above 0.

    Both passes that read dy drop the rest as they read it, so the masked dy is never written to memory; and where few
    pixels are left, only those are looked at (``winners.py``): relu is like a pooling with windows of one pixel.
    """
    return _backward(dy, y, x, w, stride, padding, input_gradient, out, relu=True)


def _backward(dy, y, x, w, stride, padding, input_gradient, out, relu):
    arrays, call = _backward_calls.find((dy, y, x, w, *(out or NO_PLACES)),
                                        (stride, padding, bool(input_gradient), relu))
    dy, y, x, w, *places = arrays
    return run_backward(call, dy, y, None, x, w, *places)


def conv2d_relu_max_pool2d_backward(dy, y, argmax, x, w, stride=1, padding=NO_PADDING, pool_size=2,
                                    input_gradient=True, out=None):
    """Gradients through ``conv2d_relu_max_pool2d_forward``, from its results y and argmax.

    Only the winners of the windows are looked at, where that pays (``winners.py``), for dw also where images have few
    channels (``picked.py``).
    """
    arrays, call = _pooled_calls.find((dy, y, argmax, x, w, *(out or NO_PLACES)),
                                      (stride, padding, pool_size, bool(input_gradient)))
    dy, y, argmax, x, w, *places = arrays
    return run_backward(call, dy, y, argmax, x, w, *places)


#: For ``out``: dw and db have no places yet.
NO_PLACES = (None, None)

#: Where fewer than this share of a convolution's pixels have a gradient, to look for them pays. (In document 2's third
#: layer either way takes as long at 0.48 with AVX-512 and at 0.63 with AVX2.)
FEW = 0.6 if simd.BITS == 256 else 0.45

#: From so many of the results of a pooling, or of relu, the share is estimated: to within 0.02 as a rule, and either
#: way takes about as long where it is that near to ``FEW``.
SAMPLE = 512

# of a convolution without pooling
_NO_WINDOW, _NO_ARGMAX = (0, 0), np.empty(0, np.uint8)


class Forward(NamedTuple):
    """What the forward passes of one kind have in common."""

    results: workspace.Results
    window: tuple  # of the pooling behind it, if there is one,
    places: workspace.Results  # and for the places in it
    workers: int
    images: int
    outputs: int
    work: int
    zeros: np.ndarray  # instead of a bias
    setup: setups.Convolution


class Backward(NamedTuple):
    """What the backward passes of one kind have in common."""

    geometry: tuple  # of a convolution: shapes of x and w, stride, padding, rows and columns of y, type, workers
    window: tuple
    work: int
    dx: workspace.Results | None
    winners: setups.Winners | None = None  # each only where it is used
    dots: setups.Dots | None = None
    spread: setups.Spread | None = None
    picked: setups.Picked | None = None
    correlation: setups.Correlation | None = None


def forward_call(x_shape, w_shape, stride, padding, y_shape, dtype, shape, window=_NO_WINDOW):
    """``Forward``, for a result of that ``shape``, with the rows and columns ``y_shape``."""
    workers, result = threads.get_num_threads(), _before_pooling(y_shape, window)
    setup = setups.convolution(x_shape, w_shape, stride, padding, result, dtype, workers, window)
    work = setup.work * x_shape[0] // threads.PRODUCTS
    results, places = (workspace.results(shape, kind) for kind in (dtype, places_type(window)))
    return Forward(results, window, places, workers, x_shape[0], w_shape[3], work, constant(0, setup.columns, dtype),
                   setup)


def backward_call(x_shape, w_shape, stride, padding, y_shape, dtype, masked, dx_shape, window=_NO_WINDOW, few=False):
    """``Backward``, with dx of shape ``dx_shape`` if that is not None; ``few`` if it may pay to look at winners alone.
    """
    workers, result = threads.get_num_threads(), _before_pooling(y_shape, window)
    geometry = x_shape, w_shape, stride, padding, result, dtype, workers
    dx = None if dx_shape is None else workspace.results(dx_shape, dtype)
    if x_shape[0] == 0:
        return Backward(geometry, window, 0, dx)
    winners = setups.winners(*geometry, (window[0] or 1, window[1] or 1)) if few else None
    work = math.prod(w_shape) * x_shape[0] * math.prod(result) // threads.PRODUCTS
    dots = spread = None
    if dx:
        dots = setups.dots(*geometry, masked)
        spread = None if dots else setups.gather(*geometry, masked) or setups.spread(*geometry, masked)
    picked = setups.picked(*geometry, window)
    return Backward(geometry, window, work, dx, winners, dots, spread, picked,
                    None if picked else setups.correlation(*geometry))


def _prepare_forward(arrays, settings):
    x, w, b, stride, padding, shape = checks.conv2d_forward(*arrays, *settings)
    return tuple(map(writeable, (x, w, b))), forward_call(x.shape, w.shape, stride, padding, shape[1:3], x.dtype, shape)


def _prepare_pooled_forward(arrays, settings):
    *settings, pool_size = settings
    x, w, b, stride, padding, shape = checks.conv2d_forward(*arrays, *settings)
    window, shape = checks.windows_side_by_side(shape, pool_size)
    return tuple(map(writeable, (x, w, b))), forward_call(x.shape, w.shape, stride, padding, shape[1:3], x.dtype, shape,
                                                          window)


def _prepare_backward(arrays, settings):
    dy, y, x, w, dw, db = arrays
    stride, padding, input_gradient, relu = settings
    dy, x, w, stride, padding, *y = checks.conv2d_backward(dy, x, w, stride, padding, *([y] if relu else []))
    y = y[0] if relu else None
    return (*map(writeable, (dy, y, x, w)), *places_of(w, dw, db)), backward_call(
        x.shape, w.shape, stride, padding, dy.shape[1:3], x.dtype, relu, x.shape if input_gradient else None,
        few=relu)


def _prepare_pooled(arrays, settings):
    dy, y, argmax, x, w, dw, db = arrays
    stride, padding, pool_size, input_gradient = settings
    x, w, _, stride, padding, shape = checks.conv2d_forward(x, w, None, stride, padding)
    window, y_shape = checks.windows_side_by_side(shape, pool_size)
    dy, y = checks.shaped("dy", dy, y_shape, x.dtype), checks.shaped("y", y, y_shape, x.dtype)
    # as this is done once, NumPy looks at the places: a kernel would have to be compiled
    argmax = of_numpy.window_places(argmax, y_shape, window).astype(places_type(window), copy=False)
    return (*map(writeable, (dy, y, argmax, x, w)), *places_of(w, dw, db)), backward_call(
        x.shape, w.shape, stride, padding, y_shape[1:3], x.dtype, True, x.shape if input_gradient else None, window,
        few=True)


def places_of(w, dw, db):
    """The places for the gradients of w and of the bias, if there are any, after checking them."""
    return (None if dw is None else checks.target("out[0]", dw, w.shape, w.dtype),
            None if db is None else checks.target("out[1]", db, w.shape[-1:], w.dtype))


_forward_calls, _pooled_forward_calls = Calls(_prepare_forward), Calls(_prepare_pooled_forward)
_backward_calls, _pooled_calls = Calls(_prepare_backward), Calls(_prepare_pooled)


def run_forward(call, x, w, b, relu, argmax=_NO_ARGMAX):
    """The result of a call, of a convolution or a dense layer."""
    y = call.results.empty()
    setup = call.setup
    bias, padded, weights, unpooled = workspace.scratch(setup.scratch)
    if b is None:
        bias = call.zeros
    elif len(bias) == 0:
        bias = b
    else:  # what stands behind the last of them no result gets to see
        bias[:call.outputs] = b
    threads.run(convolve, call.work, *setup.tables, call.images, x.ravel(), padded, w.ravel(), setup.packs, weights,
                bias, y.ravel(), call.outputs, setup.lanes, relu, unpooled, argmax.ravel(), *call.window,
                workers=call.workers)
    return y


def run_backward(call, dy, y, argmax, x, w, dw, db):
    """dx (or None), dw and db of a call, of a convolution or a dense layer.

    With y, dy counts only where y is above 0; with argmax, both are those of the pooling behind.
    """
    dx = call.dx.empty() if call.dx else None
    dw = workspace.empty(w.shape, w.dtype) if dw is None else dw
    db = np.empty(w.shape[-1], w.dtype) if db is None else db
    if len(x) == 0:
        dw[...], db[...] = 0, 0
    elif call.winners and _few_count(y, call.window):
        _from_winners(call, dy, y, argmax, x, w, dx, dw, db)
    else:
        _from_all_pixels(call, dy, y, argmax, x, w, dx, dw, db)
    return dx, dw, db


def _from_all_pixels(call, dy, y, argmax, x, w, dx, dw, db):
    workers, masked = call.geometry[-1], y is not None
    flat_dy = dy.ravel()
    gradient = (flat_dy, y.ravel() if masked else flat_dy, masked, _NO_ARGMAX if argmax is None else argmax.ravel(),
                *call.window)
    if argmax is not None and (call.dx or not call.picked):
        checks.window_places(argmax, dy.shape, call.window)
    spreading = _spreading(call, gradient, dx, w) if call.spread else ()
    if call.dots:
        threads.run(spread_dots, call.work, *_dots(call, gradient, dx, w), workers=workers)
    setup = call.picked or call.correlation
    sums, partial, *scratch = workspace.scratch(setup.scratch)
    results = dw.ravel(), db, partial, sums, setup.splits
    if call.picked:
        if spreading:
            threads.run(spread, call.work, *spreading, workers=workers)
        if not threads.run(correlate_picked, call.work, *_picking(setup, scratch, gradient, x, results),
                           workers=workers):
            checks.window_places(argmax, dy.shape, call.window)  # says what is wrong
    else:
        threads.run(spread_and_correlate if spreading else correlate, call.work, *results, *spreading,
                    *_correlation(setup, scratch, gradient, x), workers=workers)


def _from_winners(call, dy, y, argmax, x, w, dx, dw, db):
    """From the winners alone; without a pooling windows have one pixel, which wins."""
    setup = call.winners
    found, *scratch = workspace.scratch(setup.scratch)
    given, places = (_NO_ARGMAX, _first_places(y.size)) if argmax is None else (argmax.ravel(),) * 2
    if not threads.run(backward_from_winners, call.work // setup.places, given, setup.places, found, *setup.tables,
                       x.ravel(), dy.ravel(), y.ravel(), places, *setup.windows, w.ravel(), dx is not None,
                       constant(0, 0, x.dtype) if dx is None else dx.ravel(), dw.ravel(), db, *setup.cuts, *scratch,
                       workers=call.geometry[-1]):
        checks.window_places(argmax, dy.shape, call.window)  # says what is wrong


def _few_count(y, window):
    """Whether less than the share ``FEW`` of the pixels that were pooled to y have a gradient.

    A window has at most one, and none where y is 0. The same y always gives the same answer.
    """
    size = math.prod(window) or 1
    if size * FEW > 1:
        return True
    step = _sample_step(y.shape)
    return count_positive(y.ravel(), step) < FEW * size * len(range(0, y.size, step))


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
    return constant(0, 1 << count.bit_length(), _NO_ARGMAX.dtype)


def _before_pooling(result, window):
    """Rows and columns of the convolution's result that windows cover, if there are windows; else all."""
    return result[0] * (window[0] or 1), result[1] * (window[1] or 1)


def _spreading(call, gradient, dx, w):
    """The arguments of ``convolution.spread_share``."""
    setup, geometry, masked = call.spread, call.geometry, gradient[2]
    if setup.gathers and setup.padded and not arrays.is_finite(w):  # where zeros of a border would give NaN
        setup = setups.spread(*geometry, masked)
    shape, (kh, kw, channels, outputs) = geometry[:2]
    dy, weights, padded, windows = workspace.scratch(setup.scratch)
    return (*setup.tables, shape[0], setup.gathers, kh, kw, geometry[2][1], *gradient, dy, w.ravel(), weights,
            constant(0, simd.PANEL * setup.lanes, dx.dtype), setup.count_up, dx.ravel(), channels, outputs,
            setup.lanes, padded, windows, setup.windows, setup.pixels)


def _dots(call, gradient, dx, w):
    """The arguments of ``dots.dots_share``."""
    setup, (shape, w_shape, _, _, result, *_) = call.dots, call.geometry
    return (shape[0], *setup.tables, *gradient, *workspace.scratch(setup.scratch), w.ravel(),
            constant(0, max(PIXELS) * setup.lanes, dx.dtype), dx.ravel(), *shape[1:], *result, w_shape[3], setup.lanes)


def _correlation(setup, scratch, gradient, x):
    """The arguments of ``convolution.correlate_share`` behind those for its results."""
    return (*setup.tables, x.ravel(), *gradient, *scratch, constant(0, simd.PANEL * setup.lanes, x.dtype), setup.block,
            setup.columns, setup.lanes)


def _picking(setup, scratch, gradient, x, results):
    """The arguments of ``picked.correlate_picked``."""
    dy, y, _, argmax, *_ = gradient
    found, *scratch = scratch
    return (argmax, setup.places, found, *results, *setup.tables, x.ravel(), dy, y, setup.windows, *scratch,
            len(results[1]), setup.lanes)
