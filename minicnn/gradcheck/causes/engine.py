"""Testing hypotheses against what a function returned."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np

from kernels import checks
from minicnn.gradcheck.numeric import GOOD_EXACT, relative_error

#: A prediction counts as the same numbers when it agrees to this relative error.
AGREES = 1e-6

#: The modules that hold hypotheses by function; see ``table``.
_MODULES = ("conv2d", "pool2d", "dense", "activations", "losses", "normalization", "optimizers")


@dataclass(frozen=True)
class Cause:
    """A known mistake: a short ``key`` for programs, a sentence for people, and what it would compute."""

    key: str
    text: str
    predict: Callable | None = None


@dataclass
class Observation:
    """What one result was in one case (None if the call failed), and what it should have been."""

    solved: object = field(repr=False)
    actual: np.ndarray | None
    expected: np.ndarray
    shape: tuple | None = None

    @functools.cached_property
    def error(self):
        """The worst relative error; infinite if there is no result."""
        return np.inf if self.actual is None else float(relative_error(self.actual, self.expected).max(initial=0.0))

    @functools.cached_property
    def right(self):
        """Whether the result is what it should be."""
        return self.error < GOOD_EXACT["float64"]

    @functools.cached_property
    def view(self):
        """The case's arguments as attributes; see ``view``."""
        return view(self.solved, self.expected)


def view(solved, expected=None):
    """A case's arguments, results and ``dy`` as attributes, windows and strides spelled out; ``truth``: the answer."""
    names = SimpleNamespace(**solved.available())
    names.truth = expected
    if hasattr(names, "padding"):
        (names.top, names.bottom), (names.left, names.right) = names.padding
        names.kh, names.kw = names.w.shape[:2] if hasattr(names, "w") else checks.pair("pool_size", names.pool_size)
        names.stride = (names.kh, names.kw) if names.stride is None else checks.pair("stride", names.stride)
        names.sh, names.sw = names.stride
        names.n, names.h, names.width, names.c = names.x.shape
        names.oh, names.ow = names.y.shape[1:3]
    return names


class WouldRaise(Exception):
    """Raised by a prediction: with this mistake the function itself would stop here, on an index out of range."""


def find_cause(function, result, observations):
    """The first hypothesis that predicts ``result`` of ``function`` in every case, a ``Cause``; None if none does."""
    from minicnn.gradcheck.causes import facts, general

    wrong = [seen for seen in observations if not seen.right]
    if not wrong:
        return None
    for cause in table().get((function, result), []):
        if explains(cause.predict, observations):
            return cause
    return (general.find(function, result, observations) or facts.find(function, result, observations))


def explains(predict, observations):
    """Whether a prediction agrees with every result, and with some result that is wrong (or failure to give one)."""
    explained = 0
    for seen in observations:
        try:
            with np.errstate(all="ignore"):
                predicted = predict(seen.view)
        except WouldRaise:
            if seen.actual is not None:
                return False
            explained += 1
            continue
        except (ValueError, IndexError, TypeError, AttributeError, ZeroDivisionError):
            predicted = None  # the mistake cannot be made with these shapes
        if seen.actual is None:
            continue
        if predicted is None or np.shape(predicted) != seen.actual.shape:
            if not seen.right:
                return False
            continue
        error = float(relative_error(seen.actual, predicted).max(initial=0.0))
        if error >= AGREES or (not seen.right and error > 0.1 * seen.error):
            return False
        explained += not seen.right
    return explained > 0


@functools.cache
def table():
    """Hypotheses by ``(function, result)``."""
    found = {}
    for module in _MODULES:
        for key, causes in importlib.import_module(f"minicnn.gradcheck.causes.{module}").CAUSES.items():
            found.setdefault(key, []).extend(causes)
    return found
