"""The argument checks of ``kernels/checks.py``, except that a kernel finds the smallest and the largest integer."""

from __future__ import annotations

import numpy as np

from .. import checks as of_numpy
from . import threads
from .compiling import kernel
from .parallel import extremes_of
from .workspace import flat

#: Types of the places of a pooling's winners, as they nearly always are here, and in other back-ends.
COMPILED = (np.dtype(np.int64), np.dtype(np.uint8))


def extremes(numbers):
    """The smallest and the largest element of an integer array.

    Of the places that a forward pass has just written, each core has its part in its cache and looks at them there.
    """
    if numbers.dtype not in COMPILED:
        return of_numpy.extremes(numbers)
    workers = threads.get_num_threads()
    found = np.empty((workers, 2), numbers.dtype)
    threads.run(_extremes, numbers.size, flat(of_numpy.laid_out(numbers)), found, workers=workers)
    return found[0].tolist()


@kernel
def _extremes(workers, numbers, found):
    extremes_of(workers, numbers, found)


checks = of_numpy.variant(extremes=extremes)
