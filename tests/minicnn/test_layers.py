"""Layers by themselves: shapes, arguments, names, and what they hand to the back-end."""

import numpy as np
import pytest

from minicnn import layers, models
from minicnn.layers import AveragePooling2D, Conv2D, Dense, Dropout, Flatten, MaxPooling2D
from minicnn.layers.windows import check_padding, explicit_padding, output_size


@pytest.mark.parametrize(("size", "window", "stride", "expected"), [
    # output ceil(size / stride); the odd pixel goes after: figures from TensorFlow's definition of "same"
    (28, 3, 1, (1, 1)), (28, 2, 1, (0, 1)), (5, 2, 2, (0, 1)), (6, 2, 2, (0, 0)), (6, 5, 1, (2, 2)),
    (7, 3, 2, (1, 1)), (8, 3, 2, (0, 1)), (5, 1, 3, (0, 0)), (3, 3, 5, (0, 0)),
])
def test_same_padding(size, window, stride, expected):
    pads = explicit_padding("same", (size, size), (window, window), (stride, stride))
    assert pads == (expected, expected)
    oh, _ = output_size("Conv2D", (size, size), (window, window), (stride, stride), "same")
    assert oh == -(-size // stride)


@pytest.mark.parametrize(("given", "expected"), [
    ("valid", "valid"), ("same", "same"), (2, ((2, 2), (2, 2))), ((1, 2), ((1, 1), (2, 2))),
    (((1, 2), (3, 4)), ((1, 2), (3, 4))), ([[0, 1], [0, 0]], ((0, 1), (0, 0))), ((1, (0, 2)), ((1, 1), (0, 2))),
])
def test_padding_arguments(given, expected):
    assert check_padding(given) == expected


@pytest.mark.parametrize("bad", ["full", -1, (1, 2, 3), ((1, 2), (3, -4)), 1.5, None, True, ((1,), (2,))])
def test_bad_padding(bad):
    with pytest.raises(ValueError, match="padding"):
        check_padding(bad)


@pytest.mark.parametrize(("make", "argument"), [
    (lambda: Conv2D(0, 3), "filters"), (lambda: Conv2D(4, 0), "kernel_size"), (lambda: Conv2D(4, (3, 3, 3)), "kernel_"),
    (lambda: Conv2D(4, 3, strides=0), "strides"), (lambda: Conv2D(4, 3, activation="rely"), "activation"),
    (lambda: Conv2D(4, 3, kernel_initializer="gloro"), "initializer"),
    (lambda: Conv2D(4, 3, input_shape=(0, 1)), "input_shape"),
    (lambda: Dense(-1), "units"), (lambda: Dense(3, bias_initializer="one"), "initializer"),
    (lambda: MaxPooling2D(0), "pool_size"), (lambda: MaxPooling2D(2, padding=2), "padding"),
    (lambda: AveragePooling2D(2, strides=0), "strides"),
    (lambda: Dropout(1.0), "rate"), (lambda: Dropout(-0.1), "rate"),
    (lambda: layers.BatchNormalization(momentum=1.5), "momentum"), (lambda: layers.Activation("swish"), "activation"),
    (lambda: layers.BatchNormalization(epsilon=float("nan")), "epsilon"), (lambda: layers.Input("28"), "shape"),
])
def test_bad_arguments_are_named(make, argument):
    with pytest.raises(ValueError, match=argument):
        make()


@pytest.mark.parametrize(("make", "argument"), [
    (lambda: Conv2D(4.0, 3), "filters"), (lambda: Conv2D(4, 2.5), "kernel_size"), (lambda: Dense(True), "units"),
    (lambda: Dropout("half"), "rate"),
])
def test_bad_types_are_named(make, argument):
    with pytest.raises(TypeError, match=argument):
        make()


def test_default_names():
    model = models.Sequential([Conv2D(2, 3, input_shape=(8, 8, 1)), MaxPooling2D(2), Conv2D(2, 3), Flatten(),
                               layers.BatchNormalization(), Dense(3, name="last")])
    assert [layer.name for layer in model.layers] == ["conv2d", "max_pooling2d", "conv2d_1", "flatten",
                                                      "batch_normalization", "last"]


def test_every_layer_is_made_again_from_its_config():
    made = [Conv2D(3, (3, 2), strides=(1, 2), padding=((0, 1), (2, 0)), activation="tanh", use_bias=False,
                   kernel_initializer="he_normal", name="c", input_shape=(9, 9, 2)),
            MaxPooling2D((2, 3), strides=2, padding="same"), AveragePooling2D(3, padding=1), Flatten(),
            Dense(4, activation="sigmoid"), layers.Activation("softmax"), Dropout(0.25),
            layers.BatchNormalization(0.9, 1e-4), layers.RandomFlip("vertical"), layers.RandomTranslation(0.1, 0.2),
            layers.RandomRotation(0.1), layers.RandomCrop(4, 5)]
    assert {layer.kind for layer in made} == set(layers.LAYERS)
    for layer in made:
        again = type(layer)(**layer.get_config())
        assert again.get_config() == layer.get_config()


def test_batch_normalization_keeps_running_statistics():
    model = models.Sequential([layers.BatchNormalization(momentum=0.75, input_shape=(3,))], dtype="float64",
                              backend="reference")
    rng = np.random.default_rng(0)
    x = rng.normal(2.0, 3.0, (50, 3))
    model.build()
    y = model.forward(x, training=True)
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-12)
    layer = model.layers[0]
    np.testing.assert_allclose(layer.state["running_mean"], 0.25 * x.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(layer.state["running_variance"], 0.75 + 0.25 * x.var(axis=0), rtol=1e-12)
    before = layer.state["running_mean"].copy()
    inference = model.forward(x)
    np.testing.assert_array_equal(layer.state["running_mean"], before)
    expected = (x - before) / np.sqrt(layer.state["running_variance"] + layer.epsilon)
    np.testing.assert_allclose(inference, expected, rtol=1e-12)


def test_dropout_changes_its_mask_with_the_step_and_not_otherwise():
    model = models.Sequential([Dropout(0.5, input_shape=(400,))], seed=3)
    x = np.ones((5, 400), np.float32)
    first, again = model.forward(x, training=True), model.forward(x, training=True)
    np.testing.assert_array_equal(first, again)
    model.step += 1
    assert (model.forward(x, training=True) != first).any()
    np.testing.assert_array_equal(model.forward(x), x)
    assert set(np.unique(first)) == {0.0, 2.0}
    other = models.Sequential([Dropout(0.5, input_shape=(400,))], seed=4)
    assert (other.forward(x, training=True) != first).any()


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "sigmoid", "tanh", "softmax", "linear", None])
@pytest.mark.parametrize("backend", ["reference", "im2col"])
def test_activation_argument_equals_an_activation_layer(activation, backend):
    rng = np.random.default_rng(1)
    x, dy = rng.normal(size=(3, 5)), rng.normal(size=(3, 4))
    joined = models.Sequential([Dense(4, activation=activation, input_shape=(5,))], dtype="float64", backend=backend)
    apart = models.Sequential([Dense(4, input_shape=(5,)), layers.Activation(activation)], dtype="float64",
                              backend=backend)
    np.testing.assert_array_equal(joined.forward(x), apart.forward(x))
    np.testing.assert_array_equal(joined.backward(dy, input_gradient=True), apart.backward(dy, input_gradient=True))
    np.testing.assert_array_equal(joined.gradients, apart.gradients)
