"""Copies on all cores.

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


@part
def _copy_share(worker, workers, source, destination):
    numbers, places = share_of(source, worker, workers), share_of(destination, worker, workers)
    for i in range(len(numbers)):
        places[i] = numbers[i]


@kernel
def _copy(workers, *arguments):
    on_all(_copy_share, workers, arguments)
