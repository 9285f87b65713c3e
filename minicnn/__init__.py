"""MiniCNN: convolutional networks from scratch, to be read.

The arithmetic lives in the package ``kernels`` (forward and backward passes as pure functions on arrays, in several
back-ends); this package puts it together: layers, losses, optimizers, a ``Sequential`` model, training, gradient
checks, data sets, pictures and the command ``minicnn``.

    import minicnn
    from minicnn import datasets, layers, models

    (x, labels), (x_test, labels_test) = datasets.digits.load_data()
    model = models.Sequential([
        layers.Conv2D(16, 3, activation="relu", input_shape=(8, 8, 1)),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dense(10),
    ])
    model.compile(optimizer="adam", loss=minicnn.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(x[..., None] / 16, labels, epochs=10, validation_data=(x_test[..., None] / 16, labels_test))

Everything is imported when it is first used, so that ``import minicnn`` stays light.
"""

from __future__ import annotations

import importlib

import kernels
from minicnn._version import __version__

if not hasattr(kernels, "CONTRACT"):
    raise ImportError(
        f"minicnn needs its own package 'kernels', but Python found another one of that name, {kernels!r}; uninstall "
        "that one (pip uninstall kernels) and reinstall minicnn, or use a fresh virtual environment")

_MODULES = ("animation", "augmentation", "backends", "callbacks", "controls", "convert", "datasets", "explain",
            "gradcheck", "initializers", "layers", "losses", "metrics", "models", "notebook", "optimizers", "plots",
            "testing", "zoo")
_NAMES = {
    "Sequential": "minicnn.models",
    "Input": "minicnn.layers",
    "History": "minicnn.training",
    "load_model": "minicnn.saving",
    "set_num_threads": "minicnn.backends",
    "get_num_threads": "minicnn.backends",
}

__all__ = ["__version__", *_MODULES, *_NAMES]


def __getattr__(name):
    if name in _MODULES:
        return importlib.import_module(f"minicnn.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'minicnn' has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
