"""The IDX format, in which MNIST and its relatives are published.

A header, big-endian as all numbers in the file, then the elements in row-major order:

    byte 0, 1   zero
    byte 2      element type: 8 unsigned byte, 9 signed byte, 11 int16, 12 int32, 13 float32, 14 float64
    byte 3      number of dimensions D
    4 x D       the sizes, unsigned 32-bit

so ``00 00 08 03, 60000, 28, 28`` opens the training images of MNIST (see http://yann.lecun.com/exdb/mnist/).
"""

from __future__ import annotations

import math

import numpy as np

from ..files import open_maybe_gzip, read_at_most, read_exactly

TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def read_idx(path, limit=1 << 30):
    """Read an IDX file, plain or gzipped.

    Parameters
    ----------
    path : path
        The file; whether it is gzipped is told from its first bytes, not from its name.
    limit : int
        The most bytes of elements to accept. A header that declares more is refused before anything is read; the
        memory taken is that of the bytes that are really there.

    Returns
    -------
    numpy.ndarray
        The array, in native byte order and writeable.

    Raises
    ------
    ValueError
        For a file that is not IDX, damaged, shorter or longer than its header declares, or above the limit.
    """
    with open_maybe_gzip(path) as file:
        shape, dtype = _read_header(file)
        size = math.prod(shape) * dtype.itemsize
        if size > limit:
            raise ValueError(f"its header declares {size:,} bytes, shape {shape}; the limit is {limit:,}")
        data = read_exactly(file, size)
        read_at_most(file, 0)
        return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def header_bytes(array):
    """The header under which ``array`` stands in an IDX file."""
    code = {np.dtype(name).newbyteorder("="): code for code, name in TYPES.items()}[array.dtype.newbyteorder("=")]
    return bytes([0, 0, code, array.ndim]) + np.array(array.shape, ">u4").tobytes()


def _read_header(file):
    magic = read_exactly(file, 4)
    if magic[0] or magic[1] or magic[2] not in TYPES or magic[3] == 0:
        raise ValueError(f"it begins with the bytes {magic.hex(' ')}; an IDX file with 00 00, a type (one of "
                         f"{', '.join(f'{code:02x}' for code in TYPES)}) and the number of dimensions")
    sizes = np.frombuffer(read_exactly(file, 4 * magic[3]), ">u4")
    return tuple(int(size) for size in sizes), np.dtype(TYPES[magic[2]])
