"""Which back-ends are tested, and a valid set of small arguments for every function of the contract."""

from __future__ import annotations

import inspect

import numpy as np

import kernels
from kernels import reference


def complete_backends(names=("reference", "im2col", "cpu")):
    """The back-ends of ``names`` that are there and offer the whole contract (``cuda`` has tests of its own)."""
    found = []
    for name in names:
        if name in kernels.available_backends():
            backend = kernels.get_backend(name)
            if not kernels.missing_functions(backend):
                found.append(backend)
    return found


#: The tests of what all back-ends promise are parametrized over these modules.
BACKENDS = complete_backends()

#: The arguments that a function changes in place.
IN_PLACE = {
    "sgd_step": ("parameters", "velocity"),
    "adam_step": ("parameters", "first_moment", "second_moment"),
    "clip_by_global_norm": ("gradients",),
}


def name_of(backend):
    """Short name for a test's title."""
    return backend.__name__.rpartition(".")[2]


def good_arguments(function, dtype=np.float64):
    """A dictionary of new, valid arguments for one function of ``kernels.CONTRACT``."""
    rng = np.random.default_rng(7)

    def normal(*shape):
        return rng.normal(size=shape).astype(dtype)

    stride, padding = (2, 1), ((1, 0), (0, 2))
    images, w = normal(2, 5, 4, 3), normal(3, 2, 3, 4)
    window = {"pool_size": (3, 2), "stride": (2, 1), "padding": ((1, 0), (0, 1))}
    if function.startswith("conv2d"):
        if function == "conv2d_forward":
            return {"x": images, "w": w, "b": normal(4), "stride": stride, "padding": padding}
        return {"dy": normal(2, 2, 5, 4), "x": images, "w": w, "stride": stride, "padding": padding}
    if function.startswith(("max_pool2d", "avg_pool2d")):
        if function.endswith("forward"):
            return {"x": images, **window}
        dy = normal(2, 2, 4, 3)
        argmax = {"argmax": reference.max_pool2d_forward(images, **window)[1]} if function.startswith("max") else {}
        return {"dy": dy, **argmax, "x_shape": images.shape, **window}
    if function == "dense_forward":
        return {"x": normal(3, 5), "w": normal(5, 2), "b": normal(2)}
    if function == "dense_backward":
        return {"dy": normal(3, 2), "x": normal(3, 5), "w": normal(5, 2)}
    if function in ("softmax_cross_entropy", "cross_entropy"):
        scores = normal(4, 3)
        first = "logits"
        if function == "cross_entropy":
            first, scores = "probabilities", reference.softmax_forward(scores)
        return {first: scores, "labels": np.array([0, 2, 1, 2]), "sample_weight": np.abs(normal(4)),
                "label_smoothing": 0.1}
    if function == "mean_squared_error":
        return {"predictions": normal(4, 3), "targets": normal(4, 3), "sample_weight": np.abs(normal(4))}
    if function.startswith("batch_norm"):
        given = {"x": images, "gamma": normal(3), "beta": normal(3), "mean": normal(3), "variance": np.abs(normal(3)),
                 "epsilon": 0.01, "dy": normal(*images.shape)}
        return {name: given[name] for name in parameters(getattr(reference, function))}
    if function == "dropout_forward":
        return {"x": normal(4, 5), "rate": 0.4, "seed": 3}
    if function == "dropout_backward":
        return {"dy": normal(4, 5), "mask": rng.random((4, 5)) < 0.6, "rate": 0.4}
    if function == "sgd_step":
        return {"parameters": normal(6), "gradients": normal(6), "velocity": normal(6), "learning_rate": 0.1,
                "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}
    if function == "adam_step":
        return {"parameters": normal(6), "gradients": normal(6), "first_moment": normal(6),
                "second_moment": np.abs(normal(6)), "step": 3, "weight_decay": 0.01}
    if function == "clip_by_global_norm":
        return {"gradients": normal(6), "max_norm": 0.5}
    if function.endswith("_forward"):  # the activations
        return {"x": normal(3, 4)}
    if function.endswith("_backward"):
        return {"dy": normal(3, 4), "y": getattr(reference, function.replace("back", "for"))(normal(3, 4))}
    raise ValueError(f"no arguments known for {function}")


def parameters(function):
    """Names of a function's parameters."""
    return list(inspect.signature(function).parameters)


def arrays_of(values):
    """The arrays among arguments or results."""
    values = values.values() if isinstance(values, dict) else values if isinstance(values, tuple) else (values,)
    return [value for value in values if isinstance(value, np.ndarray)]
