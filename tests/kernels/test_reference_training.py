"""The reference's losses, batch normalization, dropout and optimizers; in the manner of ``test_reference.py``."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numeric import assert_is_gradient
from strategies import batch_norm_cases, loss_cases, values

from kernels import reference as ref

# Losses --------------------------------------------------------------------------------------------------------------

def test_cross_entropy_worked_by_hand():
    logits = np.array([[0.0, 0.0, 0.0, 0.0], [math.log(2), 0.0, 0.0, 0.0]])
    loss, dlogits = ref.softmax_cross_entropy(logits, np.array([3, 0]))
    assert loss == pytest.approx((math.log(4) + math.log(5 / 2)) / 2, rel=1e-14)
    np.testing.assert_allclose(dlogits, [[0.125, 0.125, 0.125, -0.375], [-0.3, 0.1, 0.1, 0.1]], rtol=1e-14)


def test_cross_entropy_where_the_softmax_underflows():
    loss, dlogits = ref.softmax_cross_entropy(np.array([[0.0, 2000.0]]), np.array([0]))
    assert loss == 2000
    np.testing.assert_array_equal(dlogits, [[-1, 1]])
    loss, _ = ref.softmax_cross_entropy(np.array([[1e308, -1e308]]), np.array([0]))
    assert loss == 0


def test_label_smoothing_worked_by_hand():
    """q = 0.8 (0, 1) + 0.2 / 2 (1, 1) = (0.1, 0.9)."""
    p = np.array([0.25, 0.75])
    loss, dlogits = ref.softmax_cross_entropy(np.log(p)[np.newaxis], np.array([1]), label_smoothing=0.2)
    assert loss == pytest.approx(-0.1 * math.log(0.25) - 0.9 * math.log(0.75), rel=1e-14)
    np.testing.assert_allclose(dlogits, [[0.15, -0.15]], rtol=1e-12)


def test_a_sample_of_weight_two_counts_like_two_samples():
    logits, targets, labels = values(0, (3, 4)), values(1, (3, 4)), np.array([0, 3, 1])
    twice = [0, 1, 1, 2]
    weight = np.array([1.0, 2.0, 1.0])
    for loss, right in ((ref.softmax_cross_entropy, labels), (ref.mean_squared_error, targets)):
        weighted, dweighted = loss(logits, right, weight)
        repeated, drepeated = loss(logits[twice], right[twice])
        assert 3 * weighted == pytest.approx(4 * repeated, rel=1e-14)
        np.testing.assert_allclose(3 * dweighted[1], 4 * (drepeated[1] + drepeated[2]), rtol=1e-13)


@settings(deadline=None, max_examples=40)
@given(loss_cases())
def test_cross_entropy_of_a_softmax_is_softmax_cross_entropy(case):
    """Chained with the gradient of softmax, the gradient by the probabilities is that by the logits."""
    logits = np.clip(case.scores, -30, 30)
    p = ref.softmax_forward(logits)
    loss, dp = ref.cross_entropy(p, case.labels, case.sample_weight, case.label_smoothing)
    expected, dlogits = ref.softmax_cross_entropy(logits, case.labels, case.sample_weight, case.label_smoothing)
    assert loss == pytest.approx(expected, rel=1e-10, abs=1e-13)
    np.testing.assert_allclose(ref.softmax_backward(dp, p), dlogits, rtol=1e-9, atol=1e-12)


def test_cross_entropy_of_a_probability_of_zero_is_finite():
    p = np.array([[0.0, 1.0]])
    loss, dp = ref.cross_entropy(p, np.array([0]))
    assert loss == pytest.approx(-math.log(np.finfo(float).tiny), rel=1e-14)
    np.testing.assert_array_equal(dp, [[0, 0]])
    assert np.isfinite(ref.softmax_backward(dp, p)).all()


def test_mean_squared_error_worked_by_hand():
    loss, dpredictions = ref.mean_squared_error(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, 0.0], [0.0, 3.0]]))
    assert loss == ((0 + 4) / 2 + (9 + 1) / 2) / 2
    np.testing.assert_array_equal(dpredictions, [[0, 1], [1.5, 0.5]])


@settings(deadline=None, max_examples=25)
@given(loss_cases(max_samples=4, max_classes=5))
def test_gradients_of_losses(case):
    scores = case.scores / max(1.0, np.abs(case.scores).max())
    arguments = case.labels, case.sample_weight, case.label_smoothing
    assert_is_gradient(ref.softmax_cross_entropy(scores, *arguments)[1],
                       lambda: ref.softmax_cross_entropy(scores, *arguments)[0], scores)
    p = 0.2 + ref.softmax_forward(scores)  # rows need not sum to 1, and near 0 the logarithm is too steep to difference
    assert_is_gradient(ref.cross_entropy(p, *arguments)[1], lambda: ref.cross_entropy(p, *arguments)[0], p)
    arguments = case.targets, case.sample_weight
    assert_is_gradient(ref.mean_squared_error(scores, *arguments)[1],
                       lambda: ref.mean_squared_error(scores, *arguments)[0], scores)


# Batch normalization -------------------------------------------------------------------------------------------------

def test_batch_normalization_worked_by_hand():
    x = np.array([[1.0, 0.0], [3.0, 10.0]])
    y, mean, variance = ref.batch_norm_forward(x, np.array([2.0, 1.0]), np.array([0.0, 5.0]), 0.0)
    np.testing.assert_array_equal(mean, [2, 5])
    np.testing.assert_array_equal(variance, [1, 25])
    np.testing.assert_array_equal(y, [[-2, 4], [2, 6]])


def test_the_statistics_are_per_channel_and_not_per_pixel():
    x = values(0, (3, 4, 5, 2)) * 3 + 1
    y, mean, variance = ref.batch_norm_forward(x, np.ones(2), np.zeros(2), 1e-9)
    rows = x.reshape(-1, 2)
    np.testing.assert_allclose(mean, [rows[:, 0].mean(), rows[:, 1].mean()], rtol=1e-12)
    np.testing.assert_allclose(variance, [rows[:, 0].var(), rows[:, 1].var()], rtol=1e-12)
    np.testing.assert_allclose(y.reshape(-1, 2).mean(axis=0), [0, 0], atol=1e-14)
    np.testing.assert_allclose(y.reshape(-1, 2).std(axis=0), [1, 1], rtol=1e-8)
    np.testing.assert_allclose(ref.batch_norm_forward(rows, np.ones(2), np.zeros(2), 1e-9)[0], y.reshape(-1, 2))


def test_one_value_has_no_variance():
    y, mean, variance = ref.batch_norm_forward(np.array([[7.0]]), np.array([3.0]), np.array([0.5]))
    assert (y, mean, variance) == (0.5, 7, 0)
    dx, dgamma, dbeta = ref.batch_norm_backward(np.array([[2.0]]), np.array([[7.0]]), np.array([3.0]), mean, variance)
    assert (dx, dgamma, dbeta) == (0, 0, 2)


@settings(deadline=None, max_examples=25)
@given(batch_norm_cases(max_images=3, max_size=2, max_channels=3))
def test_gradients_of_batch_normalization(case):
    x, gamma, beta, dy = case.x, case.gamma, case.beta, case.dy
    epsilon = max(case.epsilon, 0.1)  # a tiny batch may hardly vary: then the fourth-order difference is too coarse

    def loss():
        return np.sum(ref.batch_norm_forward(x, gamma, beta, epsilon)[0] * dy)

    _, mean, variance = ref.batch_norm_forward(x, gamma, beta, epsilon)
    for gradient, array in zip(ref.batch_norm_backward(dy, x, gamma, mean, variance, epsilon), (x, gamma, beta)):
        assert_is_gradient(gradient, loss, array)


@settings(deadline=None, max_examples=15)
@given(batch_norm_cases(max_images=3, max_size=2, max_channels=3))
def test_gradients_of_batch_normalization_in_use(case):
    x, gamma, beta, dy = case.x, case.gamma, case.beta, case.dy
    statistics = case.mean, case.variance, case.epsilon

    def loss():
        return np.sum(ref.batch_norm_inference_forward(x, gamma, beta, *statistics) * dy)

    gradients = ref.batch_norm_inference_backward(dy, x, gamma, *statistics)
    for gradient, array in zip(gradients, (x, gamma, beta)):
        assert_is_gradient(gradient, loss, array)


@settings(deadline=None, max_examples=15)
@given(batch_norm_cases())
def test_batch_normalization_in_use_with_the_batchs_statistics_is_that_of_training(case):
    y, mean, variance = ref.batch_norm_forward(case.x, case.gamma, case.beta, case.epsilon)
    got = ref.batch_norm_inference_forward(case.x, case.gamma, case.beta, mean, variance, case.epsilon)
    np.testing.assert_allclose(got, y, rtol=1e-12, atol=1e-12)


# Dropout -------------------------------------------------------------------------------------------------------------

def splitmix64(seed, count):
    """The generator as it was published, with its state, in Python's integers."""
    full = 2**64 - 1
    for _ in range(count):
        seed = (seed + 0x9E3779B97F4A7C15) & full
        z = seed
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & full
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & full
        yield z ^ (z >> 31)


