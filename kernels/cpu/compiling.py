"""Compiling kernels once per machine.

``kernel`` is ``numba.njit`` with the cache switched on and four of its gaps closed:

* Numba looks at the file of a kernel alone to tell whether its compiled form is stale, but kernels are made of pieces
  from several files. So the cache directory bears a hash of all files in this folder (and of Numba's version and the
  processor): after any edit everything is compiled anew.
* A directory that cannot be written, or a full disk, must not stop a training run: then nothing is kept.
* Compiled kernels from different processes meet in one program, and its linker tells functions apart by their qualified
  names (Numba adds a number that begins anew in every process; Numba's issue 10486). Of two functions with the same
  name, as a factory makes them, one would silently be called in place of the other. So every name is unique here; a
  test looks.
* The first compilation takes a while, so one line says so, and a second process helps (``ahead.py``).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import sys

import llvmlite.binding as llvm
import numba
from numba import config
from numba.core.runtime import rtsys

_HERE = pathlib.Path(__file__).parent
_announced = False


def cache_directory():
    """Where compiled kernels are kept: under ``NUMBA_CACHE_DIR`` if that is set, else in the user's cache folder."""
    if config.CACHE_DIR:
        root = pathlib.Path(config.CACHE_DIR)
    elif os.environ.get("XDG_CACHE_HOME"):
        root = pathlib.Path(os.environ["XDG_CACHE_HOME"])
    elif sys.platform == "darwin":
        root = pathlib.Path.home() / "Library" / "Caches"
    elif os.environ.get("LOCALAPPDATA"):
        root = pathlib.Path(os.environ["LOCALAPPDATA"])
    else:
        root = pathlib.Path.home() / ".cache"
    return root / "minicnn" / _fingerprint()


def _fingerprint():
    parts = [numba.__version__, llvm.get_host_cpu_name(), str(config.CPU_NAME), str(config.CPU_FEATURES)]
    parts += [path.read_text(encoding="utf-8") for path in sorted(_HERE.glob("*.py"))]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


#: What all compiled functions have in common. Python may go on meanwhile (``nogil``), and a division by zero gives
#: infinity: Python's way would test every divisor, and no loop with a test in it can be vectorised. And nobody counts
#: references to arrays (``_nrt``, Numba's run-time memory): the caller holds them all as long as a kernel runs, while
#: two workers that count up and down in the same place, once for each array that a part is handed, wait for each other.
#: So no kernel can make an array.
OPTIONS = {"nogil": True, "error_model": "numpy", "_nrt": False}


def kernel(function):
    """Decorator of a function that Python calls: compiled for the types of the first call, and kept on disk."""
    dispatcher = numba.njit(no_cfunc_wrapper=True, **OPTIONS)(function)
    if _DIRECTORY is None:
        return dispatcher
    before = config.CACHE_DIR
    config.CACHE_DIR = str(_DIRECTORY)  # the only way to tell Numba; put back at once, other code has its own
    try:
        with contextlib.suppress(RuntimeError, OSError):
            dispatcher.enable_caching()
            dispatcher._cache = _Forgiving(dispatcher._cache, function.__name__)
    finally:
        config.CACHE_DIR = before
    return dispatcher


class _Forgiving:
    """Numba's cache of one kernel, except that what cannot be read or written is passed over."""

    def __init__(self, cache, name):
        self._cache, self._name = cache, name

    def __getattr__(self, name):
        return getattr(self._cache, name)

    def load_overload(self, signature, target):
        found = self._found(signature, target)
        if found is None:
            from . import ahead  # who finds everything does without

            if _announce():
                ahead.start(_DIRECTORY, self._name, signature)
            if ahead.wait_for(self._name):
                found = self._found(signature, target)
        return found

    def _found(self, signature, target):
        # Before it looks, Numba's own ``load_overload`` imports all that it may need to compile something: a fifth of a
        # warm start, and two fifths where SciPy is installed. What is loaded needs no more than the run-time library.
        load = getattr(self._cache, "_load_overload", self._cache.load_overload)
        try:
            rtsys.initialize(target)
            return load(signature, target)
        except Exception:  # a damaged file can raise anything: then it is as if there were none
            return None

    def save_overload(self, signature, data):
        try:
            self._cache.save_overload(signature, data)
        except OSError:  # nothing can be written
            pass
        except Exception:  # the index is damaged: start another
            with contextlib.suppress(OSError):
                self._cache.flush()
                self._cache.save_overload(signature, data)


def _announce():
    """Say what takes so long, once, and not in tests; returns whether it was said now."""
    global _announced
    now = not _announced and "pytest" not in sys.modules
    if now:
        print("MiniCNN: compiling the CPU kernels for this machine, once; this takes up to half a minute ...",
              file=sys.stderr, flush=True)
    _announced = True
    return now


def _usable(directory):
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe = directory / f".{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
    except (OSError, RuntimeError):  # RuntimeError: there is no home directory
        return None
    return directory


try:
    _DIRECTORY = _usable(cache_directory())
except RuntimeError:
    _DIRECTORY = None
