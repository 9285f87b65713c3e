"""Batch normalization with few passes over memory. The formulas and derivations stand in ``kernels/reference``.

Dropout and the inference pair are the reference's: NumPy has no better way to write them.
"""

from __future__ import annotations

import numpy as np

from .. import checks
from ..reference.normalization import (
    batch_norm_inference_backward,
    batch_norm_inference_forward,
    dropout_backward,
    dropout_forward,
)
from .conv2d import column_sums

__all__ = [
    "batch_norm_backward",
    "batch_norm_forward",
    "batch_norm_inference_backward",
    "batch_norm_inference_forward",
    "dropout_backward",
    "dropout_forward",
]


@np.errstate(over="ignore", invalid="ignore", divide="ignore")  # infinity and NaN go through without a warning
def batch_norm_forward(x, gamma, beta, epsilon=1e-3):
    """Arguments and results as in ``kernels.reference.batch_norm_forward``."""
    x, epsilon, gamma, beta = checks.channels(x, epsilon, gamma=gamma, beta=beta)
    count = x.size // x.shape[-1]
    mean = column_sums(x) / count
    y = x - mean
    variance = column_sums(y * y) / count
    y *= gamma / np.sqrt(variance + epsilon)
    y += beta
    return y, mean, variance


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def batch_norm_backward(dy, x, gamma, mean, variance, epsilon=1e-3):
    """The reference's three paths collected into one; arguments and results as there.

    Put dvariance and dmean into dx, drop the term that is zero, and factor out gamma / sqrt(variance + epsilon):

        dx = gamma / sqrt(variance + epsilon) (dy - dbeta / M - xhat dgamma / M)

    So dx is dy with two things taken out of it: its mean, and its part along xhat. Neither could change the
    normalized output.
    """
    x, epsilon, dy, gamma, mean, variance = checks.channels(
        x, epsilon, dy, gamma=gamma, mean=mean, variance=variance)
    count = x.size // x.shape[-1]
    inverse_root = 1 / np.sqrt(variance + epsilon)
    xhat = x - mean
    xhat *= inverse_root
    dbeta = column_sums(dy)
    dgamma = column_sums(dy * xhat)
    xhat *= dgamma / count
    dx = np.subtract(dy, xhat, out=xhat)
    dx -= dbeta / count
    dx *= gamma * inverse_root
    return dx, dgamma, dbeta
