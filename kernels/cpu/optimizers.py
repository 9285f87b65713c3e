"""Optimizer steps, in place on flat vectors, each in one pass. The formulas stand in ``reference/optimizers.py``.

No fused multiply-add here: the compiler may fuse one product in a loop's vectors and another in the few numbers that
are left at its end, and where that end lies depends on the number of threads.
"""

from __future__ import annotations

import math

import numpy as np

from . import threads
from .calls import Calls, writeable
from .checks import checks
from .compiling import kernel
from .exponential import is_single
from .parallel import on_all, share_of
from .parts import part

#: Squares are summed in pieces of this many, so that the sum does not depend on the number of threads.
PIECE = 4096


def sgd_step(parameters, gradients, velocity, learning_rate, momentum=0.0, nesterov=False, weight_decay=0.0):
    """Stochastic gradient descent with momentum, as in ``reference.sgd_step``."""
    (parameters, gradients, velocity), (learning_rate, momentum, weight_decay) = _sgd_calls.find(
        (parameters, gradients, velocity), (learning_rate, momentum, weight_decay))
    threads.run(_sgd, parameters.size, parameters, gradients, velocity, learning_rate, momentum, bool(nesterov),
                1 - learning_rate * weight_decay)


def adam_step(parameters, gradients, first_moment, second_moment, step, learning_rate=0.001, beta_1=0.9, beta_2=0.999,
              epsilon=1e-7, weight_decay=0.0):
    """Adam, as in ``reference.adam_step``."""
    arrays, numbers = _adam_calls.find((parameters, gradients, first_moment, second_moment),
                                       (learning_rate, beta_1, beta_2, epsilon, weight_decay))
    parameters, gradients, first_moment, second_moment = arrays
    learning_rate, beta_1, beta_2, epsilon, weight_decay = numbers
    step = checks.integer("step", step, 1)
    threads.run(_adam, parameters.size, parameters, gradients, first_moment, second_moment,
                learning_rate / (1 - beta_1**step), 1 / (1 - beta_2**step), beta_1, beta_2, epsilon,
                1 - learning_rate * weight_decay)


def _calls_with(vectors, numbers):
    """``Calls`` for vectors of these names, worked on in place, with hyperparameters of these names."""
    def prepare(arrays, settings):
        named = dict(zip(vectors, arrays))
        checks.flat_vectors(**named)
        return (tuple(writeable(vector) if name == "gradients" else vector for name, vector in named.items()),
                checks.hyperparameters(**dict(zip(numbers, settings))))

    return Calls(prepare)


_sgd_calls = _calls_with(("parameters", "gradients", "velocity"), ("learning_rate", "momentum", "weight_decay"))
_adam_calls = _calls_with(("parameters", "gradients", "first_moment", "second_moment"),
                          ("learning_rate", "beta_1", "beta_2", "epsilon", "weight_decay"))


def clip_by_global_norm(gradients, max_norm):
    """Shorten the gradient vector to ``max_norm`` if it is longer, as in ``reference.clip_by_global_norm``."""
    checks.flat_vector("gradients", gradients)
    max_norm, = checks.hyperparameters(max_norm=max_norm)
    squares = np.empty(-(-gradients.size // PIECE))
    threads.run(_squares, gradients.size, gradients, squares)
    norm = math.sqrt(math.fsum(squares)) if np.isfinite(squares).all() else math.sqrt(squares.sum())
    if max_norm < norm < math.inf:
        gradients *= gradients.dtype.type(max_norm / norm)
    return norm


@part
def _normal(value, number):
    """``value``, of type ``number``, but 0 instead of a subnormal number.

    The moments of a weight without gradient (a dead unit's) shrink with every step. Subnormal numbers, below 1e-38 in
    float32, are handled by the processor a hundred times more slowly, and there they would stay for ever, since 0.9
    times the smallest of them is rounded to itself.
    """
    return value if abs(value) >= number(2.0 ** -126 if is_single(number) else 2.0 ** -1022) else value * 0


@part
def _sgd_share(worker, workers, parameters, gradients, velocity, learning_rate, momentum, nesterov, decay):
    number = parameters.dtype.type
    rate, beta, shrink = number(learning_rate), number(momentum), number(decay)
    p, g = share_of(parameters, worker, workers), share_of(gradients, worker, workers)
    v = share_of(velocity, worker, workers)
    for i in range(len(p)):
        step = rate * g[i]
        speed = _normal(beta * v[i] - step, number)
        v[i] = speed
        p[i] = shrink * p[i] + (beta * speed - step if nesterov else speed)


@kernel
def _sgd(workers, *arguments):
    on_all(_sgd_share, workers, arguments)


@part
def _adam_share(worker, workers, parameters, gradients, first_moment, second_moment, rate, correction, beta_1, beta_2,
          epsilon, decay):
    """``rate`` is learning_rate / (1 - beta_1^step) and ``correction`` is 1 / (1 - beta_2^step)."""
    number = parameters.dtype.type
    keep_1, add_1, keep_2, add_2 = number(beta_1), number(1 - beta_1), number(beta_2), number(1 - beta_2)
    rate, correction, epsilon, shrink = number(rate), number(correction), number(epsilon), number(decay)
    p, g = share_of(parameters, worker, workers), share_of(gradients, worker, workers)
    m, v = share_of(first_moment, worker, workers), share_of(second_moment, worker, workers)
    for i in range(len(p)):
        m[i] = _normal(keep_1 * m[i] + add_1 * g[i], number)
        v[i] = _normal(keep_2 * v[i] + add_2 * (g[i] * g[i]), number)
        p[i] = shrink * p[i] - rate * m[i] / (np.sqrt(correction * v[i]) + epsilon)


@kernel
def _adam(workers, *arguments):
    on_all(_adam_share, workers, arguments)


@part(fastmath={"contract", "reassoc"})
def _squares_share(worker, workers, values, squares):
    pieces = len(squares)
    for piece in range(pieces * worker // workers, pieces * (worker + 1) // workers):
        total = 0.0
        for i in range(piece * PIECE, min(len(values), (piece + 1) * PIECE)):
            total += np.float64(values[i]) * np.float64(values[i])
        squares[piece] = total


@kernel
def _squares(workers, *arguments):
    on_all(_squares_share, workers, arguments)
