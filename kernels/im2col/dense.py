"""The dense layer as three matrix products.

The formulas and their derivations stand in ``kernels/reference/dense.py``.
"""

from __future__ import annotations

import numpy as np

from .. import checks
from .conv2d import column_sums


@np.errstate(over="ignore", invalid="ignore")  # infinity and NaN go through without a warning
def dense_forward(x, w, b=None):
    """``y = x @ w + b``; arguments and result as in ``kernels.reference.dense_forward``."""
    x, w, b = checks.dense_forward(x, w, b)
    y = x @ w
    if b is not None:
        y += b
    return y


@np.errstate(over="ignore", invalid="ignore")
def dense_backward(dy, x, w, input_gradient=True):
    """``dx = dy @ w^T, dw = x^T @ dy, db`` = column sums of dy; as in ``kernels.reference.dense_backward``."""
    dy, x, w = checks.dense_backward(dy, x, w)
    return dy @ w.T if input_gradient else None, x.T @ dy, column_sums(dy)
