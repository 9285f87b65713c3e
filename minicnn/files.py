"""Files that are never half-written, and reading that believes no header.

A program can be killed between any two instructions, and a file can be damaged or made to do harm. So what is written
here appears under its name only when it is whole, and what is read here takes memory only for bytes that are there.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import tempfile
import time
import zlib
from pathlib import Path

CHUNK = 1 << 20


@contextlib.contextmanager
def atomic_write(path):
    """Open a binary file for writing that takes the name ``path`` at the end, or never.

    The bytes go to a temporary file in the same folder, are flushed to the disk (``fsync``), and then the temporary
    name is replaced by ``path`` in one step of the file system. Whoever opens ``path`` finds the old file or the new
    one, never a part, even when the process is killed or the machine loses power. After an error or Ctrl-C the
    temporary file is removed; what a killed process left behind is removed an hour later by the next write.

    Raises
    ------
    OSError
        When the folder does not exist, is not writeable or is full; ``path`` is as it was before.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: expected the name of a file")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} does not exist")
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(path.parent)
    _remove_leftovers(path)


def read_exactly(file, size):
    """The next ``size`` bytes of an open file as a ``bytearray``, in small steps; ``EOFError`` if there are fewer."""
    data = bytearray()
    while len(data) < size:
        piece = file.read(min(CHUNK, size - len(data)))
        if not piece:
            raise EOFError(f"it ends after {len(data):,} of {size:,} bytes")
        data += piece
    return data


def read_at_most(file, limit):
    """Everything that is left of an open file as a ``bytearray``; ``ValueError`` if that is more than ``limit``."""
    data = bytearray()
    while piece := file.read(min(CHUNK, limit + 1 - len(data))):
        data += piece
        if len(data) > limit:
            raise ValueError(f"it is longer than the {limit:,} bytes that it may have")
    return data


@contextlib.contextmanager
def open_maybe_gzip(path):
    """Open a file for reading, through gzip if it begins like a gzip file.

    What goes wrong inside (a truncated or damaged file, whoever finds it) becomes one ``ValueError`` with the path.
    """
    with open(path, "rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        try:
            with gzip.GzipFile(fileobj=raw) if zipped else contextlib.nullcontext(raw) as file:
                yield file
        except (EOFError, zlib.error, gzip.BadGzipFile, ValueError) as error:
            raise ValueError(f"{path}: damaged, or not what its name says: {error}") from error


def human_size(size):
    """``11594722`` as ``"11.6 MB"``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder):
    """Make the new name itself survive a loss of power; systems that cannot open a folder do without."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _remove_leftovers(path):
    for leftover in path.parent.glob(f".{path.name}.*.part"):
        with contextlib.suppress(OSError):
            if leftover.stat().st_mtime < time.time() - 3600:
                leftover.unlink()
