"""Keras on TensorFlow (the worker's environment says KERAS_BACKEND=tensorflow)."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from minicnn.bench.contestants import base
from minicnn.bench.works import NETWORKS


def mnist_cnn():
    return keras.Sequential([
        keras.Input((28, 28, 1)),
        layers.Conv2D(32, (3, 3), activation="relu"),
        layers.MaxPooling2D((2, 2)),
        layers.Conv2D(64, (3, 3), activation="relu"),
        layers.MaxPooling2D((2, 2)),
        layers.Conv2D(64, (3, 3), activation="relu"),
        layers.Flatten(),
        layers.Dense(64, activation="relu"),
        layers.Dense(10),
    ])


def cifar_cnn():
    return keras.Sequential([
        keras.Input((24, 24, 3)),
        layers.Conv2D(32, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(64, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dense(128, activation="relu"),
        layers.Dense(10),
    ])


MODELS = {"mnist_cnn": mnist_cnn, "cifar_cnn": cifar_cnn}


class Contestant(base.Contestant):
    """``train_on_batch`` and ``predict_on_batch``, which run compiled graphs.

    ``fit`` does the same step and pays besides for its input pipeline, most of all at the beginning of every epoch: on
    a short run it is much slower, on a long one at best as fast.
    """

    def __init__(self, threads):
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)

    def versions(self):
        return {"Keras": keras.__version__, "TensorFlow": tf.__version__}

    def model(self, network, weights):
        model = MODELS[network]()
        spec = NETWORKS[network]
        optimizer = keras.optimizers.Adam(**spec.hyperparameters) if spec.optimizer == "adam" else (
            keras.optimizers.SGD(**spec.hyperparameters))
        model.compile(optimizer=optimizer, loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        model.set_weights(weights)  # layouts are MiniCNN's
        return model

    def training(self, network, weights, x, y):
        model = self.model(network, weights)
        batches = list(zip(x, y))

        def losses():
            # train_on_batch returns the running mean of the losses until the metrics are reset.
            found = []
            for _ in range(base.CHECK_STEPS):
                model.reset_metrics()
                found.append(float(np.asarray(model.train_on_batch(*batches[0])).flat[0]))
            return {"losses": found}

        return base.Job(base.cycle(model.train_on_batch, batches), losses)

    def inference(self, network, weights, x, y):
        model = self.model(network, weights)
        return base.Job(base.cycle(model.predict_on_batch, zip(x)),
                        lambda: {"logits": model.predict_on_batch(x[0])})
