"""The documents' programs, as they stand there but for the imports."""

import itertools

import numpy as np
import pytest

from minicnn import losses, optimizers, zoo
from minicnn.layers import Dense

DOCUMENT_2 = """
import minicnn
from minicnn import layers, models

model = models.Sequential()
model.add(layers.Conv2D(32, (3, 3), activation='relu', input_shape=(28, 28, 1)))
model.add(layers.MaxPooling2D((2, 2)))
model.add(layers.Conv2D(64, (3, 3), activation='relu'))
model.add(layers.MaxPooling2D((2, 2)))
model.add(layers.Conv2D(64, (3, 3), activation='relu'))
model.add(layers.Flatten())
model.add(layers.Dense(64, activation='relu'))
model.add(layers.Dense(10))

model.compile(optimizer='adam',
              loss=minicnn.losses.SparseCategoricalCrossentropy(from_logits=True),
              metrics=['accuracy'])

(train_images, train_labels), (test_images, test_labels) = minicnn.datasets.mnist.load_data()

train_images = train_images.reshape((60000, 28, 28, 1))
train_images = train_images / 255.0
test_images = test_images.reshape((10000, 28, 28, 1))
test_images = test_images / 255.0

model.fit(train_images, train_labels, epochs=5, validation_data=(test_images, test_labels))
"""


def test_document_2_runs_line_for_line(monkeypatch, capsys):
    """On data of MNIST's shape and type; to keep it short there are 60 and 10 images, and the two counts say so."""
    rng = np.random.default_rng(0)

    def load_data():
        return ((rng.integers(0, 256, (60, 28, 28), np.uint8), rng.integers(0, 10, 60).astype(np.uint8)),
                (rng.integers(0, 256, (10, 28, 28), np.uint8), rng.integers(0, 10, 10).astype(np.uint8)))

    from minicnn import datasets
    monkeypatch.setattr(datasets.mnist, "load_data", load_data)
    scope = {}
    exec(DOCUMENT_2.replace("60000", "60").replace("10000", "10"), scope)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5 and "val_accuracy" in lines[-1]
    model = scope["model"]
    assert model.step == 5 * 2 and model.count_params() == 93322
    assert [layer.output_shape for layer in model.layers] == [
        layer.output_shape for layer in _built(zoo.mnist_cnn()).layers]


def _built(model):
    model.build()
    return model


def test_document_1_fits_24_pixels_and_names_them_for_32():
    assert _built(zoo.cifar_cnn()).layers[4].output_shape == (64 * 6 * 6,)
    model = zoo.cifar_cnn(image_size=32)
    model.layers[5] = Dense(128, activation="relu", input_shape=(64 * 6 * 6,), name="fc1")
    with pytest.raises(ValueError, match="24x24"):
        model.build()


def test_document_1_explicit_loop():
    """Forward, loss, backward, step; zeroing gradients has no counterpart, because backward sets them."""
    rng = np.random.default_rng(0)
    inputs, labels = rng.random((8, 24, 24, 3), dtype=np.float32), rng.integers(0, 10, 8)
    model = zoo.cifar_cnn()
    model.build()
    criterion = losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = optimizers.SGD(learning_rate=0.001, momentum=0.9)
    optimizer.bind(model)
    seen = []
    for _ in range(10):
        outputs = model.forward(inputs, training=True)
        loss, doutputs = criterion(outputs, labels)
        model.backward(doutputs)
        optimizer.step()
        seen.append(loss)
    assert all(after < before for before, after in itertools.pairwise(seen))


def test_document_1_tensorflow_program_is_told_about_its_two_softmaxes():
    with pytest.raises(ValueError, match="Softmax twice"):
        zoo.cifar_cnn(softmax=True).compile("sgd", losses.SparseCategoricalCrossentropy(from_logits=True))
