"""Grading one function of a back-end: its results, its gradients, and what is wrong with them.

Two questions are asked of a backward function. Does it compute what the **reference**'s does, given the same arguments?
And is it the gradient of the author's **own forward** function, by finite differences? Together they tell a
wrong gradient
from the right gradient of a wrong forward.
"""

from __future__ import annotations

import inspect
import time
import warnings
from dataclasses import asdict, dataclass, field

import numpy as np

import kernels
from kernels import arrays, reference
from minicnn.gradcheck import numeric, pictures
from minicnn.gradcheck.calls import call, find_overwriting_line, solve
from minicnn.gradcheck.causes import Observation, facts, find_cause, shapes, view
from minicnn.gradcheck.operations import OPERATION_OF, REQUIRED, arguments_for, parameters_of

#: From harmless to bad; the verdict of a function is the worst of its results'.
VERDICTS = ("good", "suspect", "wrong", "not written", "missing", "time limit", "crash")

#: Coordinates of a tensor that are checked by finite differences, in the first case and in the others.
COORDINATES = (50, 10)


@dataclass
class ResultReport:
    """What is known of one result (``y``, ``dx``, ...) of a function."""

    name: str
    verdict: str = "good"
    error: float | None = 0.0
    difference_error: float | None = None
    coordinates: int = 0
    kinks: int = 0
    case: str = ""
    place: str = ""
    actual: float | None = None
    expected: float | None = None
    difference: float | None = None
    where: str = ""
    picture: list = field(default_factory=list)
    cause_key: str | None = None
    cause: str | None = None
    map: list | None = field(default=None, repr=False)
    sweep: list | None = field(default=None, repr=False)


@dataclass
class FunctionReport:
    """What is known of one function. ``problems`` and ``notes`` are lines; a problem makes the function wrong."""

    function: str
    verdict: str = "good"
    results: list = field(default_factory=list)
    problems: list = field(default_factory=list)
    notes: list = field(default_factory=list)
    problem_keys: list = field(default_factory=list)
    cases: int = 0
    seconds: float = 0.0
    prints: str = ""

    @property
    def ok(self):
        """Whether nothing is wrong."""
        return self.verdict == "good"

    @property
    def causes(self):
        """Keys of the causes found."""
        return [result.cause_key for result in self.results if result.cause_key] + self.problem_keys

    def add_problem(self, text, *keys):
        """Note a problem: a line of text, and its causes' keys."""
        self.problems.append(text)
        self.problem_keys += keys

    def as_dict(self):
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values):
        """The inverse of ``as_dict``."""
        return cls(**{**values, "results": [ResultReport(**result) for result in values["results"]]})


def grade_function(backend, function, seed=0, path=None, own_forward=True, budget=1.5, sweep=False):
    """Grade one function of the contract.

    Parameters
    ----------
    backend : module
        Offers ``function`` and perhaps others.
    function : str
        A name in ``kernels.CONTRACT``.
    seed : int
        Chooses shapes, numbers and coordinates.
    path : str, optional
        The author's file, for line numbers.
    own_forward : bool
        Whether the module's own forward function may be called.
    budget : float
        Seconds after which no further coordinate is checked by finite differences.
    sweep : bool
        Whether to measure the error against the step as well, for a plot.

    Returns
    -------
    FunctionReport
    """
    start = time.perf_counter()
    report = FunctionReport(function)
    if not callable(getattr(backend, function, None)):
        report.verdict = "missing"
        return report
    operation = OPERATION_OF[function]
    solved = solve(operation.name, seed)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        outcomes = [_call(backend, operation, function, item, path, own_forward) for item in solved]
        if any(problem.kind == "not written" for problem in outcomes[0].problems):
            report.verdict = "not written"
            return report
        report.cases = len(outcomes)
        _signature(report, backend, function)
        _structure(report, backend, operation, function, solved, outcomes, path)
        _compare(report, operation, function, solved, outcomes)
        _again(report, backend, operation, function, solved, outcomes, own_forward)
        if function == operation.backward or operation.is_loss:
            tried = _differences(report, backend, operation, function, solved, own_forward,
                                 time.perf_counter() + budget, seed)
            if sweep:
                _sweep(report, operation, solved, tried)
        if function in ("conv2d_backward", "dense_backward") and not any("exit" in line for line in report.problems):
            _without_input_gradient(report, backend, operation, function, solved[0], path)
    _warnings(report, caught, path)
    if report.problems:
        report.verdict = "wrong"
    for result in report.results:
        report.verdict = max(report.verdict, result.verdict, key=VERDICTS.index)
    report.seconds = time.perf_counter() - start
    return report


