"""Mistakes in dense layers."""

from __future__ import annotations

import numpy as np

from minicnn.gradcheck.causes.engine import Cause


def bias(c, factor):
    """``factor * b``, or zeros for a layer without bias."""
    return 0.0 if c.b is None else factor * c.b


CAUSES = {
    ("dense_forward", "y"): [
        Cause("weights transposed", "the matrix is transposed: w is (I, O), so y = x @ w + b",
              lambda c: c.x @ c.w.T + bias(c, 1)),
        Cause("bias forgotten", "the bias is not added", lambda c: c.x @ c.w),
        Cause("bias twice", "the bias is added twice", lambda c: c.x @ c.w + bias(c, 2)),
        Cause("bias in the loop", "the bias is added once for each input: add it once, after the sum",
              lambda c: c.x @ c.w + bias(c, c.x.shape[1])),
        Cause("first image for all", "every sample of the batch gets the result of the first one",
              lambda c: np.broadcast_to(c.truth[:1], c.truth.shape)),
    ],
    ("dense_backward", "dx"): [
        Cause("weights not transposed", "the matrix is not transposed: dx = dy @ w.T", lambda c: c.dy @ c.w),
        Cause("x for dy", "x stands where dy belongs: dx = dy @ w.T", lambda c: c.x @ c.w.T),
    ],
    ("dense_backward", "dw"): [
        Cause("transposed", "dw comes out transposed: dw = x.T @ dy, which is (I, O) like w",
              lambda c: c.truth.T if c.truth.shape[0] == c.truth.shape[1] else None),
        Cause("x not transposed", "x is not transposed: dw = x.T @ dy", lambda c: c.x @ c.dy),
        Cause("dy transposed", "dy is transposed instead of x: dw = x.T @ dy", lambda c: c.x @ c.dy.T),
        Cause("first image only", "only the first sample counts: dw sums over the whole batch",
              lambda c: np.outer(c.x[0], c.dy[0])),
        Cause("last image only", "only the last sample counts: dw sums over the whole batch (+=, not =)",
              lambda c: np.outer(c.x[-1], c.dy[-1])),
    ],
    ("dense_backward", "db"): [
        Cause("bias summed over the wrong axes", "dy is summed over axis 1: db sums over the batch, dy.sum(axis=0)",
              lambda c: c.dy.sum(axis=1)),
        Cause("first image only", "only the first sample counts: db sums over the batch, dy.sum(axis=0)",
              lambda c: c.dy[0]),
        Cause("last image only", "only the last sample counts: db sums over the batch, dy.sum(axis=0)",
              lambda c: c.dy[-1]),
        Cause("sum over everything", "every output gets the sum over all outputs: db = dy.sum(axis=0)",
              lambda c: np.full(c.dy.shape[1], c.dy.sum())),
        Cause("sum of the input", "y is summed instead of dy", lambda c: c.y.sum(axis=0)),
    ],
}
