"""The door to the GPU: the only module of MiniCNN that imports ``numba.cuda``.

What the kernels need from outside comes from here: ``cuda`` itself, ``launch``, loads of 128 bits, and one clear
sentence where something is missing. Importing it needs neither a GPU nor numba-cuda; the first array does.

Under the simulator (``NUMBA_ENABLE_CUDASIM=1``, set before numba is imported) every GPU thread is a Python thread, and
arrays are NumPy's. It is slow and needs no GPU: what it proves is the arithmetic, the indices and the barriers.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.metadata
import importlib.util
import warnings

import numpy as np
from llvmlite import ir
from numba import config, cuda, types
from numba.extending import intrinsic

from .. import BackendUnavailable
from . import HOW_TO_INSTALL, launching

SIMULATED = bool(config.ENABLE_CUDASIM)

# Numba warns of every grid of fewer than 128 blocks. A vector of ten numbers has one, and rightly so.
config.CUDA_LOW_OCCUPANCY_WARNINGS = 0

if SIMULATED:
    from . import simulator
    simulator.improve()

#: Bytes that one load instruction can move for one thread, if the address is a multiple of it.
VECTOR_BYTES = 16

#: Kernels launched since the import.
launches = 0

#: None, or a list: then launches are noted there, as (kernel, arguments), and not done, and arrays are NumPy's. That is
#: how ``compile_check`` learns which kernels the operations use, with which types of arguments.
recorded = None


def kernel(name):
    """Like ``cuda.jit``, for a kernel that is made in several variants: ``name`` is what a profiler shows."""
    def decorate(function):
        function.__name__ = function.__qualname__ = name
        return cuda.jit(function)
    return decorate


def launch(kernel, blocks, threads, *arguments):
    """Start ``kernel`` on a grid of ``blocks`` blocks of ``threads`` threads; an empty grid is no work.

    Device arrays are passed as flat vectors and Python's integers as uint32; NumPy's numbers keep their type. The
    kernel runs some time after this function has returned, but before every kernel that is launched later.
    """
    global launches
    if blocks == 0:
        return
    launches += 1
    if recorded is not None:
        recorded.append((kernel, [_numbas(argument) for argument in arguments]))
    elif SIMULATED:
        with warnings.catch_warnings():  # numbers overflow and divide by zero in silence, as they do on the device
            warnings.simplefilter("ignore", RuntimeWarning)
            kernel[blocks, threads](*map(_numbas, arguments))
    else:
        key, values = [kernel], []
        for argument in arguments:
            words = getattr(argument, "words", None)
            key.append(type(argument) if words is None else argument.dtype.char)
            values.extend((argument,) if words is None else words)
        launcher = _launchers.get(tuple(key))
        if launcher is None:
            _launchers[tuple(key)] = _first_launch(kernel, blocks, threads, arguments)
        else:
            launcher.start(blocks, threads, values)


#: By kernel and types of arguments: what starts it.
_launchers = {}


def _first_launch(kernel, blocks, threads, arguments):
    """Let Numba compile the kernel and start it; what starts it from now on."""
    numbas = [_numbas(argument) for argument in arguments]
    kernel[blocks, threads](*numbas)
    kinds = [None if hasattr(argument, "words") else type(argument) for argument in arguments]
    return launching.Launcher(launching.compiled_function(kernel, numbas), kinds, _driver())


@functools.cache
def _driver():
    return launching.Driver(launching.load_library(), cuda.current_context)


def copy(destination, source):
    """Copy the elements of a device array to one of the same size and type."""
    if SIMULATED or recorded is not None:
        destination.flat[:] = source.flat
    elif destination.size:
        _driver().copy(destination.address, source.address, destination.nbytes)


def allocate(size, dtype):
    """Device memory for ``size`` elements, at least one, as numba's one-dimensional array."""
    if recorded is not None:
        return np.empty(max(size, 1), dtype)
    return cuda.device_array(max(size, 1), dtype)


def address_of(flat):
    """Where numba's array begins in device memory; 0 where there is none."""
    return 0 if SIMULATED or recorded is not None else flat.device_ctypes_pointer.value


def _numbas(argument):
    """An argument as Numba takes it."""
    if isinstance(argument, int):
        return np.uint32(argument)
    return argument if isinstance(argument, np.generic) else argument.flat