def test_the_generator_here_is_the_published_one():
    """First output for seed 0, as published with the generator: 0xE220A8397B1DCDAF."""
    assert next(splitmix64(0, 1)) == 0xE220A8397B1DCDAF


@pytest.mark.parametrize("seed", [0, 1, 12345, 2**63 - 1])
def test_the_mask_is_splitmix64_in_row_major_order(seed):
    x = np.arange(1.0, 61.0).reshape(3, 4, 5)
    y, mask = ref.dropout_forward(x, 0.3, seed)
    expected = [(z >> 40) / 2**24 >= 0.3 for z in splitmix64(seed, 60)]
    assert mask.ravel().tolist() == expected
    np.testing.assert_allclose(y, np.where(mask, x / 0.7, 0), rtol=1e-15)


def test_a_random_number_equal_to_the_rate_is_kept():
    rate = (next(splitmix64(5, 1)) >> 40) / 2**24
    assert ref.dropout_forward(np.ones(1), rate, 5)[1].all()
    assert not ref.dropout_forward(np.ones(1), rate + 2**-25, 5)[1].any()


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_mask_drops_the_given_part_and_the_mean_stays(rate):
    x = np.ones((100, 1000))
    y, mask = ref.dropout_forward(x, rate, 42)
    deviation = math.sqrt(rate * (1 - rate) / x.size)
    assert abs(1 - mask.mean() - rate) < 4 * deviation
    assert abs(y.mean() - 1) < 4 * deviation / (1 - rate)
    rows = mask.mean(axis=1)  # neighbouring seeds and neighbouring elements must not be alike
    assert np.abs(rows - (1 - rate)).max() < 6 * math.sqrt(rate * (1 - rate) / 1000)
    other = ref.dropout_forward(x, rate, 43)[1]
    agreement = rate**2 + (1 - rate) ** 2
    assert abs((mask == other).mean() - agreement) < 0.01
    assert abs((mask[:, 1:] == mask[:, :-1]).mean() - agreement) < 0.01


