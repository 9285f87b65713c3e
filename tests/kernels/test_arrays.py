"""The array functions for back-ends on NumPy's arrays (``kernels.ARRAYS``)."""

from __future__ import annotations

import numpy as np
import pytest

import kernels
from kernels import arrays


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


def test_update_average():
    average = np.array([1.0, 2.0])
    arrays.update_average(average, np.array([3.0, 2.0]), 0.75)
    np.testing.assert_allclose(average, [1.5, 2.0], rtol=1e-15)
