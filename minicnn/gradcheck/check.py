"""Checking a back-end: gradients by finite differences, by the adjoint identity, and against the reference.

Three proofs that do not lean on each other. Finite differences know nothing of the formulas. The adjoint identity holds
for linear operations to rounding error, over all elements at once: ``<conv(x, w), dy> = <x, dx> = <w, dw>``. And the
reference was written from the formulas, as loops.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field

import numpy as np

from kernels import reference
from minicnn.gradcheck import numeric
from minicnn.gradcheck.calls import call, evaluator, solve
from minicnn.gradcheck.operations import OPERATIONS
from minicnn.gradcheck.report import error as error_words
from minicnn.gradcheck.report import table


@dataclass
class Row:
    """One line of a check: one tensor of one operation, layer or model.

    ``error`` is the worst relative error against finite differences, ``adjoint`` that of the adjoint identity,
    ``reference`` that against the reference's result (None: does not apply).
    """

    operation: str
    tensor: str
    verdict: str
    error: float | None = None
    coordinates: int = 0
    kinks: int = 0
    adjoint: float | None = None
    reference: float | None = None
    seconds: float = 0.0
    backend: str = ""
    place: str = ""
    detail: str = ""


@dataclass
class CheckResult:
    """Rows of a check. ``ok`` if all are good; ``worst`` is the row with the largest error."""

    rows: list = field(default_factory=list)

    @property
    def ok(self):
        """Whether every row is good, and there is one."""
        return bool(self.rows) and all(row.verdict == "good" for row in self.rows)

    @property
    def worst(self):
        """The worst row: by verdict, then by error."""
        order = ("good", "suspect", "wrong")
        return max(self.rows, key=lambda row: (order.index(row.verdict), row.error or 0.0))

    def table(self):
        """The rows as text."""
        return table([(row.operation, row.tensor, error_words(row.error),
                       "-" if row.error is None else str(row.coordinates or "direction"),
                       str(row.kinks) if row.error is not None else "-", error_words(row.adjoint),
                       error_words(row.reference), row.verdict if row.verdict == "good" else row.verdict.upper(),
                       f"{row.seconds:.2f} s") for row in self.rows],
                     ("operation", "input", "worst error", "coordinates", "kinks", "adjoint", "reference", "verdict",
                      "time"))

    def as_dicts(self):
        """The rows for JSON."""
        return [asdict(row) for row in self.rows]

    def raise_if_wrong(self):
        """``AssertionError`` with the table unless ``ok``."""
        if not self.ok:
            details = "\n".join(row.detail for row in self.rows if row.detail)
            raise AssertionError(f"gradient check failed:\n{self.table()}\n{details}")
        return self


def check_operation(name, backend, seed=0, dtype="float64", coordinates=50, limit_cases=None):
    """Check one operation of a back-end in every case.

    Parameters
    ----------
    name : str
        A key of ``OPERATIONS``: ``"conv2d"``, ``"softmax_cross_entropy"``, ...
    backend : module
        A complete back-end.
    seed : int
        Chooses shapes, numbers and coordinates.
    dtype : {"float64", "float32"}
    coordinates : int
        Of each tensor, in the cases where everything varies; a fifth of it in the others.

    Returns
    -------
    CheckResult
        A row for each gradient, after one for the values where there is a reference to compare them with.
    """
    operation = OPERATIONS[name]
    start = time.perf_counter()
    rows, found = {}, {}
    solved = solve(name, seed, dtype)[:limit_cases]
    compare = backend is not reference
    for item in solved:
        mine = call(backend, operation, operation.forward, item.available(), item.results)
        _record(rows, operation, mine, item.results, dtype, compare)
        if not operation.gradients or mine.failed:
            continue
        graded = mine
        if operation.backward:
            graded = call(backend, operation, operation.backward, item.available(mine.results), item.gradients)
            _record(rows, operation, graded, item.gradients, dtype, compare)
        if dtype == "float32" and item.case.name.startswith("large"):
            continue  # no step is both large beside the rounding error of such numbers and small beside the curvature
        limit = coordinates if "all varied" in item.case.name else max(1, coordinates // 5)
        for gradient, argument in zip(operation.gradients, operation.inputs, strict=True):
            if gradient in graded.results and isinstance(item.case.arguments[argument], np.ndarray):
                _differentiate(rows, found, operation, backend, item, gradient, argument, graded.results[gradient],
                               limit, seed, dtype)
        _adjoint(rows, operation, backend, item, graded, dtype)
    result = CheckResult([_finish(row, dtype) for row in rows.values()])
    for row in result.rows:
        row.operation, row.seconds = name, (time.perf_counter() - start) / len(result.rows)
    return result


def _row(rows, tensor):
    return rows.setdefault(tensor, Row("", tensor, "good"))


def _record(rows, operation, outcome, expected, dtype, compare):
    """Agreement with the reference, and whatever else is wrong with the call."""
    for problem in outcome.problems:
        row = _row(rows, problem.result if problem.result in expected else next(iter(expected), "y"))
        row.verdict, row.detail = "wrong", problem.text
    if not compare:
        return
    for name, answer in expected.items():
        if name in outcome.results:
            row = _row(rows, name)
            floor = numeric.FLOOR[dtype] if np.asarray(answer).dtype.kind == "f" else 1.0
            worst = float(numeric.relative_error(outcome.results[name], answer, floor).max(initial=0.0))
            row.reference = max(row.reference or 0.0, worst)


def _differentiate(rows, found, operation, backend, item, gradient, argument, analytic, limit, seed, dtype):
    row = _row(rows, gradient)
    x = item.case.arguments[argument]
    rng = np.random.default_rng([seed, 13, *argument.encode()])
    step = _linear_step(dtype) if argument in operation.linear else None
    with np.errstate(all="ignore"):
        difference = numeric.numeric_gradient(evaluator(backend, operation, item.case.arguments, argument), x,
                                              np.asarray(item.dy, np.float64),
                                              numeric.choose_coordinates(x.shape, limit, rng), step, analytic)
    errors = difference.errors(analytic, numeric.FLOOR[dtype])
    row.coordinates += difference.checked
    row.kinks += difference.skipped
    worst = float(errors.max(initial=0.0))
    if row.error is None or worst > row.error:
        row.error = worst
        index = np.unravel_index(int(difference.indices[int(np.argmax(errors))]), x.shape)
        row.place = f"{gradient}[{', '.join(map(str, index))}] in {item.case.name}: {item.case.describe()}"


def _linear_step(dtype):
    """A linear function has no curvature, so the step may be large and rounding small."""
    return {"float64": 1e-4, "float32": 0.5}[np.dtype(dtype).name]


def _adjoint(rows, operation, backend, item, graded, dtype):
    """``<y without bias, dy> = <x, dx>`` for every input in which the operation is linear."""
    if not operation.linear or graded.failed:
        return
    arguments = {**item.case.arguments, **({"b": None} if "b" in item.case.arguments else {})}
    available = {**arguments, **{key: value for key, value in item.available().items() if key not in arguments}}
    y = call(backend, operation, operation.forward, available).results.get("y")
    if y is None:
        return
    for gradient, argument in zip(operation.gradients, operation.inputs, strict=True):
        if argument in operation.linear and gradient in graded.results:
            row = _row(rows, gradient)
            gap = numeric.adjoint_error((y, item.dy), (arguments[argument], graded.results[gradient]))
            row.adjoint = max(row.adjoint or 0.0, gap)


def _finish(row, dtype):
    """The verdict from the three errors."""
    verdicts = [row.verdict]
    if row.error is not None:
        verdicts.append(numeric.verdict(row.error, dtype))
        if not row.coordinates:
            verdicts.append("wrong")  # nothing but kinks: nothing was checked
            row.detail = row.detail or f"{row.tensor}: every coordinate lies at a kink, nothing could be checked"
    for exact in (row.adjoint, row.reference):
        if exact is not None:
            verdicts.append(numeric.verdict(exact, dtype, numeric.GOOD_EXACT))
    row.verdict = max(verdicts, key=("good", "suspect", "wrong").index)
    if row.verdict != "good" and not row.detail:
        row.detail = f"{row.tensor}: worst at {row.place}" if row.place else f"{row.tensor} differs from the reference"
    return row
