"""The reference's layers: worked examples, other ways to compute the same, and the derivative of every function."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from numeric import assert_is_gradient, spread
from numpy.lib.stride_tricks import sliding_window_view
from strategies import as_pair, conv2d_cases, dense_cases, pool2d_cases, values

from kernels import reference as ref


def image(rows):
    """One image of one channel."""
    return np.array(rows, float)[np.newaxis, :, :, np.newaxis]


def kernel(rows):
    """One kernel from one channel to one."""
    return np.array(rows, float)[:, :, np.newaxis, np.newaxis]


# Convolution ---------------------------------------------------------------------------------------------------------

def test_convolution_worked_by_hand():
    x, w = image([[1, 2, 3], [4, 5, 6], [7, 8, 9]]), kernel([[1, 0], [0, -1]])
    y = ref.conv2d_forward(x, w, np.array([10.0]))
    np.testing.assert_array_equal(y[0, :, :, 0], [[6, 6], [6, 6]])  # 1 - 5 + 10, 2 - 6 + 10, ...
    dx, dw, db = ref.conv2d_backward(image([[1, 2], [3, 4]]), x, w)
    np.testing.assert_array_equal(dx[0, :, :, 0], [[1, 2, 0], [3, 3, -2], [0, -3, -4]])
    np.testing.assert_array_equal(dw[:, :, 0, 0], [[1 * 1 + 2 * 2 + 3 * 4 + 4 * 5, 1 * 2 + 2 * 3 + 3 * 5 + 4 * 6],
                                                   [1 * 4 + 2 * 5 + 3 * 7 + 4 * 8, 1 * 5 + 2 * 6 + 3 * 8 + 4 * 9]])
    np.testing.assert_array_equal(db, [10])


def test_stride_and_padding_worked_by_hand():
    x, w = image([[1, 2, 3, 4]]), kernel([[1, 10, 100]])
    arguments = {"stride": 2, "padding": ((0, 0), (1, 1))}
    y = ref.conv2d_forward(x, w, **arguments)  # windows 0 1 2 and 2 3 4 of 0 1 2 3 4 0
    np.testing.assert_array_equal(y[0, 0, :, 0], [210, 432])
    dx, dw, db = ref.conv2d_backward(image([[1, 2]]), x, w, **arguments)
    np.testing.assert_array_equal(dx[0, 0, :, 0], [10, 100 + 2, 20, 200])
    np.testing.assert_array_equal(dw[0, :, 0, 0], [0 + 4, 1 + 6, 2 + 8])
    np.testing.assert_array_equal(db, [3])


def test_channels_worked_by_hand():
    x = np.array([[[[1.0, 2.0]]]])
    w = np.array([[[[1.0, 10.0, 100.0], [3.0, 30.0, 300.0]]]])
    np.testing.assert_array_equal(ref.conv2d_forward(x, w), [[[[7, 70, 700]]]])
    dx, dw, db = ref.conv2d_backward(np.array([[[[1.0, 0.0, 2.0]]]]), x, w)
    np.testing.assert_array_equal(dx, [[[[1 + 200, 3 + 600]]]])
    np.testing.assert_array_equal(dw, [[[[1, 0, 2], [2, 0, 4]]]])
    np.testing.assert_array_equal(db, [1, 0, 2])


def test_one_channel_is_the_documents_formula_row_by_row():
    """A row of y is a sum of one-dimensional correlations; a row of dx, of true (flipping) convolutions in full."""
    x, w, dy = values(0, (1, 6, 7, 1)), values(1, (3, 4, 1, 1)), values(2, (1, 4, 4, 1))
    y = ref.conv2d_forward(x, w)[0, :, :, 0]
    dx, dw, _ = ref.conv2d_backward(dy, x, w)
    x, w, dy = x[0, :, :, 0], w[:, :, 0, 0], dy[0, :, :, 0]
    for i in range(4):
        np.testing.assert_allclose(y[i], sum(np.correlate(x[i + m], w[m]) for m in range(3)), rtol=1e-12)
    for row in range(6):
        np.testing.assert_allclose(dx[0, row, :, 0], sum(np.convolve(dy[row - m], w[m]) for m in range(3)
                                                         if 0 <= row - m < 4), rtol=1e-12, atol=1e-14)
    for m in range(3):
        np.testing.assert_allclose(dw[m, :, 0, 0], sum(np.correlate(x[i + m], dy[i]) for i in range(4)), rtol=1e-12)


def test_dx_is_the_forward_pass_with_the_flipped_kernel():
    """As its docstring says: padded by KH - 1 - top, channels exchanged, for a stride zeros in dy."""
    x, w, dy = values(0, (2, 7, 8, 3)), values(1, (3, 2, 3, 4)), values(2, (2, 4, 3, 4))
    padding = ((1, 2), (1, 0))
    assert ref.conv2d_forward(x, w, None, (2, 3), padding).shape == dy.shape
    dilated = np.zeros((2, 2 * 3 + 1, 3 * 2 + 1, 4))
    dilated[:, ::2, ::3] = dy
    flipped = w[::-1, ::-1].transpose(0, 1, 3, 2)
    left_over = (7 + 3 - 3) % 2, (8 + 1 - 2) % 3  # rows and columns at the end that no window reaches
    full = ((3 - 1 - 1, 3 - 1 - 2 + left_over[0]), (2 - 1 - 1, 2 - 1 - 0 + left_over[1]))
    dx = ref.conv2d_backward(dy, x, w, (2, 3), padding)[0]
    np.testing.assert_allclose(dx, ref.conv2d_forward(dilated, flipped, None, 1, full), rtol=1e-12, atol=1e-14)


@settings(deadline=None, max_examples=40)
@given(conv2d_cases())
def test_convolution_is_an_einsum_over_windows(case):
    x = np.pad(case.x, ((0, 0), *case.padding, (0, 0)))
    sh, sw = as_pair(case.stride)
    windows = sliding_window_view(x, case.w.shape[:2], axis=(1, 2))[:, ::sh, ::sw]
    expected = np.einsum("nijcuv,uvco->nijo", windows, case.w) + (0 if case.b is None else case.b)
    np.testing.assert_allclose(ref.conv2d_forward(*case.forward), expected, rtol=1e-10, atol=1e-12)
    dw = ref.conv2d_backward(*case.backward)[1]
    np.testing.assert_allclose(dw, np.einsum("nijcuv,nijo->uvco", windows, case.dy), rtol=1e-10, atol=1e-12)


@settings(deadline=None, max_examples=40)
@given(conv2d_cases())
def test_convolution_and_its_gradients_are_adjoint(case):
    """<conv(x, w), dy> = <x, dx> = <w, dw> for a convolution without bias; db is what the bias adds to it."""
    product = np.sum(ref.conv2d_forward(case.x, case.w, None, case.stride, case.padding) * case.dy)
    dx, dw, db = ref.conv2d_backward(*case.backward)
    tolerance = 1e-13 * (1 + case.dy.size * case.w[..., 0].size)
    assert abs(product - np.sum(case.x * dx)) < tolerance
    assert abs(product - np.sum(case.w * dw)) < tolerance
    np.testing.assert_allclose(db, case.dy.sum(axis=(0, 1, 2)), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("stride, padding", [(1, ((0, 0), (0, 0))), (2, ((1, 1), (1, 1))), ((3, 2), ((2, 0), (0, 3)))])
def test_gradients_of_convolution(stride, padding):
    x, w, b = values(0, (2, 4, 5, 2)), values(1, (3, 2, 2, 2)), values(2, (2,))
    dy = values(3, ref.conv2d_forward(x, w, b, stride, padding).shape)
    dx, dw, db = ref.conv2d_backward(dy, x, w, stride, padding)

    def loss():
        return np.sum(ref.conv2d_forward(x, w, b, stride, padding) * dy)

    for gradient, array in ((dx, x), (dw, w), (db, b)):
        assert_is_gradient(gradient, loss, array)


# Pooling -------------------------------------------------------------------------------------------------------------

def test_max_pooling_worked_by_hand():
    x = image([[1, 5, 2, 0], [3, 4, 8, 7], [9, 1, 1, 2]])
    y, argmax = ref.max_pool2d_forward(x)
    np.testing.assert_array_equal(y[0, :, :, 0], [[5, 8]])
    np.testing.assert_array_equal(argmax[0, :, :, 0], [[1, 2]])
    dx = ref.max_pool2d_backward(image([[10, 20]]), argmax, x.shape)
    np.testing.assert_array_equal(dx[0, :, :, 0], [[0, 10, 0, 0], [0, 0, 20, 0], [0, 0, 0, 0]])


def test_overlapping_windows_add_up():
    x = image([[1, 5, 2], [3, 4, 0], [0, 1, 1]])
    y, argmax = ref.max_pool2d_forward(x, 2, 1)
    np.testing.assert_array_equal(y[0, :, :, 0], [[5, 5], [4, 4]])
    dx = ref.max_pool2d_backward(image([[1, 2], [4, 8]]), argmax, x.shape, 2, 1)
    np.testing.assert_array_equal(dx[0, :, :, 0], [[0, 3, 0], [0, 12, 0], [0, 0, 0]])


def test_average_pooling_worked_by_hand():
    x = image([[1, 5, 2, 0], [3, 3, 8, 6], [9, 1, 1, 2]])
    np.testing.assert_array_equal(ref.avg_pool2d_forward(x)[0, :, :, 0], [[3, 4]])
    dx = ref.avg_pool2d_backward(image([[4, 8]]), x.shape)
    np.testing.assert_array_equal(dx[0, :, :, 0], [[1, 1, 2, 2], [1, 1, 2, 2], [0, 0, 0, 0]])


@settings(deadline=None, max_examples=40)
@given(pool2d_cases(kinds=("normal", "ties")))
def test_pooling_is_a_reduction_over_windows_padded_with_nan(case):
    """NumPy's nanmax and nanmean leave out NaN, as pooling leaves out its padding."""
    x = np.pad(case.x, ((0, 0), *case.padding, (0, 0)), constant_values=np.nan)
    size = as_pair(case.pool_size)
    sh, sw = size if case.stride is None else as_pair(case.stride)
    windows = sliding_window_view(x, size, axis=(1, 2))[:, ::sh, ::sw].reshape(*case.dy.shape, size[0] * size[1])
    y, argmax = ref.max_pool2d_forward(case.x, *case.window)
    np.testing.assert_array_equal(y, np.nanmax(windows, axis=-1))
    if y.size:
        np.testing.assert_array_equal(argmax, np.nanargmax(windows, axis=-1))
    np.testing.assert_allclose(ref.avg_pool2d_forward(case.x, *case.window), np.nanmean(windows, axis=-1), rtol=1e-12,
                               atol=1e-13)


