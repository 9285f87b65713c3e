"""Reading ``.npz`` files that nobody vouches for.

An ``.npz`` is a zip archive of ``.npy`` files, one an array. ``numpy.load`` reserves the memory that a header asks for
before it looks for the data, and with ``allow_pickle=True`` it runs code from the file. Here nothing is unpickled, and
an array is made only when its header, the archive's directory and the limit agree on its size.
"""

from __future__ import annotations

import math
import struct
import zipfile
import zlib

import numpy as np

from .files import read_exactly

#: Deflate cannot pack more than 1,032 bytes into one: a directory that claims more lies.
DEFLATE_RATIO = 1032

_DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, KeyError, IndexError, TypeError,
           OverflowError, SyntaxError, NotImplementedError, RuntimeError, UnicodeError)


def read_npz(path, limit=1 << 31, names=None):
    """The arrays of an ``.npz`` file, by name.

    Parameters
    ----------
    path : path
    limit : int
        The most bytes that all arrays together may have.
    names : collection of str, optional
        Read only these (those among them that are there).

    Returns
    -------
    dict of str to numpy.ndarray
        Booleans, integers, floats and strings; never objects.

    Raises
    ------
    ValueError
        For a file that is not a zip archive, damaged, truncated, above the limit, or with arrays of other types.
    OSError
        When the file cannot be opened.
    """
    arrays = {}
    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                for member in archive.infolist():
                    name = member.filename.removesuffix(".npy")
                    if name in arrays:
                        raise ValueError(f"it holds {name!r} twice")
                    if names is None or name in names:
                        arrays[name] = _read_array(archive, member, limit)
                        limit -= member.file_size
        except _DAMAGE as error:
            what = f"{type(error).__name__}: {error}" if not isinstance(error, ValueError) else error
            raise ValueError(f"{path}: not an .npz file, or a damaged one: {what}") from error
    return arrays


def _read_array(archive, member, limit):
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{member.filename} is compressed by method {member.compress_type}; expected none or deflate")
    if member.file_size > limit:
        raise ValueError(f"{member.filename} declares {member.file_size:,} bytes; at most {limit:,} are accepted here")
    ratio = 1 if member.compress_type == zipfile.ZIP_STORED else DEFLATE_RATIO
    if member.file_size > ratio * member.compress_size:
        raise ValueError(f"{member.filename} declares {member.file_size:,} bytes in {member.compress_size:,}")
    with archive.open(member) as file:
        shape, fortran_order, dtype = _read_header(file, member.filename)
        size = math.prod(shape) * dtype.itemsize
        if size != member.file_size - file.tell():
            raise ValueError(f"{member.filename} declares shape {shape} of {dtype}, {size:,} bytes, and has "
                             f"{member.file_size - file.tell():,}")
        data = read_exactly(file, size)
        if file.read(1):  # reading to the end is also what makes zipfile compare the checksum
            raise ValueError(f"{member.filename} is longer than it declares")
    array = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran_order else "C")
    return array.astype(dtype.newbyteorder("="), copy=False)


def _read_header(file, filename):
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"{filename} has .npy format version {version}; expected 1.0 or 2.0")
    shape, fortran_order, dtype = readers[version](file)
    if dtype.kind not in "?biufU" or dtype.itemsize == 0 or dtype.names or dtype.subdtype:
        raise ValueError(f"{filename} holds elements of type {dtype}; expected numbers or text")
    if any(size < 0 for size in shape):
        raise ValueError(f"{filename} declares the shape {shape}")
    return shape, fortran_order, dtype
