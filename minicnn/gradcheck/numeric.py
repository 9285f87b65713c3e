"""Gradients by finite differences: what a derivative is, measured.

For a function y = f(x) and an arbitrary upstream gradient dy, a backward pass claims to know

    dx[i] = d/dx[i] of  sum(f(x) * dy).

The central difference measures the same number with two forward passes and no calculus:

    dx[i] ~ sum((f(x + h e_i) - f(x - h e_i)) * dy) / 2h        with an error of order h^2.

A small h makes that error small but divides the rounding error of f by a small number; between the two lies a best
step, and the error plotted against h is V-shaped. Two things make such a check worth its name. ``dy`` is random: with
ones, the softmax's gradient is zero and nothing at all would be checked. And a coordinate at which a relu or a
maximum switches sides between x - h and x + h has no derivative there: it is skipped, and *counted*.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, field

import numpy as np

#: By type: the step, the steps of the sweep, the limits of "good" and "suspect", and the smallest size (relative to
#: the largest element of the tensor) by which an element's error is divided.
STEP = {"float64": 1e-6, "float32": 2e-2}
SWEEP = {"float64": tuple(10.0 ** -k for k in range(1, 10)), "float32": tuple(2.0 ** -k for k in range(0, 13))}
GOOD = {"float64": 1e-7, "float32": 5e-3}
SUSPECT = {"float64": 1e-4, "float32": 5e-2}
FLOOR = {"float64": 1e-3, "float32": 5e-2}

#: The same limits for what needs no step: agreement with the reference, and the adjoint identity.
GOOD_EXACT = {"float64": 1e-9, "float32": 3e-4}


def verdict(error, dtype="float64", good=None):
    """``"good"``, ``"suspect"`` or ``"wrong"`` for a relative error; NaN is wrong."""
    dtype = np.dtype(dtype).name
    if error < (GOOD[dtype] if good is None else good[dtype]):
        return "good"
    return "suspect" if error < SUSPECT[dtype] else "wrong"


def relative_error(actual, expected, floor=None, resolution=0.0):
    """``|a - e| / max(|a|, |e|, floor)``, element by element; infinite where only one of them is NaN or infinite.

    ``floor`` is relative to the largest finite element of the two. It keeps an element that happens to be nearly zero
    from being judged by its own rounding error. ``resolution`` (a number or an array) is a lower limit of the divisor.
    """
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    floor = FLOOR["float64"] if floor is None else floor
    largest = max(np.abs(values[np.isfinite(values)]).max(initial=1e-12) for values in (actual, expected))
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.abs(actual - expected)
        size = np.maximum(np.maximum(np.abs(actual), np.abs(expected)), np.maximum(floor * largest, resolution))
        error = np.where(difference == 0, 0.0, difference / size)
    same = (actual == expected) | (np.isnan(actual) & np.isnan(expected))
    broken = ~(np.isfinite(actual) & np.isfinite(expected))
    return np.where(broken, np.where(same, 0.0, np.inf), error)


def adjoint_error(left, right):
    """How far two inner products are apart that should be one number, e.g. ``<conv(x, w), dy>`` and ``<x, dx>``.

    ``left`` and ``right`` are pairs of arrays. The difference is divided by the size that the sums' terms have, since
    the sums themselves may cancel to nearly zero.
    """
    sums, sizes = [], []
    for first, second in (left, right):
        terms = np.asarray(first, np.float64) * np.asarray(second, np.float64)
        sums.append(terms.sum())
        sizes.append(np.sqrt(np.square(terms).sum()))
    return float(abs(sums[0] - sums[1]) / max(*sizes, 1e-300))


def choose_coordinates(shape, limit, rng):
    """Flat indices of elements to check: all if there are at most ``limit``, else a stratified choice.

    Corners come first, then an element of each border of each axis and one of each channel (last axis), then random
    ones, until there are ``limit``.
    """
    size = int(np.prod(shape))
    if size <= limit:
        return np.arange(size)
    chosen = dict.fromkeys(int(np.ravel_multi_index(corner, shape)) for corner in _corners(shape, rng, limit // 2))
    borders = [(axis, index) for axis, length in enumerate(shape) if length > 1 for index in (0, length - 1)]
    channels = [(len(shape) - 1, index) for index in range(shape[-1])]
    rng.shuffle(channels)
    for axis, index in borders + [tuple(channel) for channel in channels]:
        if len(chosen) >= limit:
            break
        position = [int(rng.integers(length)) for length in shape]
        position[axis] = int(index)
        chosen[int(np.ravel_multi_index(position, shape))] = None
    for index in rng.permutation(size):
        if len(chosen) >= limit:
            break
        chosen[int(index)] = None
    return np.array(list(chosen))


def _corners(shape, rng, limit):
    corners = [()]
    for length in shape:
        corners = [(*corner, end) for corner in corners for end in sorted({0, length - 1})]
    rng.shuffle(corners)
    return corners[:max(limit, 1)]


@dataclass
class Difference:
    """What finite differences found, coordinate by coordinate."""

    indices: np.ndarray
    values: np.ndarray
    kinks: np.ndarray = field(repr=False)
    resolutions: np.ndarray = field(repr=False)
    good: float

    @property
    def checked(self):
        """Number of coordinates that have a derivative."""
        return int(np.count_nonzero(~self.kinks))

    @property
    def skipped(self):
        """Number of coordinates at a kink."""
        return int(np.count_nonzero(self.kinks))

    def errors(self, analytic, floor=None):
        """Relative errors of a tensor of analytic gradients at these coordinates; 0 at a kink.

        ``resolutions``, the rounding errors that the differences themselves have, limit what can be told: an element so
        small that they would look like an error is not judged by digits that were never measured.
        """
        analytic = np.asarray(analytic, np.float64).reshape(-1)
        floor = FLOOR["float64"] if floor is None else floor
        size = np.abs(analytic[np.isfinite(analytic)]).max(initial=0.0)
        smallest = np.maximum(floor * size, 4 * self.resolutions / self.good)
        return np.where(self.kinks, 0.0, relative_error(analytic[self.indices], self.values, floor, smallest))


def central_difference(evaluate, x, dy, index, step):
    """One coordinate: ``(value, kink, resolution)``, the last being the rounding error to expect of the value.

    ``evaluate(x)`` returns ``y`` and a signature, an array (or None) that tells on which side of every kink this x
    lies. The differences of y are taken before they are summed, so that what the coordinate does not touch cancels
    exactly; and h is what really was added, after rounding.
    """
    h = step * max(1.0, abs(float(x.flat[index])))
    above, below = x.copy(), x.copy()
    above.flat[index] += h
    below.flat[index] -= h
    y_above, side_above = evaluate(above)
    y_below, side_below = evaluate(below)
    change = np.asarray(y_above, np.float64) - np.asarray(y_below, np.float64)
    width = float(above.flat[index]) - float(below.flat[index])
    rounding = np.finfo(x.dtype).eps * float(np.abs(np.asarray(y_above, np.float64)).max(initial=0.0))
    resolution = rounding * float(np.abs(dy).max(initial=0.0)) / width
    return float(np.sum(change * dy)) / width, not _same(side_above, side_below), resolution


def numeric_gradient(evaluate, x, dy, indices, step=None, analytic=None, good=None, deadline=None):
    """Central differences at the flat ``indices`` of ``x``.

    With ``analytic`` given, a coordinate at which the two disagree by more than ``good`` is measured again with every
    step of the sweep, and the value is taken on which neighbouring steps agree best. (They are compared with each
    other, never with ``analytic``.) After ``deadline`` (``time.perf_counter()``) the remaining indices are
    left out, all
    but the first two.

    Returns
    -------
    Difference
    """
    dtype = x.dtype.name
    step = STEP[dtype] if step is None else step
    good = GOOD[dtype] if good is None else good
    measured = []
    for index in indices:
        if deadline is not None and len(measured) >= 2 and time.perf_counter() > deadline:
            break
        measured.append(central_difference(evaluate, x, dy, index, step))
    values, kinks, resolutions = np.array(measured, float).reshape(-1, 3).T.copy()
    found = Difference(np.asarray(indices)[:len(values)], values, kinks.astype(bool), resolutions, good)
    if analytic is not None:
        claimed = np.asarray(analytic, np.float64).reshape(-1)
        floor = FLOOR[dtype] * np.abs(claimed[np.isfinite(claimed)]).max(initial=0.0)
        errors = relative_error(claimed[found.indices], values, FLOOR[dtype], floor)
        # with steps of 1e-6 an error far beyond rounding is the gradient's own: no other step would mend it
        close = (np.abs(claimed[found.indices] - values) < 100 * resolutions) | (errors < 1e-2) | (dtype == "float32")
        for place in np.flatnonzero((errors >= good) & close & ~found.kinks):
            if deadline is not None and time.perf_counter() > deadline:
                break
            values[place], resolutions[place] = _best_of_sweep(evaluate, x, dy, indices[place], values[place],
                                                               resolutions[place])
    return found


def _best_of_sweep(evaluate, x, dy, index, value, resolution):
    """The value on which neighbouring steps agree best, after Richardson's extrapolation, and its rounding error.

    Two steps h and h/r have errors of about c h^2 and c (h/r)^2; ``(r^2 D(h/r) - D(h)) / (r^2 - 1)`` has neither.
    """
    steps = SWEEP[x.dtype.name]
    with np.errstate(all="ignore"):
        swept = [central_difference(evaluate, x, dy, index, step) for step in steps]
    square = (steps[0] / steps[1]) ** 2
    extrapolated = [(np.nan if kink_a or kink_b else (square * b - a) / (square - 1), rounding)
                    for (a, kink_a, _), (b, kink_b, rounding) in itertools.pairwise(swept)]
    pairs = [(abs(a - b), b, rounding) for (a, _), (b, rounding) in itertools.pairwise(extrapolated)
             if np.isfinite(a - b)]
    return min(pairs)[1:] if pairs else (value, resolution)


def step_sweep(evaluate, x, dy, indices, analytic, steps=None):
    """Median relative error over ``indices`` for every step: the V-shaped curve. Returns ``(steps, errors)``."""
    steps = SWEEP[x.dtype.name] if steps is None else steps
    claimed = np.asarray(analytic, np.float64).reshape(-1)[indices]
    errors = []
    for step in steps:
        found = numeric_gradient(evaluate, x, dy, indices, step)
        error = relative_error(claimed, found.values, FLOOR[x.dtype.name])[~found.kinks]
        errors.append(float(np.median(error)) if len(error) else float("nan"))
    return np.array(steps), np.array(errors)


def directional_difference(evaluate, x, dy, direction, step=None):
    """The derivative along ``direction``, ``(value, kink)``: two forward passes that involve every element of x."""
    step = STEP[x.dtype.name] if step is None else step
    width = step * max(1.0, float(np.abs(x).max(initial=0.0))) / float(np.abs(direction).max())
    above, below = (x + width * direction).astype(x.dtype), (x - width * direction).astype(x.dtype)
    y_above, side_above = evaluate(above)
    y_below, side_below = evaluate(below)
    change = np.asarray(y_above, np.float64) - np.asarray(y_below, np.float64)
    return float(np.sum(change * dy)) / (2 * width), not _same(side_above, side_below)


def _same(first, second):
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(_same(a, b) for a, b in zip(first, second, strict=True))
    return first is None or np.array_equal(first, second)
