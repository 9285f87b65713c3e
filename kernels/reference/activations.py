"""Activation functions: what makes a network more than one linear map.

All of them work on arrays of any shape, element by element, save softmax, which couples the elements of the last
axis. Each backward pass needs the output ``y`` alone, not the input: the derivative of each can be written with it,
so a layer need not keep its input. NaN and infinity go through. Wrong types and shapes raise ``TypeError`` and
``ValueError``.

Document 2 (section 3.1.3) has one such function, sigma, behind the dense layer, and its program relu behind every layer
but the last; the TensorFlow program of document 1 ends in softmax (Bridle 1990).

A derivative at the kink of relu and leaky relu, x = 0, does not exist; as everywhere, it is taken as that of the left
side (0, and the slope).
"""

from __future__ import annotations

import numpy as np

from .. import checks


def relu_forward(x):
    """Rectified linear unit, ``y = max(x, 0)`` (Nair & Hinton 2010). NaN stays NaN."""
    x = checks.elementwise("x", x)
    return np.maximum(x, 0)


def relu_backward(dy, y):
    """``dx = dy`` where ``y > 0``, else 0 (also where ``y`` is NaN, whatever ``dy`` is there)."""
    dy, y = checks.elementwise("dy", dy, "y", y)
    return np.where(y > 0, dy, np.zeros_like(dy))


@np.errstate(over="ignore", invalid="ignore")
def leaky_relu_forward(x, negative_slope=0.2):
    """Leaky relu, ``y = x`` where ``x > 0``, else ``negative_slope * x`` (Maas, Hannun & Ng 2013).

    The default slope is Keras'. It lies in [0, 1): with a negative slope, y would no longer tell the sign of x.
    """
    x, negative_slope = checks.elementwise("x", x), checks.slope(negative_slope)
    return np.where(x > 0, x, negative_slope * x)


@np.errstate(over="ignore", invalid="ignore")
def leaky_relu_backward(dy, y, negative_slope=0.2):
    """``dx = dy`` where ``y > 0``, else ``negative_slope * dy`` (also where ``y`` is NaN)."""
    dy, y = checks.elementwise("dy", dy, "y", y)
    negative_slope = checks.slope(negative_slope)
    return np.where(y > 0, dy, negative_slope * dy)


def sigmoid_forward(x):
    """Logistic function, ``y = 1 / (1 + exp(-x))``.

    For x far below 0 the exponential would overflow. Multiplying numerator and denominator with exp(x) gives
    exp(x) / (1 + exp(x)), which is used there; so ``exp`` only ever sees -abs(x) and stays within (0, 1].
    """
    x = checks.elementwise("x", x)
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, np.ones_like(x), small) / (1 + small)


@np.errstate(over="ignore", invalid="ignore")
def sigmoid_backward(dy, y):
    """``dx = dy y (1 - y)``: the derivative of 1 / (1 + e) with e = exp(-x) is e / (1 + e)^2, that is y (1 - y)."""
    dy, y = checks.elementwise("dy", dy, "y", y)
    return dy * y * (1 - y)


def tanh_forward(x):
    """Hyperbolic tangent, ``y = (exp(x) - exp(-x)) / (exp(x) + exp(-x))``."""
    x = checks.elementwise("x", x)
    return np.tanh(x)


@np.errstate(over="ignore", invalid="ignore")
def tanh_backward(dy, y):
    """``dx = dy (1 - y^2)``, by the quotient rule."""
    dy, y = checks.elementwise("dy", dy, "y", y)
    return dy * (1 - y * y)


@np.errstate(over="ignore", invalid="ignore")
def softmax_forward(x):
    """Probabilities over the last axis, ``y_k = exp(x_k) / sum_l exp(x_l)``.

    Adding one number to all x_k changes nothing, since it cancels in the quotient; subtracting the largest keeps
    ``exp`` from overflowing and one term of the sum at 1. A row that holds NaN or plus infinity becomes NaN.
    """
    x = checks.last_axis("x", x)
    exponentials = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return exponentials / np.sum(exponentials, axis=-1, keepdims=True)


@np.errstate(over="ignore", invalid="ignore")
def softmax_backward(dy, y):
    """``dx_k = y_k (dy_k - sum_l dy_l y_l)``.

    Every output depends on every input: dy_l / dx_k = y_l ([k = l] - y_k), a symmetric matrix, the Jacobian. Its
    product with dy is ``dx_k = sum_l dy_l y_l [k = l] - y_k sum_l dy_l y_l``, so the matrix is never built. (The sum
    of all y_k is always 1, hence a dy of ones gives dx = 0: a gradient check with ones would prove nothing.)
    """
    dy, y = checks.last_axis("dy", dy, "y", y)
    return y * (dy - np.sum(dy * y, axis=-1, keepdims=True))
