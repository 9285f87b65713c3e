"""Initial values for parameters.

For a layer whose output sums ``fan_in`` products and whose input feeds ``fan_out`` of them, keeping the variance of
the signal from layer to layer asks for a variance of the weights of

    Glorot:  2 / (fan_in + fan_out)      (X. Glorot and Y. Bengio, AISTATS 2010: signal and gradient, linear units)
    He:      2 / fan_in                  (K. He et al., ICCV 2015: relu halves the variance, so twice as much)

For a convolution kernel ``(KH, KW, C, O)``, fan_in = KH*KW*C and fan_out = KH*KW*O. A uniform distribution on
[-a, a] has variance a**2 / 3, which gives the limits below.
"""

from __future__ import annotations

import numpy as np


def fans(shape):
    """``(fan_in, fan_out)`` of a dense ``(I, O)`` or convolution ``(KH, KW, C, O)`` weight array."""
    if len(shape) < 2:
        return (int(shape[0]), int(shape[0])) if shape else (1, 1)
    window = int(np.prod(shape[:-2]))
    return window * int(shape[-2]), window * int(shape[-1])


def glorot_uniform(shape, rng):
    """Uniform on [-a, a] with a = sqrt(6 / (fan_in + fan_out)); Keras' default for dense and convolution layers."""
    limit = np.sqrt(6.0 / sum(fans(shape)))
    return rng.uniform(-limit, limit, shape)


def glorot_normal(shape, rng):
    """Normal with standard deviation sqrt(2 / (fan_in + fan_out)), not truncated."""
    return rng.normal(0.0, np.sqrt(2.0 / sum(fans(shape))), shape)


def he_uniform(shape, rng):
    """Uniform on [-a, a] with a = sqrt(6 / fan_in)."""
    limit = np.sqrt(6.0 / fans(shape)[0])
    return rng.uniform(-limit, limit, shape)


def he_normal(shape, rng):
    """Normal with standard deviation sqrt(2 / fan_in), not truncated."""
    return rng.normal(0.0, np.sqrt(2.0 / fans(shape)[0]), shape)


def zeros(shape, rng):
    """All zeros (biases, beta)."""
    return np.zeros(shape)


def ones(shape, rng):
    """All ones (gamma)."""
    return np.ones(shape)


INITIALIZERS = {function.__name__: function
                for function in (glorot_uniform, glorot_normal, he_uniform, he_normal, zeros, ones)}


def get(name):
    """The initializer of that name; a function ``(shape, rng) -> array`` is passed through."""
    if callable(name):
        return name
    if name not in INITIALIZERS:
        raise ValueError(f"initializer: unknown name {name!r}; choose one of {', '.join(INITIALIZERS)}, or pass a "
                         "function (shape, rng) -> array")
    return INITIALIZERS[name]


def check(name):
    """Return ``name`` if ``get`` knows it."""
    get(name)
    return name


def name_of(initializer):
    """The name of an initializer given by name or as a function."""
    return initializer if isinstance(initializer, str) else initializer.__name__
