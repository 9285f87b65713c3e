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
from typing import NamedTuple

import numpy as np

#: Smaller arrays are left to NumPy, whose allocator reuses memory of that size by itself.
POOLED_BYTES = 1 << 14

#: Most bytes of buffers that nobody uses; beyond that the longest unused go back to the operating system.
IDLE_BYTES = 1 << 29

#: From so many kinds of calls on, the arrays of those before are forgotten (not their memory).
MOST_KEPT = 512

_ALIGNMENT = 64
_buffers: dict[int, list[Buffer]] = {}  # by size
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
            buffer = buffers[-1] if buffers else None  # the last one used first: it may still be in a cache
            if buffer is None or getrefcount(buffer.memory) != _UNUSED:
                buffer = self._find()
            if buffer.user is not self:
                buffer.template, buffer.user = np.ndarray(self.shape, self.dtype, buffer.memory, buffer.start), self
            return buffer.template[...]

    def _find(self):
        """A buffer that nobody uses, put at the end of the list."""
        for place in range(len(self.buffers) - 2, -1, -1):
            if getrefcount(self.buffers[place].memory) == _UNUSED:
                self.buffers.append(self.buffers.pop(place))
                return self.buffers[-1]
        _trim(IDLE_BYTES - self.size)
        self.buffers.append(Buffer(self.size))
        return self.buffers[-1]


class Buffer:
    """Memory for results: a view of it that nobody gets, ``template``, and whose results look like that, ``user``.

    To make an array like another takes a fifth of the time that it takes to make one from a shape and a type.
    """

    __slots__ = ("memory", "start", "template", "user")

    def __init__(self, size):
        self.memory, self.start = _memory(size)
        self.template, self.user = self.memory[...], None


def empty(shape, dtype):
    """One of the ``results`` of that shape and type."""
    return results(shape, dtype).empty()


@lru_cache(1024)
def results(shape, dtype):
    """The ``Results`` of a shape and type, which whoever makes such arrays again and again may keep."""
    return Results(shape, dtype)


class Room(NamedTuple):
    """An array for a kernel to work in, within one call of one thread."""

    name: str  # what goes by the same name gets the same memory
    shape: tuple
    dtype: np.dtype


class Fixed(tuple):
    """What a kernel is given in every call of one kind: tables and constants, and ``Room`` to work in.

    They are told apart by identity, which is quick.
    """

    __hash__, __eq__ = object.__hash__, object.__eq__


def arguments(fixed):
    """The fixed arguments of a call, as a tuple, with the calling thread's arrays where there is to be room."""
    kept = _scratch.__dict__
    found = kept.get(fixed)
    if found is None:
        grown = [_grow(kept, *one) for one in fixed if isinstance(one, Room)]
        if any(grown) or len(kept) > MOST_KEPT:
            for key in [key for key in kept if isinstance(key, Fixed)]:
                del kept[key]  # views of memory that is now too small
        found = kept[fixed] = tuple(np.ndarray(one.shape, one.dtype, *kept[one.name]) if isinstance(one, Room) else one
                                    for one in fixed)
    return found


def _grow(kept, name, shape, dtype):
    """See to it that there is enough memory under that name; whether there was too little."""
    size = math.prod(shape) * dtype.itemsize
    enough = name in kept and len(kept[name][0]) >= size + _ALIGNMENT
    if not enough:
        kept[name] = _memory(size)
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


def _memory(size):
    """So many bytes or more, and where among them the first cache line starts."""
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    return memory, -memory.ctypes.data % _ALIGNMENT


def _trim(limit):
    """Drop idle buffers, the longest unused of every size first, until those that are left stay within the limit."""
    idle = [(size, place) for size, buffers in _buffers.items() for place in range(len(buffers))
            if getrefcount(buffers[place].memory) == _UNUSED]
    excess = sum(size for size, _ in idle) - limit
    dropped = set()
    for size, place in sorted(idle, key=lambda found: found[1]):
        if excess <= 0:
            break
        dropped.add((size, place))
        excess -= size
    for size in {size for size, _ in dropped}:
        _buffers[size][:] = [kept for place, kept in enumerate(_buffers[size]) if (size, place) not in dropped]


# references to memory of which there is no view but the template; counted rather than assumed, for Pythons differ
_UNUSED = next(getrefcount(buffer.memory) for buffer in [Buffer(1)])
