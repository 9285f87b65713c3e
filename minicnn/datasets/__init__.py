"""Data sets: handwritten digits that ship with MiniCNN, and others by name or from a folder of pictures.

Each module (``digits``, ``mnist``, ``fashion_mnist``, ``cifar10``) has ``load_data()`` in Keras' form: uint8 arrays
``(x_train, y_train), (x_test, y_test)``, channels last. ``load(name)`` returns any of them, scaled to [0, 1] and with
its class names, as a ``Dataset``.
"""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path

#: Data sets by the name that ``load`` and the command line take, with the module that reads them.
NAMES = {"digits": "digits", "mnist": "mnist", "fashion-mnist": "fashion_mnist", "cifar10": "cifar10"}

_LAZY = {**dict.fromkeys(NAMES.values(), ""), "Dataset": "dataset", "read_idx": "idx", "image_folder": "pictures",
         "read_picture": "pictures"}


def __getattr__(name):
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_LAZY[name] or name}")
    return getattr(module, name) if _LAZY[name] else module


def __dir__():
    return sorted({*globals(), *_LAZY})


def load(name, split=None, data_dir=None, **folder_options):
    """A data set by name, or a folder of pictures, ready for a network.

    Parameters
    ----------
    name : str or path
        One of ``NAMES``, or a folder with a sub-folder for each class.
    split : str, optional
        For ``"digits"``: ``"random"`` (default) or ``"writers"``. The other sets have one split only.
    data_dir : path, optional
        Where the files lie or go to; the digits need none.
    **folder_options
        For a folder: the arguments of ``image_folder``.

    Returns
    -------
    Dataset
        Images ``(N, H, W, C)`` float32 in [0, 1], labels int64. Its ``notes`` say what is missing.

    Raises
    ------
    ValueError
        For a name that is neither a data set nor a folder, an unknown split, or damaged files.
    ConnectionError
        For files that are not here and cannot be downloaded.
    """
    from .dataset import from_bytes

    if name not in NAMES:
        if not Path(name).is_dir():
            raise ValueError(f"data: {str(name)!r} is neither a folder nor a data set; the data sets are "
                             f"{', '.join(NAMES)}")
        if split is not None:
            raise ValueError(f"split: {split!r} is for the digits only; a folder is split by test_share and seed")
        from .pictures import image_folder

        return image_folder(name, **folder_options)
    if folder_options:
        raise ValueError(f"{', '.join(folder_options)}: only for a folder of pictures, not for {name}")
    module = importlib.import_module(f"{__name__}.{NAMES[name]}")
    if name == "digits":
        return from_bytes(name, *module.load_data(split or "random"), module.CLASS_NAMES, scale=1 / 16)
    if split is not None:
        raise ValueError(f"split: {split!r} is for the digits only; {name} has one fixed split")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train, test = module.load_data(data_dir)
    return from_bytes(name, train, test, module.CLASS_NAMES, notes=[str(warning.message) for warning in caught])
