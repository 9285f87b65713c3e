"""Result arrays out of memory that is already there.

A training step makes the same arrays as the step before. Taken afresh from the operating system, large ones cost more
than the arithmetic that fills them: every page arrives as a fault and is zeroed first, 32 MB in some 10 ms. So
``empty`` hands out views of buffers that it keeps, and hands a buffer out again when nobody holds a view of it.

Who holds one, Python knows: NumPy lets every view, and every view of a view, refer to the array that owns the memory,
so the buffer's reference count tells how many are alive. No result that a caller still holds is ever overwritten.
"""

from __future__ import annotations

import math
import threading
from functools import lru_cache
from sys import getrefcount

import numpy as np

#: Smaller arrays are left to NumPy, whose allocator reuses memory of that size by itself.
POOLED_BYTES = 1 << 14

#: Most bytes of buffers that nobody uses; beyond that the longest unused go back to the operating system.
IDLE_BYTES = 1 << 29

#: From so many kinds of calls on, the arrays of those before are forgotten (not their memory).
MOST_KEPT = 512

_ALIGNMENT = 64
_buffers: dict[int, list[tuple[np.ndarray, int]]] = {}  # by size: buffers, and where in them the first line starts
_lock = threading.Lock()
_scratch = threading.local()


class Results:
    """Arrays of one shape and type, out of buffers that are used again when nobody holds such an array any more."""

    def __init__(self, shape, dtype):
        self.shape, self.dtype = shape, np.dtype(dtype)
        size = math.prod(shape) * self.dtype.itemsize
        # eight sizes between two powers of two, so that batches of nearly the same size share buffers
        grain = 1 << max(0, size.bit_length() - 4)
        self.size = -(-size // grain) * grain
        self.buffers = None if size < POOLED_BYTES else _buffers.setdefault(self.size, [])

    def empty(self):
        """An array with arbitrary contents, C-contiguous and, if large, aligned to a cache line."""
        buffers = self.buffers
        if buffers is None:
            return np.empty(self.shape, self.dtype)
        with _lock:
            # the last one used first: it may still be in a cache
            if not buffers or getrefcount(buffers[-1][0]) != _UNUSED:
                self._find()
            return np.ndarray(self.shape, self.dtype, *buffers[-1])

    def _find(self):
        """Put a buffer that nobody uses at the end of the list."""
        for place in range(len(self.buffers) - 2, -1, -1):
            if getrefcount(self.buffers[place][0]) == _UNUSED:
                self.buffers.append(self.buffers.pop(place))
                return
        _trim(IDLE_BYTES - self.size)
        self.buffers.append(_buffer(self.size))


def empty(shape, dtype):
    """One of the ``results`` of that shape and type."""
    return results(shape, dtype).empty()


@lru_cache(1024)
def results(shape, dtype):
    """The ``Results`` of a shape and type, which whoever makes such arrays again and again may keep."""
    return Results(shape, dtype)


class Scratch(tuple):
    """The arrays that a kernel works in, ``(name, shape, dtype)`` each. Told apart by identity, which is quick."""

    __hash__, __eq__ = object.__hash__, object.__eq__


def scratch(wanted):
    """Arrays for use within one call of one thread, as ``wanted``, a ``Scratch``, says.

    The next request under the same name, be it of another ``Scratch``, gets the same memory.
    """
    kept = _scratch.__dict__
    arrays = kept.get(wanted)
    if arrays is None:
        grown = [_grow(kept, *one) for one in wanted]
        if any(grown) or len(kept) > MOST_KEPT:
            for key in [key for key in kept if isinstance(key, Scratch)]:
                del kept[key]  # views of memory that is now too small
        arrays = kept[wanted] = [np.ndarray(shape, dtype, *kept[name]) for name, shape, dtype in wanted]
    return arrays


def _grow(kept, name, shape, dtype):
    """See to it that there is enough memory under that name; whether there was too little."""
    size = math.prod(shape) * dtype.itemsize
    enough = name in kept and len(kept[name][0]) >= size + _ALIGNMENT
    if not enough:
        kept[name] = _buffer(size)
    return not enough


@lru_cache(128)
def constant(number, size, dtype):
    """A vector full of that number, always the same one: nobody writes to it."""
    return np.full(size, number, dtype)


def flat(array):
    """The array as a vector for a kernel. A read-only one is copied: Numba would compile a kernel anew to take it."""
    return array.reshape(-1) if array.flags.writeable else array.reshape(-1).copy()


def clear():
    """Give all idle buffers back to the operating system."""
    _scratch.__dict__.clear()
    with _lock:
        _trim(0)


def _buffer(size):
    buffer = np.empty(size + _ALIGNMENT, np.uint8)
    return buffer, -buffer.ctypes.data % _ALIGNMENT


def _trim(limit):
    """Drop idle buffers, the longest unused of every size first, until those that are left stay within the limit."""
    idle = [(size, place) for size, buffers in _buffers.items() for place in range(len(buffers))
            if getrefcount(buffers[place][0]) == _UNUSED]
    excess = sum(size for size, _ in idle) - limit
    dropped = set()
    for size, place in sorted(idle, key=lambda found: found[1]):
        if excess <= 0:
            break
        dropped.add((size, place))
        excess -= size
    for size in {size for size, _ in dropped}:
        _buffers[size][:] = [kept for place, kept in enumerate(_buffers[size]) if (size, place) not in dropped]


# references to a buffer of which there is no view; counted as above rather than assumed, for Pythons differ
_UNUSED = next(count for buffers in [[(np.empty(1, np.uint8), 0)]] for count in [getrefcount(buffers[0][0])])
