"""How many threads the kernels use, and how a kernel is started on them.

Every kernel comes as a function ``work(worker, workers, ...)`` that does one worker's share, so the same code runs on
one thread or on many, and what it computes does not depend on their number. Numba starts the threads; where its layer
for that (``workqueue``) cannot be entered by two Python threads at once, a lock keeps the second waiting. Two calls
that each use all cores gain nothing by running at once, so the lock is there for every layer.
"""

from __future__ import annotations

import os
import pathlib
import platform
import subprocess
import threading

import numba
from numba import config, njit

#: Numbers to be handled below which starting threads costs more than it saves.
WORTH_THREADS = 1 << 15

_lock = threading.Lock()


def physical_cores():
    """Processor cores that this process may use; two hardware threads of one core count once."""
    if hasattr(os, "sched_getaffinity"):
        cpus = os.sched_getaffinity(0)
    else:
        cpus = range(os.cpu_count() or 1)
    cores = set()
    for cpu in cpus:
        try:
            siblings = pathlib.Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text()
        except OSError:
            siblings = str(cpu)
        cores.add(siblings)
    if platform.system() == "Darwin":
        try:
            return int(subprocess.check_output(["sysctl", "-n", "hw.physicalcpu"], timeout=5))
        except (OSError, ValueError, subprocess.SubprocessError):
            pass
    return max(1, len(cores))


def set_num_threads(number):
    """Use so many threads from now on; at most ``numba.config.NUMBA_NUM_THREADS``, which is fixed at start."""
    global _threads
    if isinstance(number, bool) or not isinstance(number, int):
        raise TypeError(f"set_num_threads: expected an integer, got {type(number).__name__}")
    if not 1 <= number <= config.NUMBA_NUM_THREADS:
        raise ValueError(f"set_num_threads: expected 1 to {config.NUMBA_NUM_THREADS} (the environment variable "
                         f"NUMBA_NUM_THREADS, read at start, sets that limit), got {number}")
    _threads = number


def get_num_threads():
    """The number of threads that kernels use."""
    return _threads


def _initial():
    wanted = os.environ.get("MINICNN_NUM_THREADS", "").strip()
    if not wanted:
        return min(physical_cores(), config.NUMBA_NUM_THREADS)
    if not wanted.isdecimal() or int(wanted) < 1:
        raise ValueError(f"MINICNN_NUM_THREADS: expected an integer of at least 1, got {wanted!r}")
    return min(int(wanted), config.NUMBA_NUM_THREADS)


@njit(nogil=True)
def share(vector, worker, workers):
    """One worker's part of a vector. (Loops from 0 to its length are vectorised, those over a part of a range not.)"""
    return vector[len(vector) * worker // workers:len(vector) * (worker + 1) // workers]


def run(serial, parallel, work, *arguments):
    """Run a kernel on so many threads as ``work`` (multiply-adds or moved numbers) is worth.

    ``serial`` is ``kernel(worker, workers, *arguments)``, ``parallel`` is ``kernel(workers, *arguments)``, which runs
    all shares of the former at once.
    """
    workers = _threads
    if workers == 1 or work < WORTH_THREADS:
        serial(0, 1, *arguments)
        return
    with _lock:
        if workers == config.NUMBA_NUM_THREADS:
            parallel(workers, *arguments)
            return
        before = numba.get_num_threads()
        numba.set_num_threads(workers)
        try:
            parallel(workers, *arguments)
        finally:
            numba.set_num_threads(before)


_threads = _initial()
