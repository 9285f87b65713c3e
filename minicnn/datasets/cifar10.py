"""CIFAR-10: 60,000 colour photographs of 32x32 pixels in ten classes.

A. Krizhevsky: Learning multiple layers of features from tiny images, 2009; https://www.cs.toronto.edu/~kriz/cifar.html.
The authors state no licence: use it, cite them, and do not pass the files on.

The **binary version** is read. A record has 3,073 bytes: the label, then 1,024 red, 1,024 green and 1,024 blue values,
each plane in row-major order. A file has 10,000 records; five train, one tests. The better known *Python version* is
made of pickles, which run code when they are read: MiniCNN does not read it.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
import warnings
from pathlib import PurePosixPath

import numpy as np

from ..files import atomic_write, open_maybe_gzip, read_at_most, read_exactly
from . import download, storage

CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

URLS = ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",)
SIZE = 170052171
SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"

RECORD = 1 + 3 * 32 * 32
FILE_SIZE = 10000 * RECORD
#: The files and their published MD5 checksums.
FILES = {
    "data_batch_1.bin": "5dd7e06a14cb22eb9f671a540d1b7c25",
    "data_batch_2.bin": "5ea93a67294ea407fff1d09f752e9692",
    "data_batch_3.bin": "942cd6a4bcdd0dd3c604fbe906cb4421",
    "data_batch_4.bin": "ae636b3ba5c66a11e91e8cb52e771fcb",
    "data_batch_5.bin": "53f37980c15c3d472c316c40844f3f0d",
    "test_batch.bin": "803d5f7f4d78ea53de84dbe85f74fb6d",
}
PUBLISHED = (50000, 10000)
FOLDER = "cifar-10-batches-bin"
ARCHIVE = "cifar-10-binary.tar.gz"


def load_data(data_dir=None):
    """CIFAR-10 in Keras' form, downloaded on first use (170 MB).

    Parameters
    ----------
    data_dir : path, optional
        Where the files lie or go to; else ``MINICNN_DATA_DIR``, else the user's cache folder. The folder
        ``cifar-10-batches-bin`` or, put there by hand, the archive ``cifar-10-binary.tar.gz`` are used.

    Returns
    -------
    (x_train, y_train), (x_test, y_test)
        ``x (N, 32, 32, 3)`` uint8, red, green, blue, and ``y (N,)`` uint8, with 50,000 and 10,000 images. (Keras
        gives the labels a second axis of length one; the losses here want ``(N,)``.)

    Raises
    ------
    ValueError
        For a damaged file; the message names it.
    ConnectionError
        When the files are not here and cannot be downloaded; the message gives the address and the folder.

    Warns
    -----
    UserWarning
        When training files are missing or files are shorter than published. What is there is used nevertheless.
    """
    found = find(data_dir)
    if not _usable(found):
        fetch(data_dir)
        found = find(data_dir)
    if found.files["test_batch.bin"].name == ARCHIVE:
        batches = dict(_from_archive(found.files["test_batch.bin"]))
    else:
        batches = {name: read_batch(path, FILES[name]) for name, path in found.files.items()}
    x_test, y_test = batches.pop("test_batch.bin")
    x_train, y_train = (np.concatenate(arrays) for arrays in zip(*(batches[name] for name in FILES if name in batches)))
    if (len(x_train), len(x_test)) != (50000, 10000):
        warnings.warn(f"cifar10: {found.folder} holds only a part of the set: {len(x_train):,} of 50,000 training and "
                      f"{len(x_test):,} of 10,000 test images", stacklevel=2)
    return (x_train, y_train), (x_test, y_test)


def read_batch(path, md5=None):
    """Images ``(N, 32, 32, 3)`` and labels ``(N,)``, uint8, from one file of the binary version.

    Raises ``ValueError`` when the file is empty, longer than 10,000 records or not a whole number of them, when a
    label is not 0 to 9, and when a file of the published length has not the checksum ``md5`` (if one is given).
    """
    with open_maybe_gzip(path) as file:
        return parse(read_at_most(file, FILE_SIZE), md5)


def parse(data, md5=None):
    """What ``read_batch`` reads, from the bytes of the file."""
    if not data or len(data) % RECORD:
        raise ValueError(f"{len(data):,} bytes are not a whole number of CIFAR records of {RECORD:,} bytes")
    records = np.frombuffer(data, np.uint8).reshape(-1, RECORD)
    if records[:, 0].max() > 9:
        raise ValueError(f"record {records[:, 0].argmax():,} has the label {records[:, 0].max()}; expected 0 to 9")
    if md5 and len(data) == FILE_SIZE:
        checksum = hashlib.md5(data, usedforsecurity=False).hexdigest()
        if checksum != md5:
            raise ValueError(f"its MD5 checksum is {checksum}, published is {md5}. Delete the file, and it is "
                             "downloaded again")
    planes = records[:, 1:].reshape(-1, 3, 32, 32)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), records[:, 0].copy()


def find(data_dir=None):
    """What is there of the set, without reading it."""
    best = storage.Found(missing=list(FILES))
    for folder in storage.search_folders(data_dir, FOLDER, "cifar10", "cifar-10"):
        files = {name: folder / name for name in FILES if (folder / name).is_file()}
        if len(files) > len(best.files):
            best = storage.Found(files, [name for name in FILES if name not in files])
    bases = [storage.data_directory(data_dir), storage.keras_directory()]
    if best.missing:
        for path in (base / ARCHIVE for base in [*bases, *(base / "cifar10" for base in bases)]):
            if path.is_file():
                return storage.Found(dict.fromkeys(FILES, path))
    pickles = [base / name for base in bases for name in ("cifar-10-batches-py", "cifar-10-python.tar.gz",
                                                           "cifar-10-batches-py-target")]
    if best.missing and (there := [str(path) for path in pickles if path.exists()]):
        best.note = (f"{there[0]} is the Python version, which is made of pickles: they run code when they are read, "
                     "so MiniCNN does not read them; it needs the binary version")
    return best


def counts(found):
    """How many training and test images the found files hold, told by their sizes."""
    if found.files and next(iter(found.files.values())).name == ARCHIVE:
        return PUBLISHED
    sizes = {name: path.stat().st_size // RECORD for name, path in found.files.items()}
    test = sizes.pop("test_batch.bin", 0)
    return sum(sizes.values()), test


def download_size():
    """Bytes that a download takes."""
    return SIZE


def fetch(data_dir=None, progress=True):
    """Download and unpack the binary version; the error tells how to get it by hand."""
    root = storage.data_directory(data_dir)
    try:
        download.fetch(URLS, root / ARCHIVE, SIZE, SHA256, progress)
    except ConnectionError as error:
        reason = "\n".join(filter(None, [str(error), find(data_dir).note]))
        raise ConnectionError(storage.by_hand("cifar10", [(URLS[0], SIZE)], root, reason)) from None
    (root / FOLDER).mkdir(exist_ok=True)
    for name, data in _members(root / ARCHIVE):
        with atomic_write(root / FOLDER / name) as file:
            file.write(data)
    os.unlink(root / ARCHIVE)


def _usable(found):
    return "test_batch.bin" in found.files and len(found.files) > 1


def _from_archive(path):
    for name, data in _members(path):
        try:
            yield name, parse(data, FILES[name])
        except ValueError as error:
            raise ValueError(f"{path}: {name}: {error}") from None


def _members(path):
    """``name, bytes`` of the six files in the archive, which is read once from front to back."""
    missing = set(FILES)
    with open_maybe_gzip(path) as file:
        try:
            with tarfile.open(fileobj=_Limited(file, 6 * FILE_SIZE + (1 << 20)), mode="r|") as archive:
                for member in archive:
                    name = PurePosixPath(member.name).name
                    if name in missing and member.isreg():
                        if member.size > FILE_SIZE:
                            raise ValueError(f"{name} declares {member.size:,} bytes, expected {FILE_SIZE:,}")
                        missing.discard(name)
                        yield name, read_exactly(archive.extractfile(member), member.size)
        except tarfile.TarError as error:
            raise ValueError(error) from None
        if missing:
            raise ValueError(f"the archive lacks {', '.join(sorted(missing))}")


class _Limited:
    """A file that refuses to give more than ``limit`` bytes: what a small archive may unpack to."""

    def __init__(self, file, limit):
        self.file, self.left = file, limit

    def read(self, size):
        data = self.file.read(min(size, self.left + 1))
        self.left -= len(data)
        if self.left < 0:
            raise ValueError("it unpacks to more bytes than the data set has")
        return data