def _call(backend, operation, function, item, path=None, own_forward=True):
    """Call ``function`` with a case's arguments; before a backward function, the module's own forward function.

    (A student's backward may rely on what forward has left behind. That is a mistake, and found by ``_again``; but its
    numbers are to be judged for themselves.)
    """
    if function == operation.backward and own_forward and callable(getattr(backend, operation.forward, None)):
        call(backend, operation, operation.forward, item.available())
    return call(backend, operation, function, item.available(), item.answers(operation, function), path)


def _signature(report, backend, function):
    """Note parameters that the contract has and the function has not."""
    try:
        signature = inspect.signature(getattr(backend, function))
    except (TypeError, ValueError):
        return
    parameters = list(signature.parameters.values())
    if any(parameter.kind == parameter.VAR_POSITIONAL for parameter in parameters):
        return
    wanted = parameters_of(function)
    missing = list(wanted)[len(parameters):]
    if missing:
        report.add_problem(f"takes {len(parameters)} arguments; the contract has {len(wanted)}: "
                           f"{function}{kernels.CONTRACT[function]}", "signature")
        return
    for (name, default), parameter in zip(wanted.items(), parameters, strict=False):
        if default is not REQUIRED and parameter.default is parameter.empty:
            report.notes.append(f"argument {parameter.name} has no default; the contract gives {name} the default "
                                f"{default}")


def _structure(report, backend, operation, function, solved, outcomes, path):
    """Everything about the calls but the numbers: exceptions, counts, types, shapes, overwritten arguments."""
    said = {}
    for item, outcome in zip(solved, outcomes, strict=True):
        for problem in outcome.problems:
            said.setdefault((problem.kind, problem.result), []).append((item, problem))
    for (kind, name), cases in said.items():
        item, problem = cases[0]
        text, keys = problem.text, [kind]
        if kind == "changes" and path:
            where = find_overwriting_line(backend, operation, function, item.available(), path)
            text += f", at {_code(where)}" if where else ""
        if kind == "shape":
            found = shapes.explain(function, name, [(view(one), other.shape) for one, other in cases])
            if found:
                keys.append(found[0])
                text += f"; {found[1]}"
        if kind in ("raises", "exits", "count", "type", "shape") and len(cases) < len(solved):
            failing = {id(one) for one, _ in cases}
            observations = [Observation(one, None if id(one) in failing else np.zeros(1),
                                        np.zeros(1)) for one in solved]
            common = facts.find(function, "it", observations, share=0.75)
            text += f" [in {len(cases)} of {len(solved)} cases, first: \"{item.case.name}\", {item.case.describe()}]"
            if common:
                keys.append(common.key)
                text += "; " + common.text.replace("it is right", "it works").replace("are wrong", "fail")
        report.add_problem(text, *keys)


def _code(where):
    """``line 12, in f: ValueError: ... (x -= 1)`` shortened to ``line 12: x -= 1``."""
    line = where.partition(",")[0].partition(":")[0]
    return f"{line}: {where[where.rindex('read-only') + 10:].strip('( )')}" if "(" in where else line