@settings(deadline=None, max_examples=40)
@given(pool2d_cases(kinds=("normal", "ties")))
def test_pooling_and_its_gradients_are_adjoint(case):
    """Average-pooling is linear; so is max-pooling as long as the winners stay the same."""
    y, argmax = ref.max_pool2d_forward(case.x, *case.window)
    dx = ref.max_pool2d_backward(case.dy, argmax, case.x.shape, *case.window)
    assert np.sum(y * case.dy) == pytest.approx(np.sum(case.x * dx), abs=1e-10)
    y = ref.avg_pool2d_forward(case.x, *case.window)
    dx = ref.avg_pool2d_backward(case.dy, case.x.shape, *case.window)
    assert np.sum(y * case.dy) == pytest.approx(np.sum(case.x * dx), abs=1e-10)


@pytest.mark.parametrize("window", [(2,), (3, 1, ((1, 2), (0, 1))), ((2, 3), (1, 2), ((1, 0), (2, 0)))])
def test_gradients_of_pooling(window):
    x = spread(0, (2, 5, 4, 2))
    y, argmax = ref.max_pool2d_forward(x, *window)
    dy = values(1, y.shape)
    assert_is_gradient(ref.max_pool2d_backward(dy, argmax, x.shape, *window),
                       lambda: np.sum(ref.max_pool2d_forward(x, *window)[0] * dy), x)
    assert_is_gradient(ref.avg_pool2d_backward(dy, x.shape, *window),
                       lambda: np.sum(ref.avg_pool2d_forward(x, *window) * dy), x)


