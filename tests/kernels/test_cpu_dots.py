"""dx of the cpu back-end where images have few channels: dot products along the outputs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import FLOATS, assert_close, assert_sums, case_with_result, values

from kernels import cpu, im2col, reference
from kernels.cpu import dots, setups, simd, threads


@st.composite
def few_channels(draw, kind="normal"):
    """Cases with fewer channels than a vector has numbers, and outputs that fill whole vectors."""
    dtype, seed = np.dtype(draw(st.sampled_from(FLOATS))), draw(st.integers(0, 2**32 - 1))
    lanes = simd.lanes(dtype)
    kernel, stride, result = ([draw(st.integers(1, most)) for _ in range(2)] for most in (4, 3, 9))
    assume(kernel != [1, 1])
    padding = tuple(tuple(draw(st.integers(0, 2)) for _ in range(2)) for _ in range(2))
    rest = [draw(st.integers(0, s - 1)) for s in stride]  # rows and columns that no window reaches
    images, channels, vectors = (draw(st.integers(1, most)) for most in (5, lanes - 1, 3))
    return case_with_result(result, images, kernel, channels, vectors * lanes, stride, padding, dtype, seed, kind, rest)


@pytest.fixture
def always(monkeypatch, units_of):
    """Take dot products even where another way has less to multiply. Returns a function for units' bytes."""
    tables_of = dots.tables_of
    monkeypatch.setattr(setups, "tables_of", lambda *arguments: tables_of(*arguments[:-1]))
    units_of(1 << 18)
    return units_of


def planned(case, masked=False):
    return setups.dots(case.x.shape, case.w.shape, case.stride, case.padding, case.dy.shape[1:3], case.x.dtype,
                       threads.get_num_threads(), masked, (0, 0))


@pytest.mark.filterwarnings("ignore:.*function-scoped fixture")
def test_dx_from_dot_products(always, guarded):
    @settings(max_examples=100, deadline=None)
    @given(few_channels())
    def check(case):
        guard = guarded()
        assert planned(case)
        dy, *rest = case.backward
        y = values(9, dy.shape, dy.dtype)
        scale, *_ = reference.conv2d_backward(*case.absolute().backward)
        expected = [reference.conv2d_backward(gradient, *rest)[0] for gradient in (dy, np.where(y > 0, dy, 0))]
        assert_sums(cpu.conv2d_backward(dy, *rest)[0], expected[0], scale, "dx")
        assert_sums(cpu.conv2d_relu_backward(dy, y, *rest)[0], expected[1], scale, "dx behind relu")
        guard.check()

    check()


@pytest.mark.filterwarnings("ignore:.*function-scoped fixture")
def test_dot_products_carry_nan_and_infinity(always):
    @settings(max_examples=50, deadline=None)
    @given(few_channels(kind="special"))
    def check(case):
        assert planned(case)
        with np.errstate(invalid="ignore", over="ignore"):
            got, expected = (backend.conv2d_backward(*case.backward)[0] for backend in (cpu, reference))
        np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
        np.testing.assert_array_equal(got[np.isinf(expected)], expected[np.isinf(expected)])

    check()


@pytest.mark.parametrize("pool_size", [None, (2, 2), (1, 2), (3, 1)])
@pytest.mark.parametrize("padding", [((1, 1), (1, 1)), ((0, 0), (0, 0)), ((2, 0), (0, 3))])
@pytest.mark.parametrize("kernel, stride", [
    ((3, 4), (1, 1)), ((3, 4), (2, 1)), ((3, 4), (3, 2)), ((1, 2), (1, 1))])  # of the last, padding gets rows of dy
