"""Mistakes in activation functions."""

from __future__ import annotations

import numpy as np

from minicnn.gradcheck.causes.engine import Cause


def sigmoid(x):
    """``1 / (1 + exp(-x))``."""
    return 1 / (1 + np.exp(-x))


def softmax(x, axis=-1):
    """Softmax over another axis."""
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def unstable_softmax(x):
    """Softmax without subtracting the maximum."""
    e = np.exp(x)
    return e / e.sum(axis=-1, keepdims=True)


def softmax_gradient(c, axis):
    """The softmax's backward pass with its sum over another axis."""
    return c.y * (c.dy - (c.dy * c.y).sum(axis=axis, keepdims=True))


def stable(function):
    """Where a function without precautions returns NaN, so does the student's; elsewhere both are right."""
    return lambda c: function(c.x)


_MASK_OF_DY = "the mask is taken from dy: it belongs to y (dx = dy where y > 0)"
_ALL_AXES = "the sum runs over other axes too: each row (last axis) has its own sum, sum(..., axis=-1, keepdims=True)"

CAUSES = {
    ("relu_forward", "y"): [
        Cause("absolute value", "this is the absolute value of x: relu gives 0 below zero", lambda c: np.abs(c.x)),
        Cause("sign reversed", "the mask is the wrong way round: relu keeps x where x > 0",
              lambda c: np.minimum(c.x, 0)),
        Cause("returns the mask", "the mask (0 or 1) is returned: relu returns x where x > 0",
              lambda c: 1.0 * (c.x > 0)),
        Cause("linear", "nothing is cut off: relu gives 0 below zero", lambda c: c.x),
    ],
    ("relu_backward", "dx"): [
        Cause("mask too wide", "the mask lets everything pass: y is never negative, so compare with y > 0, not y >= 0",
              lambda c: c.dy),
        Cause("mask of dy", _MASK_OF_DY, lambda c: c.dy * (c.dy > 0)),
        Cause("mask of dy", "the mask is taken of dy and y both: only y > 0 decides",
              lambda c: c.dy * (c.dy > 0) * (c.y > 0)),
        Cause("mask reversed", "the mask is the wrong way round: the gradient passes where y > 0",
              lambda c: c.dy * (c.y <= 0)),
        Cause("dy forgotten", "the derivative alone is returned: multiply it with dy", lambda c: 1.0 * (c.y > 0)),
        Cause("times y", "dy is multiplied with y: the derivative is 1 where y > 0", lambda c: c.dy * c.y),
    ],
    ("leaky_relu_forward", "y"): [
        Cause("slope forgotten", "negative numbers become 0: they are multiplied with negative_slope",
              lambda c: np.maximum(c.x, 0)),
        Cause("slope of another default", "the slope is always 0.01: use the argument negative_slope",
              lambda c: np.where(c.x > 0, c.x, 0.01 * c.x)),
        Cause("slope of another default", "the slope is always 0.2: use the argument negative_slope",
              lambda c: np.where(c.x > 0, c.x, 0.2 * c.x)),
        Cause("slope on the wrong side", "the slope is applied to the positive numbers",
              lambda c: np.where(c.x > 0, c.negative_slope * c.x, c.x)),
        Cause("slope twice", "the slope is applied twice", lambda c: np.where(c.x > 0, c.x, c.negative_slope**2 * c.x)),
    ],
    ("leaky_relu_backward", "dx"): [
        Cause("slope forgotten", "where y <= 0 the gradient becomes 0: it is multiplied with negative_slope",
              lambda c: c.dy * (c.y > 0)),
        Cause("slope of another default", "the slope is always 0.01: use the argument negative_slope",
              lambda c: np.where(c.y > 0, c.dy, 0.01 * c.dy)),
        Cause("slope of another default", "the slope is always 0.2: use the argument negative_slope",
              lambda c: np.where(c.y > 0, c.dy, 0.2 * c.dy)),
        Cause("slope on the wrong side", "the slope is applied where y > 0",
              lambda c: np.where(c.y > 0, c.negative_slope * c.dy, c.dy)),
        Cause("slope twice", "the slope is applied twice",
              lambda c: np.where(c.y > 0, c.dy, c.negative_slope**2 * c.dy)),
        Cause("mask of dy", _MASK_OF_DY, lambda c: np.where(c.dy > 0, c.dy, c.negative_slope * c.dy)),
        Cause("dy forgotten", "the derivative alone is returned: multiply it with dy",
              lambda c: np.where(c.y > 0, 1.0, c.negative_slope)),
    ],
    ("sigmoid_forward", "y"): [
        Cause("sign of the exponent", "the sign in the exponent is wrong: y = 1 / (1 + exp(-x))",
              lambda c: sigmoid(-c.x)),
        Cause("not stable", "exp overflows for large x: where x >= 0 use 1 / (1 + exp(-x)), elsewhere exp(x) / (1 + "
                            "exp(x))",
              stable(lambda x: np.exp(x) / (1 + np.exp(x)))),
        Cause("tanh", "this is tanh, not sigmoid", lambda c: np.tanh(c.x)),
    ],
    ("sigmoid_backward", "dx"): [
        Cause("y taken for x", "y is put through sigmoid again: it is already the output, so dx = dy * y * (1 - y)",
              lambda c: c.dy * sigmoid(c.y) * (1 - sigmoid(c.y))),
        Cause("factor missing", "the factor (1 - y) is missing: dx = dy * y * (1 - y)", lambda c: c.dy * c.y),
        Cause("factor missing", "the factor y is missing: dx = dy * y * (1 - y)", lambda c: c.dy * (1 - c.y)),
        Cause("dy forgotten", "the derivative alone is returned: multiply it with dy", lambda c: c.y * (1 - c.y)),
        Cause("derivative of tanh", "this is the derivative of tanh: sigmoid's is y * (1 - y)",
              lambda c: c.dy * (1 - c.y**2)),
    ],
    ("tanh_forward", "y"): [
        Cause("not stable", "exp overflows for large x: np.tanh does not",
              stable(lambda x: (np.exp(x) - np.exp(-x)) / (np.exp(x) + np.exp(-x)))),
        Cause("not stable", "exp overflows for large x: np.tanh does not",
              stable(lambda x: (np.exp(2 * x) - 1) / (np.exp(2 * x) + 1))),
        Cause("sigmoid", "this is sigmoid, not tanh", lambda c: sigmoid(c.x)),
    ],
    ("tanh_backward", "dx"): [
        Cause("y taken for x", "y is put through tanh again: it is already the output, so dx = dy * (1 - y**2)",
              lambda c: c.dy * (1 - np.tanh(c.y) ** 2)),
        Cause("square missing", "the square is missing: dx = dy * (1 - y**2)", lambda c: c.dy * (1 - c.y)),
        Cause("derivative of sigmoid", "this is the derivative of sigmoid: tanh's is 1 - y**2",
              lambda c: c.dy * c.y * (1 - c.y)),
        Cause("dy forgotten", "the derivative alone is returned: multiply it with dy", lambda c: 1 - c.y**2),
        Cause("sign inside", "the sign is wrong: dx = dy * (1 - y**2)", lambda c: c.dy * (1 + c.y**2)),
    ],
    ("softmax_forward", "y"): [
        Cause("not stable", "exp overflows for large x: subtract the row's maximum first, which changes nothing else",
              stable(unstable_softmax)),
        Cause("wrong axis", "the sum runs over the first axis: softmax is over the last one",
              lambda c: softmax(c.x, 0)),
        Cause("wrong axis", _ALL_AXES, lambda c: softmax(c.x, tuple(range(c.x.ndim)))),
        Cause("not normalized", "the exponentials are not divided by their sum",
              lambda c: np.exp(c.x - c.x.max(axis=-1, keepdims=True))),
        Cause("logarithm", "this is the logarithm of softmax", lambda c: np.log(softmax(c.x))),
    ],
    ("softmax_backward", "dx"): [
        Cause("diagonal only", "only the diagonal of the Jacobian is used, dy * y * (1 - y): every output depends on "
              "every input, so dx = y * (dy - sum(dy * y))", lambda c: c.dy * c.y * (1 - c.y)),
        Cause("sum forgotten", "the sum is missing: dx = y * (dy - sum(dy * y))", lambda c: c.dy * c.y),
        Cause("wrong axis", _ALL_AXES, lambda c: softmax_gradient(c, tuple(range(c.y.ndim)))),
        Cause("wrong axis", "the sum runs over the first axis: softmax is over the last one",
              lambda c: softmax_gradient(c, 0)),
        Cause("mean for sum", "a mean stands where the sum belongs: dx = y * (dy - sum(dy * y))",
              lambda c: c.y * (c.dy - (c.dy * c.y).mean(axis=-1, keepdims=True))),
        Cause("sum of dy", "dy is summed without the factor y: dx = y * (dy - sum(dy * y))",
              lambda c: c.y * (c.dy - c.dy.sum(axis=-1, keepdims=True))),
        Cause("factor missing", "the factor y in front is missing: dx = y * (dy - sum(dy * y))",
              lambda c: c.dy - (c.dy * c.y).sum(axis=-1, keepdims=True)),
        Cause("factor missing", "the factor y belongs to the sum as well: dx = y * (dy - sum(dy * y))",
              lambda c: c.dy * c.y - (c.dy * c.y).sum(axis=-1, keepdims=True)),
    ],
}
