"""Every layer, every loss and the networks pass their gradient checks on the NumPy back-ends; broken ones do not."""

import types

import numpy as np
import pytest

from kernels import CONTRACT, im2col
from minicnn import layers, losses, models, zoo
from minicnn.gradcheck import check_layer, check_loss, check_model
from minicnn.gradcheck.survey import LAYERS

EXAMPLES = [pytest.param(make, shape, training, id=f"{index}-{make().kind}")
            for index, (make, shape, training) in enumerate(LAYERS)]


def test_there_is_an_example_of_every_layer():
    assert {make().kind for make, _, _ in LAYERS} == set(layers.LAYERS)


@pytest.mark.parametrize("make, shape, training", EXAMPLES)
def test_every_layer_passes(make, shape, training):
    check_layer(make(), shape, "im2col", training, seed=1).raise_if_wrong()


@pytest.mark.parametrize("make, shape, training", EXAMPLES[:9] + EXAMPLES[14:17])
def test_layers_pass_on_the_reference(make, shape, training):
    check_layer(make(), shape, "reference", training, seed=2, coordinates=12).raise_if_wrong()


@pytest.mark.parametrize("make, shape, training", EXAMPLES)
def test_every_layer_passes_in_float32(make, shape, training):
    check_layer(make(), shape, "im2col", training, "float32", seed=3).raise_if_wrong()


class Forgetful(layers.Dense):
    """A dense layer whose backward pass forgets the activation."""

    def backward(self, dy):
        self.y, kept = None, self.y
        self.activation, name = "linear", self.activation
        dx = super().backward(dy)
        self.y, self.activation = kept, name
        return dx


class Doubling(layers.BatchNormalization):
    """Batch normalization whose scale gets twice its gradient."""

    def backward(self, dy):
        dx = super().backward(dy)
        self.dgamma *= 2
        return dx


class NoGradient(layers.Flatten):
    """A layer whose dx is not a number."""

    def backward(self, dy):
        return super().backward(dy) * np.nan


@pytest.mark.parametrize("layer, shape, tensors", [
    (Forgetful(4, activation="relu"), (3, 6), {"dx", "dw", "db"}), (Doubling(), (5, 3), {"dgamma"}),
    (NoGradient(), (2, 3, 3, 1), {"dx"})])
def test_a_broken_layer_fails(layer, shape, tensors):
    result = check_layer(layer, shape)
    assert not result.ok
    assert {row.tensor for row in result.rows if row.verdict == "wrong"} == tensors
    assert result.worst.verdict == "wrong"


def test_a_layer_is_checked_on_a_copy():
    layer = layers.Dense(3)
    check_layer(layer, (2, 4))
    assert layer.ops is None and layer.w is None


LOGITS = np.random.default_rng(0).standard_normal((4, 5))
LABELS = np.array([0, 4, 2, 2])


@pytest.mark.parametrize("backend", ["reference", "im2col"])
@pytest.mark.parametrize("weight", [None, np.array([0.5, 2.0, 1.0, 0.1])], ids=["plain", "weighted"])
def test_every_loss_passes(backend, weight):
    p = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
    check_loss("sparse_categorical_crossentropy", LOGITS, LABELS, weight, backend).raise_if_wrong()
    check_loss(losses.SparseCategoricalCrossentropy(label_smoothing=0.2), LOGITS, LABELS, weight,
               backend).raise_if_wrong()
    check_loss(losses.SparseCategoricalCrossentropy(from_logits=False), p, LABELS, weight, backend).raise_if_wrong()
    check_loss("mean_squared_error", LOGITS, LOGITS[::-1].copy(), weight, backend).raise_if_wrong()


def test_a_broken_loss_fails():
    class Sum(losses.MeanSquaredError):
        def __call__(self, predictions, targets, sample_weight=None):
            loss, gradient = super().__call__(predictions, targets, sample_weight)
            return loss, gradient * predictions.size
    assert not check_loss(Sum(), LOGITS, LOGITS[::-1].copy()).ok


def network(**options):
    """Every kind of layer, small."""
    return models.Sequential([
        layers.Conv2D(3, 3, padding="same", activation="relu", input_shape=(6, 5, 2)), layers.BatchNormalization(),
        layers.MaxPooling2D(2), layers.Conv2D(4, 2, activation="tanh"), layers.Dropout(0.3), layers.Flatten(),
        layers.Dense(6, activation="sigmoid"), layers.Dense(3)], **options)


@pytest.mark.parametrize("backend", ["reference", "im2col"])
@pytest.mark.parametrize("training", [True, False])
def test_a_network_passes(backend, training):
    rng = np.random.default_rng(0)
    result = check_model(network(backend=backend), rng.standard_normal((3, 6, 5, 2)), np.array([0, 2, 1]),
                         training=training, coordinates=12 if backend == "im2col" else 2)
    result.raise_if_wrong()
    assert [row.tensor for row in result.rows] == [
        "dx", "conv2d dw", "conv2d db", "batch_normalization dgamma", "batch_normalization dbeta", "conv2d_1 dw",
        "conv2d_1 db", "dense dw", "dense db", "dense_1 dw", "dense_1 db"]


@pytest.mark.parametrize("name", ["digits_cnn", "mnist_cnn", "cifar_cnn"])
def test_the_documents_networks_pass(name):
    model = zoo.ZOO[name]()
    model.build()
    x = np.random.default_rng(0).random((1, *model.input_shape))
    check_model(model, x, np.array([3]), coordinates=2).raise_if_wrong()
    check_model(model, x, np.array([3]), dtype="float32").raise_if_wrong()


def test_a_network_with_softmax_and_another_loss():
    model = zoo.cifar_cnn(image_size=8, softmax=True)
    model.compile(loss=losses.SparseCategoricalCrossentropy(from_logits=False))
    x = np.random.default_rng(0).random((2, 8, 8, 3))
    check_model(model, x, np.array([1, 2]), coordinates=4).raise_if_wrong()
    with pytest.raises(ValueError, match="softmax"):
        check_model(model, x, np.array([1, 2]), loss=losses.SparseCategoricalCrossentropy())


def test_a_network_with_one_wrong_layer_fails():
    model = models.Sequential([layers.Dense(5, activation="tanh", input_shape=(4,)), Forgetful(6, activation="relu"),
                               layers.Dense(3)])
    result = check_model(model, np.random.default_rng(0).standard_normal((3, 4)), np.array([0, 1, 2]))
    wrong = {row.tensor for row in result.rows if row.verdict == "wrong"}
    assert wrong == {"dx", "dense dw", "dense db", "forgetful dw", "forgetful db"}


def test_a_model_is_not_changed_by_its_check():
    model = network()
    model.build()
    before = model.get_weights()
    check_model(model, np.random.default_rng(0).standard_normal((2, 6, 5, 2)), np.array([0, 1]), coordinates=2)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert model.dtype == "float32"


def test_a_broken_back_end_fails_in_float32():
    def backward(dy, x, w, input_gradient=True):
        dx, dw, db = im2col.dense_backward(dy, x, w)
        return dx, dw * np.float32(1.01), db

    module = types.ModuleType("broken")
    for name in CONTRACT:
        setattr(module, name, getattr(im2col, name))
    module.dense_backward = backward
    result = check_layer(layers.Dense(4), (3, 5), module, dtype="float32")
    assert [row.tensor for row in result.rows if row.verdict != "good"] == ["dw"]
