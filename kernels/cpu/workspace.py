"""Result arrays out of memory that is already there.

A training step makes the same arrays as the step before. Taken afresh from the operating system, large ones cost more
than the arithmetic that fills them: every page arrives as a fault and is zeroed first, 32 MB in some 10 ms. So
``empty`` hands out views of buffers that it keeps, and hands a buffer out again when nobody holds a view of it.

Who holds one, Python knows: NumPy lets every view, and every view of a view, refer to the array that owns the memory,
so the buffer's reference count tells how many are alive. No result that a caller still holds is ever overwritten.
"""

from __future__ import annotations

import math
import sys
import threading

import numpy as np

#: Smaller arrays are left to NumPy, whose allocator reuses memory of that size by itself.
POOLED_BYTES = 1 << 17

#: Most bytes of buffers that nobody uses; beyond that the longest unused go back to the operating system.
IDLE_BYTES = 1 << 29

_ALIGNMENT = 64
_pool: dict[int, list[np.ndarray]] = {}
_lock = threading.Lock()


def empty(shape, dtype):
    """An array with arbitrary contents, C-contiguous and aligned to a cache line."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if size < POOLED_BYTES:
        return np.empty(shape, dtype)
    rounded = _rounded(size)
    with _lock:
        buffers = _pool.setdefault(rounded, [])
        buffer = _take_idle(buffers)
        if buffer is None:
            _trim(rounded)
            buffer = np.empty(rounded + _ALIGNMENT, np.uint8)
        _pool[rounded].append(buffer)  # behind those that have been idle for longer
        start = -buffer.ctypes.data % _ALIGNMENT
        return buffer[start:start + size].view(dtype).reshape(shape)


def clear():
    """Give all idle buffers back."""
    with _lock:
        _trim(0, 0)


def _take_idle(buffers):
    for buffer in buffers:
        if sys.getrefcount(buffer) <= _IDLE_REFERENCES:
            return buffers.pop(next(i for i, other in enumerate(buffers) if other is buffer))
    return None


def _rounded(size):
    """The next of eight sizes between two powers of two, so that batches of nearly the same size share buffers."""
    grain = 1 << max(0, size.bit_length() - 4)
    return -(-size // grain) * grain


def _trim(wanted, limit=IDLE_BYTES):
    """Drop idle buffers, the longest unused of each size first, until so many more bytes stay below the limit."""
    idle = [(rounded, buffer) for rounded, buffers in _pool.items() for buffer in _idle(buffers)]
    excess = sum(buffer.nbytes for _, buffer in idle) + wanted - limit
    for rounded, buffer in idle:
        if excess <= 0:
            break
        _pool[rounded] = [other for other in _pool[rounded] if other is not buffer]
        excess -= buffer.nbytes


def _idle(buffers):
    found = []
    for buffer in buffers:
        if sys.getrefcount(buffer) <= _IDLE_REFERENCES:
            found.append(buffer)
    return found


def _idle_references():
    """References to a buffer of which there is no view: measured in a loop like those above, not assumed."""
    buffers = [np.empty(1, np.uint8)]
    for buffer in buffers:
        return sys.getrefcount(buffer)


_IDLE_REFERENCES = _idle_references()
