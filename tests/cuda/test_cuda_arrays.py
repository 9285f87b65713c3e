"""Arrays on the device: views, copies, the numbers that are fetched late, and memory that is used again."""

from __future__ import annotations

import gc
import math
import threading
import weakref

import numpy as np
import pytest

from kernels import ARRAYS
from kernels import arrays as numpy_arrays

pytestmark = pytest.mark.cuda
cuda = pytest.importorskip("kernels.cuda")


def test_all_array_functions_are_there():
    assert [name for name in ARRAYS if not callable(getattr(cuda, name))] == []


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.bool_])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 4), (2, 3, 4)])
def test_there_and_back(shape, dtype):
    host = np.arange(math.prod(shape)).reshape(shape).astype(dtype)
    array = cuda.asarray(host)
    assert (array.shape, array.dtype, array.ndim, array.size, array.nbytes) == (
        host.shape, host.dtype, host.ndim, host.size, host.nbytes)
    back = cuda.to_numpy(array)
    np.testing.assert_array_equal(back, host)
    assert back.dtype == host.dtype
    assert cuda.asarray(array) is array


def test_any_layout_of_the_host_array():
    host = np.arange(24.0).reshape(4, 6)
    for other in (host.T, host[::2, ::-1], host.astype(">f8"), np.asfortranarray(host)):
        np.testing.assert_array_equal(cuda.to_numpy(cuda.asarray(other)), other)


def test_integers_become_int64_and_their_bounds_are_known():
    labels = cuda.asarray(np.array([3, 1, 7], np.uint8))
    assert labels.dtype == np.int64 and labels.bounds == (1, 7)
    assert labels[:2].bounds == (1, 7)  # of the whole: what a slice holds is not looked up


@pytest.mark.parametrize("dtype", [np.float16, np.complex128, object, "U3"])
def test_other_types_are_refused(dtype):
    with pytest.raises(TypeError, match="dtype: expected one of float32"):
        cuda.asarray(np.zeros(3).astype(dtype))


def test_views_share_their_memory():
    array = cuda.zeros((4, 6), np.float32)
    rows = array[1:3]
    assert rows.shape == (2, 6) and len(rows) == 2
    cuda.assign(rows.reshape(12), np.arange(12, dtype=np.float32))
    expected = np.zeros((4, 6), np.float32)
    expected[1:3] = np.arange(12).reshape(2, 6)
    np.testing.assert_array_equal(cuda.to_numpy(array), expected)
    np.testing.assert_array_equal(cuda.to_numpy(array.reshape(2, -1)), expected.reshape(2, -1))
    np.testing.assert_array_equal(cuda.to_numpy(array[2:2]), expected[2:2])
    np.testing.assert_array_equal(cuda.to_numpy(array[-1:][0:5].reshape(-1)[2:4]), expected[-1, 2:4])


@pytest.mark.parametrize("wrong, error", [(lambda a: a[0], TypeError), (lambda a: a[:, 1:], TypeError),
                                          (lambda a: a[::2], ValueError), (lambda a: a.reshape(5), ValueError),
                                          (lambda a: a.reshape(-1, -1), ValueError), (np.asarray, TypeError),
                                          (lambda a: cuda.zeros((-1,), np.float32), ValueError),
                                          (lambda a: cuda.empty((2**31,), np.float32), ValueError),
                                          (lambda a: cuda.assign(a, np.zeros(3)), ValueError)])
def test_what_a_device_array_cannot_do_is_said(wrong, error):
    with pytest.raises(error, match=r"device|shape|slice|assign"):
        wrong(cuda.zeros((2, 2), np.float32))


def test_assigning_between_types_and_places():
    target = cuda.zeros((3,), np.float64)
    cuda.assign(target, cuda.asarray(np.array([1, 2, 3], np.float32)))
    np.testing.assert_array_equal(cuda.to_numpy(target), [1, 2, 3])
    source = cuda.asarray(np.array([4.0, 5.0, 6.0]))
    cuda.assign(target, source)
    cuda.assign(source, np.zeros(3))
    np.testing.assert_array_equal(cuda.to_numpy(target), [4, 5, 6])


