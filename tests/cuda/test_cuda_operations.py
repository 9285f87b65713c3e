"""Pools, activations, losses, normalization and optimizers of the cuda back-end against the reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import (
    FLOATS,
    RTOL,
    assert_close,
    batch_norm_cases,
    elementwise_cases,
    loss_cases,
    pool2d_cases,
    values,
)

from kernels import im2col, reference

pytestmark = pytest.mark.cuda
host = pytest.importorskip("host")

few = settings(deadline=None, max_examples=8)


@few
@given(pool2d_cases(FLOATS, max_images=2, max_size=6))
def test_pooling(case):
    y, argmax = host.max_pool2d_forward(case.x, *case.window)
    expected_y, expected_argmax = im2col.max_pool2d_forward(case.x, *case.window)
    np.testing.assert_array_equal(y, expected_y)
    np.testing.assert_array_equal(argmax, expected_argmax)
    scale = np.abs(case.dy).max(initial=0.0) * np.prod(case.pool_size) ** 2
    assert_close(host.max_pool2d_backward(case.dy, argmax, case.x.shape, *case.window),
                 im2col.max_pool2d_backward(case.dy, argmax, case.x.shape, *case.window), scale, what="dx of max")
    assert_close(host.avg_pool2d_forward(case.x, *case.window), im2col.avg_pool2d_forward(case.x, *case.window), 4.0,
                 what="y of avg")
    assert_close(host.avg_pool2d_backward(case.dy, case.x.shape, *case.window),
                 im2col.avg_pool2d_backward(case.dy, case.x.shape, *case.window), scale, what="dx of avg")


@few
@given(elementwise_cases(FLOATS, max_dims=3), st.sampled_from(("relu", "leaky_relu", "sigmoid", "tanh", "softmax")))
def test_activations(case, name):
    x, dy = case
    y = getattr(reference, f"{name}_forward")(x)
    assert_close(getattr(host, f"{name}_forward")(x), y, 1 + np.abs(np.nan_to_num(y, posinf=0, neginf=0)))
    expected = getattr(reference, f"{name}_backward")(dy, y)
    scale = 10 + 10 * np.nan_to_num(np.abs(expected), posinf=0)
    assert_close(getattr(host, f"{name}_backward")(dy, y), expected, scale)


@pytest.mark.parametrize("dtype", FLOATS, ids=("float32", "float64"))
@pytest.mark.parametrize("classes", [1, 31, 32, 33, 70])
def test_rows_shorter_and_longer_than_a_block(classes, dtype):
    x, dy, labels = values(1, (3, classes), dtype), values(2, (3, classes), dtype), np.array([0, classes - 1, 0])
    y = reference.softmax_forward(x)
    assert_close(host.softmax_forward(x), y, 1.0)
    assert_close(host.softmax_backward(dy, y), reference.softmax_backward(dy, y), 1.0)
    for name, first in (("softmax_cross_entropy", x), ("cross_entropy", y)):
        expected = getattr(reference, name)(first, labels, None, 0.1)
        loss, gradient = getattr(host, name)(first, labels, None, 0.1)
        assert loss == pytest.approx(expected[0], rel=10 * RTOL[np.dtype(dtype)])
        assert_close(gradient, expected[1])


@few
@given(loss_cases(FLOATS))
def test_losses(case):
    rtol = 10 * RTOL[case.scores.dtype]
    for name, arguments in (
            ("softmax_cross_entropy", (case.scores, case.labels, case.sample_weight, case.label_smoothing)),
            ("cross_entropy", (reference.softmax_forward(case.scores), case.labels, case.sample_weight,
                               case.label_smoothing)),
            ("mean_squared_error", (case.scores, case.targets, case.sample_weight))):
        expected, gradient = getattr(reference, name)(*arguments)
        got = getattr(host, name)(*arguments)
        assert got[0] == pytest.approx(expected, rel=rtol, abs=rtol)
        assert_close(got[1], gradient, what=name)


@few
@given(batch_norm_cases(FLOATS))
def test_batch_normalization(case):
    arguments = case.x, case.gamma, case.beta, case.epsilon
    expected = reference.batch_norm_forward(*arguments)
    for name, got, value in zip(("y", "mean", "variance"), host.batch_norm_forward(*arguments), expected):
        assert_close(got, value, 1 + np.abs(case.x).max() ** 2 / case.epsilon**0.5, what=name)
    inference = case.x, case.gamma, case.beta, case.mean, case.variance, case.epsilon
    assert_close(host.batch_norm_inference_forward(*inference), reference.batch_norm_inference_forward(*inference),
                 1 + np.abs(case.x).max() / case.epsilon**0.5)
    for name, statistics in (("batch_norm_backward", expected[1:]),
                             ("batch_norm_inference_backward", (case.mean, case.variance))):
        backward = case.dy, case.x, case.gamma, *statistics, case.epsilon
        for what, got, value in zip(("dx", "dgamma", "dbeta"), getattr(host, name)(*backward),
                                    getattr(reference, name)(*backward)):
            assert_close(got, value, 1 + np.abs(case.x).max() ** 2 * np.abs(case.dy).sum() / case.epsilon,
                         what=f"{what} of {name}")


@pytest.mark.parametrize("dtype", FLOATS, ids=("float32", "float64"))
def test_batch_statistics_of_many_rows_far_from_zero(dtype, monkeypatch):
    """Several chunks, more channels than a block takes, and a mean that mean(x^2) - mean(x)^2 would not survive."""
    from kernels.cuda import normalization
    monkeypatch.setattr(normalization, "SHORTEST_STRAND", 2)
    x = values(1, (13, 35), dtype) + dtype(1000)
    _, mean, variance = host.batch_norm_forward(x, np.ones(35, dtype), np.zeros(35, dtype))
    exact = x.astype(np.float64)
    np.testing.assert_allclose(mean, exact.mean(axis=0), rtol=4 * np.finfo(dtype).eps)
    np.testing.assert_allclose(variance, exact.var(axis=0), rtol=1e4 * np.finfo(dtype).eps)
    dy = values(2, x.shape, dtype)
    _, dgamma, dbeta = host.batch_norm_backward(dy, x, np.ones(35, dtype), mean, variance)
    np.testing.assert_allclose(dbeta, dy.sum(axis=0, dtype=np.float64), rtol=1e-4, atol=1e-5)
    expected = (dy * (exact - mean) / np.sqrt(variance.astype(np.float64) + 1e-3)).sum(axis=0)
    np.testing.assert_allclose(dgamma, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", FLOATS, ids=("float32", "float64"))
@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}])
def test_sgd_for_three_steps(dtype, options):
    got = [values(seed, (150,), dtype) for seed in range(3)]
    expected = [vector.copy() for vector in got]
    for _ in range(3):
        host.sgd_step(*got, 0.1, **options)
        reference.sgd_step(*expected, 0.1, **options)
    for array, value in zip(got, expected):
        assert_close(array, value)


@pytest.mark.parametrize("dtype", FLOATS, ids=("float32", "float64"))
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_adam_for_three_steps(dtype, weight_decay):
    got = [values(seed, (150,), dtype) for seed in range(2)] + [np.zeros(150, dtype) for _ in range(2)]
    expected = [vector.copy() for vector in got]
    for step in (1, 2, 3):
        host.adam_step(*got, step, 0.1, weight_decay=weight_decay)
        reference.adam_step(*expected, step, 0.1, weight_decay=weight_decay)
    for array, value in zip(got, expected):
        assert_close(array, value)


@pytest.mark.parametrize("dtype", FLOATS, ids=("float32", "float64"))
@pytest.mark.parametrize("size, factor", [(1, 1.0), (100, 1.0), (200, 1.0), (70, 1e30)])
def test_clipping(dtype, size, factor):
    """In float32, squares of 1e30 overflow unless they are summed in float64."""
    vector = values(1, (size,), dtype) * dtype(factor)
    expected = vector.copy()
    norm = reference.clip_by_global_norm(expected, 0.5)
    assert host.clip_by_global_norm(vector, 0.5) == pytest.approx(norm, rel=1e-12)
    assert_close(vector, expected)
    assert host.clip_by_global_norm(vector, 10.0) == pytest.approx(0.5 if norm > 0.5 else norm, rel=1e-5)
    assert_close(vector, expected)
