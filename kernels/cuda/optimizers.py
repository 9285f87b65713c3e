"""Optimizers on the device: one thread a parameter, one kernel for the whole model.

The formulas stand in ``kernels/reference/optimizers.py``. What does not depend on the element (the corrections of
Adam's first steps, the shrinking by weight decay) is computed once, on the host.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from . import arrays
from .checks import checks
from .device import blocks_for, cuda, launch
from .reductions import LANES, tree_sum

uint32 = np.uint32

THREADS = 128

#: Blocks that share the sum of squares of a gradient.
NORM_BLOCKS = 256


def sgd_step(parameters, gradients, velocity, learning_rate, momentum=0.0, nesterov=False, weight_decay=0.0):
    """Stochastic gradient descent with momentum, in place; as in ``kernels.reference.sgd_step``."""
    checks.flat_vectors(parameters=parameters, gradients=gradients, velocity=velocity)
    learning_rate, momentum, weight_decay = checks.hyperparameters(
        learning_rate=learning_rate, momentum=momentum, weight_decay=weight_decay)
    T = parameters.dtype.type
    launch(sgd_kernel(), blocks_for(parameters.size, THREADS), THREADS, parameters, gradients, velocity,
           T(learning_rate), T(momentum), T(1 - learning_rate * weight_decay), bool(nesterov))


def adam_step(parameters, gradients, first_moment, second_moment, step, learning_rate=0.001, beta_1=0.9, beta_2=0.999,
              epsilon=1e-7, weight_decay=0.0):
    """Adam, in place; as in ``kernels.reference.adam_step``."""
    checks.flat_vectors(parameters=parameters, gradients=gradients, first_moment=first_moment,
                        second_moment=second_moment)
    step = checks.integer("step", step, 1)
    learning_rate, beta_1, beta_2, epsilon, weight_decay = checks.hyperparameters(
        learning_rate=learning_rate, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon, weight_decay=weight_decay)
    T = parameters.dtype.type
    launch(adam_kernel(), blocks_for(parameters.size, THREADS), THREADS, parameters, gradients, first_moment,
           second_moment, T(learning_rate / (1 - beta_1**step)), T(1 / (1 - beta_2**step)), T(beta_1), T(1 - beta_1),
           T(beta_2), T(1 - beta_2), T(epsilon), T(1 - learning_rate * weight_decay))


def clip_by_global_norm(gradients, max_norm):
    """Shorten the gradient to ``max_norm`` if it is longer, in place; returns the norm before, fetched when looked at.

    Two kernels and no wait: the first leaves partial sums of squares, the second adds them up (every thread for
    itself, so that all have the same number) and scales. The squares are summed in float64, also those of float32:
    they overflow otherwise.
    """
    checks.flat_vector("gradients", gradients)
    max_norm, = checks.hyperparameters(max_norm=max_norm)
    if gradients.size == 0:
        return 0.0
    blocks = min(NORM_BLOCKS, blocks_for(gradients.size, LANES))
    parts, norm = arrays.empty((blocks,), np.float64), arrays.empty((1,), np.float64)
    launch(square_sums_kernel(), blocks, LANES, gradients, parts, blocks_for(gradients.size, blocks))
    launch(clip_kernel(), blocks_for(gradients.size, THREADS), THREADS, gradients, parts, norm, np.float64(max_norm))
    return arrays.Scalar(norm)


# ---- kernels ------------------------------------------------------------------------------------------------------

@functools.cache
def sgd_kernel():
    """``velocity = momentum velocity - rate gradient``, and the step with it."""
    @cuda.jit
    def sgd(parameters, gradients, velocity, learning_rate, momentum, shrink, nesterov):
        i = uint32(cuda.grid(1))
        if i < parameters.size:
            step = learning_rate * gradients[i]
            v = momentum * velocity[i] - step
            velocity[i] = v
            parameters[i] = shrink * parameters[i] + (momentum * v - step if nesterov else v)
    return sgd


@functools.cache
def adam_kernel():
    """Both moments, and ``parameter -= rate m / (1 - beta_1^t) / (sqrt(v / (1 - beta_2^t)) + epsilon)``."""
    @cuda.jit
    def adam(parameters, gradients, first_moment, second_moment, rate, correction, beta_1, share_1, beta_2, share_2,
             epsilon, shrink):
        i = uint32(cuda.grid(1))
        if i < parameters.size:
            gradient = gradients[i]
            m = beta_1 * first_moment[i] + share_1 * gradient
            v = beta_2 * second_moment[i] + share_2 * gradient * gradient
            first_moment[i] = m
            second_moment[i] = v
            parameters[i] = shrink * parameters[i] - rate * m / (math.sqrt(v * correction) + epsilon)
    return adam


@functools.cache
def square_sums_kernel():
    """Block by block the sum of squares of ``chunk`` elements."""
    @cuda.jit
    def square_sums(gradients, parts, chunk):
        shared = cuda.shared.array(LANES, np.float64)
        lane = uint32(cuda.threadIdx.x)
        start = uint32(cuda.blockIdx.x * chunk)
        total = np.float64(0)
        for i in range(start + lane, min(uint32(start + chunk), uint32(gradients.size)), LANES):
            total += np.float64(gradients[i]) * np.float64(gradients[i])
        total = tree_sum(shared, lane, total)
        if lane == 0:
            parts[cuda.blockIdx.x] = total
    return square_sums


@functools.cache
def clip_kernel():
    """``gradient *= max_norm / norm`` if the norm is larger, and finite."""
    infinity = np.float64(np.inf)

    @cuda.jit
    def clip(gradients, parts, norm, max_norm):
        i = uint32(cuda.grid(1))
        total = np.float64(0)
        for part in range(parts.size):
            total += parts[part]
        length = math.sqrt(total)
        if i == 0:
            norm[0] = length
        if i < gradients.size and length > max_norm and length < infinity:
            gradients[i] = gradients[i] * (max_norm / length)
    return clip
