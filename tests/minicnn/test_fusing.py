"""A model takes a convolution and the pooling behind it in one step, where that changes nothing but the time."""

from __future__ import annotations

import types

import numpy as np
import pytest

from kernels import cpu
from minicnn import fusing
from minicnn.gradcheck.recorder import recording
from minicnn.layers import Conv2D, Dense, Flatten, Input, MaxPooling2D, RandomFlip
from minicnn.models import Sequential
from minicnn.operations import Operations


class OwnConvolution(Conv2D):
    """A student's convolution."""


def network(convolution=None, pooling=None, backend="cpu", front=(), **options):
    """A small classifier of 9x9 pictures with two channels, built and compiled."""
    model = Sequential([Input((9, 9, 2)), *front, convolution or Conv2D(5, 3, activation="relu"),
                        pooling or MaxPooling2D(2), Conv2D(4, 2, activation="relu"), Flatten(), Dense(3)],
                       backend=backend, **options)
    model.compile()
    return model


def batch(dtype=np.float32):
    random = np.random.default_rng(3)
    return random.normal(size=(6, 9, 9, 2)).astype(dtype), random.normal(size=(6, 3)).astype(dtype)


def pairs(model):
    return [step for step in fusing.steps(model.layers) if isinstance(step, fusing.ConvolutionAndPooling)]


def test_what_goes_together():
    model = network()
    assert [type(step).__name__ for step in fusing.steps(model.layers)] == [
        "ConvolutionAndPooling", "Conv2D", "Flatten", "Dense"]
    assert pairs(model)[0].convolution is model.layers[0] and pairs(model)[0].pooling is model.layers[1]


@pytest.mark.parametrize("options", [
    {"backend": "im2col"},  # has no such function
    {"convolution": Conv2D(5, 3)},  # no relu
    {"convolution": Conv2D(5, 3, activation="tanh")},
    {"convolution": OwnConvolution(5, 3, activation="relu")},  # may compute something else
    {"pooling": MaxPooling2D(3, strides=2)},  # windows overlap
    {"pooling": MaxPooling2D(2, padding=1)},
], ids=str)
def test_what_does_not(options):
    assert not pairs(network(**options))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("front", [(), (RandomFlip,)], ids=["", "behind augmentation"])
@pytest.mark.parametrize("input_gradient", [False, True])
def test_a_model_computes_what_its_layers_compute(dtype, front, input_gradient):
    model = network(dtype=dtype, front=[layer() for layer in front])
    x, dy = batch(dtype)
    assert pairs(model)
    y = model.forward(x, training=True)
    dx = model.backward(dy, input_gradient)
    gradients = model.gradients.copy()
    if input_gradient:
        for layer in model.layers:
            layer.input_gradient = True
    expected = x
    for layer in model.layers:
        expected = layer.forward(expected, True)
    np.testing.assert_array_equal(y, expected)
    gradient = dy
    for layer in reversed(model.layers):
        gradient = layer.backward(gradient) if gradient is not None else None
    # with vectors of two numbers, such as ARM's of float64, the pair sums up in another order
    tolerance = {"rtol": 1e-5, "atol": 1e-6} if dtype == "float32" else {"rtol": 1e-13, "atol": 1e-14}
    np.testing.assert_allclose(gradients, model.gradients, **tolerance)
    if input_gradient:
        np.testing.assert_allclose(dx, gradient, **tolerance)
    else:
        assert dx is None


def test_another_backend_computes_the_same():
    models = [network(dtype="float64", backend=backend) for backend in ("cpu", "im2col")]
    x, dy = batch(np.float64)
    for model in models:
        model.set_weights(models[0].get_weights())
        model.forward(x, training=True)
        model.backward(dy)
    np.testing.assert_allclose(models[0].gradients, models[1].gradients, rtol=1e-11, atol=1e-13)


def test_a_layer_by_itself_says_why_it_cannot_go_back():
    model = network()
    x, _ = batch()
    model.layers[0].forward(x)  # from now on there is an older result that must not be taken for the latest
    model.forward(x, training=True)
    dy = model.layers[1].backward(np.ones((6, 3, 3, 5), np.float32))
    assert dy.shape == (6, 7, 7, 5)
    with pytest.raises(RuntimeError, match="took this convolution and the pooling behind it in one step"):
        model.layers[0].backward(dy)


def test_the_convolutions_output_is_not_kept():
    model = network()
    model.forward(batch()[0])
    assert model.layers[0].y is None and model.layers[0].x is not None


def test_a_pair_needs_both_ways():
    backend = types.ModuleType("one_way")
    backend.__dict__.update(vars(cpu))
    assert Operations(backend).pools_convolutions
    del backend.conv2d_relu_max_pool2d_backward
    assert not Operations(backend).pools_convolutions


def test_the_recorder_sees_the_winners_of_a_pair():
    model = network()
    backend, sides = recording(model.ops.backend)
    watched = network(backend=backend)
    assert Operations(backend).pools_convolutions
    x, _ = batch()
    watched.forward(x)
    first = sides[0]
    assert first.shape == (6, 3, 3, 5) and first.min() == -1 and first.max() == 3
    sides.clear()
    watched.forward(-x)
    assert (sides[0] != first).any()
