"""How many threads the kernels use.

Every kernel is called with a number of workers; what it computes does not depend on it. Two Python threads that call
kernels at the same time take turns: both would use all cores anyway, and not all of Numba's threading layers
(``workqueue``) stand being entered twice.
"""

from __future__ import annotations

import os
import pathlib
import platform
import subprocess
import threading

import numba
from numba import config

#: Numbers to be handled below which a second thread is not worth its start; they take one thread some 20 us. The start
#: itself takes 3 to 5 us, but where other programs compute as well, one thread may wait long for the other.
WORTH_THREADS = 1 << 16

#: Multiply-adds of a tile that take as long as one number in a pass over memory.
PRODUCTS = 16

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


def run(kernel, work, *arguments, workers=None):
    """Call ``kernel(workers, *arguments)`` with so many workers as ``work``, the numbers it handles, is worth.

    Returns what the kernel returns.

    Callers whose work arrays have a row for each worker say how many that are: the setting may change meanwhile.
    """
    return launch(kernel, (worth(work, workers or _threads), *arguments))


def worth(work, workers):
    """So many workers as that many numbers are worth: all, or one."""
    return workers if work >= WORTH_THREADS else 1


def launch(kernel, arguments):
    """``kernel(*arguments)``, the first of which is how many workers there shall be."""
    if not _started:
        _start()
    if arguments[0] == 1:
        return kernel(*arguments)
    if _forked:
        return kernel(1, *arguments[1:])
    with _lock:
        return kernel(*arguments)


def _start():
    """Let Numba start its threads, which is also what makes the functions that start them known to its linker."""
    global _started
    numba.get_num_threads()
    _started = True


def _after_fork():
    """Threads do not survive a fork, and OpenMP would end a child that uses it: there, one thread does the work."""
    global _forked, _lock
    _forked, _lock = _started, threading.Lock()


_started = _forked = False
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
_threads = _initial()
