"""Mistakes that any result may have: a factor, a sign, a turned or shuffled array, an image left out, float32."""

from __future__ import annotations

import itertools

import numpy as np

from kernels import reference
from minicnn.gradcheck.causes.engine import Cause, explains
from minicnn.gradcheck.numeric import relative_error
from minicnn.gradcheck.operations import OPERATION_OF, arguments_for

#: Numbers by which a result is often too large: phrase, and how to compute it from a case.
FACTORS = (
    ("N, the number of images (samples) in the batch", lambda c: _batch(c)),
    ("OH*OW, the number of output pixels", lambda c: c.oh * c.ow),
    ("N*OH*OW, the number of output pixels of the batch", lambda c: c.n * c.oh * c.ow),
    ("H*W, the number of pixels", lambda c: c.h * c.width),
    ("KH*KW, the size of the window", lambda c: c.kh * c.kw),
    ("KH*KW*C, the size of a kernel", lambda c: c.kh * c.kw * c.c),
    ("C, the number of channels", lambda c: c.x.shape[-1]),
    ("O, the number of output channels", lambda c: c.w.shape[-1]),
    ("SH*SW, the product of the strides", lambda c: c.sh * c.sw),
    ("M, the number of values of a channel", lambda c: c.x.size // c.x.shape[-1]),
    ("the number of elements", lambda c: c.truth.size),
)


def find(function, result, observations):
    """A general cause that predicts ``result`` in every case, or None."""
    shapes = {seen.actual.shape for seen in observations if seen.actual is not None}
    if not shapes:
        return None
    for cause in _candidates(function, result, max(len(shape) for shape in shapes)):
        if explains(cause.predict, observations):
            return cause
    return (_named_factor(result, observations) or _constant_factor(result, observations)
            or _shuffled_channels(result, observations) or _precision(result, observations)
            or _not_a_number(result, observations) or _one_element(result, observations))


def _candidates(function, result, ndim):
    yield Cause("zero", f"{result} is zero everywhere: nothing is computed, or the result is lost on the way",
                lambda c: np.zeros_like(c.truth))
    yield Cause("sign", f"{result} has the wrong sign", lambda c: -c.truth)
    yield Cause("the derivative at ones", "dy is not used: this is the gradient for a dy of ones; multiply with dy",
                lambda c: _with_ones(function, result, c))
    axes = {4: ("images", "rows", "columns", "channels")}.get(ndim, [f"axis {axis}" for axis in range(ndim)])
    if result == "dw" and ndim == 4:
        axes = ("rows", "columns", "input channels", "output channels")
    for axis in range(ndim):
        yield Cause("reversed", f"{result} comes out reversed along its {axes[axis]}", _along(np.flip, axis, ndim))
    if ndim == 4:
        yield Cause("turned", f"{result} comes out turned by 180 degrees", lambda c: np.flip(c.truth, (1, 2)))
    for first, second in itertools.combinations(range(ndim), 2):
        yield Cause("axes exchanged", f"{axes[first]} and {axes[second]} of {result} are exchanged",
                    _exchange(first, second))
    for order in itertools.permutations(range(ndim)):
        if ndim > 1 and order != tuple(range(ndim)):
            yield Cause("reshaped in the wrong order", f"the numbers of {result} are right but stand in the wrong "
                                                       "order: a reshape does not exchange axes, transpose before (or "
                                                       "after) it", _reorder(order))
    for axis, shift in itertools.product(range(ndim), (1, -1)):
        yield Cause("shifted", f"{result} is shifted by one along its {axes[axis]}: an index is off by one",
                    _shift(axis, shift, ndim))
    if ndim > 1 and result != "dw":
        yield Cause("first image only", f"only the first image (sample) of {result} is filled in: the loop over the "
                                        "batch is missing or ends early", lambda c: c.truth * _first(c.truth))
        yield Cause("last image left out", f"the last image (sample) of {result} is left out: a loop ends too early",
                    lambda c: c.truth * ~_last(c.truth, 0))
    for axis in range(ndim):
        yield Cause("last one left out", f"the last of the {axes[axis]} of {result} is left out: a loop ends one step "
                                         "too early", _without_last(axis, ndim))
        yield Cause("first one left out", f"the first of the {axes[axis]} of {result} is left out: a loop starts one "
                                          "step too late", _without_first(axis, ndim))
    for at, which in ((0, "first"), (-1, "last")):
        yield Cause("one element", f"only the very {which} element of {result} is wrong, it is 0: look at the bounds "
                                   "of the loops", _with_zero(at))
    yield Cause("batch mean", f"every image (sample) of {result} is the same: the mean over the batch",
                lambda c: np.broadcast_to(c.truth.mean(axis=0, keepdims=True), c.truth.shape))
    yield Cause("batch sum", f"every image (sample) of {result} is the same: the sum over the batch",
                lambda c: np.broadcast_to(c.truth.sum(axis=0, keepdims=True), c.truth.shape))
    yield Cause("absolute value", f"{result} has lost its signs: it is the absolute value of the right one",
                lambda c: np.abs(c.truth))


def _with_ones(function, result, c):
    operation = OPERATION_OF[function]
    if function != operation.backward:
        return None
    available = {**vars(c), "dy": np.ones_like(c.dy)}
    answers = getattr(reference, function)(*arguments_for(function, available).values())
    answers = answers if isinstance(answers, tuple) else (answers,)
    return dict(zip(operation.gradients, answers, strict=True))[result]


def _along(change, axis, ndim):
    return lambda c: change(c.truth, axis) if c.truth.ndim == ndim else None


def _exchange(first, second):
    return lambda c: np.swapaxes(c.truth, first, second)


def _reorder(order):
    return lambda c: c.truth.transpose(order).reshape(c.truth.shape)


def _shift(axis, shift, ndim):
    def shifted(c):
        moved = np.roll(c.truth, shift, axis)
        edge = [slice(None)] * ndim
        edge[axis] = 0 if shift > 0 else -1
        moved[tuple(edge)] = 0
        return moved
    return shifted


def _first(truth):
    return (np.arange(len(truth)) == 0).reshape(-1, *[1] * (truth.ndim - 1))


def _last(truth, axis):
    index = np.arange(truth.shape[axis]) == truth.shape[axis] - 1
    return index.reshape([-1 if place == axis else 1 for place in range(truth.ndim)])


def _with_zero(at):
    def changed(c):
        truth = c.truth.copy()
        truth.reshape(-1)[at] = 0
        return truth
    return changed


def _without_last(axis, ndim):
    return lambda c: c.truth * ~_last(c.truth, axis) if c.truth.ndim == ndim else None


def _without_first(axis, ndim):
    return lambda c: c.truth * ~np.flip(_last(c.truth, axis), axis) if c.truth.ndim == ndim else None


def _named_factor(result, observations):
    for name, number in FACTORS:
        for words, power in (("too large by the factor", 1), ("too small by the factor", -1)):
            if not explains(lambda c, number=number, power=power: c.truth * float(number(c)) ** power, observations):
                continue
            why = ""
            if name.startswith("N,"):
                why = ": a mean over the batch is " + ("forgotten, or a sum taken twice" if power > 0 else
                                                       "taken where it does not belong, or taken twice")
            return Cause(f"factor {name.partition(',')[0]}", f"{result} is right up to a factor: it is {words} "
                                                             f"{name}{why}")
    return None


def _batch(c):
    for name in ("x", "logits", "predictions", "probabilities"):
        if hasattr(c, name):
            return len(getattr(c, name))
    raise AttributeError


def _constant_factor(result, observations):
    ratios = []
    for seen in observations:
        if seen.actual is None or seen.actual.dtype.kind == "b":
            continue
        place = np.argmax(np.abs(seen.expected))
        if np.abs(seen.expected).flat[place] > 0:
            ratios.append(float(seen.actual.flat[place]) / float(seen.expected.flat[place]))
    if not ratios or not np.isfinite(ratios).all() or abs(ratios[0]) < 1e-9:
        return None
    factor = ratios[0]
    if explains(lambda c: factor * c.truth, observations):
        return Cause("constant factor", f"{result} is right up to a constant factor: it is {factor:.6g} times what it "
                                        "should be, everywhere and in every case")
    return None


def _shuffled_channels(result, observations):
    shuffled = False
    for seen in observations:
        if seen.actual is None:
            continue
        if seen.expected.ndim < 2:
            return None
        last = seen.expected.shape[-1]
        actual, expected = seen.actual.reshape(-1, last), seen.expected.reshape(-1, last)
        order = [int(np.argmin(np.abs(actual[:, [channel]] - expected).sum(axis=0))) for channel in range(last)]
        if sorted(order) != list(range(last)) or not np.all(relative_error(actual, expected[:, order]) < 1e-9):
            return None
        shuffled = shuffled or order != list(range(last))
    if not shuffled:
        return None
    return Cause("channels shuffled", f"the channels of {result} are right but stand in another order")


def _precision(result, observations):
    seen_all = [seen for seen in observations if seen.actual is not None]
    # beside the largest element: beside itself, an element that cancels to nearly zero may be off by much more
    errors = [relative_error(seen.actual, seen.expected, floor=1.0).max(initial=0) for seen in seen_all]
    if not errors or not 1e-11 < max(errors) < 3e-6:
        return None
    as_float32 = all(np.array_equal(seen.actual.astype(np.float32), seen.actual) for seen in seen_all)
    if as_float32:
        return Cause("float32", f"{result} is computed in float32 although float64 was given: make new arrays in the "
                                "type of the arguments, e.g. np.zeros(shape, x.dtype) or np.zeros_like(x)")
    return Cause("float32", f"{result} is right to 5 to 7 digits only: somewhere a float32 array (or float32 constant) "
                            "takes part; make new arrays in the type of the arguments, e.g. np.zeros(shape, x.dtype)")


def _not_a_number(result, observations):
    broken = [seen for seen in observations if seen.actual is not None and np.isnan(seen.actual).any()]
    others = [seen for seen in observations if seen not in broken]
    if broken and all(seen.right for seen in others):
        return Cause("not a number", f"{result} contains NaN: look for 0/0, inf - inf, the logarithm or root of a "
                                     "negative number, or an array from np.empty that is not filled")
    return None


def _one_element(result, observations):
    places = set()
    for seen in observations:
        if seen.actual is None or seen.expected.size < 2:
            continue
        wrong = np.flatnonzero(relative_error(seen.actual, seen.expected) >= 1e-6)
        if len(wrong) == 1:
            places.add("first" if wrong[0] == 0 else "last" if wrong[0] == seen.expected.size - 1 else "same")
        else:
            places.add("several" if len(wrong) else "none")
    if places in ({"first"}, {"last"}):
        return Cause("one element", f"only the very {places.pop()} element of {result} is wrong, in every case: look "
                                    "at the bounds of the loops, or for a line that treats one element apart")
    return None