def _compare(report, operation, function, solved, outcomes):
    """Numbers against the reference's, result by result."""
    names = list(operation.results_of(function)) + [name for name in operation.in_place
                                                    if function == operation.forward]
    for name in names:
        result = ResultReport(name)
        observations, errors = [], []
        for item, outcome in zip(solved, outcomes, strict=True):
            expected = np.asarray(item.answers(operation, function)[name])
            actual = outcome.results.get(name)
            seen = Observation(item, None if actual is None else np.asarray(actual), expected)
            observations.append(seen)
            floor = numeric.FLOOR["float64"] if expected.dtype.kind == "f" else 1.0
            errors.append(None if actual is None else numeric.relative_error(actual, expected, floor))
        known = [error.max(initial=0.0) for error in errors if error is not None]
        if not known:
            result.verdict, result.error = "wrong", None
            report.results.append(result)
            continue
        result.error = float(max(known))
        result.verdict = numeric.verdict(result.error, good=numeric.GOOD_EXACT)
        if any(error is None for error in errors) and result.verdict == "good":
            result.verdict = "wrong"  # it fails in some cases; the problems say in which
        elif result.verdict != "good":
            _explain(result, function, observations, errors)
        report.results.append(result)


def _explain(result, function, observations, errors):
    """The first case that is wrong, its worst element, where the errors lie, and the likely cause."""
    limit = numeric.GOOD_EXACT["float64"]
    for seen, error in zip(observations, errors, strict=True):
        if error is not None and error.max(initial=0.0) >= limit:
            index = np.unravel_index(int(np.argmax(error)), error.shape) if error.ndim else ()
            result.case = f'"{seen.solved.case.name}": {seen.solved.case.describe()}'
            result.place = pictures.coordinate(result.name, tuple(int(place) for place in index))
            result.actual, result.expected = _number(seen.actual[index]), _number(seen.expected[index])
            result.where = pictures.describe(result.name, error >= limit)
            result.picture = pictures.picture(result.name, error >= limit)
            result.map = pictures.error_map(result.name, np.nan_to_num(error, posinf=10.0))
            break
    cause = find_cause(function, result.name, observations)
    if cause:
        result.cause_key, result.cause = cause.key, cause.text


def _number(value):
    return int(value) if np.asarray(value).dtype.kind in "iub" else float(value)


def _again(report, backend, operation, function, solved, outcomes, own_forward):
    """Call the function again: the same arguments must give the same result, and the first result must stay."""
    if outcomes[0].failed or operation.in_place:
        return
    item = solved[0]
    held = call(backend, operation, function, item.available())
    if held.failed:
        return
    first = held.returned if isinstance(held.returned, (tuple, list)) else (held.returned,)
    first = [value if isinstance(value, np.ndarray) else None for value in first]
    before = [None if value is None else value.copy() for value in first]
    changed = item.available(dy=-2 * item.dy)
    for name, value in changed.items():
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            changed[name] = value * 0.5
    call(backend, operation, function, changed)
    if any(value is not None and not np.array_equal(value, now, equal_nan=value.dtype.kind == "f")
           for value, now in zip(before, first, strict=True)):
        report.add_problem("reuses the memory of an earlier result: what the first call returned changed when the "
                           "function "
                           "was called again; make a new array in every call", "reuses memory")
    fresh = _call(backend, operation, function, item, None, own_forward)
    for name, value in outcomes[0].results.items():
        if not _equal(fresh.results.get(name), value):
            report.add_problem(f"the same arguments give another {name} in another call: something is kept between "
                               f"calls "
                               "(an array outside the function, or a default argument, that is added to), or random "
                               "numbers are drawn", "keeps something")
            _mark(report, name, "accumulates", "it adds to an array that lives outside the function: start from zeros "
                                               "in "
                                               "every call")
            return
    if function == operation.backward and own_forward and callable(getattr(backend, operation.forward, None)):
        call(backend, operation, operation.forward, solved[1].available())
        stale = call(backend, operation, function, item.available(), item.gradients)
        if any(not _equal(stale.results.get(name), value) for name, value in fresh.results.items()):
            report.add_problem(f"depends on the last call of {operation.forward}: everything it needs is in its "
                               f"arguments, "
                               "and in a network other layers call the same functions in between", "remembers forward")


