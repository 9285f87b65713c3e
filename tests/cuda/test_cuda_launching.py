"""Starting a compiled kernel by the driver itself, with a driver that only notes what it is given. No GPU."""

from __future__ import annotations

import ctypes
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from kernels.cuda.launching import NO_CONTEXT, Driver, Launcher


class Library:
    """Answers with ``statuses``, one after the other, and then with 0."""

    def __init__(self, *statuses):
        self.statuses, self.calls = list(statuses), []

    def cuLaunchKernel(self, function, across, down, deep, wide, high, thick, shared, stream, places, extra):
        assert (shared, stream, extra) == (0, None, None)
        self.calls.append((function, (across, down, deep), (wide, high, thick),
                           [ctypes.string_at(place, 8) for place in places]))
        return self.statuses.pop(0) if self.statuses else 0

    def cuGetErrorName(self, status, name):
        name._obj.value = b"CUDA_ERROR_SOMETHING"


    def cuMemcpyDtoDAsync_v2(self, *arguments):
        self.calls.append(arguments)
        return 0


def launcher(kinds, library, make_current=None):
    return Launcher(0x1234, kinds, Driver(library, make_current))


def test_arguments_lie_as_numba_lays_them():
    library = Library()
    kinds = [None, int, np.int32, np.float32, np.float64, bool, np.uint32]
    vector = (0, 0, 10, 4, 0x7f00_0000_1000, 10, 4)
    launcher(kinds, library).start((3, 2, 1), 128, [*vector, 2**32 - 1, np.int32(-5), np.float32(0.1), np.float64(0.1),
                                                   True, np.uint32(7)])
    (function, blocks, threads, words), = library.calls
    assert (function, blocks, threads) == (0x1234, (3, 2, 1), (128, 1, 1))
    assert [int.from_bytes(word, "little") for word in words[:7]] == list(vector)
    found = [np.frombuffer(word, dtype)[0] for word, dtype in zip(
        words[7:], [np.uint32, np.int32, np.float32, np.float64, np.uint32, np.uint32])]
    assert found == [2**32 - 1, -5, np.float32(0.1), 0.1, 1, 7] and len(words) == 13


@pytest.mark.parametrize("sizes, expected", [(5, (5, 1, 1)), ((5,), (5, 1, 1)), ((5, 6), (5, 6, 1)),
                                             ((5, 6, 7), (5, 6, 7))])
def test_sizes_that_are_not_given_are_one(sizes, expected):
    library = Library()
    launcher([int], library).start(sizes, 64, [1])
    launcher([int], library).start(3, sizes, [1])
    assert [call[1:3] for call in library.calls] == [(expected, (64, 1, 1)), ((3, 1, 1), expected)]


def test_a_thread_that_is_new_to_the_device_gets_its_context():
    made, library = [], Library(NO_CONTEXT)
    launcher([int], library, lambda: made.append(1)).start(1, 32, [9])
    assert made == [1] and len(library.calls) == 2 and library.calls[0] == library.calls[1]


def test_an_error_is_named():
    with pytest.raises(RuntimeError, match="cuLaunchKernel: CUDA_ERROR_SOMETHING"):
        launcher([int], Library(1)).start(7, 2048, [1])


@pytest.mark.parametrize("value", [-1, 2**32])
def test_a_number_that_does_not_fit_is_refused(value):
    library = Library()
    with pytest.raises(Exception, match=r"argument|format|range"):
        launcher([int], library).start(1, 32, [value])
    assert not library.calls


def test_threads_do_not_mix_their_arguments():
    library = Library()
    ready = launcher([int, int, int], library)

    def start(number):
        for _ in range(300):
            ready.start(number + 1, 32, [number, number, number])

    threads = [threading.Thread(target=start, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(library.calls) == 1200
    for _, blocks, _, words in library.calls:
        assert [int.from_bytes(word[:4], "little") for word in words] == 3 * [blocks[0] - 1]


def test_copies_are_part_of_the_order_of_work():
    library = Library()
    Driver(library, None).copy(0x2000, 0x1000, 64)
    assert library.calls == [(0x2000, 0x1000, 64, None)]


class Kernel:
    """As Numba's, so far as ``device.launch`` sees it; a version compiled for some types has their number as handle."""

    def __init__(self):
        self.overloads, self.started = {}, []

    def typeof_pyval(self, argument):
        return getattr(argument, "dtype", type(argument))

    def __getitem__(self, sizes):
        def start(*arguments):
            types = tuple(map(self.typeof_pyval, arguments))
            function = SimpleNamespace(handle=len(self.overloads) + 1)
            library = SimpleNamespace(get_cufunc=lambda: function)
            self.overloads.setdefault(types, SimpleNamespace(_codelibrary=library))
            self.started.append((sizes, arguments))
        return start


def device_array(dtype, address):
    flat = np.zeros(3, dtype)
    words = 0, 0, 3, flat.itemsize, address, 3, flat.itemsize
    return SimpleNamespace(flat=flat, dtype=flat.dtype, words=words)


def test_numba_starts_a_kernel_once_for_every_combination_of_types(monkeypatch):
    from kernels.cuda import device
    library, kernel = Library(), Kernel()
    monkeypatch.setattr(device, "SIMULATED", False)
    monkeypatch.setattr(device, "_launchers", {})
    monkeypatch.setattr(device, "_driver", lambda: Driver(library, None))
    for dtype, address in ((np.float32, 0x100), (np.float32, 0x200), (np.float64, 0x300), (np.float64, 0x400)):
        device.launch(kernel, 2, 64, device_array(dtype, address), 9, dtype(0.5))
    device.launch(kernel, 2, 64, device_array(np.float64, 0x500), np.int32(9), np.float64(0.5))
    assert [(sizes, arguments[1:]) for sizes, arguments in kernel.started] == [
        ((2, 64), (9, np.float32(0.5))), ((2, 64), (9, 0.5)), ((2, 64), (9, 0.5))]
    assert [type(arguments[1]) for _, arguments in kernel.started] == [np.uint32, np.uint32, np.int32]
    assert [(function, int.from_bytes(words[4], "little")) for function, _, _, words in library.calls] == [
        (1, 0x200), (2, 0x400)]
