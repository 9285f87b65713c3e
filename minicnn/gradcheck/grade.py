"""Grading one function of a back-end: its results, its gradients, and what is wrong with them.

Two questions are asked of a backward function. Does it compute what the **reference**'s does, given the same arguments?
And is it the gradient of the author's **own forward** function, by finite differences (``consistency``)? Together they
tell a wrong gradient from the right gradient of a wrong forward.
"""

from __future__ import annotations

import inspect
import time
import warnings

import numpy as np

import kernels
from minicnn.gradcheck import consistency, numeric, pictures
from minicnn.gradcheck.calls import call, find_overwriting_line, solve
from minicnn.gradcheck.causes import Observation, facts, find_cause, shapes, view
from minicnn.gradcheck.operations import OPERATION_OF, REQUIRED, arguments_for, parameters_of
from minicnn.gradcheck.results import VERDICTS, FunctionReport, ResultReport


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
        _signature(report, backend, function)
        _structure(report, backend, operation, function, solved, outcomes, path)
        _compare(report, operation, function, solved, outcomes)
        _again(report, backend, operation, function, solved, outcomes, own_forward)
        if function == operation.backward or operation.is_loss:
            consistency.check(report, backend, operation, function, solved, own_forward,
                              time.perf_counter() + budget, seed, sweep)
        if function in ("conv2d_backward", "dense_backward") and not outcomes[0].failed:
            _without_input_gradient(report, backend, function, solved[0])
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
        if kind in ("raises", "not written", "exits", "count", "type", "shape") and len(cases) < len(solved):
            failing = {id(one) for one, _ in cases}
            nothing = np.zeros(1)
            observations = [Observation(one, None if id(one) in failing else nothing, nothing) for one in solved]
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
    """Numbers against the reference's, result by result; and in which cases all of them are right."""
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
            if not seen.right and item.case.name not in report.wrong_cases:
                report.wrong_cases.append(item.case.name)
        known = [error.max(initial=0.0) for error in errors if error is not None]
        if not known:
            result.verdict, result.error = "wrong", None
            report.results.append(result)
            continue
        result.error = float(max(known))
        result.verdict = numeric.verdict(result.error, good=numeric.GOOD_EXACT)
        if result.verdict != "good":
            _explain(result, function, observations, errors)
        elif any(error is None for error in errors):
            result.verdict = "wrong"  # it fails in some cases; the problems say in which
            _explain(result, function, observations, errors)
        report.results.append(result)
    report.right_cases = [item.case.name for item in solved if item.case.name not in report.wrong_cases]


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
    if cause and (result.place or cause.predict):  # that it works for some cases only, a problem's line says already
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
                           "function was called again; make a new array in every call", "reuses memory")
    fresh = _call(backend, operation, function, item, None, own_forward)
    for name, value in outcomes[0].results.items():
        if not _equal(fresh.results.get(name), value):
            report.add_problem(f"the same arguments give another {name} in another call: something is kept between "
                               "calls (an array outside the function, or a default argument, that is added to), or "
                               "random numbers are drawn", "keeps something")
            return
    if function == operation.backward and own_forward and callable(getattr(backend, operation.forward, None)):
        call(backend, operation, operation.forward, solved[1].available())
        stale = call(backend, operation, function, item.available(), item.gradients)
        if any(not _equal(stale.results.get(name), value) for name, value in fresh.results.items()):
            report.add_problem(f"depends on the last call of {operation.forward}: everything it needs is in its "
                               "arguments, and in a network other layers call the same functions in between",
                               "remembers forward")


def _equal(first, second):
    if first is None or second is None:
        return first is second
    return np.array_equal(first, second, equal_nan=np.asarray(second).dtype.kind == "f")


def _without_input_gradient(report, backend, function, item):
    """``input_gradient=False`` must give None for dx, beside dw and db."""
    if len(parameters_of(function)) > _parameter_count(getattr(backend, function)):
        return
    ordered = arguments_for(function, {**item.available(), "input_gradient": False})
    try:
        returned = getattr(backend, function)(*[value.copy() if isinstance(value, np.ndarray) else value
                                                for value in ordered.values()])
    except Exception as error:
        report.add_problem(f"raises {type(error).__name__} when input_gradient=False is given; it should then return "
                           "None, dw, db", "raises")
        return
    if isinstance(returned, (tuple, list)) and len(returned) == 3 and returned[0] is not None:
        report.notes.append("with input_gradient=False it still computes dx: None is expected in its place (this saves "
                            "time in a first layer)")


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
