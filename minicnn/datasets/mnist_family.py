"""What MNIST and the sets made in its image have in common: four IDX files with 28x28 pictures and their labels."""

from __future__ import annotations

import hashlib
import math
import warnings
from dataclasses import dataclass

import numpy as np

from ..npz import read_npz
from . import download, storage
from .idx import header_bytes, read_idx

#: The arrays of Keras' form, in its order, and the file that holds each.
PARTS = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}
SHAPES = {"x_train": (60000, 28, 28), "y_train": (60000,), "x_test": (10000, 28, 28), "y_test": (10000,)}


@dataclass(frozen=True)
class Family:
    """One set of the family.

    ``folders`` are the names under which it is found on disk: ours first, then those of torchvision and Keras.
    ``bases`` are the addresses under which the four gzipped files stand. ``files`` gives for each part the size and
    SHA-256 checksum of the gzipped file and the MD5 checksum of the IDX file inside.
    """

    name: str
    folders: tuple
    bases: tuple
    files: dict
    PUBLISHED = (60000, 10000)

    def find(self, data_dir=None):
        """What is there of the set, without reading it."""
        folders = storage.search_folders(data_dir, *self.folders)
        best = storage.Found(missing=list(PARTS))
        for folder in folders:
            files = {part: path for part in PARTS if (path := _idx_file(folder, part))}
            if len(files) > len(best.files):
                best = storage.Found(files, [part for part in PARTS if part not in files])
        if best.missing:
            above = [base / f"{self.folders[0]}.npz" for base in (storage.data_directory(data_dir),
                                                                  storage.keras_directory())]
            for path in [*(path for folder in folders for path in sorted(folder.glob("*.npz"))), *above]:
                if path.is_file():
                    return storage.Found(dict.fromkeys(PARTS, path))
        return best

    def counts(self, found):
        """How many training and test images the found files hold, told by their labels."""
        numbers = []
        for part in ("y_train", "y_test"):
            path = found.files.get(part)
            if path is None:
                numbers.append(0)
            elif path.suffix == ".npz":
                numbers.append(len(read_npz(path, limit=SHAPES[part][0], names=(part,)).get(part, ())))
            else:
                numbers.append(len(read_idx(path, limit=SHAPES[part][0])))
        return tuple(numbers)

    def download_size(self):
        """Bytes that a download takes."""
        return sum(size for size, _, _ in self.files.values())

    def fetch(self, data_dir=None, progress=True):
        """Download the files that our own folder lacks; the error tells how to get them by hand."""
        folder = storage.data_directory(data_dir) / self.folders[0]
        for part in (part for part in PARTS if not _idx_file(folder, part)):
            name, (size, sha256, _) = f"{PARTS[part]}.gz", self.files[part]
            try:
                download.fetch([base + name for base in self.bases], folder / name, size, sha256, progress)
            except ConnectionError as error:
                addresses = [(f"{self.bases[0]}{PARTS[p]}.gz", self.files[p][0]) for p in PARTS]
                raise ConnectionError(storage.by_hand(self.name, addresses, folder, str(error))) from None

    def load_data(self, data_dir=None):
        """``(x_train, y_train), (x_test, y_test)`` as uint8; the modules of the sets tell the whole story."""
        found = self.find(data_dir)
        if found.missing:
            self.fetch(data_dir)
            found = self.find(data_dir)
        if found.files["x_train"].suffix == ".npz":
            arrays = _read_npz(found.files["x_train"])
        else:
            arrays = {part: read_idx(path, limit=math.prod(SHAPES[part])) for part, path in found.files.items()}
        for part, array in arrays.items():
            self._check(part, array, found.files[part])
        for kind in ("train", "test"):
            if len(arrays[f"x_{kind}"]) != len(arrays[f"y_{kind}"]):
                raise ValueError(f"{found.files[f'y_{kind}']}: {len(arrays[f'y_{kind}']):,} labels for "
                                 f"{len(arrays[f'x_{kind}']):,} images in {found.files[f'x_{kind}'].name}")
        if any(array.shape != SHAPES[part] for part, array in arrays.items()):
            warnings.warn(f"{self.name}: {found.folder} holds only a part of the set: {len(arrays['x_train']):,} of "
                          f"60,000 training and {len(arrays['x_test']):,} of 10,000 test images", stacklevel=3)
        return (arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])

    def _check(self, part, array, path):
        """Shape, type and range, and of an array with all its rows the published checksum."""
        shape = SHAPES[part]
        if array.dtype != np.uint8 or array.ndim != len(shape) or array.shape[1:] != shape[1:]:
            raise ValueError(f"{path}: expected {part} of shape {shape} and type uint8, got {array.shape} and "
                             f"{array.dtype}")
        if not 0 < len(array) <= shape[0]:
            raise ValueError(f"{path}: expected 1 to {shape[0]:,} rows in {part}, got {len(array):,}")
        if part.startswith("y") and array.max() > 9:
            raise ValueError(f"{path}: expected labels from 0 to 9, got {array.max()}")
        if array.shape == shape:
            checksum = hashlib.md5(header_bytes(array), usedforsecurity=False)
            checksum.update(array)
            if checksum.hexdigest() != self.files[part][2]:
                raise ValueError(f"{path}: damaged: {part} has the MD5 checksum {checksum.hexdigest()}, published is "
                                 f"{self.files[part][2]}. Delete the file, and it is downloaded again")


def _idx_file(folder, part):
    name = PARTS[part]
    candidates = (folder / (stem + suffix) for stem in (name, name.replace("-idx", ".idx")) for suffix in ("", ".gz"))
    return next((path for path in candidates if path.is_file()), None)


def _read_npz(path):
    """The four arrays from one ``.npz``, as Keras keeps them."""
    size = sum(math.prod(shape) for shape in SHAPES.values())
    arrays = read_npz(path, limit=size + 4096, names=PARTS)  # each array has a header of some hundred bytes besides
    if missing := [part for part in PARTS if part not in arrays]:
        raise ValueError(f"{path}: expected the arrays {', '.join(PARTS)}; {', '.join(missing)} missing")
    return {part: np.ascontiguousarray(arrays[part]) for part in PARTS}
