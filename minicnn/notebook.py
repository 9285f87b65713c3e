"""Small helpers for the tutorials: grading what a reader has written, and numbers that a test holds the page to."""

from __future__ import annotations

import json
import types

import numpy as np


def grade(function, answer, cases, tolerance=1e-9):
    """Compare a reader's function with one that is right, on several sets of arguments, and say how it went.

    Parameters
    ----------
    function : callable
        The reader's. ``NotImplementedError`` or a result of None means: not written yet.
    answer : callable
        What it should compute.
    cases : list of tuple
        Arguments.
    tolerance : float
        Largest relative or absolute difference.

    Returns
    -------
    bool
        Whether all results are right.
    """
    name = getattr(function, "__name__", "the function")
    for arguments in cases:
        call = f"{name}({', '.join(map(_short, arguments))})"
        expected = answer(*_copies(arguments))
        try:
            got = function(*_copies(arguments))
        except NotImplementedError:
            got = None
        except Exception as error:
            print(f"{call} raises {type(error).__name__}: {error}")
            return False
        if got is None:
            print(f"{name}: not written yet")
            return False
        if np.shape(got) != np.shape(expected):
            print(f"{call} has shape {np.shape(got)}, should have {np.shape(expected)}")
            return False
        if not np.allclose(got, expected, rtol=tolerance, atol=tolerance, equal_nan=True):
            print(f"{call} gives {_short(got)}, should be {_short(expected)}")
            return False
    print(f"{name}: right, in all {len(cases)} cases")
    return True


def grade_functions(*functions):
    """Grade functions of the contract (``conv2d_backward``, ...) as ``minicnn gradcheck FILE`` does, without a file.

    Prints the report, with the likely cause of each mistake, and returns whether all is right.
    """
    from minicnn.gradcheck.grade import grade_function
    from minicnn.gradcheck.homework import FileReport
    from minicnn.gradcheck.report import file_report

    module = types.ModuleType("notebook")
    for function in functions:
        setattr(module, function.__name__, function)
    names = [function.__name__ for function in functions]
    report = FileReport("this notebook", functions=[grade_function(module, name) for name in names])
    print(file_report(report))
    return report.ok


def key_numbers(tolerance=1e-6, **numbers):
    """Print results that a test compares with those of the page's next run, within ``tolerance`` (absolute).

    The tests of the tutorials read these lines from the committed page and from a fresh run.
    """
    values = {name: round(float(value), 10) for name, value in numbers.items()}
    print(f"key numbers (within {tolerance:g}): {json.dumps(values)}")


def _copies(arguments):
    return [np.array(value) if isinstance(value, np.ndarray) else value for value in arguments]


def _short(value):
    if isinstance(value, np.ndarray) and value.size > 6:
        return f"array {value.shape}"
    return " ".join(repr(value).split()) if not isinstance(value, float) else f"{value:.6g}"
