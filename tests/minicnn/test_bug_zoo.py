"""Planted bugs are caught and named; correct solutions in other styles raise no alarm."""

import collections

import pytest

from kernels import im2col
from minicnn.backends import defined_functions, load_file
from minicnn.gradcheck import grade_function

from .bug_zoo import BUGS, SOLUTIONS, hunt

STYLES = ("windows", "einsum", "scatter")


def test_the_zoo_is_large_and_varied():
    assert len(BUGS) >= 40
    assert len({(bug.function, bug.name) for bug in BUGS}) == len(BUGS)
    shown_by = collections.Counter(bug.shows_for for bug in BUGS)
    for condition in ("non-square images", "unequal strides", "asymmetric padding", "several channels", "batch > 1",
                      "ties",
                      "a single element"):
        assert shown_by[condition] >= 1
    assert sum(bug.cause is not None for bug in BUGS) >= 30


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: f"{bug.function}-{bug.name}")
def test_every_bug_is_caught_and_named(bug):
    caught, named, report = hunt(bug, seed=0, budget=0.02)
    assert caught
    assert named or bug.cause is None, (bug.cause, report.causes, report.problems)


@pytest.mark.slow
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: f"{bug.function}-{bug.name}")
def test_every_bug_is_caught_for_twenty_seeds(bug):
    hunts = [hunt(bug, seed, budget=0.05) for seed in range(20)]
    assert all(caught for caught, _, _ in hunts)
    assert all(named for _, named, _ in hunts) or bug.cause is None


def alarms(module, seeds):
    """``(function, seed, report)`` of everything that is held against a correct module."""
    return [(function, seed, report) for seed in seeds for function in defined_functions(module)
            if not (report := grade_function(module, function, seed)).ok or report.notes]


@pytest.mark.parametrize("style", STYLES)
def test_no_false_alarm(style):
    assert not alarms(load_file(SOLUTIONS / f"{style}.py"), [1])


def test_no_false_alarm_for_im2col():
    assert not alarms(im2col, [1])


@pytest.mark.slow
@pytest.mark.parametrize("style", STYLES)
def test_no_false_alarm_in_two_hundred_seeds(style):
    assert not alarms(load_file(SOLUTIONS / f"{style}.py"), range(200))


@pytest.mark.slow
def test_no_false_alarm_for_im2col_in_two_hundred_seeds():
    assert not alarms(im2col, range(200))
