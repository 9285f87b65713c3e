"""Reading ``.npz`` files that nobody vouches for.

An ``.npz`` is a zip archive of ``.npy`` files, one an array. ``numpy.load`` reserves the memory that a header asks for
before it looks for the data, and with ``allow_pickle=True`` it runs code from the file. Here nothing is unpickled, and
an array is made only when its header, the archive's directory and the limit agree on its size.
"""

from __future__ import annotations

import ast
import contextlib
import math
import struct
import zipfile
import zlib

import numpy as np

from .files import read_exactly

#: Deflate cannot pack more than 1,032 bytes into one: a directory that claims more lies.
DEFLATE_RATIO = 1032

_HEADER = 10240  # more than the header of an array can have
_DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, KeyError, IndexError, TypeError,
           OverflowError, SyntaxError, NotImplementedError, RuntimeError, RecursionError, MemoryError,
           UnicodeError, OSError)


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
    with Archive(path) as archive:
        arrays = {}
        for name in archive.names if names is None else [name for name in archive.names if name in names]:
            arrays[name] = archive.read(name, limit)
            limit -= arrays[name].nbytes
        return arrays


class Archive:
    """An open ``.npz`` file, to read arrays from one by one: ``with Archive(path) as archive: archive.read("a")``.

    ``names`` are those of the arrays. Errors are those of ``read_npz``.
    """

    def __init__(self, path):
        self.path = path
        self._file = open(path, "rb")  # noqa: SIM115
        try:
            with self._damage():
                self._archive = zipfile.ZipFile(self._file)
                members = self._archive.infolist()
                self._members = {member.filename.removesuffix(".npy"): member for member in members}
                if len(self._members) < len(members):
                    raise ValueError("it holds an array twice")
        except BaseException:
            self._file.close()
            raise
        self.names = list(self._members)

    def read(self, name, limit=1 << 31):
        """The array of that name, if it has at most ``limit`` bytes."""
        with self._damage():
            if name not in self._members:
                raise ValueError(f"it lacks the array {name!r}")
            return _read_array(self._archive, self._members[name], limit)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._archive.close()
        self._file.close()

    @contextlib.contextmanager
    def _damage(self):
        try:
            yield
        except _DAMAGE as error:
            what = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
            raise ValueError(f"{self.path}: not an .npz file, or a damaged one: {what:.500}") from error


def _read_array(archive, member, limit):
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{member.filename} is compressed by method {member.compress_type}; expected none or deflate")
    if member.file_size > limit + _HEADER:
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
    """``shape, fortran_order, dtype``: a Python dict as text, padded, after six bytes, a version and its length.

    (``numpy.lib.format`` reads headers from Python 2 besides, through a tokenizer that fails in ways of its own.)
    """
    magic = read_exactly(file, 8)
    if magic[:6] != b"\x93NUMPY" or magic[6:] not in (b"\1\0", b"\2\0"):
        raise ValueError(f"{filename} begins with {bytes(magic).hex(' ')}; expected .npy format 1.0 or 2.0")
    length = int.from_bytes(read_exactly(file, 2 if magic[6] == 1 else 4), "little")
    if length > _HEADER:
        raise ValueError(f"{filename} declares a header of {length:,} bytes")
    header = ast.literal_eval(read_exactly(file, length).decode("latin1").strip())
    if not isinstance(header, dict) or sorted(header) != ["descr", "fortran_order", "shape"]:
        raise ValueError(f"{filename} has the header {header!r:.200}")
    shape, dtype = header["shape"], header["descr"]
    if not isinstance(shape, tuple) or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"{filename} declares the shape {shape!r:.200}")
    if not isinstance(dtype, str) or np.dtype(dtype).kind not in "?biufU" or np.dtype(dtype).itemsize == 0:
        raise ValueError(f"{filename} holds elements of type {dtype!r:.200}; expected numbers or text")
    return shape, bool(header["fortran_order"]), np.dtype(dtype)
