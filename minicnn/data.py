"""Where batches come from.

``fit`` asks a source for the batches of an epoch and gets ``(x, y, sample_weight)`` with at most ``batch_size`` rows
each. The order of epoch e depends on the seed and on e alone, so a run that is stopped and resumed at an epoch goes on
in the same order.
"""

from __future__ import annotations

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