def test_dropout_and_its_gradient():
    x, dy = values(0, (4, 5)), values(1, (4, 5))
    _, mask = ref.dropout_forward(x, 0.4, 9)
    assert 0 < mask.sum() < 20
    assert_is_gradient(ref.dropout_backward(dy, mask, 0.4), lambda: np.sum(ref.dropout_forward(x, 0.4, 9)[0] * dy), x)
    y, mask = ref.dropout_forward(x, 0.0, 9)
    assert mask.all()
    np.testing.assert_array_equal(y, x)


def test_dropping_takes_nan_and_infinity_along():
    x = np.full(64, np.nan)
    x[::2] = np.inf
    y, mask = ref.dropout_forward(x, 0.5, 1)
    assert 0 < mask.sum() < 64
    np.testing.assert_array_equal(y, np.where(mask, x, 0))


# Optimizers ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("nesterov, expected", [(False, [0.95, 0.855]), (True, [0.905, 0.7695])])
def test_sgd_worked_by_hand(nesterov, expected):
    """From 1 with gradient 0.5, learning rate 0.1, momentum 0.9: the velocity is -0.05, then -0.095."""
    parameters, velocity = np.array([1.0]), np.array([0.0])
    for value, speed in zip(expected, (-0.05, -0.095)):
        ref.sgd_step(parameters, np.array([0.5]), velocity, 0.1, 0.9, nesterov)
        assert parameters[0] == pytest.approx(value, rel=1e-14)
        assert velocity[0] == pytest.approx(speed, rel=1e-14)


