"""Data sets: handwritten digits that ship with MiniCNN, and others by name or from a folder of pictures.

Each module (``digits``) has ``load_data()`` in Keras' form: uint8 arrays
``(x_train, y_train), (x_test, y_test)``, channels last. ``load(name)`` returns any of them, scaled to [0, 1] and with
its class names, as a ``Dataset``.
"""

from __future__ import annotations

import importlib

#: Data sets by the name that ``load`` and the command line take, with the module that reads them.
NAMES = {"digits": "digits"}

_LAZY = {"digits": "", "Dataset": "dataset"}


def __getattr__(name):
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if not _LAZY[name]:
        return importlib.import_module(f"{__name__}.{name}")
    return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)


def __dir__():
    return sorted({*globals(), *_LAZY})


def load(name, split=None, data_dir=None):
    """A data set by name, ready for a network.

    Parameters
    ----------
    name : str
        One of ``NAMES``.
    split : str, optional
        For ``"digits"``: ``"random"`` (default) or ``"writers"``. The other sets have one split only.
    data_dir : path, optional
        Where the files lie; the digits need none.

    Returns
    -------
    Dataset
        Images ``(N, H, W, C)`` float32 in [0, 1], labels int64.

    Raises
    ------
    ValueError
        For an unknown name or split.
    """
    from .dataset import from_bytes

    if name not in NAMES:
        raise ValueError(f"data: unknown data set {name!r}; choose one of {', '.join(NAMES)}")
    module = importlib.import_module(f"{__name__}.{NAMES[name]}")
    if name == "digits":
        return from_bytes(name, *module.load_data(split or "random"), module.CLASS_NAMES, scale=1 / 16)
    if split is not None:
        raise ValueError(f"split: {name} has one fixed split; split={split!r} is for the digits only")
    return from_bytes(name, *module.load_data(data_dir=data_dir), module.CLASS_NAMES)