def _equal(first, second):
    if first is None or second is None:
        return first is second
    return np.array_equal(first, second, equal_nan=np.asarray(second).dtype.kind == "f")


def _mark(report, name, key, text):
    for result in report.results:
        if result.name == name and result.cause_key is None:
            result.cause_key, result.cause, result.verdict = key, text, "wrong"


def _differences(report, backend, operation, function, solved, own_forward, deadline, seed):
    """Finite differences of the module's own forward function (the reference's, if it has none that works)."""
    own = backend if own_forward and callable(getattr(backend, operation.forward, None)) else reference
    order = sorted(range(len(solved)), key=lambda place: ("all varied" not in solved[place].case.name, place))
    own_right = _forward_is_right(own, operation, solved)
    tried = {}
    for rank, place in enumerate(order):
        if time.perf_counter() > deadline:
            break
        item = solved[place]
        results = item.results
        if operation.backward and own is not reference:
            mine = call(own, operation, operation.forward, item.available(), item.results)
            if set(mine.results) != set(item.results) or any(p.kind in ("raises", "exits") for p in mine.problems):
                if rank == 0:
                    own, own_right = reference, True
                else:
                    continue
            else:
                results = mine.results
        graded = call(backend, operation, function, item.available(results), item.answers(operation, function))
        for name, argument in zip(operation.gradients, operation.inputs, strict=True):
            if name in graded.results and isinstance(item.case.arguments[argument], np.ndarray):
                found = _difference(own, operation, item, argument, graded.results[name],
                                    COORDINATES[0 if rank == 0 else 1], deadline, seed)
                if found is not None:
                    tried.setdefault(name, []).append((place, graded.results[name], *found))
        if rank >= 2 and own_right and report_good(report, operation.gradients):
            break
    for result in report.results:
        if result.name in tried:
            _judge(report, result, operation, tried[result.name], own_right, solved)
    return own, tried


def report_good(report, names):
    """Whether all these results agree with the reference."""
    return all(result.verdict == "good" for result in report.results if result.name in names)


def _sweep(report, operation, solved, differences):
    """Error against step size, at a dozen coordinates of the first case tried."""
    own, tried = differences
    for result in report.results:
        if result.name not in tried:
            continue
        place, analytic, found, _ = tried[result.name][0]
        argument = operation.inputs[operation.gradients.index(result.name)]
        arguments = solved[place].case.arguments
        with np.errstate(all="ignore"):
            steps, errors = numeric.step_sweep(evaluator(own, operation, arguments, argument), arguments[argument],
                                               solved[place].dy, found.indices[:12], analytic)
        result.sweep = [steps.tolist(), errors.tolist()]


def _forward_is_right(own, operation, solved):
    if own is reference:
        return True
    for item in solved:
        outcome = call(own, operation, operation.forward, item.available(), item.results)
        for name, expected in item.results.items():
            if operation.is_loss and name in operation.gradients:
                continue
            actual = outcome.results.get(name)
            if actual is None or np.max(numeric.relative_error(actual, expected), initial=0) >= 1e-9:
                return False
    return True


def _difference(own, operation, item, argument, analytic, limit, deadline, seed):
    """Finite differences with respect to one argument: ``(Difference, errors)``, or None if the forward fails."""
    evaluate = evaluator(own, operation, item.case.arguments, argument)
    x = item.case.arguments[argument]
    rng = np.random.default_rng([seed, 11, *argument.encode()])
    indices = numeric.choose_coordinates(x.shape, limit, rng)
    step = 1e-4 if argument in operation.linear else None
    try:
        with np.errstate(all="ignore"):
            found = numeric.numeric_gradient(evaluate, x, item.dy, indices, step, analytic, deadline=deadline)
    except Exception:
        return None
    return found, found.errors(analytic)


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
        return (y if np.isscalar(y) else to_numpy(y)), side
    return evaluate


