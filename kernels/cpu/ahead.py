"""The first start: a second process compiles some of the kernels meanwhile.

Numba compiles one kernel after the other, in one thread. The first training step of document 2's network waits for
seven of them, which is nearly all that it takes, and only one core is at work. So the process that finds no compiled
kernel at all starts another Python (``start``). That one compiles ``KERNELS``, which a training step needs last, and
puts them into the same cache. It need not know the network: the types of a kernel's arguments depend on nothing but the
type of the numbers, so it calls the operations with a few numbers each. When it is done with a kernel, it writes
the name to a pipe. The first process compiles what the step needs before; when it comes to one of ``KERNELS``, it waits
for the name or the end of the pipe (``wait_for``), and looks into the cache again. The step then ends after 16 to 19 s
instead of 24 to 30 (five times each, in turns; EPYC, Zen 3, two cores).

What kernels have in common is compiled in both processes. These share little with the others: they look at winners
alone (``winners.py``, ``picked.py``) or at no image at all, and the matrix product is in none of them.

Nothing depends on the second process. If it cannot start, fails or is ended, the pipe ends as well, and what is not in
the cache is compiled where it is needed. It never outlives the first by much: that one ends it, and if it is killed and
cannot, nobody is left to read the pipe, and writing the next name fails.
"""

from __future__ import annotations

import atexit
import os
import pathlib
import subprocess
import sys

import numpy as np
from numba import types

from . import simd, threads

#: What the second process compiles, in this order.
KERNELS = ("_adam", "backward_from_winners", *(("correlate_picked",) if simd.PICKS else ()))

#: The environment variable that tells the second process that it is one, and where the first one's cache is.
_CACHE_OF_FIRST = "MINICNN_COMPILE_AHEAD_INTO"

_process = None
_awaited = set()


def start(directory, name, signature):
    """Start the second process, if nothing is compiled yet and it can help; ``name`` is the first kernel missed."""
    global _process
    if not _helps(name, signature):
        return
    # the same modules as here, wherever Python was started, and the same cache, whoever has chosen it
    path = [entry for entry in sys.path if isinstance(entry, str)]
    code = f"import sys; sys.path[:] = {path!a}; from kernels.cpu import ahead; ahead.compile_all()"
    environment = {**os.environ, _CACHE_OF_FIRST: str(directory), "NUMBA_CACHE_DIR": str(directory.parents[1])}
    try:
        if next(directory.rglob("*.nbc"), None):
            return
        _process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=environment, encoding="utf-8", errors="replace",
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0))
    except (OSError, ValueError):  # then everything is compiled here
        return
    _awaited.update(KERNELS)
    atexit.register(_end)


def _helps(name, signature):
    """Whether it pays to start a second process, and whether Python can be started at all."""
    if name in KERNELS or _CACHE_OF_FIRST in os.environ:
        return False
    kinds = [kind for given in signature for kind in (given if isinstance(given, types.BaseTuple) else [given])]
    if not any(isinstance(kind, types.Array) and kind.dtype == types.float32 for kind in kinds):
        return False
    # in a program that Python is built into, the executable is that program
    executable = pathlib.Path(sys.executable or "")
    if not executable.name.lower().startswith("python") or getattr(sys, "frozen", False):
        return False
    return min(threads.physical_cores(), threads.get_num_threads()) > 1


def wait_for(name):
    """Wait until the second process is done with that kernel, if it is one of its own; whether it was."""
    if name not in _awaited:
        return False
    while name in _awaited:
        line = _process.stdout.readline()
        if line:
            _awaited.discard(line.strip())
        else:  # it has ended
            _awaited.clear()
    return True


def _end():
    _awaited.clear()
    _process.terminate()
    _process.wait()
    _process.stdout.close()


def compile_all():
    """What the second process does."""
    from . import adam_step, compiling, conv2d_relu_max_pool2d_backward

    if str(compiling.cache_directory()) != os.environ[_CACHE_OF_FIRST]:
        return  # another processor was chosen there, say: nothing from here would be of use

    def numbers(*shape):
        return np.ones(shape, np.float32)

    def pooled(channels):
        y = numbers(1, 1, 1, 16)
        conv2d_relu_max_pool2d_backward(y, y, np.zeros(y.shape, np.uint8), numbers(1, 2, 2, channels),
                                        numbers(1, 1, channels, 16), input_gradient=False)

    calls = {
        "_adam": lambda: adam_step(*numbers(4, 8), 1),
        "backward_from_winners": lambda: pooled(64),  # whole vectors of channels
        "correlate_picked": lambda: pooled(1),
    }
    for name in KERNELS:
        calls[name]()
        print(name, flush=True)
