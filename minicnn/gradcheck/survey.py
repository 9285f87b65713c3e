"""Everything there is to check on one back-end: operations, layers, losses and the documents' networks."""

from __future__ import annotations

import numpy as np

import kernels
from kernels import reference
from minicnn import layers, losses, zoo
from minicnn.backends import resolve_backend
from minicnn.gradcheck.check import Row, check_operation
from minicnn.gradcheck.models import check_layer, check_loss, check_model
from minicnn.gradcheck.operations import OPERATIONS, operations_named

#: A layer, the shape of a batch for it, and whether its training pass is meant.
LAYERS = (
    (lambda: layers.Conv2D(3, 3, padding="same", activation="relu"), (2, 5, 4, 2), True),
    (lambda: layers.Conv2D(4, (3, 2), strides=(2, 1), padding=((1, 0), (0, 2)), activation="tanh"), (2, 6, 5, 3), True),
    (lambda: layers.Conv2D(2, 2, use_bias=False, activation="leaky_relu"), (2, 4, 5, 2), True),
    (lambda: layers.MaxPooling2D(2), (2, 6, 4, 3), True),
    (lambda: layers.MaxPooling2D(3, strides=2, padding="same"), (2, 5, 6, 2), True),
    (lambda: layers.AveragePooling2D((2, 3), strides=(2, 1), padding="same"), (2, 5, 6, 2), True),
    (layers.Flatten, (2, 3, 4, 2), True),
    (lambda: layers.Dense(5, activation="sigmoid"), (3, 7), True),
    (lambda: layers.Dense(4, activation="softmax"), (3, 6), True),
    *((lambda name=name: layers.Activation(name), (3, 8), True)
      for name in ("relu", "leaky_relu", "sigmoid", "tanh", "softmax")),
    (lambda: layers.Dropout(0.4), (4, 10), True),
    (layers.BatchNormalization, (3, 4, 3, 2), True),
    (layers.BatchNormalization, (3, 4, 3, 2), False),
    (layers.RandomFlip, (3, 4, 5, 2), True),
    (lambda: layers.RandomTranslation(0.3, 0.3), (3, 5, 4, 2), True),
    (lambda: layers.RandomCrop(3, 4), (3, 5, 6, 2), True),
    (lambda: layers.RandomRotation(0.1), (2, 6, 5, 2), True),
)

#: The networks of the zoo that stand in the documents, and the embedded digits' own.
NETWORKS = ("digits_cnn", "mnist_cnn", "cifar_cnn")


def backends_to_check(name):
    """``[(name, module), ...]`` and ``{name: why it is left out}`` for a name, a file, or ``"all"``."""
    if name != "all":
        return [(name, resolve_backend(name))], {}
    found, skipped = [], {}
    for candidate in kernels.available_backends():
        try:
            backend = kernels.get_backend(candidate)
            backend.relu_forward(getattr(backend, "asarray", np.asarray)(np.ones((1, 2))))
        except Exception as error:  # no GPU, no driver, no compiler: whatever it is, the others are still checked
            skipped[candidate] = str(error).partition("\n")[0] or type(error).__name__
        else:
            found.append((candidate, backend))
    return found, skipped


def survey(backend, seed=0, dtype="float64", only=None, budget=2.0):
    """Rows for everything on one back-end.

    Parameters
    ----------
    backend : module
    only : list of str, optional
        Names of operations or of their functions, or ``layers``, ``losses``, ``networks``.
    budget : float
        Seconds for each network.

    Returns
    -------
    list of Row
    """
    parts = ("operations", "layers", "losses", "networks") if only is None else ()
    names = list(OPERATIONS) if only is None else operations_named(only)
    only = only or []
    rows = []
    for name in names:
        rows += check_operation(name, backend, seed, dtype).rows
    if "layers" in parts or "layers" in only:
        for make, shape, training in LAYERS:
            rows += _relabelled(check_layer(make(), shape, backend, training, dtype, seed, coordinates=20), training)
    if "losses" in parts or "losses" in only:
        rows += _loss_rows(backend, seed)
    if "networks" in parts or "networks" in only:
        for name in NETWORKS:
            rows += _network_rows(name, backend, seed, dtype, budget)
    return rows


def _relabelled(result, training):
    if not training:
        for row in result.rows:
            row.operation += " (inference)"
    return result.rows


def _loss_rows(backend, seed):
    rng = np.random.default_rng([seed, 31])
    scores, labels = rng.standard_normal((4, 5)), rng.integers(0, 5, 4)
    exponentials = np.exp(scores)
    return [
        *check_loss(losses.SparseCategoricalCrossentropy(label_smoothing=0.1), scores, labels,
                    rng.uniform(0.5, 2, 4), backend, seed).rows,
        *check_loss(losses.SparseCategoricalCrossentropy(from_logits=False),
                    exponentials / exponentials.sum(axis=1, keepdims=True), labels, None, backend, seed).rows,
        *check_loss(losses.MeanSquaredError(), scores, rng.standard_normal((4, 5)), None, backend, seed).rows,
    ]


def _network_rows(name, backend, seed, dtype, budget):
    """The reference's loops take seconds for one pass of a real network: there, one image and one direction a
    tensor."""
    slow = backend is reference
    model = zoo.ZOO[name](backend=backend, seed=seed)
    model.build()
    rng = np.random.default_rng([seed, 32])
    x = rng.uniform(0, 1, (1 if slow else 2, *model.input_shape))
    labels = rng.integers(0, 10, len(x))
    coordinates = 0 if slow and name != "digits_cnn" else 20
    rows = check_model(model, x, labels, dtype=dtype, seed=seed, coordinates=coordinates, budget=budget).rows
    return rows if rows else [Row(name, "", "wrong", detail=f"{name}: no tensors")]
