"""The argument checks of ``kernels/checks.py``, except that a kernel finds the smallest and the largest integer."""

from __future__ import annotations

import numpy as np

from .. import checks as of_numpy
from . import threads
from .compiling import kernel
from .parallel import on_all, share_of
from .parts import part
from .workspace import flat

#: Types of labels and of the places of a pooling's winners, as they nearly always are.
COMPILED = (np.dtype(np.int64), np.dtype(np.uint8))


def extremes(numbers):
    """The smallest and the largest element of an integer array.

    For the few labels of a batch NumPy takes longer than the whole loss does. And of the places that a forward pass has
    just written, each core has its part in its cache and looks at them there.
    """
    if numbers.dtype not in COMPILED:
        return of_numpy.extremes(numbers)
    workers = threads.get_num_threads()
    found = np.empty((workers, 2), numbers.dtype)
    threads.run(_extremes, numbers.size, flat(of_numpy.laid_out(numbers)), found, workers=workers)
    return found[0].tolist()


@part
def _extremes_share(worker, workers, numbers, found):
    lowest = highest = numbers[0]
    for number in share_of(numbers, worker, workers):
        lowest, highest = min(lowest, number), max(highest, number)
    found[worker, 0], found[worker, 1] = lowest, highest


@kernel
def _extremes(workers, numbers, found):
    """To the first row of ``found``, which has a row for each worker."""
    on_all(_extremes_share, workers, (numbers, found))
    for worker in range(1, workers):
        found[0, 0], found[0, 1] = min(found[0, 0], found[worker, 0]), max(found[0, 1], found[worker, 1])


checks = of_numpy.variant(extremes=extremes)
