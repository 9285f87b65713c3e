"""Two-dimensional convolution on all cores: what Python calls. The formulas stand in ``reference/conv2d.py``.

A call is found among those that are known (``calls.py``) or is prepared: its arguments are checked, and what depends on
the shapes alone comes from ``setups.py``. Then it runs the kernels, which are in ``convolution.py``, and those of
certain gradients in ``dots.py``, ``winners.py`` and ``picked.py``.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .. import NO_PADDING, arrays
from .. import checks as of_numpy
from . import setups, simd, threads, workspace
from .calls import Calls, writeable
from .checks import checks
from .convolution import convolve, correlate, spread, spread_and_correlate
from .dots import spread_dots
from .picked import correlate_picked
from .pool2d import places_type
from .winners import backward_from_winners, count_positive
from .workspace import constant


def conv2d_forward(x, w, b=None, stride=1, padding=NO_PADDING):
    """``y[n, i, j, o] = b[o] + sum_mnc x[n, i SH + m - top, j SW + n - left, c] w[m, n, c, o]``.

    Parameters, results and errors as in ``reference.conv2d_forward``.
    """
    (x, w, b), call = _forward_calls.find((x, w, b), (stride, padding, False))
    return run_forward(call, x, w, b)


def conv2d_relu_forward(x, w, b=None, stride=1, padding=NO_PADDING):
    """``relu(conv2d_forward(...))``; the tile takes the maximum with 0 just before it leaves its registers."""
    (x, w, b), call = _forward_calls.find((x, w, b), (stride, padding, True))
    return run_forward(call, x, w, b)


def conv2d_relu_max_pool2d_forward(x, w, b=None, stride=1, padding=NO_PADDING, pool_size=2):
    """``y, argmax = max_pool2d_forward(relu(conv2d_forward(...)), pool_size)``, in windows that do not overlap.

    What the convolution gives is pooled while it is in the cache, and pixels that no window covers are not computed.
    """
    (x, w, b), call = _pooled_forward_calls.find((x, w, b), (stride, padding, pool_size))
    argmax = call.places.empty()
    return run_forward(call, x, w, b, argmax.ravel()), argmax


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
NO_WINDOW, _NO_ARGMAX = (0, 0), np.empty(0, np.uint8)


class Forward(NamedTuple):
    """What the forward passes of one kind have in common."""

    results: workspace.Results
    places: workspace.Results  # of the maxima in the windows of the pooling behind it, if there is one
    workers: int
    no_bias: np.ndarray  # zeros
    fixed: workspace.Fixed


class Backward(NamedTuple):
    """What the backward passes of one kind have in common.

    Each of the fixed arguments is None where that kernel is not used.
    """

    geometry: tuple  # what all functions of ``setups.py`` take
    masked: bool  # whether relu does not let all of dy through
    window: tuple  # of the pooling behind the convolution, (0, 0) if there is none
    dx: workspace.Results | None
    workers: int
    sample: tuple | None = None  # see ``sample_of``
    spread: setups.Spread | None = None
    dots: workspace.Fixed | None = None
    correlation: workspace.Fixed | None = None
    both: workspace.Fixed | None = None  # ``correlation`` and ``spread``
    picked: workspace.Fixed | None = None
    winners: workspace.Fixed | None = None
    workers_of_winners: int = 1


def forward_call(x_shape, w_shape, stride, padding, y_shape, dtype, shape, relu, window=NO_WINDOW):
    """``Forward``, for a result of that ``shape``, with the rows and columns ``y_shape``."""
    workers, result = threads.get_num_threads(), _before_pooling(y_shape, window)
    setup = setups.convolution(x_shape, w_shape, stride, padding, result, dtype, workers, relu, window)
    work = setup.work * x_shape[0] // threads.PRODUCTS
    results, places = (workspace.results(shape, kind) for kind in (dtype, places_type(window)))
    return Forward(results, places, threads.worth(work, workers), constant(0, setup.columns, dtype), setup.fixed)


def backward_call(x_shape, w_shape, stride, padding, y_shape, dtype, masked, dx_shape, window=NO_WINDOW, few=False):
    """``Backward``, with dx of shape ``dx_shape`` if that is not None; ``few`` if it may pay to look at winners alone.
    """
    workers, result = threads.get_num_threads(), _before_pooling(y_shape, window)
    geometry = x_shape, w_shape, stride, padding, result, dtype, workers
    dx = None if dx_shape is None else workspace.results(dx_shape, dtype)
    work = math.prod(w_shape) * x_shape[0] * math.prod(result) // threads.PRODUCTS
    call = Backward(geometry, masked, window, dx, threads.worth(work, workers))
    if x_shape[0] == 0:  # there will be no kernel to run
        return call
    winners = setups.winners(*geometry, window, dx is not None) if few else None
    dots = spread = correlation = both = None
    if dx:
        dots = setups.dots(*geometry, masked, window)
        spread = None if dots else (setups.gather(*geometry, masked, window)
                                    or setups.spread(*geometry, masked, window))
    picked = setups.picked(*geometry, window)
    if not picked:
        correlation = setups.correlation(*geometry, masked, window)
        both = workspace.Fixed(correlation + spread.fixed) if spread else None
    sample = sample_of((x_shape[0], *y_shape, w_shape[3]), window)
    return call._replace(sample=sample, spread=spread, dots=dots, correlation=correlation, both=both, picked=picked,
                         winners=winners, workers_of_winners=threads.worth(work // (math.prod(window) or 1), workers))


def _prepare_forward(arrays, settings):
    *settings, relu = settings
    x, w, b, stride, padding, shape = checks.conv2d_forward(*arrays, *settings)
    return tuple(map(writeable, (x, w, b))), forward_call(x.shape, w.shape, stride, padding, shape[1:3], x.dtype, shape,
                                                          relu)


def _prepare_pooled_forward(arrays, settings):
    *settings, pool_size = settings
    x, w, b, stride, padding, shape = checks.conv2d_forward(*arrays, *settings)
    window, shape = checks.windows_side_by_side(shape, pool_size)
    return tuple(map(writeable, (x, w, b))), forward_call(x.shape, w.shape, stride, padding, shape[1:3], x.dtype, shape,
                                                          True, window)


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


def run_forward(call, x, w, b, argmax=_NO_ARGMAX):
    """The result of a call, of a convolution or a dense layer."""
    y = call.results.empty()
    threads.launch(convolve, (call.workers, x.ravel(), w.ravel(), call.no_bias if b is None else b, y.ravel(), argmax,
                              *workspace.arguments(call.fixed)))
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
        return dx, dw, db
    flat_dy = dy.ravel()
    mask = flat_dy if y is None else y.ravel()
    few = call.winners and _are_few(mask, call.sample)
    if argmax is None:
        places = _first_places(y.size) if few else _NO_ARGMAX
    else:
        places = argmax.ravel()
        if not few and (call.dx or not call.picked):  # kernels that do not look at it
            checks.window_places(argmax, dy.shape, call.window)
    good = (_from_winners if few else _from_all_pixels)(
        call, (flat_dy, mask, places), x.ravel(), w.ravel(), constant(0, 0, x.dtype) if dx is None else dx.ravel(),
        dw.ravel(), db)
    if not good:
        checks.window_places(argmax, dy.shape, call.window)  # says what is wrong
    return dx, dw, db


def _from_winners(call, gradient, x, w, dx, dw, db):
    """From the winners alone, which without a pooling are pixels. Returns whether all was well with argmax."""
    return threads.launch(backward_from_winners, (call.workers_of_winners, *gradient, x, w, dx, dw, db,
                                                  *workspace.arguments(call.winners)))


def _from_all_pixels(call, gradient, x, w, dx, dw, db):
    """Returns whether all was well with argmax, where that was not known."""
    spreading = call.spread
    if spreading and spreading.border and not arrays.is_finite(w):  # where zeros of a border would give NaN
        spreading = setups.spread(*call.geometry, call.masked, call.window)
    if call.both and spreading is call.spread:
        threads.launch(spread_and_correlate, (call.workers, *gradient, x, w, dx, dw, db,
                                              *workspace.arguments(call.both)))
        return True
    if call.dots:
        threads.launch(spread_dots, (call.workers, *gradient, w, dx, *workspace.arguments(call.dots)))
    elif spreading:
        threads.launch(spread, (call.workers, *gradient, w, dx, *workspace.arguments(spreading.fixed)))
    if call.picked:
        return threads.launch(correlate_picked, (call.workers, *gradient, x, dw, db, *workspace.arguments(call.picked)))
    threads.launch(correlate, (call.workers, *gradient, x, dw, db, *workspace.arguments(call.correlation)))
    return True


def sample_of(shape, window):
    """How much of y, of that shape, is looked at to see how many of the pixels that were pooled to it have a gradient.

    Returns how far apart the numbers of a sample lie, and how many of them must be above 0 for that to be the share
    ``FEW`` of the pixels. None if it cannot be so many: a window has at most one, and none where y is 0.
    """
    size, count = math.prod(window) or 1, math.prod(shape)
    if size * FEW > 1:
        return None
    step = max(1, count // SAMPLE)
    # if it had a factor in common with channels, rows or columns, some of them would be left out; if even, of stripes
    while math.gcd(step, 2 * math.prod(shape[1:])) > 1:
        step += 1
    return step, FEW * size * len(range(0, count, step))


def _are_few(y, sample):
    """Whether less than the share ``FEW`` of the pixels have a gradient. The same y always gives the same answer."""
    return sample is None or count_positive(y, sample[0]) < sample[1]


def _first_places(count):
    """An argmax for windows of a single pixel."""
    return constant(0, 1 << count.bit_length(), _NO_ARGMAX.dtype)


def _before_pooling(result, window):
    """Rows and columns of the convolution's result that windows cover, if there are windows; else all."""
    return result[0] * (window[0] or 1), result[1] * (window[1] or 1)
