"""Testing hypotheses against what a function returned."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np

from kernels import checks
from minicnn.gradcheck.numeric import relative_error

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
    def right(self):
        """Whether the result is what it should be."""
        return self.actual is not None and bool(np.all(relative_error(self.actual, self.expected) < AGREES))

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
    """Whether a prediction agrees with every result, and with some result that is wrong."""
    explained = 0
    for seen in observations:
        if seen.actual is None:
            continue
        try:
            with np.errstate(all="ignore"):
                predicted = predict(seen.view)
        except (ValueError, IndexError, TypeError, AttributeError, ZeroDivisionError):
            predicted = None  # the mistake cannot be made with these shapes
        if predicted is None or np.shape(predicted) != seen.actual.shape:
            if not seen.right:
                return False
            continue
        if not np.all(relative_error(seen.actual, predicted) < AGREES):
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
