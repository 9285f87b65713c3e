"""Batch normalization and dropout on all cores. The formulas stand in ``reference/normalization.py``.

Sums over the batch are taken in pieces of rows that the shape alone determines, each piece in the arrays' own type and
the pieces together in float64: independent of the number of threads, and more exact than one long float32 sum.
"""

from __future__ import annotations

import math

import numpy as np

from . import threads, workspace
from .checks import checks
from .compiling import kernel
from .parallel import on_all, share_of
from .parts import part

#: Numbers in a piece.
PIECE = 1 << 14


def batch_norm_forward(x, gamma, beta, epsilon=1e-3):
    """``y``, ``mean`` and ``variance``, as in ``reference.batch_norm_forward``."""
    x, epsilon, gamma, beta = checks.channels(x, epsilon, gamma=gamma, beta=beta)
    count = x.size // x.shape[-1]
    mean = (_sums(x, x, np.zeros_like(gamma), False)[0] / count).astype(x.dtype)
    deviations, squares, _ = _sums(x, x, mean, False)
    with np.errstate(over="ignore", invalid="ignore"):
        variance = ((squares - deviations * deviations / count) / count).astype(x.dtype)
    return _normalize(x, gamma, beta, mean, variance, epsilon), mean, variance


def batch_norm_backward(dy, x, gamma, mean, variance, epsilon=1e-3):
    """``dx``, ``dgamma`` and ``dbeta``, as in ``reference.batch_norm_backward``."""
    x, epsilon, dy, gamma, mean, variance = checks.channels(
        x, epsilon, dy, gamma=gamma, mean=mean, variance=variance)
    count = x.size // x.shape[-1]
    deviations, products, dbeta = _sums(x, dy, mean, True)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        root = np.sqrt(variance.astype(np.float64) + epsilon)
        dvariance = products * gamma * -0.5 / root**3
        dmean = -dbeta * gamma / root - 2 / count * dvariance * deviations
        factors = [f.astype(x.dtype) for f in (gamma / root, 2 / count * dvariance, dmean / count)]
        dgamma = (products / root).astype(x.dtype)
    dx = workspace.empty(x.shape, x.dtype)
    threads.run(_combine, x.size, _rows(dy), _rows(x), workspace.flat(mean), *factors, True, _rows(dx))
    return dx, dgamma, dbeta.astype(x.dtype)


def batch_norm_inference_forward(x, gamma, beta, mean, variance, epsilon=1e-3):
    """``y``, as in ``reference.batch_norm_inference_forward``."""
    x, epsilon, gamma, beta, mean, variance = checks.channels(
        x, epsilon, gamma=gamma, beta=beta, mean=mean, variance=variance)
    return _normalize(x, gamma, beta, mean, variance, epsilon)


def batch_norm_inference_backward(dy, x, gamma, mean, variance, epsilon=1e-3):
    """``dx``, ``dgamma`` and ``dbeta``, as in ``reference.batch_norm_inference_backward``."""
    x, epsilon, dy, gamma, mean, variance = checks.channels(
        x, epsilon, dy, gamma=gamma, mean=mean, variance=variance)
    _, products, dbeta = _sums(x, dy, mean, True)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        root = np.sqrt(variance.astype(np.float64) + epsilon)
        scale, dgamma = (gamma / root).astype(x.dtype), (products / root).astype(x.dtype)
    dx = workspace.empty(x.shape, x.dtype)
    threads.run(_combine, x.size, _rows(dy), _rows(x), workspace.flat(mean), scale, scale, scale, False, _rows(dx))
    return dx, dgamma, dbeta.astype(x.dtype)


def dropout_forward(x, rate, seed):
    """``y`` and ``mask``, as in ``reference.dropout_forward``: the same mask, bit by bit."""
    x, rate, seed = checks.dropout_forward(x, rate, seed)
    y, mask = workspace.empty(x.shape, x.dtype), workspace.empty(x.shape, np.bool_)
    threads.run(_drop, x.size, workspace.flat(x), rate, np.uint64(seed), True, mask.reshape(-1),
                y.reshape(-1))
    return y, mask


