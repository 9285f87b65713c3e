"""One's own pictures: a folder that holds a folder for each class.

    pictures/cat/1.jpg  pictures/cat/2.png  pictures/dog/a.jpeg ...

or, when the split is made already, ``pictures/train/cat/...`` and ``pictures/test/cat/...``.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from .dataset import make

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
COLORS = {"rgb": 3, "grayscale": 1}
SPLIT_FOLDERS = {"train": ("train", "training"), "test": ("test", "val", "valid", "validation")}


def image_folder(path, image_size=32, color="rgb", test_share=0.2, seed=0, skip_unreadable=False):
    """A data set from a folder of pictures, one sub-folder a class.

    Parameters
    ----------
    path : path
        The folder. Its sub-folders, in the order of their names, are the classes; pictures may lie in folders below
        them. If it holds ``train`` and ``test`` (or ``val``) folders of classes, these are the two parts.
    image_size : int or (height, width)
        Every picture is scaled until it just covers this size and then cropped around its centre.
    color : {"rgb", "grayscale"}
    test_share : float
        The share of each class that is kept for testing, drawn by ``seed``; at least one picture of a class that has
        two or more. A picture's part depends on the seed and on the list of names in its class.
    seed : int
    skip_unreadable : bool
        Whether to leave out files that cannot be read, with a warning that names them, rather than stop at them.

    Returns
    -------
    Dataset
        Images ``(N, H, W, C)`` float32 in [0, 1]; the class names are the folders'.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        When ``path`` is no folder.
    ValueError
        For a folder without classes or a class without pictures, for pictures that cannot be read (each is named with
        the reason), and for arguments outside their range.
    """
    path, size = Path(path), _size(image_size)
    if color not in COLORS:
        raise ValueError(f"color: unknown name {color!r}; choose one of {', '.join(COLORS)}")
    if not 0 <= test_share < 1:
        raise ValueError(f"test_share: expected a share in [0, 1), got {test_share!r}")
    class_names, parts = _list_pictures(path, test_share, seed)
    notes = []
    arrays = [_read_all(files, labels, size, color, skip_unreadable, notes) for files, labels in parts]
    if len(arrays[0][0]) == 0:
        raise ValueError(f"{path}: no picture could be read")
    if notes:
        warnings.warn(f"{path}: left out {len(notes)} files that cannot be read:\n" + "\n".join(notes), stacklevel=2)
    return make(path.resolve().name, *arrays, class_names, notes=notes)


def read_picture(path, image_size, color="rgb"):
    """One picture as ``(H, W, C)`` float32 in [0, 1], covering ``image_size`` and cropped around its centre.

    The camera's orientation mark is obeyed, transparency is laid on white, and 16-bit grey values keep their range.
    Raises ``ValueError`` for what Pillow cannot read and for pictures of more than some 90 million pixels, and
    ``OSError`` when the file cannot be opened.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    height, width = _size(image_size)
    with open(path, "rb") as file:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                warnings.filterwarnings("ignore", category=UserWarning)
                with Image.open(file) as opened:
                    picture = ImageOps.exif_transpose(opened)
                    picture = _converted(picture, color)
        except UnidentifiedImageError:
            raise ValueError(f"{path}: not a picture in a format that Pillow knows") from None
        except (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, ZeroDivisionError,
                OverflowError, RuntimeError, Warning, Image.DecompressionBombError) as error:
            raise ValueError(f"{path}: cannot be read as a picture: {error or type(error).__name__}") from None
    picture = ImageOps.fit(picture, (width, height), Image.Resampling.BILINEAR)
    return np.asarray(picture, np.float32).reshape(height, width, COLORS[color]) / np.float32(255)


def _converted(picture, color):
    from PIL import Image

    if picture.mode.startswith("I;16") or picture.mode == "I":  # convert() would cut these off at 255
        picture = Image.fromarray((np.asarray(picture).astype(np.int64) // 257).clip(0, 255).astype(np.uint8))
    if "A" in picture.getbands() or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("RGB" if color == "rgb" else "L")


def _list_pictures(path, test_share, seed):
    """``class_names, ((train files, labels), (test files, labels))``."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such folder")
    folders = _folders(path)
    named = {kind: next((folders[name] for name in names if name in folders), None)
             for kind, names in SPLIT_FOLDERS.items()}
    if all(named.values()):
        classes = [_classes(folder) for folder in named.values()]
        names = tuple(sorted(classes[0]))
        if unknown := sorted(set(classes[1]) - set(names)):
            raise ValueError(f"{named['test']}: class {unknown[0]!r} has no folder in {named['train']}")
        parts = [[(file, names.index(name)) for name in sorted(part) for file in part[name]] for part in classes]
    else:
        classes = _classes(path)
        names, parts = tuple(sorted(classes)), ([], [])
        for label, name in enumerate(names):
            files = classes[name]
            n_test = round(len(files) * test_share)
            if test_share and len(files) > 1:
                n_test = min(max(n_test, 1), len(files) - 1)
            drawn = set(np.random.default_rng([seed, label]).permutation(len(files))[:n_test].tolist())
            for index, file in enumerate(files):
                parts[index in drawn].append((file, label))
    if len(names) < 2:
        raise ValueError(f"{path}: expected at least two classes, one sub-folder each; found {len(names)}")
    return names, [([file for file, _ in part], np.array([label for _, label in part], np.int64)) for part in parts]


def _folders(path):
    return {entry.name: entry for entry in sorted(path.iterdir()) if entry.is_dir() and not entry.name.startswith(".")}


def _classes(path):
    """Pictures of each class folder, in the order of their paths."""
    classes = {}
    for name, folder in _folders(path).items():
        files = sorted(file for file in folder.rglob("*") if file.is_file() and not file.name.startswith("."))
        classes[name] = [file for file in files if file.suffix.lower() in SUFFIXES]
        if not classes[name]:
            raise ValueError(f"{folder}: no pictures; expected files that end in {', '.join(SUFFIXES)}")
    if not classes:
        raise ValueError(f"{path}: expected one sub-folder for each class, found none")
    return classes


def _read_all(files, labels, size, color, skip_unreadable, notes):
    x, readable, unreadable = np.empty((len(files), *size, COLORS[color]), np.float32), [], []
    for index, file in enumerate(files):
        try:
            x[len(readable)] = read_picture(file, size, color)
            readable.append(index)
        except (OSError, ValueError) as error:
            unreadable.append(str(error))
    if unreadable and not skip_unreadable:
        listed = "\n".join(unreadable[:10] + ["..."] * (len(unreadable) > 10))
        raise ValueError(f"{len(unreadable)} of {len(files)} pictures cannot be read; mend or remove them, or leave "
                         f"them out with skip_unreadable=True:\n{listed}")
    notes.extend(unreadable)
    return x[:len(readable)], labels[readable]


def _size(image_size):
    pair = tuple(image_size) if isinstance(image_size, (tuple, list)) else (image_size, image_size)
    for value in pair:
        if len(pair) != 2 or not isinstance(value, (int, np.integer)) or not 1 <= value <= 4096:
            raise ValueError(f"image_size: expected an integer from 1 to 4096 or a pair of them, got {image_size!r}")
    return int(pair[0]), int(pair[1])
