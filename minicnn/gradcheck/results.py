"""What is known of a graded function: plain data, which travels from the worker process to the report as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

#: From harmless to bad; the verdict of a function is the worst of its results'.
VERDICTS = ("good", "suspect", "wrong", "not written", "missing", "time limit", "crash")


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
    right_cases: list = field(default_factory=list)
    wrong_cases: list = field(default_factory=list)
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
