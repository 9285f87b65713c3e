"""Numbers and tables arrive in a kernel as they were packed."""

from __future__ import annotations

import numba
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.cpu.compiling import OPTIONS
from kernels.cpu.parts import part
from kernels.cpu.tables import numbers_of, packed, table_of

INTEGERS = st.integers(-2**62, 2**62)


@part
def views(tables):
    return table_of(tables, 1), table_of(tables, 2), table_of(tables, 3)


@numba.njit(**OPTIONS)
def unpack(tables, numbers, first, second, third):
    """Copies of five numbers and of three tables; returns how long these are."""
    a, b, c = views(tables)
    for copy, table in ((first, a), (second, b), (third, c)):
        for i in range(len(table)):
            copy[i] = table[i]
    numbers[0], numbers[1] = numbers_of(tables, 0, 2)
    numbers[2], numbers[3], numbers[4] = numbers_of(tables, 2, 3)
    return len(a), len(b), len(c)


@settings(max_examples=50, deadline=None)
@given(st.tuples(*[INTEGERS] * 5), st.tuples(*[st.lists(INTEGERS, max_size=9)] * 3))
def test_what_is_packed_is_unpacked(numbers, tables):
    arrays = [np.array(table, np.int64) for table in tables]
    found = np.zeros(5, np.int64), *(np.zeros(9, np.int64) for _ in range(3))
    lengths = unpack(packed(numbers, *arrays), *found)
    assert lengths == tuple(map(len, tables))
    np.testing.assert_array_equal(found[0], numbers)
    for array, copy, length in zip(arrays, found[1:], lengths):
        np.testing.assert_array_equal(copy[:length], array)


def test_tables_of_two_axes_become_rows_one_behind_the_other_and_truth_one():
    table = np.arange(6).reshape(2, 3)
    array = packed((True, False, 7, 8, 9), table, table[:0], np.array([5], np.int32))
    assert array.dtype == np.int64 and array.flags.carray
    found = np.zeros(5, np.int64), *(np.zeros(9, np.int64) for _ in range(3))
    assert unpack(array, *found) == (6, 0, 1)
    np.testing.assert_array_equal(found[0], [1, 0, 7, 8, 9])
    np.testing.assert_array_equal(found[1][:6], range(6))
    assert found[3][0] == 5


def test_they_take_no_more_room_than_they_need():
    assert len(packed((1, 2), np.arange(10), np.arange(3))) == 2 + 10 + 3 + 2 * 3