# Dense ---------------------------------------------------------------------------------------------------------------

def test_dense_worked_by_hand():
    x, w = np.array([[1.0, 2.0]]), np.array([[1.0, 0.0, -1.0], [10.0, 20.0, 30.0]])
    np.testing.assert_array_equal(ref.dense_forward(x, w, np.array([0.5, 0, 0])), [[21.5, 40, 59]])
    dx, dw, db = ref.dense_backward(np.array([[1.0, 2.0, 3.0]]), x, w)
    np.testing.assert_array_equal(dx, [[1 - 3, 10 + 40 + 90]])
    np.testing.assert_array_equal(dw, [[1, 2, 3], [2, 4, 6]])
    np.testing.assert_array_equal(db, [1, 2, 3])


@settings(deadline=None, max_examples=30)
@given(dense_cases())
def test_dense_is_a_convolution_over_the_whole_image(case):
    images, inputs = case.x.shape
    x, w = case.x.reshape(images, 1, inputs, 1), case.w.reshape(1, inputs, 1, -1)
    y = ref.dense_forward(*case.forward)
    np.testing.assert_allclose(y, ref.conv2d_forward(x, w, case.b)[:, 0, 0], rtol=1e-12, atol=1e-13)
    dx, dw, db = ref.dense_backward(*case.backward)
    expected = ref.conv2d_backward(case.dy[:, np.newaxis, np.newaxis], x, w)
    for got, other in zip((dx, dw, db), expected):
        np.testing.assert_allclose(got, other.reshape(got.shape), rtol=1e-12, atol=1e-13)


