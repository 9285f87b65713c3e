"""Calling a function that may be wrong: what it returned, what it broke, and where it stopped.

Nothing here raises because of the function called. Every call gets fresh copies of its arguments, so a function that
overwrites them harms only itself, and is found out.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

import numpy as np

from kernels import arrays, reference
from minicnn.backends import describe_error
from minicnn.gradcheck.operations import OPERATIONS, arguments_for, upstream


@dataclass
class Solved:
    """A case and the reference's answers: ``results`` of its forward function or step, ``gradients`` of the other."""

    case: object
    results: dict
    dy: np.ndarray
    gradients: dict

    def available(self, results=None, dy=None):
        """Everything a backward function may ask for, by name."""
        arguments = self.case.arguments
        shape = {"x_shape": arguments["x"].shape} if "x" in arguments else {}
        return {**(self.results if results is None else results), **arguments, "dy": self.dy if dy is None else dy,
                **shape}

    def answers(self, operation, function):
        """What ``function`` should return, by name, arguments changed in place included."""
        return self.gradients if function == operation.backward else self.results


@functools.lru_cache(maxsize=64)
def solve(operation_name, seed, dtype="float64"):
    """The cases of an operation with the reference's answers, computed in float64 whatever ``dtype`` is."""
    operation = OPERATIONS[operation_name]
    solved = []
    for case in operation.make_cases(seed, dtype):
        exact = {name: _float64(value) for name, value in case.arguments.items()}
        outcome = call(reference, operation, operation.forward, exact)
        dy = upstream(operation, case, outcome.results.get("y"), seed, dtype)
        item = Solved(case, outcome.results, dy, {})
        if operation.backward:
            available = {**exact, **outcome.results, "dy": _float64(dy), "x_shape": exact["x"].shape}
            item.gradients = call(reference, operation, operation.backward, available).results
        elif operation.is_loss:
            item.gradients = {name: outcome.results[name] for name in operation.gradients}
        solved.append(item)
    return solved


def _float64(value):
    floating = isinstance(value, np.ndarray) and value.dtype.kind == "f"
    return value.astype(np.float64) if floating else value


@dataclass
class Problem:
    """Something wrong with a call besides its numbers: a ``kind`` for programs, a ``text`` of one line for people."""

    kind: str
    text: str
    result: str | None = None
    shape: tuple | None = None


@dataclass
class Outcome:
    """What came of one call: the usable results by name, and the problems."""

    results: dict = field(default_factory=dict)
    problems: list = field(default_factory=list)
    returned: object = field(default=None, repr=False)

    @property
    def failed(self):
        """Whether there is no result at all."""
        return not self.results


def call(backend, operation, function, available, expected=None, path=None):
    """Call ``backend.function`` with arguments taken by name from ``available``; return an ``Outcome``.

    ``expected`` (name -> array) gives the shapes and types that the results should have. ``path`` is the author's
    file, in which lines are looked up when the function raises.
    """
    arguments = arguments_for(function, available)
    to_backend = getattr(backend, "asarray", arrays.asarray)
    to_numpy = getattr(backend, "to_numpy", arrays.to_numpy)
    given = {name: to_backend(value.copy()) if isinstance(value, np.ndarray) else value
             for name, value in arguments.items()}
    try:
        returned = getattr(backend, function)(*given.values())
    except NotImplementedError as error:
        return Outcome(problems=[Problem("not written", _line(error, path) or "raises NotImplementedError")])
    except SystemExit as error:
        return Outcome(problems=[Problem("exits", "calls sys.exit() instead of returning" + _at(error, path))])
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever a function raises is its answer, and the next one is still graded
        return Outcome(problems=[Problem("raises", describe_error(error, path) if path else
                                         f"{type(error).__name__}: {error}")])
    outcome = Outcome(returned=returned)
    floats = [value.dtype for value in arguments.values() if isinstance(value, np.ndarray) and value.dtype.kind == "f"]
    _take_results(outcome, operation, function, returned, to_numpy, expected, floats[0])
    for name, value in given.items():
        if not isinstance(value, np.ndarray) and not hasattr(value, "shape"):
            continue
        after = to_numpy(value)
        if function == operation.forward and name in operation.in_place:
            outcome.results[name] = after
        elif not np.array_equal(after, arguments[name], equal_nan=after.dtype.kind == "f"):
            outcome.problems.append(Problem("changes", f"overwrites its argument {name}", name))
    return outcome


