"""The array functions of ``kernels.ARRAYS`` for every back-end that computes on NumPy arrays."""

from __future__ import annotations

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
    """Whether no element is NaN or infinite."""
    with np.errstate(all="ignore"):
        if np.isfinite(np.sum(array)):  # only if this is not is there anything to look for: finite sums may overflow
            return True
    return bool(np.isfinite(array).all())


def update_average(average, value, momentum):
    """Exponential moving average, in place: ``average = momentum * average + (1 - momentum) * value``."""
    average *= momentum
    average += (1.0 - momentum) * value
