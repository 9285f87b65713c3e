"""How a kernel is started without Numba's help, once Numba has compiled it.

Numba looks at every argument of every launch to find out which compiled version fits, and hands it on through several
layers of Python: for the 23 arguments of a convolution that takes many times as long as the kernel. But here an
argument's type is known: an array is a flat vector of some element type, a number has NumPy's type. So a compiled
version is found by these types, the arguments are written into a buffer, one behind the other, and the driver's
``cuLaunchKernel`` gets a table of their addresses, which stays the same.

How arguments lie there is Numba's convention (``numba.cuda.dispatcher``): a vector is seven words, of which the first
two are for arrays of the host; a number is itself.
"""

from __future__ import annotations

import ctypes
import struct
import sys
import threading

import numpy as np

#: Bytes of a place in the buffer.
WORD = 8

#: How a number is packed into a word. Python's integers go to kernels as uint32.
NUMBERS = {int: "I4x", bool: "I4x", np.uint32: "I4x", np.int32: "i4x", np.float32: "f4x", np.float64: "d",
           np.int64: "q", np.uint64: "Q"}

#: What the driver answers in a Python thread that has not used the device yet.
NO_CONTEXT = 201

#: How a vector is packed: nothing, nothing, elements, bytes of one, address, elements, bytes from one to the next.
VECTOR = 7 * "Q"


class Driver:
    """NVIDIA's driver, called by ``ctypes``.

    Parameters
    ----------
    library : ctypes.CDLL
    make_current : function () -> anything
        Gives the Python thread that calls it the device's context, which each of them needs once.
    """

    def __init__(self, library, make_current):
        self.library, self.make_current = library, make_current

    def call(self, name, *arguments):
        """Call the driver's function ``name``; ``RuntimeError`` with the name of the error if it fails."""
        function = getattr(self.library, name)
        status = function(*arguments)
        if status == NO_CONTEXT:
            self.make_current()
            status = function(*arguments)
        if status:
            found = ctypes.c_char_p()
            self.library.cuGetErrorName(status, ctypes.byref(found))
            raise RuntimeError(f"{name}: {found.value.decode() if found.value else f'error {status}'}")

    def copy(self, destination, source, count):
        """Copy ``count`` bytes between addresses on the device, in its order of work."""
        self.call("cuMemcpyDtoDAsync_v2", destination, source, count, None)


class Launcher:
    """One compiled version of a kernel, ready to be started.

    Parameters
    ----------
    function : int
        The driver's handle of it.
    kinds : list
        For each argument its type, or None for a vector.
    driver : Driver
    """

    def __init__(self, function, kinds, driver):
        self.function, self.driver = function, driver
        self.pack = struct.Struct("<" + "".join(NUMBERS[kind] if kind else VECTOR for kind in kinds)).pack_into
        count = sum(1 if kind else len(VECTOR) for kind in kinds)
        self.values = (ctypes.c_char * (WORD * count))()
        first = ctypes.addressof(self.values)
        self.places = (ctypes.c_void_p * count)(*range(first, first + WORD * count, WORD))
        self.lock = threading.Lock()  # two Python threads must not write into the buffer at once

    def start(self, blocks, threads, values):
        """Start it; ``values`` are the arguments as the buffer has them."""
        grid, block = three(blocks), three(threads)
        with self.lock:
            self.pack(self.values, 0, *values)
            self.driver.call("cuLaunchKernel", self.function, *grid, *block, 0, None, self.places, None)


def three(sizes):
    """Sizes along three axes; those that are not given are 1."""
    return (*sizes, 1, 1)[:3] if isinstance(sizes, tuple) else (sizes, 1, 1)


def load_library():
    """The driver's functions; ``OSError`` where there is no driver."""
    library = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    pointer, address, number = ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint
    library.cuLaunchKernel.argtypes = [pointer, *7 * [number], pointer, pointer, pointer]
    library.cuMemcpyDtoDAsync_v2.argtypes = [address, address, ctypes.c_size_t, pointer]
    return library


def compiled_function(kernel, arguments):
    """The driver's handle of the version of ``kernel`` that Numba has compiled for these arguments."""
    version = kernel.overloads[tuple(kernel.typeof_pyval(argument) for argument in arguments)]
    return int(version._codelibrary.get_cufunc().handle)
