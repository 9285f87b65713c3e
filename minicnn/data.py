"""Where batches come from.

``fit`` asks a source for the batches of an epoch and gets ``(x, y, sample_weight)`` with at most ``batch_size`` rows
each. The order of epoch e depends on the seed and on e alone, so a run that is stopped and resumed at an epoch goes on
in the same order.
"""

from __future__ import annotations

import itertools

import numpy as np


class Arrays:
    """Batches of arrays in memory (or memory-mapped), in a new order each epoch; the last batch may be smaller.

    Parameters
    ----------
    x, y : numpy.ndarray
        Examples and targets, row for row.
    weights : numpy.ndarray, optional
        A weight for each example.
    batch_size : int
        Rows of a batch.
    shuffle : bool
        Whether to draw a new order for each epoch.
    seed : int
        Decides the orders.
    """

    def __init__(self, x, y, weights, batch_size, shuffle=False, seed=0):
        self.x, self.y, self.weights = x, y, weights
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, seed

    def __len__(self):
        return -(-len(self.x) // self.batch_size)

    def epoch(self, epoch):
        """The batches of one epoch."""
        count = len(self.x)
        order = np.random.default_rng([self.seed, epoch]).permutation(count) if self.shuffle else None
        for start in range(0, count, self.batch_size):
            stop = min(start + self.batch_size, count)
            rows = slice(start, stop) if order is None else order[start:stop]
            yield self.x[rows], self.y[rows], None if self.weights is None else self.weights[rows]


class Batches:
    """Batches that are made elsewhere, for data that do not fit in memory or are computed on the way.

    Parameters
    ----------
    source : callable, sequence, iterable or iterator
        One of, each giving batches ``(x, y)`` or ``(x, y, sample_weight)``:

        a function of the epoch that returns them, such as a generator function ``def batches(epoch): yield x, y``:
        best, because a resumed run can begin at any epoch;
        an object with ``len(source)`` and ``source[i]`` (Keras calls it Sequence): taken in a new order each epoch;
        an iterable, such as a data loader: gone through once an epoch;
        an iterator, such as a running generator: ``steps_per_epoch`` batches of it an epoch.
    check : callable
        ``check(x, y, sample_weight)`` returns the three as training wants them, or raises.
    steps_per_epoch : int, optional
        For an iterator.
    shuffle, seed : bool, int
        As for ``Arrays``; the order of a sequence's batches.
    """

    def __init__(self, source, check, steps_per_epoch=None, shuffle=False, seed=0):
        running = hasattr(source, "__next__")
        if running != (steps_per_epoch is not None):
            raise ValueError("steps_per_epoch: " + (
                "a running generator needs it, to know where an epoch ends" if running else
                "only for a running generator; other sources of batches have an end"))
        self.source, self.check, self.steps_per_epoch = source, check, steps_per_epoch
        self.shuffle, self.seed = shuffle, seed

    @staticmethod
    def fits(x):
        """Whether ``x`` can be such a source (a list of numbers is an array)."""
        return not isinstance(x, (np.ndarray, list, tuple)) and (
            callable(x) or hasattr(x, "__next__") or hasattr(x, "__iter__")
            or (hasattr(x, "__len__") and hasattr(x, "__getitem__"))) and not hasattr(x, "__array__")

    def __len__(self):
        """Number of batches; 0 if it is not known."""
        return self.steps_per_epoch or (len(self.source) if hasattr(self.source, "__len__") else 0)

    def epoch(self, epoch):
        """The batches of one epoch, checked one by one."""
        count = 0
        for count, batch in enumerate(self._batches(epoch), start=1):
            if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
                raise ValueError(f"batch {count}: expected (x, y) or (x, y, sample_weight), got {type(batch).__name__}"
                                 + (f" of {len(batch)}" if isinstance(batch, (tuple, list)) else ""))
            yield self.check(*batch)
        if count == 0:
            raise ValueError(f"the source of batches gave none in epoch {epoch + 1}")
        if self.steps_per_epoch not in (None, count):
            raise ValueError(f"the generator ended after {count} of the {self.steps_per_epoch} batches of epoch "
                             f"{epoch + 1}")

    def _batches(self, epoch):
        if self.steps_per_epoch is not None:
            return itertools.islice(self.source, self.steps_per_epoch)
        if hasattr(self.source, "__getitem__") and hasattr(self.source, "__len__"):
            order = range(len(self.source))
            if self.shuffle:
                order = np.random.default_rng([self.seed, epoch]).permutation(len(self.source)).tolist()
            return (self.source[index] for index in order)
        return iter(self.source(epoch) if callable(self.source) else self.source)