def test_gradients_of_dense():
    x, w, b, dy = values(0, (3, 4)), values(1, (4, 2)), values(2, (2,)), values(3, (3, 2))
    for gradient, array in zip(ref.dense_backward(dy, x, w), (x, w, b)):
        assert_is_gradient(gradient, lambda: np.sum(ref.dense_forward(x, w, b) * dy), array)


# Activations ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name, x, expected", [
    ("relu", [-2, 0, 3], [0, 0, 3]),
    ("leaky_relu", [-2, 0, 3], [-0.4, 0, 3]),
    ("sigmoid", [0, math.log(3), -math.log(3)], [0.5, 0.75, 0.25]),
    ("tanh", [0, math.log(2), -math.log(2)], [0, 0.6, -0.6]),
    ("softmax", [0, math.log(2), math.log(5)], [1 / 8, 2 / 8, 5 / 8]),
    ("softmax", [700, 700, -700], [0.5, 0.5, 0]),
])
def test_activations_worked_by_hand(name, x, expected):
    y = getattr(ref, f"{name}_forward")(np.array(x, float))
    np.testing.assert_allclose(y, expected, rtol=1e-14, atol=1e-16)


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "sigmoid", "tanh", "softmax"])
@pytest.mark.parametrize("shape", [(7,), (3, 4), (2, 2, 2, 3)])
def test_gradients_of_activations(name, shape):
    forward, backward = getattr(ref, f"{name}_forward"), getattr(ref, f"{name}_backward")
    x, dy = spread(0, shape, gap=0.2), values(1, shape)
    assert_is_gradient(backward(dy, forward(x)), lambda: np.sum(forward(x) * dy), x)


def test_the_slope_of_leaky_relu_is_passed_on():
    x, dy = spread(0, (5,)), values(1, (5,))
    assert_is_gradient(ref.leaky_relu_backward(dy, ref.leaky_relu_forward(x, 0.01), 0.01),
                       lambda: np.sum(ref.leaky_relu_forward(x, 0.01) * dy), x)


def test_softmax_is_over_the_last_axis_and_ignores_a_shift():
    x = values(0, (2, 3, 4))
    y = ref.softmax_forward(x)
    np.testing.assert_allclose(y.sum(axis=-1), np.ones((2, 3)), rtol=1e-14)
    np.testing.assert_allclose(ref.softmax_forward(x + 1000), y, rtol=1e-11)
    np.testing.assert_array_equal(ref.softmax_forward(np.array([[0.0, 0.0], [2000.0, 2000.0]])), np.full((2, 2), 0.5))
    np.testing.assert_allclose(ref.softmax_backward(np.ones_like(x), y), np.zeros_like(x), atol=1e-15)
