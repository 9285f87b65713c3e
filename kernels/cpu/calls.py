"""What calls with arguments of the same kinds have in common: found at the first of them, then kept.

In a small network Python takes a good part of the time between two kernels for things that are the same in every step:
it checks the same shapes and looks up the same tables. So each operation has a function that checks its arguments and
prepares all that depends on shapes, types and settings alone, and ``Calls`` remembers what came of it. A later call is
known by its arguments' kinds; only what cannot be told from these is still looked at: the numbers in the arrays.
"""

from __future__ import annotations

import operator

import numpy as np

from . import threads

#: From so many kinds of calls on, all are forgotten.
MOST_KEPT = 512


class Calls:
    """The kinds of calls of one operation.

    Parameters
    ----------
    prepare : function (arrays, settings) -> arrays, anything
        Raises the errors; returns the arrays as kernels want them, and what ``find`` shall give besides.
    """

    def __init__(self, prepare):
        self.prepare, self.known = prepare, {}

    def find(self, arrays, settings=()):
        """``prepare(arrays, settings)``, as remembered where that is possible. Some of the arrays may be None."""
        key = [threads.get_num_threads(), *map(id, settings)]
        for array in arrays:
            if type(array) is np.ndarray and array.flags.carray:  # contiguous, aligned and writeable
                key += array.shape, array.dtype
            elif array is None:
                key.append(None)
            else:
                return self.prepare(arrays, settings)
        key = tuple(key)
        found = self.known.get(key)
        if found:
            return arrays, found[0]
        wanted, found = self.prepare(arrays, settings)
        if _immutable(settings) and all(map(operator.is_, arrays, wanted)):
            if len(self.known) >= MOST_KEPT:
                self.known.clear()
            self.known[key] = found, settings  # settings are known by who they are, since 1 == True: they must live on
        return wanted, found


def _immutable(setting):
    """Whether a setting, known by who it is, will stay what it is."""
    return all(map(_immutable, setting)) if type(setting) is tuple else type(setting) in (int, float, bool, type(None))


def writeable(array):
    """The array, or a copy if it is read-only: for those Numba would compile a kernel anew."""
    return array if array is None or array.flags.writeable else array.copy()
