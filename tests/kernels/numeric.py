"""Numerical derivatives, for the tests of the reference back-end."""

from __future__ import annotations

import numpy as np

#: Step of the difference quotient below. Inputs keep this far (twice over) from every kink.
STEP = 1e-3


def numerical_gradient(function, array):
    """Derivative of the number ``function()`` with respect to every element of ``array``, which it reads.

    A fourth-order central difference, (8 (f(x+h) - f(x-h)) - (f(x+2h) - f(x-2h))) / (12 h): its error falls with h^4,
    so that h may be large enough (1e-3) to keep rounding errors down as well. The usual two-point quotient could not
    tell 1e-7 from rounding.
    """
    gradient = np.zeros_like(array)
    flat = array.reshape(-1)
    for index in range(flat.size):
        kept = flat[index]
        at = {}
        for steps in (-2, -1, 1, 2):
            flat[index] = kept + steps * STEP
            at[steps] = function()
        flat[index] = kept
        gradient.reshape(-1)[index] = (8 * (at[1] - at[-1]) - (at[2] - at[-2])) / (12 * STEP)
    return gradient


def assert_is_gradient(analytic, function, array, tolerance=1e-7):
    """Assert that ``analytic`` is the derivative of ``function()`` by ``array``, to a relative 1e-7 (floor 0.01)."""
    numeric = numerical_gradient(function, array)
    assert analytic.shape == array.shape
    scale = np.maximum(np.maximum(np.abs(analytic), np.abs(numeric)), 0.01)
    error = np.abs(analytic - numeric) / scale
    assert error.max(initial=0.0) < tolerance, f"worst relative error {error.max()} at {np.argmax(error)}"


def spread(seed, shape, gap=0.05):
    """Numbers that all differ by at least ``gap`` and keep half of it from 0, in random order."""
    count = int(np.prod(shape))
    numbers = (np.arange(count) - count // 2 + 0.5) * gap
    return np.random.default_rng(seed).permutation(numbers).reshape(shape)
