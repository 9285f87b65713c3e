"""What a contestant offers, and what a job is."""

from __future__ import annotations

import time
from statistics import median

#: Steps of training, all on the first batch, whose losses are compared between contestants.
CHECK_STEPS = 3


class Unsupported(Exception):
    """This contestant does not offer this work (a library without such an operation, say)."""


class Unsteady(Exception):
    """What was measured cannot be right: the machine is too busy."""


class Job:
    """A piece of work, ready to be done again and again.

    Parameters
    ----------
    call : function () -> anything
        Does the work once.
    result : function () -> dict of str to ndarray
        What the work gives, in MiniCNN's layout. Asked for once, before the first ``call``, so that contestants can be
        compared; for a training job it is the losses of the first steps.
    finish : function (what ``call`` returned), optional
        Waits until the work is really done, where ``call`` returns before that.
    """

    def __init__(self, call, result, finish=None):
        self.call, self.result = call, result
        self.finish = finish or (lambda last: None)

    def seconds(self, calls):
        """Time of ``calls`` calls in a row, in seconds."""
        started = time.perf_counter()
        for _ in range(calls):
            last = self.call()
        self.finish(last)
        return time.perf_counter() - started


class Difference(Job):
    """Work that can only be done together with other work: the time of both minus the time of that other alone.

    The two are done in turn, and the difference is that of their medians: an interruption hits only one of them. Where
    the difference is small and the machine busy, it can still come out as nothing; then more pairs are timed until it
    does not or ``MOST_PAIRS`` are done, and all of them count.

    Raises
    ------
    Unsteady
        From ``seconds``: the difference is not positive even then.
    """

    MOST_PAIRS = 96

    def __init__(self, both, other, result):
        super().__init__(both.call, result, both.finish)
        self.both, self.other = both, other

    def seconds(self, calls):
        pairs = []
        wanted = max(3, calls)
        while True:
            pairs += [(self.both.seconds(1), self.other.seconds(1)) for _ in range(wanted)]
            difference = median(pair[0] for pair in pairs) - median(pair[1] for pair in pairs)
            if difference > 0:
                return difference * calls
            if len(pairs) >= self.MOST_PAIRS:
                raise Unsteady("seems to take no time at all: the machine is too busy to measure a difference")
            wanted = len(pairs)


class Contestant:
    """One library, told how many threads it may use.

    Work that a contestant does not offer raises ``Unsupported``.
    """

    def versions(self):
        """What takes part, as ``{"PyTorch": "2.13"}``."""
        raise NotImplementedError

    def training(self, network, weights, x, y):
        """A job that does one training step a call: forward, loss, backward, optimizer.

        Parameters
        ----------
        network : str
            A key of ``works.NETWORKS``.
        weights : list of ndarray
            Initial weights in MiniCNN's layout and order: w and b of every layer.
        x, y : ndarray (batches, batch, H, W, C) and (batches, batch)
            Images and labels. Call i takes batch ``i % batches``. A library may put them into its own layout
            beforehand, as its users hold their data in it.
        """
        raise Unsupported

    def inference(self, network, weights, x, y):
        """A job that computes the logits of one batch a call, as a NumPy array or the library's own CPU array."""
        raise Unsupported

    def operation(self, operation, arrays, options):
        """A job that does one operation a call.

        Parameters
        ----------
        operation : str
            A function of ``kernels.CONTRACT``, or one of its passes (``conv2d_dx``, ``conv2d_dw``, ...).
        arrays : dict of str to ndarray
            Its arguments, in MiniCNN's layout; a library may put them into its own layout beforehand.
        options : dict
            The arguments that are not arrays.
        """
        raise Unsupported


def cycle(function, argument_tuples):
    """A function without arguments that calls ``function`` with the next tuple each time, round and round."""
    tuples = list(argument_tuples)
    position = 0

    def call():
        nonlocal position
        arguments = tuples[position]
        position = (position + 1) % len(tuples)
        return function(*arguments)
    return call
