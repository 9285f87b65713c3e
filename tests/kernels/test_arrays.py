"""The array functions for back-ends on NumPy's arrays (``kernels.ARRAYS``)."""

from __future__ import annotations

import numpy as np
import pytest

import kernels
from kernels import arrays, cpu
from kernels.cpu.threads import WORTH_THREADS


def test_all_of_them_are_there():
    assert [name for name in kernels.ARRAYS if not callable(getattr(arrays, name, None))] == []


def test_making_and_moving_arrays():
    strided = np.arange(12.0).reshape(3, 4)[:, ::2]
    array = arrays.asarray(strided)
    assert array.flags.c_contiguous
    np.testing.assert_array_equal(arrays.to_numpy(array), strided)
    assert arrays.empty((2, 3), np.float32).shape == (2, 3)
    zeros = arrays.zeros((2, 3), np.float32)
    assert zeros.dtype == np.float32 and not zeros.any()
    arrays.assign(zeros[1], np.array([1.0, 2.0, 3.0]))
    np.testing.assert_array_equal(zeros, [[0, 0, 0], [1, 2, 3]])


def test_count_correct_takes_the_first_of_equal_logits():
    logits = np.array([[1.0, 3.0, 2.0], [5.0, 5.0, 0.0], [5.0, 5.0, 0.0], [-1.0, -2.0, -3.0]])
    assert arrays.count_correct(logits, np.array([1, 0, 1, 2])) == 2
    assert type(arrays.count_correct(logits, np.array([1, 0, 1, 2]))) is int


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_is_finite(dtype):
    for size in (0, 1, 7, 100):
        numbers = np.full(size, np.finfo(dtype).max, dtype)  # a plain sum of these would be infinite
        assert arrays.is_finite(numbers) is True
        for place in range(size):
            for bad in (np.nan, np.inf, -np.inf):
                changed = numbers.copy()
                changed[place] = bad
                assert arrays.is_finite(changed) is False
    both = np.array([[1, np.inf], [2, -np.inf]], dtype)
    assert arrays.is_finite(both) is False and arrays.is_finite(both[:, :1]) is True
    both.flags.writeable = False
    assert arrays.is_finite(both) is False
    assert arrays.is_finite(np.arange(3, dtype=np.uint8)) is True


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_assign_on_all_cores(dtype):
    size = WORTH_THREADS + 5
    source = np.random.default_rng(0).random(size).astype(dtype)
    whole = np.full(size + 2, -1, dtype)
    cpu.assign(whole[1:-1], source)
    np.testing.assert_array_equal(whole, np.concatenate([[-1], source, [-1]]))
    cpu.assign(whole[:-1], whole[1:])  # they overlap: as if all numbers were read before the first is written
    np.testing.assert_array_equal(whole, np.concatenate([source, [-1, -1]]))
    for other in (source[::-1], source.astype(np.float32), source.astype(np.float64), source.astype(">f4"), dtype(2)):
        target = np.zeros(size, dtype)
        cpu.assign(target, other)
        np.testing.assert_array_equal(target, np.zeros(size, dtype) + other)
    strided = np.zeros((size, 2), dtype)
    cpu.assign(strided[:, 0], source)
    np.testing.assert_array_equal(strided, np.stack([source, 0 * source], axis=1))
    fixed = source.copy()
    fixed.flags.writeable = False
    target = np.zeros(size, dtype)
    cpu.assign(target, fixed)
    np.testing.assert_array_equal(target, source)
    with pytest.raises(ValueError, match="read-only"):
        cpu.assign(fixed, target)
    with pytest.raises(ValueError, match="broadcast"):
        cpu.assign(target, source[:-1])


def test_update_average():
    average = np.array([1.0, 2.0])
    arrays.update_average(average, np.array([3.0, 2.0]), 0.75)
    np.testing.assert_allclose(average, [1.5, 2.0], rtol=1e-15)
