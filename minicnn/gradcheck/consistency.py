"""Is a backward function the gradient of the forward function beside it? Finite differences tell.

Whether it computes what the reference computes is known before (``grade``). The two answers together tell a
wrong gradient
from the right gradient of a wrong forward.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from kernels import reference
from minicnn.gradcheck import numeric, pictures
from minicnn.gradcheck.calls import call, evaluator

#: Coordinates of a tensor that are checked by finite differences, in the first case and in the others.
COORDINATES = (50, 10)


@dataclass
class Attempt:
    """Finite differences of one tensor in one case, beside what the backward function said."""

    item: object
    claimed: np.ndarray
    found: numeric.Difference
    errors: np.ndarray


def check(report, backend, operation, function, solved, own_forward, deadline, seed, sweep):
    """Difference the module's own forward function (the reference's, if it has none that works), and judge.

    Fills in the results of ``report``. With ``sweep`` the error is also measured against the step.
    """
    own, own_right = _forward_to_difference(backend if own_forward else reference, operation, solved)
    attempts = {}
    order = sorted(solved, key=lambda item: "all varied" not in item.case.name)
    for rank, item in enumerate(order):
        if time.perf_counter() > deadline or (rank > 2 and own_right and _agrees(report, operation)):
            break
        results = item.results
        if operation.backward and own is not reference:
            results = call(own, operation, operation.forward, item.available(), item.results).results
            if set(results) != set(item.results):
                continue  # the forward function fails in this case, which its own report says
        graded = call(backend, operation, function, item.available(results), item.answers(operation, function))
        for name, argument in zip(operation.gradients, operation.inputs, strict=True):
            if name in graded.results and isinstance(item.case.arguments[argument], np.ndarray):
                attempt = _attempt(own, operation, item, argument, graded.results[name],
                                   COORDINATES[0 if rank == 0 else 1], deadline, seed)
                if attempt:
                    attempts.setdefault(name, []).append(attempt)
    for result in report.results:
        if result.name in attempts:
            _judge(report, result, operation, attempts[result.name], own_right)
            if sweep:
                _sweep(result, own, operation, attempts[result.name][0])


def _agrees(report, operation):
    """Whether all gradients agree with the reference."""
    return all(result.verdict == "good" for result in report.results if result.name in operation.gradients)


def _forward_to_difference(backend, operation, solved):
    """``(module, right)``: whose forward function is differenced, and whether it computes what it should.

    A forward function that fails in the first case, or is merely imprecise (float32), tells nothing of the gradient.
    """
    if backend is reference or not callable(getattr(backend, operation.forward, None)):
        return reference, True
    worst = 0.0
    for place, item in enumerate(solved):
        outcome = call(backend, operation, operation.forward, item.available(), item.results)
        for name, expected in item.results.items():
            if operation.is_loss and name in operation.gradients:
                continue
            actual = outcome.results.get(name)
            if actual is None and place == 0:
                return reference, True
            worst = max(worst, np.inf if actual is None else
                        float(np.max(numeric.relative_error(actual, expected), initial=0)))
    if numeric.verdict(worst, good=numeric.GOOD_EXACT) == "suspect":
        return reference, True
    return backend, worst < numeric.GOOD_EXACT["float64"]


def _attempt(own, operation, item, argument, claimed, limit, deadline, seed):
    """An ``Attempt`` with respect to one argument, or None if the forward function fails."""
    x = item.case.arguments[argument]
    rng = np.random.default_rng([seed, 11, *argument.encode()])
    indices = numeric.choose_coordinates(x.shape, limit, rng)
    step = 1e-4 if argument in operation.linear else None
    try:
        with np.errstate(all="ignore"):
            found = numeric.numeric_gradient(evaluator(own, operation, item.case.arguments, argument), x, item.dy,
                                             indices,
                                             step, claimed, deadline=deadline)
    except Exception:
        return None
    return Attempt(item, claimed, found, found.errors(claimed))


def _judge(report, result, operation, attempts, own_right):
    """Put the two answers together: agreement with the reference, and with the differences of the own forward."""
    result.coordinates = sum(attempt.found.checked for attempt in attempts)
    result.kinks = sum(attempt.found.skipped for attempt in attempts)
    worst = max(attempts, key=lambda attempt: attempt.errors.max(initial=0.0))
    result.difference_error = float(worst.errors.max(initial=0.0))
    consistent = numeric.verdict(result.difference_error) == "good"
    agrees = result.verdict == "good"
    if agrees and not consistent and own_right:
        _explain(result, worst)
    elif agrees and not consistent:
        report.notes.append(f"{result.name} is right, but it is not the gradient of your {operation.forward}, because "
                            "that is wrong")
    elif not agrees:
        if consistent and not own_right:
            _excuse(result, operation)
        _measured(result, attempts)


def _explain(result, attempt):
    """The reference's arguments give the right gradient, the own forward's results do not."""
    place = int(np.argmax(attempt.errors))
    index = tuple(int(one) for one in np.unravel_index(int(attempt.found.indices[place]), attempt.claimed.shape))
    result.verdict = numeric.verdict(result.difference_error)
    result.case = f'"{attempt.item.case.name}": {attempt.item.case.describe()}'
    result.place = pictures.coordinate(result.name, index)
    result.actual, result.difference = float(attempt.claimed[index]), float(attempt.found.values[place])
    result.expected = float(attempt.item.gradients[result.name][index])
    result.cause = ("given the reference's arguments it is right, given those of your own forward it is not: the two "
                    "functions do not fit together")


def _excuse(result, operation):
    """The gradient is wrong because the forward function is."""
    what, first = ("loss", "the loss value") if operation.is_loss else (operation.forward, "the forward function")
    result.cause_key = "right gradient of a wrong forward"
    result.cause = (f"this is the right gradient of your {what}, which computes something else than it should: repair "
                    f"{first} first, then this one with it" + (f" ({result.cause})" if result.cause else ""))


def _measured(result, attempts):
    """Note the finite difference at the coordinate shown, if it was among those measured."""
    if "[" not in result.place:
        return
    index = [int(number) for number in result.place[result.place.index("[") + 1:result.place.index("]")].split(",")]
    for attempt in attempts:
        if result.case.startswith(f'"{attempt.item.case.name}"'):
            hit = np.flatnonzero(attempt.found.indices == np.ravel_multi_index(index, attempt.claimed.shape))
            if len(hit) and not attempt.found.kinks[hit[0]]:
                result.difference = float(attempt.found.values[hit[0]])


def _sweep(result, own, operation, attempt):
    """Error against step size, at a dozen coordinates."""
    argument = operation.inputs[operation.gradients.index(result.name)]
    arguments = attempt.item.case.arguments
    with np.errstate(all="ignore"):
        steps, errors = numeric.step_sweep(evaluator(own, operation, arguments, argument), arguments[argument],
                                           attempt.item.dy, attempt.found.indices[:12], attempt.claimed)
    result.sweep = [steps.tolist(), errors.tolist()]