def blocks_for(count, threads):
    """Number of blocks that hold at least ``count`` threads."""
    return -(-count // threads)


def synchronize():
    """Wait until the device has done all that it was given."""
    cuda.synchronize()


# ---- what kernels call ----------------------------------------------------------------------------------------

def device_function(function):
    """A function that kernels call, put in place of the call; the simulator calls it as it stands."""
    return function if SIMULATED else cuda.jit(device=True, forceinline=True)(function)


#: All threads of a block wait here for each other. (``cuda.syncthreads``; under the simulator a function of another
#: module than the kernel's cannot reach that name.)
barrier = simulator.barrier if SIMULATED else cuda.syncthreads


@intrinsic
def _copy_vector(typing_context, target, at, source, index):
    width = VECTOR_BYTES * 8 // source.dtype.bitwidth

    def generate(context, builder, signature, arguments):
        vector = ir.VectorType(context.get_data_type(source.dtype), width)

        def place(array_type, array, element):
            data = context.make_array(array_type)(context, builder, array).data
            if element.type.width < 64:
                element = builder.zext(element, ir.IntType(64))
            return builder.bitcast(builder.gep(data, [element]), ir.PointerType(vector))

        value = builder.load(place(source, arguments[2], arguments[3]), align=VECTOR_BYTES)
        builder.store(value, place(target, arguments[0], arguments[1]), align=VECTOR_BYTES)
        return context.get_dummy_value()

    return types.void(target, at, source, index), generate


def _simulated_copy_vector(target, at, source, index):
    width = VECTOR_BYTES // source.dtype.itemsize
    if at % width or index % width:
        raise IndexError(f"{VECTOR_BYTES} bytes from element {index} to element {at} are not aligned")
    target[at:at + width] = source[index:index + width]


#: ``copy_vector(target, at, source, index)`` copies 128 bits, the elements from ``source[index]`` on to those from
#: ``target[at]`` on: one instruction where four (or two) would stand. Both places must be multiples of 16 bytes, and
#: the indices not negative.
copy_vector = _simulated_copy_vector if SIMULATED else _copy_vector


# ---- what may be missing ------------------------------------------------------------------------------------------

def require_device():
    """Return if a GPU can be used; otherwise one sentence that says what is missing and what to do.

    Raises
    ------
    ImportError
        Where a package is missing.
    kernels.BackendUnavailable
        Where the driver or the device is.
    """
    if SIMULATED or recorded is not None or _found:
        return
    if importlib.util.find_spec("numba_cuda") is None:
        raise ImportError("the cuda back-end needs the package numba-cuda, which is not installed: "
                          f"{HOW_TO_INSTALL}. Without a GPU, choose the back-end cpu")
    driver = _driver_version()
    if driver is None:
        raise BackendUnavailable("the cuda back-end needs an NVIDIA driver, and none was found on this machine: "
                                 "install the driver, or choose the back-end cpu")
    toolkit = _toolkit_version()
    if toolkit is None:
        raise ImportError("the cuda back-end needs numba-cuda with the compiler for your driver (CUDA "
                          f"{driver[0]}.{driver[1]}), and none is installed: {HOW_TO_INSTALL}")
    if toolkit > driver[0]:
        raise BackendUnavailable(f"the driver of this machine supports CUDA {driver[0]}.{driver[1]}, but numba-cuda "
                                 f"was installed for CUDA {toolkit}: pip install '.[cuda{driver[0]}]' in a clone of "
                                 "MiniCNN, or a newer driver")
    if not cuda.is_available():
        reason = " ".join(str(cuda.cuda_error() or "no device is visible to this process").split())
        raise BackendUnavailable(f"the cuda back-end found a driver (CUDA {driver[0]}.{driver[1]}) but cannot use a "
                                 f"GPU ({reason}): see whether nvidia-smi lists one and CUDA_VISIBLE_DEVICES does not "
                                 "hide it, or choose the back-end cpu")
    _found.append(True)


#: Not empty once a device has been found.
_found = []


def _driver_version():
    """``(major, minor)`` of the newest CUDA that the driver supports, or None without a driver."""
    try:
        driver = _driver()
    except OSError:
        return None
    version = ctypes.c_int()
    if driver.library.cuDriverGetVersion(ctypes.byref(version)) != 0:
        return None
    return version.value // 1000, version.value % 1000 // 10


def _toolkit_version():
    """Major version of the CUDA compiler that is installed, or None if there is none."""
    for package, major in (("nvidia-cuda-nvrtc", None), ("nvidia-cuda-nvrtc-cu12", 12)):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return major or int(importlib.metadata.version(package).partition(".")[0])
    with contextlib.suppress(Exception):  # a toolkit of the system instead of packages: numba-cuda knows where
        from numba.cuda.cudadrv.runtime import runtime
        return runtime.get_version()[0]
    return None
