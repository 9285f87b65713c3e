"""Which back-end is meant: a name, a module, or the path of a student's file.

A back-end is any module that offers the functions of ``kernels.CONTRACT``. ``resolve_backend`` is the one place where
``minicnn`` turns what a user wrote (``"cpu"``, ``"my_homework.py"``, a module) into such a module.
"""

from __future__ import annotations

import difflib
import importlib.util
import os
import sys
import traceback

import kernels


def resolve_backend(backend="cpu", fallback="im2col"):
    """Return the back-end module that is meant by ``backend``.

    Parameters
    ----------
    backend : str, path or module
        A name from ``kernels.BACKENDS``, the path of a Python file (it ends in ``.py``), or a module.
    fallback : str or module
        Where the functions come from that a file or module lacks.

    Raises
    ------
    ValueError
        For an unknown name, and for a file that cannot be loaded or holds no function of the contract.
    FileNotFoundError
        For a path where no file is.
    """
    if isinstance(backend, os.PathLike) or (isinstance(backend, str) and backend.endswith(".py")):
        module = load_file(backend)
        if not defined_functions(module):
            misses = "".join(f" ({miss})" for miss in near_misses(module)[:1])
            raise ValueError(f"{backend}: holds none of the contract's functions{misses}; a back-end offers for "
                             f"example conv2d_forward{kernels.CONTRACT['conv2d_forward']}")
        return kernels.get_backend(module, fallback=fallback)
    return kernels.get_backend(backend, fallback=None if isinstance(backend, str) else fallback)


def set_num_threads(number):
    """Let the ``cpu`` back-end use so many threads from now on. (NumPy's own are set by OPENBLAS_NUM_THREADS.)"""
    kernels.get_backend("cpu").set_num_threads(number)


def get_num_threads():
    """How many threads the ``cpu`` back-end uses."""
    return kernels.get_backend("cpu").get_num_threads()


def load_file(path):
    """Import a Python file as a module; whatever goes wrong is a ``ValueError`` with the file's own line.

    The file's folder is put at the end of ``sys.path``, so that it may import its neighbours without hiding a library.
    """
    path = os.path.abspath(os.fspath(path))
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{path}: there is no such file")
    folder = os.path.dirname(path)
    if folder not in sys.path:
        sys.path.append(folder)
    name = "homework_" + os.path.splitext(os.path.basename(path))[0]
    module = importlib.util.module_from_spec(importlib.util.spec_from_file_location(name, path))
    sys.modules[name] = module  # dataclasses and pickles look their module up by name
    try:
        module.__spec__.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise ValueError(f"{os.path.basename(path)} cannot be loaded: {describe_error(error, path)}") from None
    return module


def describe_error(error, path):
    """``line 12, in conv2d_forward: NameError: name 'np' is not defined (y = np.zeros(...))``, seen from ``path``.

    The line is the innermost one in the file itself or a neighbour that it imports, because a line inside NumPy tells
    its author little.
    """
    kind = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if isinstance(error, SyntaxError) and error.filename and os.path.abspath(error.filename) == os.path.abspath(path):
        code = f" ({error.text.strip()})" if error.text and error.text.strip() else ""
        return f"line {error.lineno}: {type(error).__name__}: {error.msg}{code}"
    folder = os.path.dirname(os.path.abspath(path))
    frames = [frame for frame in traceback.extract_tb(error.__traceback__)
              if os.path.dirname(os.path.abspath(frame.filename)) == folder]
    if not frames:
        return kind
    frame = frames[-1]
    file = "" if os.path.samefile(frame.filename, path) else f"{os.path.basename(frame.filename)}, "
    where = f"{file}line {frame.lineno}" + ("" if frame.name == "<module>" else f", in {frame.name}")
    return f"{where}: {kind}" + (f" ({frame.line})" if frame.line else "")


def defined_functions(module):
    """The contract's functions that ``module`` offers, in the contract's order."""
    return [name for name in kernels.CONTRACT if callable(getattr(module, name, None))]


def near_misses(module):
    """Functions of ``module`` whose names are nearly those of the contract: ``["it has relu_foward: is ..."]``."""
    misses = []
    for name, value in vars(module).items():
        if callable(value) and not name.startswith("_") and name not in kernels.CONTRACT:
            close = difflib.get_close_matches(name, kernels.CONTRACT, n=1, cutoff=0.85)
            if close and not hasattr(module, close[0]):
                misses.append(f"it has {name}: is {close[0]} meant?")
    return misses
