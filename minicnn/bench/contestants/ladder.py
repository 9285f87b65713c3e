"""One rung of a back-end's ladder (``kernels/cpu/ladder.py``, ``kernels/cuda/ladder.py``): a convolution, forward."""

from __future__ import annotations

import importlib

from minicnn.bench.contestants import LADDER, base, minicnn


def names(backends):
    """The contestants of all rungs, from the lowest: ``["cpu ladder: loops", ...]``."""
    return [f"{backend}{LADDER}{rung}" for backend in backends for rung in rungs(backend)]


def rungs(backend):
    """``{name: function of x and w}`` of a back-end, from the lowest rung; empty if it has no ladder."""
    try:
        module = importlib.import_module(f"kernels.{backend}.ladder")
    except ImportError:  # a file of the reader's own, or a back-end without a ladder
        return {}
    return {name: function for name, function, _ in module.RUNGS}


class Contestant(minicnn.Contestant):
    """``rung`` is a name from the ladder of ``backend``."""

    def __init__(self, threads, backend, rung):
        super().__init__(threads, backend)
        self.rung = rungs(backend)[rung]

    def operation(self, operation, arrays, options):
        if operation != "conv2d_forward":
            raise base.Unsupported
        x, w = self.ops.asarray(arrays["x"]), self.ops.asarray(arrays["w"])
        return self.job(lambda: self.rung(x, w), ["y"])
