"""The machine: what it is, which of its CPUs to use, how busy it is besides."""

from __future__ import annotations

import os
import platform
import sys
import time
from pathlib import Path

import numpy as np


def core_cpus():
    """One CPU number of every physical core that this process may use, in order; None where that cannot be known."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    seen, cpus = set(), []
    for cpu in sorted(os.sched_getaffinity(0)):
        try:
            core = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text()
        except OSError:
            core = str(cpu)
        if core not in seen:
            seen.add(core)
            cpus.append(cpu)
    return cpus


def usable_cpus():
    """How many CPUs this process may use, two hardware threads of one core counting twice."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe():
    """What the reader of a figure must know of the machine."""
    return {"processor": processor_name(), "cpus": usable_cpus(), "system": platform.platform(),
            "python": platform.python_version(), "numpy": np.__version__}


def numpy_build():
    """How NumPy was built, and the instructions it has found, as ``numpy.show_config`` tells; {} before NumPy 1.26."""
    try:
        return np.show_config(mode="dicts")
    except TypeError:
        return {}


def processor_name():
    """The processor's name as its maker gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def memory_use():
    """Greatest and present resident memory of this process, in bytes; None where it cannot be known."""
    try:  # of this program alone; ru_maxrss may still hold what the parent had before it started this program
        lines = Path("/proc/self/status").read_text().splitlines()
        sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.startswith("Vm")}
        return sizes["VmHWM"], sizes["VmRSS"]
    except (OSError, KeyError):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None, None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024), None


class Watch:
    """How much of the machine others used while we measured.

    On Linux, ``/proc/stat`` counts the CPU time of everybody; what the workers used is taken off. The time that a
    virtual machine's host gave to others ("steal") is others' too.
    """

    def __init__(self):
        self.load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
        self.started, self.busy = time.perf_counter(), cpu_seconds_of_all()
        self.own = own_cpu_seconds()

    def foreign_cpus(self, workers_cpu_seconds):
        """CPUs that others kept busy on average since the beginning; None where that cannot be known."""
        if self.busy is None:
            return None
        elapsed = time.perf_counter() - self.started
        others = cpu_seconds_of_all() - self.busy - (own_cpu_seconds() - self.own) - workers_cpu_seconds
        return max(0.0, others) / elapsed


def cpu_seconds_of_all():
    """CPU time since boot, of everybody together, in seconds."""
    try:
        fields = list(map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:]))
    except (OSError, ValueError):
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields[:8]
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def own_cpu_seconds():
    """CPU time of this process and of the workers that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def cpu_seconds_of(pid):
    """CPU time of a running process; 0 where that cannot be known."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
