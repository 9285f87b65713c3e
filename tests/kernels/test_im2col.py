"""The im2col back-end against the reference, on random shapes, strides and paddings.

In float64 they agree to 1e-12 of the sum of the absolute products of every element (``strategies.assert_close``).
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import (
    FLOATS,
    assert_close,
    batch_norm_cases,
    conv2d_cases,
    dense_cases,
    elementwise_cases,
    pool2d_cases,
)

from kernels import im2col, reference
from kernels.im2col import conv2d as im2col_conv2d

check = settings(deadline=None, max_examples=60)


@check
@given(conv2d_cases(FLOATS))
def test_convolution(case):
    positive = case.absolute()
    assert_close(im2col.conv2d_forward(*case.forward), reference.conv2d_forward(*case.forward),
                 reference.conv2d_forward(*positive.forward), what="y")
    results = zip(("dx", "dw", "db"), im2col.conv2d_backward(*case.backward),
                  reference.conv2d_backward(*case.backward), reference.conv2d_backward(*positive.backward))
    for name, got, expected, scale in results:
        assert_close(got, expected, scale, what=name)


@check
@given(conv2d_cases(max_images=3, max_size=5, max_padding=0, kind="special"))
def test_convolution_carries_nan_and_infinity(case):
    assert_close(im2col.conv2d_forward(*case.forward), reference.conv2d_forward(*case.forward), 10.0, what="y")
    results = zip(("dx", "dw", "db"), im2col.conv2d_backward(*case.backward),
                  reference.conv2d_backward(*case.backward))
    for name, got, expected in results:
        assert_close(got, expected, 1000.0, what=name)


@check
@given(conv2d_cases(max_images=5))
def test_convolution_in_slices_of_the_batch(case):
    whole = im2col.conv2d_forward(*case.forward), *im2col.conv2d_backward(*case.backward)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(im2col_conv2d, "COLUMN_BYTES", 1)
        sliced = im2col.conv2d_forward(*case.forward), *im2col.conv2d_backward(*case.backward)
    positive = case.absolute()
    scales = im2col.conv2d_forward(*positive.forward), *im2col.conv2d_backward(*positive.backward)
    for got, expected, scale in zip(sliced, whole, scales):
        assert_close(got, expected, scale)


@check
@given(pool2d_cases(FLOATS))
def test_pooling(case):
    y, argmax = im2col.max_pool2d_forward(case.x, *case.window)
    expected_y, expected_argmax = reference.max_pool2d_forward(case.x, *case.window)
    np.testing.assert_array_equal(y, expected_y)
    np.testing.assert_array_equal(argmax, expected_argmax)
    assert y.dtype == expected_y.dtype
    scale = np.abs(case.dy).max(initial=0.0) * np.prod(case.pool_size) ** 2
    assert_close(im2col.max_pool2d_backward(case.dy, argmax, case.x.shape, *case.window),
                 reference.max_pool2d_backward(case.dy, argmax, case.x.shape, *case.window), scale, what="dx of max")
    assert_close(im2col.avg_pool2d_forward(case.x, *case.window),
                 reference.avg_pool2d_forward(case.x, *case.window), 4.0, what="y of avg")
    assert_close(im2col.avg_pool2d_backward(case.dy, case.x.shape, *case.window),
                 reference.avg_pool2d_backward(case.dy, case.x.shape, *case.window), scale, what="dx of avg")


@check
@given(dense_cases(FLOATS))
def test_dense(case):
    positive = case.absolute()
    assert_close(im2col.dense_forward(*case.forward), reference.dense_forward(*case.forward),
                 reference.dense_forward(*positive.forward), what="y")
    results = zip(("dx", "dw", "db"), im2col.dense_backward(*case.backward),
                  reference.dense_backward(*case.backward), reference.dense_backward(*positive.backward))
    for name, got, expected, scale in results:
        assert_close(got, expected, scale, what=name)


@check
@given(batch_norm_cases(FLOATS))
def test_batch_normalization(case):
    arguments = case.x, case.gamma, case.beta, case.epsilon
    expected = reference.batch_norm_forward(*arguments)
    for name, got, value in zip(("y", "mean", "variance"), im2col.batch_norm_forward(*arguments), expected):
        assert_close(got, value, 1 + np.abs(case.x).max() / case.epsilon**0.5, what=name)
    backward = case.dy, case.x, case.gamma, *expected[1:], case.epsilon
    results = zip(("dx", "dgamma", "dbeta"), im2col.batch_norm_backward(*backward),
                  reference.batch_norm_backward(*backward))
    for name, got, value in results:
        assert_close(got, value, 1 + np.abs(case.dy).sum() / case.epsilon**0.5, what=name)


@check
@given(elementwise_cases(FLOATS), st.sampled_from([0.0, 0.2, 0.9]))
def test_activations_that_choose_without_a_branch(case, slope):
    x, dy = case
    y = reference.relu_forward(x)
    np.testing.assert_array_equal(im2col.relu_backward(dy, y), reference.relu_backward(dy, y), strict=True)
    np.testing.assert_array_equal(im2col.relu_backward(y, x), reference.relu_backward(y, x), strict=True)
    y = reference.leaky_relu_forward(x, slope)
    np.testing.assert_array_equal(im2col.leaky_relu_forward(x, slope), y, strict=True)
    np.testing.assert_array_equal(im2col.leaky_relu_backward(dy, y, slope),
                                  reference.leaky_relu_backward(dy, y, slope), strict=True)
