"""Activations: the reference's NumPy expressions, but for those that choose between two numbers.

``np.where`` with a condition that is as good as random costs ten times as much as arithmetic on the same arrays: the
processor mispredicts every other branch. So the choice is made by arithmetic here.
"""

from __future__ import annotations

import numpy as np

from .. import checks
from ..reference.activations import (
    relu_forward,
    sigmoid_backward,
    sigmoid_forward,
    softmax_backward,
    softmax_forward,
    tanh_backward,
    tanh_forward,
)

__all__ = [
    "leaky_relu_backward",
    "leaky_relu_forward",
    "relu_backward",
    "relu_forward",
    "sigmoid_backward",
    "sigmoid_forward",
    "softmax_backward",
    "softmax_forward",
    "tanh_backward",
    "tanh_forward",
]


def relu_backward(dy, y):
    """``dx = dy`` where ``y > 0``, else 0; as in ``kernels.reference.relu_backward``."""
    dy, y = checks.elementwise("dy", dy, "y", y)
    return select(y > 0, dy)


@np.errstate(over="ignore", invalid="ignore")  # infinity and NaN go through without a warning
def leaky_relu_forward(x, negative_slope=0.2):
    """``x`` times a factor looked up by its sign; as in ``kernels.reference.leaky_relu_forward``."""
    x, negative_slope = checks.elementwise("x", x), checks.slope(negative_slope)
    return x * np.array([negative_slope, 1], x.dtype).take(x > 0)


@np.errstate(over="ignore", invalid="ignore")
def leaky_relu_backward(dy, y, negative_slope=0.2):
    """``dy`` times a factor looked up by the sign of ``y``; as in ``kernels.reference.leaky_relu_backward``."""
    dy, y = checks.elementwise("dy", dy, "y", y)
    negative_slope = checks.slope(negative_slope)
    return dy * np.array([negative_slope, 1], dy.dtype).take(y > 0)


def select(mask, values):
    """``np.where(mask, values, 0)`` without a branch: the bits of ``values``, and all ones or all zeros.

    (``values * mask`` would be simpler, but makes NaN of an infinity that is not selected.)
    """
    bits = np.dtype(f"u{values.itemsize}")
    return (values.view(bits) & np.negative(mask, dtype=bits)).view(values.dtype)
