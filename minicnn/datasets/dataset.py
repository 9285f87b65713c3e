"""One form for every data set: what the command line and a training script want to have."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass
class Dataset:
    """Images ready for a network, with what must be known to use it later.

    Attributes
    ----------
    name : str
        The set's name, or the folder it was read from.
    x_train, x_test : numpy.ndarray
        Images ``(N, H, W, C)`` float32 in [0, 1].
    y_train, y_test : numpy.ndarray
        Class numbers ``(N,)`` int64.
    class_names : tuple of str
        ``class_names[k]`` is the name of class ``k``.
    preprocessing : dict
        How a picture becomes such an image, as plain values for JSON: ``image_size`` (height, width), ``color``
        ("grayscale" or "rgb"), ``scale``, the factor that brings the set's stored numbers to [0, 1], and ``border``,
        the mean of the training images' outermost pixels (to tell dark on bright from bright on dark).
    notes : tuple of str
        What a reader of results should know: parts that are missing, files that were skipped.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    class_names: tuple
    preprocessing: dict
    notes: tuple = field(default=())

    @property
    def image_shape(self):
        """``(H, W, C)`` of one image."""
        return self.x_train.shape[1:]

    def describe(self):
        """One line: name, number of images, their shape and the classes."""
        h, w, c = self.image_shape
        return (f"{self.name}: {len(self.x_train):,} training and {len(self.x_test):,} test images of {h}x{w}x{c}, "
                f"{len(self.class_names)} classes")


def make(name, train, test, class_names, scale=1 / 255, notes=()):
    """A ``Dataset`` from pairs of images ``(N, H, W, C)`` float32 in [0, 1] and labels."""
    h, w, c = train[0].shape[1:]
    edges = [train[0][:, 0], train[0][:, -1], train[0][:, :, 0], train[0][:, :, -1]]
    border = float(np.mean([edge.mean(dtype=np.float64) for edge in edges]))
    preprocessing = {"image_size": [h, w], "color": "rgb" if c == 3 else "grayscale", "scale": scale,
                     "border": round(border, 3)}
    return Dataset(name, *train, *test, tuple(class_names), preprocessing, tuple(notes))


def from_bytes(name, train, test, class_names, scale=1 / 255, notes=()):
    """A ``Dataset`` from Keras' pairs of uint8 images ``(N, H, W)`` or ``(N, H, W, C)`` and labels."""
    return make(name, _scaled(*train, scale), _scaled(*test, scale), class_names, scale, notes)


def _scaled(x, y, scale):
    x = np.multiply(x, scale, dtype=np.float32)
    return x if x.ndim == 4 else x[..., np.newaxis], np.asarray(y, np.int64).reshape(-1)