def dropout_backward(dy, mask, rate):
    """``dx``, as in ``reference.dropout_backward``."""
    dy, mask, rate = checks.dropout_backward(dy, mask, rate)
    mask = mask if mask.flags.writeable else mask.copy()  # Numba refuses: with ``draw`` the kernel writes its mask
    dx = workspace.empty(dy.shape, dy.dtype)
    threads.run(_drop, dy.size, workspace.flat(dy), rate, np.uint64(0), False, workspace.flat(mask),
                dx.reshape(-1))
    return dx


def _rows(x):
    return workspace.flat(x).reshape(-1, x.shape[-1])


def _sums(x, dy, mean, with_dy):
    """Per channel: sum of d = x - mean, then of d dy and of dy (``with_dy``), else of d squared and nothing."""
    rows, channels = _rows(x).shape
    height = max(1, PIECE // channels)
    partial = np.zeros((-(-rows // height), 3, channels), x.dtype)
    threads.run(_partial_sums, x.size, _rows(x), _rows(dy), workspace.flat(mean), with_dy, height, partial)
    with np.errstate(over="ignore", invalid="ignore"):
        return partial.sum(axis=0, dtype=np.float64)


def _normalize(x, gamma, beta, mean, variance, epsilon):
    y = workspace.empty(x.shape, x.dtype)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        factor = gamma / np.sqrt(variance + variance.dtype.type(epsilon))
    threads.run(_scale, x.size, _rows(x), workspace.flat(mean), factor, workspace.flat(beta), _rows(y))
    return y


@part(fastmath={"contract"})
def _partial_sums_share(worker, workers, x, dy, mean, with_dy, height, partial):
    pieces = len(partial)
    rows, channels = x.shape
    for piece in range(pieces * worker // workers, pieces * (worker + 1) // workers):
        deviations, products, gradients = partial[piece, 0], partial[piece, 1], partial[piece, 2]
        for row in range(piece * height, min(rows, (piece + 1) * height)):
            if with_dy:
                for c in range(channels):
                    deviation = x[row, c] - mean[c]
                    deviations[c] += deviation
                    products[c] += deviation * dy[row, c]
                    gradients[c] += dy[row, c]
            else:
                for c in range(channels):
                    deviation = x[row, c] - mean[c]
                    deviations[c] += deviation
                    products[c] += deviation * deviation


@kernel
def _partial_sums(workers, *arguments):
    on_all(_partial_sums_share, workers, arguments)


@part
def _scale_share(worker, workers, x, mean, factor, beta, y):
    rows, channels = x.shape
    for row in range(rows * worker // workers, rows * (worker + 1) // workers):
        for c in range(channels):
            y[row, c] = factor[c] * (x[row, c] - mean[c]) + beta[c]


@kernel
def _scale(workers, *arguments):
    on_all(_scale_share, workers, arguments)


@part(fastmath={"contract"})
def _combine_share(worker, workers, dy, x, mean, of_dy, of_x, constant, with_x, dx):
    rows, channels = x.shape
    for row in range(rows * worker // workers, rows * (worker + 1) // workers):
        if with_x:
            for c in range(channels):
                dx[row, c] = of_dy[c] * dy[row, c] + of_x[c] * (x[row, c] - mean[c]) + constant[c]
        else:
            for c in range(channels):
                dx[row, c] = of_dy[c] * dy[row, c]


@kernel
def _combine(workers, *arguments):
    on_all(_combine_share, workers, arguments)


@part
def _drop_share(worker, workers, x, rate, seed, draw, mask, y):
    """``y = x mask / (1 - rate)``; with ``draw`` the mask is made first, element i from the i-th splitmix64 number."""
    scale, zero = x.dtype.type(1.0 / (1.0 - rate)), x.dtype.type(0)
    first = np.uint64(len(x) * worker // workers)
    x, mask, y = share_of(x, worker, workers), share_of(mask, worker, workers), share_of(y, worker, workers)
    if draw:
        least = np.uint64(math.ceil(rate * 2.0**24))
        for i in range(len(mask)):
            z = seed + (first + np.uint64(i + 1)) * np.uint64(0x9E3779B97F4A7C15)
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            z = z ^ (z >> np.uint64(31))
            mask[i] = z >> np.uint64(40) >= least  # its upper 24 bits, against those of the rate
    for i in range(len(x)):
        y[i] = scale * x[i] if mask[i] else zero


@kernel
def _drop(workers, *arguments):
    on_all(_drop_share, workers, arguments)
