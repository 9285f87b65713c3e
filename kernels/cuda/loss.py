"""Losses on the device: one block of 32 threads a sample writes the gradient and the sample's loss.

The mean over the batch is taken when somebody looks at it (``arrays.Scalar``): a training that does not print its loss
never waits for the device. The formulas stand in ``kernels/reference/loss.py``.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from . import arrays
from .checks import checks
from .device import cuda, launch
from .reductions import LANES, tree_maximum, tree_sum

uint32 = np.uint32


def softmax_cross_entropy(logits, labels, sample_weight=None, label_smoothing=0.0):
    """``loss, dlogits`` as in ``kernels.reference.softmax_cross_entropy``; ``float(loss)`` fetches the loss."""
    logits, labels, sample_weight, smoothing = checks.softmax_cross_entropy(
        logits, labels, sample_weight, label_smoothing)
    return _with_labels(softmax_cross_entropy_kernel, logits, labels, sample_weight, smoothing)


def cross_entropy(probabilities, labels, sample_weight=None, label_smoothing=0.0):
    """``loss, dprobabilities`` as in ``kernels.reference.cross_entropy``; ``float(loss)`` fetches the loss."""
    probabilities, labels, sample_weight, smoothing = checks.cross_entropy(
        probabilities, labels, sample_weight, label_smoothing)
    return _with_labels(cross_entropy_kernel, probabilities, labels, sample_weight, smoothing)


def mean_squared_error(predictions, targets, sample_weight=None):
    """``loss, dpredictions`` as in ``kernels.reference.mean_squared_error``; ``float(loss)`` fetches the loss."""
    predictions, targets, sample_weight = checks.mean_squared_error(predictions, targets, sample_weight)
    samples, outputs = predictions.shape
    T = predictions.dtype.type
    losses, gradient = arrays.empty((samples,), T), arrays.empty(predictions.shape, T)
    weighted = sample_weight is not None
    launch(mean_squared_error_kernel(T), samples, LANES, predictions, targets, sample_weight if weighted else losses,
           losses, gradient, outputs, T(samples), T(outputs), weighted)
    return arrays.Scalar(losses, 1 / samples), gradient


def _with_labels(kernel, rows, labels, sample_weight, smoothing):
    samples, classes = rows.shape
    T = rows.dtype.type
    losses, gradient = arrays.empty((samples,), T), arrays.empty(rows.shape, T)
    weighted = sample_weight is not None
    launch(kernel(T), samples, LANES, rows, labels, sample_weight if weighted else losses, losses, gradient, classes,
           T(samples), T(1 - smoothing), T(smoothing / classes), weighted)
    return arrays.Scalar(losses, 1 / samples), gradient


# ---- kernels ------------------------------------------------------------------------------------------------------

@functools.cache
def softmax_cross_entropy_kernel(T):
    """``log p_k = (z_k - max z) - log sum_l exp(z_l - max z)``; then loss and ``(p - q) weight / N``."""
    zero, one, lowest = T(0), T(1), T(-np.inf)

    @cuda.jit
    def softmax_cross_entropy(logits, labels, weights, losses, gradient, classes, samples, confidence, spread,
                              weighted):
        shared = cuda.shared.array(LANES, T)
        lane = uint32(cuda.threadIdx.x)
        sample = uint32(cuda.blockIdx.x)
        start = uint32(sample * classes)
        label = uint32(labels[sample])
        weight = weights[sample] if weighted else one
        largest = lowest
        for k in range(lane, classes, LANES):
            largest = max(largest, logits[start + k])
        largest = tree_maximum(shared, lane, largest)
        total = zero
        for k in range(lane, classes, LANES):
            total += math.exp(logits[start + k] - largest)
        log_total = math.log(tree_sum(shared, lane, total))
        sum_log_p = zero
        for k in range(lane, classes, LANES):
            log_p = logits[start + k] - largest - log_total
            value = math.exp(log_p)
            if k == label:
                value -= confidence
            if spread > zero:  # a case of its own, since 0 * log 0 is not 0
                value -= spread
                sum_log_p += log_p
            gradient[start + k] = value * weight / samples
        sum_log_p = tree_sum(shared, lane, sum_log_p)
        if lane == 0:
            loss = -confidence * (logits[start + label] - largest - log_total)
            if spread > zero:
                loss -= spread * sum_log_p
            losses[sample] = weight * loss
    return softmax_cross_entropy


@functools.cache
def cross_entropy_kernel(T):
    """``-sum_k q_k log max(p_k, tiny)`` and ``-q_k / p_k``, 0 where p_k is below ``tiny``."""
    zero, one, tiny = T(0), T(1), np.finfo(T).tiny

    @cuda.jit
    def cross_entropy(probabilities, labels, weights, losses, gradient, classes, samples, confidence, spread,
                      weighted):
        shared = cuda.shared.array(LANES, T)
        lane = uint32(cuda.threadIdx.x)
        sample = uint32(cuda.blockIdx.x)
        start = uint32(sample * classes)
        label = uint32(labels[sample])
        weight = weights[sample] if weighted else one
        loss = zero
        for k in range(lane, classes, LANES):
            p = probabilities[start + k]
            q = spread
            if k == label:
                q += confidence
            clipped = tiny if p < tiny else p
            loss -= q * math.log(clipped)
            gradient[start + k] = zero if p < tiny else -q / clipped * weight / samples
        loss = tree_sum(shared, lane, loss)
        if lane == 0:
            losses[sample] = weight * loss
    return cross_entropy


@functools.cache
def mean_squared_error_kernel(T):
    """``1 / K sum_k (y_k - t_k)^2`` and ``2 weight (y_k - t_k) / (N K)``."""
    zero, one, two = T(0), T(1), T(2)

    @cuda.jit
    def mean_squared_error(predictions, targets, weights, losses, gradient, outputs, samples, outputs_T, weighted):
        shared = cuda.shared.array(LANES, T)
        lane = uint32(cuda.threadIdx.x)
        sample = uint32(cuda.blockIdx.x)
        start = uint32(sample * outputs)
        weight = weights[sample] if weighted else one
        total = zero
        for k in range(lane, outputs, LANES):
            difference = predictions[start + k] - targets[start + k]
            total += difference * difference
            gradient[start + k] = two * difference / (samples * outputs_T) * weight
        total = tree_sum(shared, lane, total)
        if lane == 0:
            losses[sample] = weight * total / outputs_T
    return mean_squared_error
