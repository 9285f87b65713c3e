"""The array functions of ``kernels.ARRAYS`` for every back-end that computes on NumPy arrays."""

from __future__ import annotations

import math

import numpy as np


def asarray(host_array):
    """The array as the back-end's kernels take it: for NumPy, C-contiguous, without a copy where possible."""
    return np.ascontiguousarray(host_array)


def to_numpy(array):
    """The array as NumPy's, for printing and saving; without a copy where possible."""
    return np.asarray(array)


def empty(shape, dtype):
    """A new array whose numbers are not set."""
    return np.empty(shape, dtype)


def zeros(shape, dtype):
    """A new array of zeros."""
    return np.zeros(shape, dtype)


def assign(destination, source):
    """Copy the numbers of ``source`` into ``destination``, which may be a view."""
    destination[...] = source


def count_correct(logits, labels):
    """How many rows have their largest logit (the first, on a tie) at their label."""
    return int(np.count_nonzero(np.argmax(logits, axis=1) == labels))


def is_finite(array):
    """Whether no element is NaN or infinite: if one is, the largest or the smallest element is too."""
    return array.size == 0 or (math.isfinite(array.max()) and math.isfinite(array.min()))


def update_average(average, value, momentum):
    """Exponential moving average, in place: ``average = momentum * average + (1 - momentum) * value``."""
    average *= momentum
    average += (1.0 - momentum) * value
