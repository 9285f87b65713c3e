"""Copies on all cores, and a look for numbers that are not finite.

A training step copies every layer's gradients to their places in one flat vector. The workers take the same shares of
it that they have just computed, so that each copies what is still in its own cache.
"""

from __future__ import annotations

import numpy as np

from .. import arrays, checks
from . import threads
from .compiling import kernel
from .parallel import on_all, share_of
from .parts import part


def assign(destination, source):
    """Copy the numbers of ``source`` into ``destination``, which may be a view."""
    if (destination.size >= threads.WORTH_THREADS and type(source) is np.ndarray and source.dtype in checks.FLOATS
            and source.dtype == destination.dtype and source.shape == destination.shape and source.flags.carray
            and destination.flags.carray and not np.may_share_memory(source, destination)):
        threads.run(_copy, source.size, source.reshape(-1), destination.reshape(-1))
    else:
        arrays.assign(destination, source)


def is_finite(array):
    """Whether no element is NaN or infinite."""
    if array.dtype not in checks.FLOATS or not array.flags.carray:
        return arrays.is_finite(array)
    return bool(_is_finite(array.reshape(-1)))


@part
def _copy_share(worker, workers, source, destination):
    numbers, places = share_of(source, worker, workers), share_of(destination, worker, workers)
    for i in range(len(numbers)):
        places[i] = numbers[i]


@kernel
def _copy(workers, *arguments):
    on_all(_copy_share, workers, arguments)


@kernel
def _is_finite(values):
    return _sum_of_zeros(values) == 0


@part(fastmath={"reassoc"})
def _sum_of_zeros(values):
    """0 times NaN or infinity is NaN, 0 times anything else is 0."""
    total = values.dtype.type(0)
    for i in range(len(values)):
        total += values[i] * values.dtype.type(0)
    return total
