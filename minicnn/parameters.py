"""One flat vector for all parameters of a model, one for all gradients; the layers hold views into them.

    parameters  [ w of conv2d | b of conv2d | w of dense | b of dense ]
                  ^ layer.w, a view of shape (KH, KW, C, O)

An optimizer is then one kernel on one vector, a checkpoint is one array, and a gradient check walks one vector.
"""

from __future__ import annotations

from math import prod

import numpy as np

DTYPES = ("float32", "float64")


def check_dtype(dtype):
    """The name of a supported type."""
    try:
        name = np.dtype(dtype).name
    except TypeError:
        name = None
    if name not in DTYPES:
        raise ValueError(f"dtype: expected one of {', '.join(DTYPES)}, got {dtype!r}")
    return name


def allocate(layers, ops, dtype, seed):
    """Give built layers their memory and first values.

    Parameters
    ----------
    layers : list of Layer
        Built layers, in order.
    ops : Operations
        The back-end that makes the arrays.
    dtype : str
        "float32" or "float64". The values are drawn in float64 and rounded, so that both types start alike.
    seed : int
        Layer i draws its values from the stream (seed, i), whatever layers follow it.

    Returns
    -------
    parameters, gradients : array
        The two flat vectors.
    """
    total = sum(layer.parameter_count for layer in layers)
    values = np.empty(total, dtype)
    places = []
    start = 0
    for index, layer in enumerate(layers):
        rng = np.random.default_rng([seed, index])
        layer.state = {name: ops.asarray(np.asarray(initializer(shape, rng), dtype))
                       for name, (shape, initializer) in layer.state_specs.items()}
        for name, (shape, initializer) in layer.parameter_specs.items():
            stop = start + prod(shape)
            values[start:stop] = np.asarray(initializer(shape, rng)).reshape(-1)
            places.append((layer, name, shape, start, stop))
            start = stop
    parameters, gradients = ops.asarray(values), ops.zeros((total,), dtype)
    for layer in layers:
        layer.ops = ops
        layer.parameters, layer.gradients = {}, {}
    for layer, name, shape, start, stop in places:
        layer.parameters[name] = parameters[start:stop].reshape(shape)
        layer.gradients[name] = gradients[start:stop].reshape(shape)
        setattr(layer, name, layer.parameters[name])
        setattr(layer, f"d{name}", layer.gradients[name])
    return parameters, gradients