def test_sgd_without_momentum_follows_the_gradient():
    parameters, velocity = np.array([1.0, -2.0]), np.array([5.0, 5.0])
    ref.sgd_step(parameters, np.array([0.5, -1.0]), velocity, 0.1)
    np.testing.assert_allclose(parameters, [0.95, -1.9], rtol=1e-15)
    np.testing.assert_allclose(velocity, [-0.05, 0.1], rtol=1e-15)


def test_weight_decay_is_decoupled():
    """A gradient of zero: the parameters shrink by 1 - 0.1 * 0.01, and momentum knows nothing of it."""
    for step in (lambda p, v: ref.sgd_step(p, np.zeros(1), v, 0.1, 0.9, False, 0.01),
                 lambda p, v: ref.adam_step(p, np.zeros(1), v, np.zeros(1), 1, 0.1, weight_decay=0.01)):
        parameters, velocity = np.array([2.0]), np.zeros(1)
        step(parameters, velocity)
        assert parameters[0] == pytest.approx(2 * 0.999, rel=1e-15)
        assert velocity[0] == 0


def test_the_first_step_of_adam_is_the_learning_rate():
    parameters = np.zeros(4)
    ref.adam_step(parameters, np.array([1e-3, -5.0, 1e4, 0.0]), np.zeros(4), np.zeros(4), 1, 0.01)
    np.testing.assert_allclose(parameters, [-0.01, 0.01, -0.01, 0], rtol=1e-3)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.floats(0.0, 0.99), st.floats(0.0, 0.999), st.sampled_from([0.0, 0.01]))
def test_adam_against_the_algorithm_number_by_number(seed, beta_1, beta_2, decay):
    rng = np.random.default_rng(seed)
    parameters, m, v = rng.normal(size=3), np.zeros(3), np.zeros(3)
    theta = parameters.tolist()
    history = []
    for step in range(1, 6):
        gradients = rng.normal(size=3)
        ref.adam_step(parameters, gradients, m, v, step, 0.05, beta_1, beta_2, 1e-8, decay)
        history.append(gradients)
        for k in range(3):  # the moments as the weighted sums that the recursion stands for
            mean = sum((1 - beta_1) * beta_1 ** (step - 1 - t) * g[k] for t, g in enumerate(history))
            square = sum((1 - beta_2) * beta_2 ** (step - 1 - t) * g[k] ** 2 for t, g in enumerate(history))
            theta[k] -= 0.05 * decay * theta[k]
            theta[k] -= 0.05 * (mean / (1 - beta_1**step)) / (math.sqrt(square / (1 - beta_2**step)) + 1e-8)
        np.testing.assert_allclose(parameters, theta, rtol=1e-9, atol=1e-12)


def test_optimizers_find_the_bottom_of_a_bowl():
    for step in ("sgd", "adam"):
        parameters, first, second = np.array([3.0, -2.0]), np.zeros(2), np.zeros(2)
        for count in range(1, 301):
            gradients = parameters * np.array([1.0, 10.0])
            if step == "sgd":
                ref.sgd_step(parameters, gradients, first, 0.02, 0.9, True)
            else:
                ref.adam_step(parameters, gradients, first, second, count, 0.1)
        assert np.abs(parameters).max() < 1e-3


def test_clipping_shortens_a_long_gradient_and_keeps_its_direction():
    gradients = np.array([3.0, 0.0, -4.0])
    assert ref.clip_by_global_norm(gradients, 10.0) == 5
    np.testing.assert_array_equal(gradients, [3, 0, -4])
    assert ref.clip_by_global_norm(gradients, 1.0) == 5
    np.testing.assert_allclose(gradients, [0.6, 0, -0.8], rtol=1e-15)
    assert ref.clip_by_global_norm(gradients, 0.0) == pytest.approx(1)
    assert not gradients.any()


def test_clipping_in_float32_does_not_overflow():
    gradients = np.array([3e25, -4e25], np.float32)
    assert ref.clip_by_global_norm(gradients, 1.0) == pytest.approx(5e25, rel=1e-6)
    np.testing.assert_allclose(gradients, [0.6, -0.8], rtol=1e-6)