def test_dot_products_behind_relu_and_pooling(always, guarded, monkeypatch, kernel, stride, padding, pool_size):
    for winners in ("winners", "picked"):
        monkeypatch.setattr(setups, winners, lambda *geometry: None)
    monkeypatch.setattr(threads, "get_num_threads", lambda: 1)  # what one writes too much is not in another's memory
    lanes = simd.lanes(np.dtype(np.float64))
    x, w, b = values(1, (5, 17, 14, lanes - 1)), values(2, (*kernel, lanes - 1, lanes)), values(3, (lanes,))
    before = im2col.conv2d_forward(x, w, b, stride, padding)
    y = np.maximum(before, 0)
    seen = []
    for limit in (64, 20_000, 60_000, 1 << 30):  # from a row of dx to the whole batch
        always(limit)
        guard = guarded()
        if pool_size:
            pooled, argmax = im2col.max_pool2d_forward(y, pool_size)
            dy = values(4, pooled.shape)
            gradient = im2col.max_pool2d_backward(np.where(pooled > 0, dy, 0), argmax, y.shape, pool_size)
            seen.append(cpu.conv2d_relu_max_pool2d_backward(dy, pooled, argmax, x, w, stride, padding, pool_size)[0])
        else:
            dy = values(4, y.shape)
            gradient = np.where(y > 0, dy, 0)
            seen.append(cpu.conv2d_relu_backward(dy, y, x, w, stride, padding)[0])
        guard.check()
        assert setups.dots.cache_info().currsize == 1 and setups.spread.cache_info().currsize == 0
    assert_close(seen[0], im2col.conv2d_backward(gradient, x, w, stride, padding)[0], rtol=1e-13)
    for dx in seen[1:]:  # a pixel's sum has one order whatever the units, whose size depends on the number of threads
        np.testing.assert_array_equal(dx, seen[0])


def test_a_pixel_belongs_to_one_class():
    lanes = 4
    for shape, w_shape, stride, padding in [((2, 9, 8, 3), (3, 2, 3, 8), (1, 1), ((1, 1), (0, 0))),
                                            ((1, 11, 7, 1), (2, 3, 1, 4), (3, 2), ((2, 0), (1, 3)))]:
        result = tuple((n + sum(p) - k) // s + 1 for n, p, k, s in zip(shape[1:3], padding, w_shape, stride))
        for together, band in [(1, 1), (1, 4), (3, shape[1])]:
            tables = dots.tables_of(shape, w_shape, stride, padding, result, lanes, together, band)
            first_pixels, counts, rows, _, place, steps, _, _ = tables
            np.testing.assert_array_equal(np.sort(place), np.arange(together * shape[1] * shape[2]) * shape[3])
            np.testing.assert_array_equal(np.diff([*first_pixels.ravel(), len(place)]), counts.ravel() * together)
            assert (rows[:, 0] <= rows[:, 1]).all() and rows.min() >= 0 and rows.max() <= result[0]
            # every pixel of dy meets all of the kernel, but for what would fall on padding
            useful = (counts * together * np.diff(steps)).sum() * shape[3]
            inside = [sum(0 <= i * s + m - p < n for i in range(r) for m in range(k))
                      for r, k, s, (p, _), n in zip(result, w_shape, stride, padding, shape[1:3])]
            assert useful == together * inside[0] * inside[1] * shape[3] * w_shape[3] // lanes
            assert dots.tables_of(shape, w_shape, stride, padding, result, lanes, together, band, useful - 1) is None


@pytest.mark.parametrize("shape, w_shape, padding, wanted", [
    ((32, 28, 28, 1), (3, 3, 1, 32), 0, True), ((32, 24, 24, 3), (3, 3, 3, 32), 1, True),
    ((32, 14, 14, 6), (5, 5, 6, 16), 0, True), ((32, 24, 24, 3), (3, 3, 3, 47), 1, False),  # outputs fill no vectors
    ((32, 24, 24, 3), (1, 1, 3, 32), 0, False), ((32, 13, 13, 32), (3, 3, 32, 64), 0, False),
    ((4, 32, 32, 1), (32, 32, 1, 32), 0, False)])  # as many classes as pixels
def test_when_dot_products_are_taken(shape, w_shape, padding, wanted):
    padding = ((padding, padding),) * 2
    result = tuple(n + 2 * padding[0][0] - k + 1 for n, k in zip(shape[1:3], w_shape))
    if simd.BITS >= 256:
        setup = setups.dots(shape, w_shape, (1, 1), padding, result, np.dtype(np.float32), 2, False, (0, 0))
        assert bool(setup) == wanted


def test_tables_stay_short(monkeypatch):
    case = (1, 40, 40, 3), (5, 5, 3, 16), (1, 1), ((2, 2), (2, 2)), (40, 40), 8, 1, 40
    *_, steps, _, _ = dots.tables_of(*case)
    monkeypatch.setattr(dots, "LONGEST", steps[-1])
    assert dots.tables_of(*case) is not None
    monkeypatch.setattr(dots, "LONGEST", steps[-1] - 1)
    assert dots.tables_of(*case) is None