def _judge(report, result, operation, tried, own_right, solved):
    """Put the two answers together: agreement with the reference, and with the differences of the own forward."""
    result.coordinates = sum(found.checked for _, _, found, _ in tried)
    result.kinks = sum(found.skipped for _, _, found, _ in tried)
    errors = [float(error.max(initial=0.0)) for *_, error in tried]
    result.difference_error = max(errors)
    consistent = result.difference_error < numeric.GOOD["float64"]
    agrees = result.verdict == "good"
    if agrees and not consistent and own_right:
        result.verdict = numeric.verdict(result.difference_error)
        place, analytic, found, error = tried[int(np.argmax(errors))]
        _explain_difference(result, solved[place], analytic, found, error)
    elif agrees and not consistent:
        report.notes.append(f"{result.name} is right, but it is not the gradient of your {operation.forward}, because "
                            f"that "
                            "is wrong")
    elif not agrees and consistent and not own_right:
        forward = "loss" if operation.is_loss else operation.forward
        result.cause_key, result.cause = "right gradient of a wrong forward", (
            f"this is the right gradient of your {forward}, which computes something else than it should: repair the "
            f"{'loss value' if operation.is_loss else 'forward function'} first, then this one with it"
            + (f" ({result.cause})" if result.cause else ""))
    if not agrees:
        _measured(result, tried, solved)


def _measured(result, tried, solved):
    """The finite difference at the coordinate shown, if it was among those measured."""
    for place, _, found, _ in tried:
        item = solved[place]
        if not result.case.startswith(f'"{item.case.name}"'):
            continue
        inside = result.place[result.place.find("[") + 1:result.place.find("]")]
        if "[" not in result.place:
            return
        index = np.ravel_multi_index([int(number) for number in inside.split(",")], item.gradients[result.name].shape)
        hit = np.flatnonzero(found.indices == index)
        if len(hit) and not found.kinks[hit[0]]:
            result.difference = float(found.values[hit[0]])


def _explain_difference(result, item, analytic, found, error):
    worst = int(np.argmax(error))
    index = np.unravel_index(int(found.indices[worst]), analytic.shape)
    result.case = f'"{item.case.name}": {item.case.describe()}'
    result.place = pictures.coordinate(result.name, tuple(int(place) for place in index))
    result.actual, result.difference = float(analytic[index]), float(found.values[worst])
    result.expected = float(item.gradients[result.name][index])
    result.cause = ("given the reference's arguments it is right, given those of your own forward it is not: the two "
                    "functions do not fit together")


def _without_input_gradient(report, backend, operation, function, item, path):
    """``input_gradient=False`` must give None for dx, and the same dw and db."""
    if len(parameters_of(function)) > _parameter_count(getattr(backend, function)):
        return
    arguments = {**item.available(), "input_gradient": False}
    ordered = arguments_for(function, arguments)
    try:
        returned = getattr(backend, function)(*[value.copy() if isinstance(value, np.ndarray) else value
                                                for value in ordered.values()])
    except Exception:
        report.add_problem("raises when input_gradient=False is given; it should then return None, dw, db", "raises")
        return
    if isinstance(returned, (tuple, list)) and len(returned) == 3 and returned[0] is not None:
        report.notes.append("with input_gradient=False it still computes dx: None is expected in its place (this "
                            "saves time "
                            "in a first layer)")


def _parameter_count(function):
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 99
    return 99 if any(p.kind == p.VAR_POSITIONAL for p in parameters) else len(parameters)


def _warnings(report, caught, path):
    seen = []
    for warning in caught:
        text = f"warns: {warning.message}" + (f" (line {warning.lineno})" if path and warning.filename == path else "")
        if text not in seen:
            seen.append(text)
    report.notes.extend(seen[:3])
