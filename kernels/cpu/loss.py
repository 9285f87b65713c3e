"""Losses. The formulas stand in ``reference/loss.py``.

The last layer's output is small, so what counts is not to make a dozen passes over it. The two losses that are seldom
used are NumPy's expressions.
"""

from __future__ import annotations

import math

import numpy as np

from .. import checks
from ..reference.loss import cross_entropy, mean_squared_error
from .calls import Calls, writeable
from .compiling import kernel
from .exponential import exponential
from .workspace import constant

__all__ = ["cross_entropy", "mean_squared_error", "softmax_cross_entropy"]


def softmax_cross_entropy(logits, labels, sample_weight=None, label_smoothing=0.0):
    """``loss`` and ``dlogits``, as in ``reference.softmax_cross_entropy``."""
    (logits, labels, sample_weight), (smoothing, ones) = _calls.find((logits, labels, sample_weight),
                                                                     (label_smoothing,))
    dlogits = np.empty_like(logits)
    loss = _softmax_cross_entropy(logits, labels, ones if sample_weight is None else sample_weight, smoothing, dlogits)
    if loss is None:
        checks.class_labels(labels, logits.shape)  # says what is wrong with them
    return loss, dlogits


def _prepare(arrays, settings):
    *arrays, smoothing = checks.softmax_cross_entropy(*arrays, *settings)
    return tuple(map(writeable, arrays)), (smoothing, constant(1, len(arrays[0]), arrays[0].dtype))


_calls = Calls(_prepare)


@kernel
def _softmax_cross_entropy(logits, labels, sample_weight, smoothing, dlogits):
    """One row at a time: its maximum, its exponentials and their sum, then loss and gradient.

    The losses of the samples are summed in float64, whatever the type, since the sum of many is large against each.
    Returns None, and has changed nothing, if a label is not the number of a class.
    """
    samples, classes = logits.shape
    for i in range(samples):
        if labels[i] < 0 or labels[i] >= classes:
            return None
    number = logits.dtype.type
    share, kept = number(smoothing / classes), number(1 - smoothing)
    total = 0.0
    for i in range(samples):
        largest = logits[i, 0]
        for k in range(1, classes):
            if not (logits[i, k] <= largest):  # NaN too: it must reach the loss
                largest = logits[i, k]
        exponentials, shifted = number(0), number(0)
        for k in range(classes):
            dlogits[i, k] = exponential(logits[i, k] - largest, number)
        for k in range(classes):
            exponentials += dlogits[i, k]
            shifted += logits[i, k] - largest
        logarithm = number(math.log(exponentials))
        loss = kept * (logarithm - (logits[i, labels[i]] - largest))
        if smoothing > 0:
            loss += share * (classes * logarithm - shifted)
        total += sample_weight[i] * loss
        scale = sample_weight[i] / number(samples)
        for k in range(classes):
            p = dlogits[i, k] / exponentials
            if smoothing > 0:
                p -= share
            if k == labels[i]:
                p -= kept
            dlogits[i, k] = p * scale
    return total / samples
