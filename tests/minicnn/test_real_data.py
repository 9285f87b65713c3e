"""The published sets and the documents' programs on them, where ``MINICNN_DATA_DIR`` has the files."""

import os
import warnings

import numpy as np
import pytest

from minicnn import datasets, layers, optimizers, zoo
from minicnn.datasets import cifar10, fashion_mnist, mnist
from minicnn.models import Sequential


def needs(name):
    """Skip without the set; the files are looked for where ``MINICNN_DATA_DIR`` says, and nothing is downloaded."""
    module = {"mnist": mnist.SET, "fashion-mnist": fashion_mnist.SET, "cifar10": cifar10}[name]
    there = os.environ.get("MINICNN_DATA_DIR") and module.find().files
    return pytest.mark.skipif(not there, reason=f"MINICNN_DATA_DIR has no {name}")


def load(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a part of the set will do
        return datasets.load(name)


@needs("mnist")
def test_mnist():
    (x_train, y_train), (x_test, y_test) = mnist.load_data()  # compares the published checksums
    assert x_train.shape == (60000, 28, 28) and x_test.shape == (10000, 28, 28) and x_train.dtype == np.uint8
    assert y_train[:8].tolist() == [5, 0, 4, 1, 9, 2, 1, 3] and y_test[:8].tolist() == [7, 2, 1, 0, 4, 1, 4, 9]
    assert abs(x_train.mean() / 255 - 0.1307) < 1e-4 and abs(x_train.std() / 255 - 0.3081) < 1e-4


@needs("fashion-mnist")
def test_fashion_mnist():
    data = load("fashion-mnist")
    assert data.image_shape == (28, 28, 1) and data.class_names[data.y_train[0]] == "Ankle boot"
    assert abs(data.x_test.mean() - 0.2868) < 1e-3


@needs("cifar10")
def test_cifar10():
    data = load("cifar10")
    assert data.image_shape == (32, 32, 3)
    assert [data.class_names[label] for label in data.y_train[:4]] == ["frog", "truck", "truck", "deer"]
    np.testing.assert_allclose(data.x_train.mean(axis=(0, 1, 2)), [0.491, 0.482, 0.447], atol=0.01)  # red, green, blue


@pytest.mark.slow
@needs("mnist")
def test_document_2_after_one_epoch():
    data = load("mnist")
    model = zoo.mnist_cnn(backend="cpu")
    model.compile("adam", metrics=["accuracy"])
    history = model.fit(data.x_train, data.y_train, epochs=1, validation_data=(data.x_test, data.y_test), verbose=0)
    assert history.history["val_accuracy"][0] > 0.975


@pytest.mark.slow
@needs("cifar10")
def test_document_1_learns_in_every_epoch():
    data = load("cifar10")
    model = Sequential([layers.Input((32, 32, 3)), layers.RandomCrop(24, 24), *zoo.cifar_cnn().layers], backend="cpu")
    model.compile(optimizers.SGD(0.001, momentum=0.9), metrics=["accuracy"])
    history = model.fit(data.x_train[:10000], data.y_train[:10000], epochs=10, verbose=0)
    assert np.all(np.diff(history.history["loss"]) < 0) and history.history["accuracy"][-1] > 0.3
