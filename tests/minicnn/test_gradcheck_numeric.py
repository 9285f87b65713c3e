"""The numbers beneath every gradient check: differences, coordinates, kinks, errors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import reference
from minicnn.gradcheck import numeric


def cube(x):
    return x**3, None


def test_central_difference_of_a_cube():
    x = np.array([0.5, -2.0, 30.0])
    dy = np.array([1.0, -0.5, 2.0])
    found = numeric.numeric_gradient(cube, x, dy, np.arange(3), analytic=3 * x**2 * dy)
    assert found.checked == 3 and found.skipped == 0
    assert found.errors(3 * x**2 * dy).max() < 1e-8


def test_a_wrong_gradient_is_wrong_and_the_sweep_does_not_hide_it():
    x, dy = np.array([0.5, -2.0]), np.ones(2)
    right = 3 * x**2
    for factor, verdict in ((1 + 1e-5, "suspect"), (1.01, "wrong"), (0.0, "wrong"), (np.nan, "wrong")):
        found = numeric.numeric_gradient(cube, x, dy, np.arange(2), analytic=right * factor)
        assert numeric.verdict(found.errors(right * factor).max()) == verdict


def test_the_sweep_measures_what_one_step_cannot():
    """A sum of large numbers: at h = 1e-6 rounding swamps the derivative, at larger steps it does not."""
    x = np.array([0.3])

    def evaluate(value):
        return 1e6 + np.sin(value), None

    once = numeric.numeric_gradient(evaluate, x, np.ones(1), [0])
    swept = numeric.numeric_gradient(evaluate, x, np.ones(1), [0], analytic=np.cos(x), good=1e-12)
    assert abs(once.values[0] - np.cos(0.3)) > 10 * abs(swept.values[0] - np.cos(0.3))


def test_a_kink_is_skipped_and_counted():
    x = np.array([-1.0, 1e-9, 1.0])

    def evaluate(value):
        return np.maximum(value, 0), value > 0

    found = numeric.numeric_gradient(evaluate, x, np.ones(3), np.arange(3))
    assert (found.checked, found.skipped) == (2, 1)
    assert found.errors(np.array([0.0, 123.0, 1.0])).max() < 1e-9


def test_ones_as_dy_would_prove_nothing_for_softmax():
    x = np.random.default_rng(0).standard_normal((2, 4))
    y = reference.softmax_forward(x)
    wrong = np.zeros_like(x)
    ones = numeric.numeric_gradient(lambda v: (reference.softmax_forward(v), None), x, np.ones_like(x), np.arange(8))
    random = np.random.default_rng(1).standard_normal(x.shape)
    drawn = numeric.numeric_gradient(lambda v: (reference.softmax_forward(v), None), x, random, np.arange(8))
    assert np.abs(ones.values - wrong.ravel()).max() < 1e-9
    assert np.abs(drawn.values - wrong.ravel()).max() > 1e-2
    np.testing.assert_allclose(drawn.values, reference.softmax_backward(random, y).ravel(), atol=1e-8)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.integers(1, 60), st.integers(0, 5))
def test_coordinates_are_distinct_inside_and_with_corners(shape, limit, seed):
    chosen = numeric.choose_coordinates(tuple(shape), limit, np.random.default_rng(seed))
    size = int(np.prod(shape))
    assert len(chosen) == len(set(chosen.tolist())) == min(size, limit)
    assert chosen.min() >= 0 and chosen.max() < size
    corners = 2 ** sum(length > 1 for length in shape)
    if limit >= 2 * corners:
        assert {0, size - 1} <= set(chosen.tolist())


def test_coordinates_touch_every_border_and_channel():
    shape = (3, 8, 9, 4)
    chosen = numeric.choose_coordinates(shape, 50, np.random.default_rng(0))
    index = np.array(np.unravel_index(chosen, shape))
    for axis, length in enumerate(shape):
        assert {0, length - 1} <= set(index[axis].tolist())
    assert set(index[3].tolist()) == {0, 1, 2, 3}


def test_relative_error_of_what_is_not_a_number():
    expected = np.array([1.0, np.nan, np.inf, 2.0, -np.inf])
    actual = np.array([1.0, np.nan, np.inf, np.nan, np.inf])
    assert numeric.relative_error(actual, expected).tolist() == [0, 0, 0, np.inf, np.inf]


def test_relative_error_has_a_floor():
    expected = np.array([1.0, 1e-12])
    assert numeric.relative_error(expected + 1e-13, expected)[1] == pytest.approx(1e-10, rel=1e-3)


def test_adjoint_error_of_a_matrix():
    rng = np.random.default_rng(0)
    matrix, x, dy = rng.standard_normal((4, 3)), rng.standard_normal(3), rng.standard_normal(4)
    assert numeric.adjoint_error((matrix @ x, dy), (x, matrix.T @ dy)) < 1e-14
    assert numeric.adjoint_error((matrix @ x, dy), (x, 1.001 * matrix.T @ dy)) > 1e-5


def test_error_against_step_size_is_v_shaped():
    x = np.random.default_rng(0).standard_normal((3, 4))
    dy = np.random.default_rng(1).standard_normal((3, 4))
    steps, errors = numeric.step_sweep(lambda v: (np.tanh(v), None), x, dy, np.arange(12), dy * (1 - np.tanh(x) ** 2))
    best = int(np.argmin(errors))
    assert 0 < best < len(steps) - 1
    assert errors[0] > 100 * errors[best] and errors[-1] > 10 * errors[best]


def test_direction_involves_every_element():
    x = np.random.default_rng(0).standard_normal(50)
    direction = np.ones(50)
    value, kink = numeric.directional_difference(cube, x, np.ones(50), direction)
    assert not kink
    assert value == pytest.approx(3 * np.sum(x**2), rel=1e-7)