def test_take():
    x = np.arange(24.0).reshape(4, 2, 3)
    order = np.array([2, 0, 2])
    np.testing.assert_array_equal(cuda.to_numpy(cuda.take(cuda.asarray(x), order)), x[order])
    labels = cuda.asarray(np.array([5, 6, 7, 8]))
    assert cuda.take(labels, order).bounds == (5, 8)
    with pytest.raises(ValueError, match="indices: expected 0 to 3, got 0 to 4"):
        cuda.take(labels, np.array([0, 4]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_count_correct_is_numpys(dtype):
    logits = np.array([[1, 3, 3], [2, 1, 0], [0, np.nan, 5], [-np.inf, -np.inf, -np.inf], [np.nan, np.nan, 1]], dtype)
    for labels in ([1, 0, 1, 0, 0], [2, 1, 2, 1, 1], [0, 0, 0, 0, 0]):
        expected = numpy_arrays.count_correct(logits, np.array(labels))
        got = cuda.count_correct(cuda.asarray(logits), cuda.asarray(np.array(labels)))
        assert got == expected and int(got) == expected


def test_is_finite_and_update_average():
    for value, finite in ((1.0, True), (np.nan, False), (np.inf, False), (-np.inf, False)):
        array = np.ones(200)
        array[150] = value
        assert cuda.is_finite(cuda.asarray(array)) is finite
    average, value = np.arange(5.0), np.full(5, 10.0)
    on_device = cuda.asarray(average)
    cuda.update_average(on_device, cuda.asarray(value), 0.9)
    numpy_arrays.update_average(average, value, 0.9)
    np.testing.assert_allclose(cuda.to_numpy(on_device), average, rtol=1e-15)


def test_a_loss_is_a_number_when_somebody_looks():
    loss, _ = cuda.mean_squared_error(cuda.asarray(np.array([[2.0], [0.0]])), cuda.asarray(np.zeros((2, 1))))
    assert float(loss) == 2.0 and loss == 2.0 and f"{loss:.1f}" == "2.0" and repr(loss) == "2.0"
    assert loss + 1 == 3.0 and 1 - loss == -1.0 and loss * loss == 4.0 and -loss == -2.0 and abs(loss) == 2.0
    assert loss < 3 and loss >= 2.0 and bool(loss) and math.isfinite(loss) and round(float(loss)) == 2


# ---- memory -----------------------------------------------------------------------------------------------------

def address(array):
    return array.flat.__array_interface__["data"][0] if hasattr(array.flat, "__array_interface__") else (
        array.flat.device_ctypes_pointer.value)


def test_memory_that_nobody_holds_is_used_again():
    cuda.free_memory()
    first = cuda.empty((7, 11), np.float32)
    place = address(first)
    del first
    assert address(cuda.empty((77,), np.float32)) == place
    held = cuda.empty((77,), np.float32)
    assert address(held) == place
    assert address(cuda.empty((77,), np.float32)) != place
    assert address(cuda.empty((77,), np.int32)) != place


def test_memory_is_held_by_every_view():
    cuda.free_memory()
    whole = cuda.asarray(np.arange(12.0).reshape(4, 3))
    part = whole[1:3].reshape(6)[2:]
    del whole
    gc.collect()
    others = [cuda.zeros((4, 3), np.float64) for _ in range(3)]
    np.testing.assert_array_equal(cuda.to_numpy(part), [5, 6, 7, 8])
    del part
    reused = cuda.zeros((12,), np.float64)
    assert not any(address(reused) == address(other) for other in others)


def test_memory_survives_the_end_of_a_circle_of_objects():
    """Python tells the weak references of all objects in a dying circle before it calls any ``__del__``."""
    cuda.free_memory()
    circle = [cuda.asarray(np.arange(5.0))]
    circle.append(circle)
    told = []
    weakref.finalize(circle[0].flat, told.append, "given back")
    del circle
    gc.collect()
    again = cuda.asarray(np.arange(5.0) + 1)
    assert told == []  # still there, and used again
    np.testing.assert_array_equal(cuda.to_numpy(again), np.arange(5.0) + 1)
    del again
    assert cuda.free_memory() == 40
    gc.collect()
    assert told == ["given back"]


def test_every_python_thread_can_use_the_device():
    x, w, found = cuda.asarray(np.ones((1, 3, 3, 1))), cuda.asarray(np.ones((2, 2, 1, 1))), []
    expected = cuda.to_numpy(cuda.conv2d_forward(x, w))
    thread = threading.Thread(target=lambda: found.append(cuda.to_numpy(cuda.conv2d_forward(x, w))))
    thread.start()
    thread.join()
    np.testing.assert_array_equal(found[0], expected)


def test_a_number_fetched_late_keeps_its_memory():
    losses = []
    for value in (1.0, 2.0, 3.0):
        losses.append(cuda.mean_squared_error(cuda.asarray(np.array([[value]])), cuda.asarray(np.zeros((1, 1))))[0])
    assert [float(loss) for loss in losses] == [1.0, 4.0, 9.0]


def test_free_memory_gives_it_back():
    cuda.free_memory()
    array = cuda.empty((100,), np.float64)
    del array
    assert cuda.free_memory() == 800 and cuda.free_memory() == 0


def test_no_step_after_the_first_allocates(monkeypatch):
    from kernels.cuda import device
    x, w = cuda.asarray(np.ones((2, 3, 3, 1))), cuda.asarray(np.ones((2, 2, 1, 3)))
    dy = cuda.asarray(np.ones((2, 2, 2, 3)))
    allocations = []
    allocate = device.allocate
    monkeypatch.setattr(device, "allocate", lambda *key: (allocations.append(key), allocate(*key))[1])
    cuda.free_memory()
    for _ in range(3):
        before = len(allocations)
        y = cuda.conv2d_forward(x, w)
        y, argmax = cuda.max_pool2d_forward(y)
        gradients = cuda.conv2d_backward(dy, x, w)
        del y, argmax, gradients
    assert before == len(allocations) > 0


def test_a_full_device_gets_a_second_try(monkeypatch):
    from kernels.cuda import device
    kept = cuda.empty((9,), np.float64)
    del kept
    allocate, calls = device.allocate, []

    def refuse_once(size, dtype):
        calls.append(size)
        if len(calls) == 1:
            raise RuntimeError("[2] Call to cuMemAlloc results in CUDA_ERROR_OUT_OF_MEMORY")
        return allocate(size, dtype)

    monkeypatch.setattr(device, "allocate", refuse_once)
    assert cuda.empty((12345,), np.float32).shape == (12345,) and calls == [12345, 12345]
    assert cuda.free_memory() == 12345 * 4  # what was free before went to the device

    def refuse(size, dtype):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(device, "allocate", refuse)
    with pytest.raises(MemoryError, match="no room for 54321 more elements of float32"):
        cuda.empty((54321,), np.float32)