def _take_results(outcome, operation, function, returned, to_numpy, expected, dtype):
    names = operation.results_of(function)
    if not names:
        if returned is not None:
            outcome.problems.append(Problem("count", "returns a value; it should change its arguments and return "
                                                     "nothing"))
        return
    listed = ", ".join(names)
    if returned is None and names != ("dx",):
        outcome.problems.append(Problem("count", f"returns None; expected {listed} (is the return statement missing?)"))
        return
    if len(names) == 1:
        if isinstance(returned, tuple):
            outcome.problems.append(Problem("count", f"returns {len(returned)} results; expected one array, {listed}"))
            return
        returned = (returned,)
    elif not isinstance(returned, (tuple, list)) or len(returned) != len(names):
        got = f"{len(returned)} results" if isinstance(returned, (tuple, list)) else f"one {_kind(returned)}"
        outcome.problems.append(Problem("count", f"returns {got}; expected {len(names)} results: {listed}"))
        return
    for name, value in zip(names, returned, strict=True):
        _take(outcome, name, value, to_numpy, None if expected is None else expected[name], dtype)


def _take(outcome, name, value, to_numpy, expected, dtype):
    def problem(kind, text, shape=None):
        outcome.problems.append(Problem(kind, text, name, shape))

    if expected is None:
        outcome.results[name] = value if isinstance(value, float) else np.array(to_numpy(value))
        return
    scalar, wanted = np.ndim(expected) == 0, np.asarray(expected).dtype
    if wanted.kind == "f":  # the answers are computed in float64 for every type
        wanted = dtype
    if value is None:
        return problem("type", f"{name} is None; expected an array of shape {np.shape(expected)}")
    if isinstance(value, (list, tuple)):
        try:
            value = np.asarray(value, np.float64)
        except (ValueError, TypeError):
            return problem("type", f"{name} is a list; expected a NumPy array of shape {np.shape(expected)}")
        problem("type", f"{name} is a list; expected a NumPy array (np.array(...) makes one)")
    elif not scalar and not hasattr(value, "shape"):
        return problem("type", f"{name} is a {_kind(value)}; expected an array of shape {np.shape(expected)}")
    if scalar and not hasattr(value, "shape") and hasattr(value, "__float__"):
        value = float(value)  # a device's number, which is fetched only now
    try:
        value = np.array(to_numpy(value))
    except Exception:
        return problem("type", f"{name} is a {_kind(value)}; expected a NumPy array")
    if value.dtype.kind not in "fiub":
        return problem("type", f"{name} has dtype {value.dtype}; expected {_dtype_words(wanted)}")
    if value.shape != np.shape(expected):
        wish = "one number" if scalar else f"{np.shape(expected)}{_shape_hint(value.shape, np.shape(expected))}"
        return problem("shape", f"{name} has shape {value.shape}; expected {wish}", value.shape)
    if not scalar and not _same_kind(value.dtype, wanted):
        problem("dtype", f"{name} has dtype {value.dtype}; expected {_dtype_words(wanted)}")
    outcome.results[name] = value
    return None


def _same_kind(got, expected):
    return got.kind in "iu" if expected.kind in "iu" else got == expected


def _dtype_words(expected):
    return {"i": "integers", "u": "integers", "b": "bool"}.get(expected.kind, f"{expected}, like the arguments")


def _shape_hint(got, expected):
    if len(got) == len(expected):
        return " (two axes are exchanged)" if sorted(got) == sorted(expected) else ""
    squeezed = tuple(size for size in got if size != 1)
    if squeezed == tuple(size for size in expected if size != 1):
        return " (an axis of length 1 too many)" if len(got) > len(expected) else " (an axis of length 1 is lost)"
    return ""


def _kind(value):
    return type(value).__name__


def _line(error, path):
    return describe_error(error, path) if path else ""


def _at(error, path):
    where = _line(error, path)
    return f" ({where.partition(':')[0]})" if where.startswith("line") else ""


def evaluator(backend, operation, arguments, argument):
    """``evaluate(value) -> (y, signature)`` for finite differences: the forward function with one argument replaced."""
    function = getattr(backend, operation.forward)
    to_backend, to_numpy = getattr(backend, "asarray", arrays.asarray), getattr(backend, "to_numpy", arrays.to_numpy)
    several = len(operation.results) > 1

    def evaluate(value):
        given = {**arguments, argument: value}
        ordered = arguments_for(operation.forward, given)
        y = function(*[to_backend(one.copy()) if isinstance(one, np.ndarray) else one for one in ordered.values()])
        y = y[0] if several else y
        side = operation.kinks(given) if operation.kinks and argument == operation.inputs[0] else None
        return (np.float64(float(y)) if operation.is_loss else to_numpy(y)), side
    return evaluate


def find_overwriting_line(backend, operation, function, available, path):
    """The author's line that writes to an argument: the same call again with read-only arrays, or None."""
    arguments = arguments_for(function, available)
    for name, value in arguments.items():
        if isinstance(value, np.ndarray) and name not in operation.in_place:
            arguments[name] = value.copy()
            arguments[name].flags.writeable = False
    try:
        getattr(backend, function)(*arguments.values())
    except ValueError as error:
        if "read-only" in str(error):
            where = describe_error(error, path)
            return where if where.startswith("line") else None
    except Exception:
        return None
    return None
