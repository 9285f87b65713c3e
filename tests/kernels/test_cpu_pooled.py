"""Relu and max-pooling inside a convolution of the cpu back-end: gradients from all pixels, from winners, picked."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import FLOATS, assert_close, assert_sums, case_with_result, conv2d_cases, values

from kernels import NO_PADDING, cpu, im2col, reference
from kernels.cpu import conv2d, plans, pooled, setups, simd, threads, winners

FEW = settings(max_examples=40, deadline=None)


@st.composite
def pooled_cases(draw, **limits):
    """A convolution case and a window that fits into its result."""
    case = draw(conv2d_cases(FLOATS, max_size=9, max_channels=5, max_outputs=70, max_images=2, **limits))
    return case, tuple(draw(st.integers(1, min(4, size))) for size in case.dy.shape[1:3])


@pytest.mark.filterwarnings("ignore:.*function-scoped fixture")
def test_fused_pooling_is_pooling_of_the_convolution(all_pixels):
    @FEW
    @given(pooled_cases())
    def check(case):
        case, pool_size = case
        apart = cpu.max_pool2d_forward(cpu.conv2d_relu_forward(*case.forward), pool_size)
        for got, expected in zip(cpu.conv2d_relu_max_pool2d_forward(*case.forward, pool_size), apart):
            assert got.dtype == expected.dtype
            np.testing.assert_array_equal(got, expected)
        compare_pooled(case, pool_size)

    check()


@pytest.mark.filterwarnings("ignore:.*function-scoped fixture")
def test_fused_pooling_stays_within_its_memory(guarded, all_winners):
    @settings(max_examples=50, deadline=None)
    @given(st.one_of(pooled_cases(), winners_cases()))
    def check(case):
        guard = guarded()
        compare_pooled(*case)
        guard.check()

    check()


@st.composite
def winners_cases(draw, kind="normal"):
    """Cases, with their windows, whose gradients are computed from the winners alone."""
    dtype, seed = np.dtype(draw(st.sampled_from(FLOATS))), draw(st.integers(0, 2**32 - 1))
    kernel, stride, padding = ([draw(st.integers(low, high)) for _ in range(2)]
                               for low, high in ((1, 4), (1, 3), (0, 2)))
    pool_size = draw(st.sampled_from([(2, 2), (1, 3), (3, 1), (2, 3), (4, 4), (17, 16), (1, 1), (1, 2), (2, 1)]))
    # rows of a kernel are whole vectors, up to one more than the widest tile takes; of small windows at least as many
    smallest = simd.lanes(dtype) // math.gcd(simd.lanes(dtype), kernel[1])
    least = -(-winners.WIDEST * simd.lanes(dtype) // (smallest * kernel[1])) if math.prod(pool_size) <= 2 else 1
    most = (winners.WIDEST + 1) * simd.lanes(dtype) // (smallest * kernel[1])
    channels = smallest * draw(st.integers(least, max(least, most)))
    padding = tuple((p, draw(st.integers(0, 1))) for p in padding)
    rows, columns = (draw(st.integers(1, 3)) * size + draw(st.integers(0, size - 1)) for size in pool_size)
    images, outputs = draw(st.integers(1, 3)), draw(st.integers(1, 40) | st.integers(-2, 2).map(winners.WORD.__add__))
    case = case_with_result((rows, columns), images, kernel, channels, outputs, stride, padding, dtype, seed, kind)
    return case, pool_size


def compare_pooled(case, pool_size):
    """The gradients through a convolution, relu and max-pooling, against those of the three after each other."""
    y, argmax = cpu.conv2d_relu_max_pool2d_forward(*case.forward, pool_size)
    dy = values(7, y.shape, y.dtype)
    got = cpu.conv2d_relu_max_pool2d_backward(dy, y, argmax, *case.backward[1:], pool_size)
    gradient = im2col.max_pool2d_backward(np.where(y > 0, dy, 0), argmax, case.dy.shape, pool_size)
    expected = im2col.conv2d_backward(gradient, *case.backward[1:])
    scales = im2col.conv2d_backward(np.abs(gradient), *case.absolute().backward[1:])
    for a, e, scale, what in zip(got, expected, scales, ("dx", "dw", "db")):
        assert_sums(a, e, scale, what)
    for a, again in zip(got[1:], cpu.conv2d_relu_max_pool2d_backward(dy, y, argmax, *case.backward[1:], pool_size,
                                                                     False)[1:]):
        np.testing.assert_array_equal(a, again)


def geometry(case, pool_size):
    """The arguments of ``setups.picked``, and of ``setups.winners`` but for the last one."""
    result = tuple(n // p * p for n, p in zip(case.dy.shape[1:3], pool_size))
    return (case.x.shape, case.w.shape, case.stride, case.padding, result, case.x.dtype, threads.get_num_threads(),
            pool_size)


@pytest.mark.filterwarnings("ignore:.*function-scoped fixture")
def test_gradients_from_the_winners_alone(all_winners):
    @settings(max_examples=100, deadline=None)
    @given(winners_cases())
    def check(case):
        case, pool_size = case
        assert setups.winners(*geometry(case, pool_size), True)
        compare_pooled(case, pool_size)

    check()


@pytest.mark.parametrize("images, size, outputs", [(128, 5, 64), (32, 5, 64), (16, 13, 64), (64, 13, 16), (8, 28, 256)])
def test_blocks_of_channels_fill_vectors(images, size, outputs):
    lanes = simd.lanes(np.dtype(np.float32))
    tables, *_ = setups.winners((images, size, size, 64), (3, 3, 64, outputs), (1, 1), NO_PADDING, (size - 3 + 1,) * 2,
                                np.dtype(np.float32), 2, (1, 1), True)
    splits, block = tables[tables[0]:][plans.PLAN_NUMBERS + 3:][:2]
    assert block >= min(lanes, outputs) and -(-outputs // block) * splits in range(4, 17)


def winners_of(dy, y, argmax, w, stride, pool_size):
    """Of every window and channel: the winner's part of the padded x, the channel, its gradient, if relu lets it pass.
    """
    for n, i, j, o in np.ndindex(dy.shape):
        row, column = divmod(int(argmax[n, i, j, o]), pool_size[1])
        row, column = (i * pool_size[0] + row) * stride[0], (j * pool_size[1] + column) * stride[1]
        yield np.s_[n, row:row + w.shape[0], column:column + w.shape[1]], o, dy[n, i, j, o], y[n, i, j, o] > 0


def from_the_winners(dy, y, argmax, x, w, stride, padding, pool_size):
    """dx and dw as sums over winners, in plain loops: those that relu let through, for dw without zero gradients."""
    (top, _), (left, _) = padding
    padded = np.pad(x, ((0, 0), *padding, (0, 0)))
    dx, dw = np.zeros_like(padded), np.zeros_like(w)
    for place, o, gradient, passes in winners_of(dy, y, argmax, w, stride, pool_size):
        if passes:
            dx[place] += gradient * w[..., o]
            if gradient != 0:
                dw[..., o] += gradient * padded[place]
    return dx[:, top:top + x.shape[1], left:left + x.shape[2]], dw


@pytest.mark.filterwarnings("ignore:.*function-scoped fixture")
def test_gradients_from_the_winners_carry_nan_and_infinity(all_winners):
    @settings(max_examples=30, deadline=None)
    @given(winners_cases(kind="special"))
    def check(case):
        case, pool_size = case
        with np.errstate(invalid="ignore", over="ignore"):
            y, argmax = cpu.conv2d_relu_max_pool2d_forward(*case.forward, pool_size)
            dy = values(7, y.shape, y.dtype, "special")
            dx, dw, db = cpu.conv2d_relu_max_pool2d_backward(dy, y, argmax, *case.backward[1:], pool_size)
            expected = from_the_winners(dy, y, argmax, *case.backward[1:], pool_size)
            expected += (np.where(y > 0, dy, 0).sum((0, 1, 2)),)
        for got, wanted in zip((dx, dw, db), expected):
            np.testing.assert_array_equal(np.isnan(got), np.isnan(wanted))
            np.testing.assert_array_equal(got[np.isinf(wanted)], wanted[np.isinf(wanted)])

    check()


@pytest.fixture
def ways(monkeypatch):
    """A list that grows by the way of every gradient: from the winners alone or from all pixels."""
    taken = []

    def note(name, function):
        def noted(*arguments, **keywords):
            taken.append(name)
            return function(*arguments, **keywords)

        monkeypatch.setattr(conv2d, name, noted)

    for name in ("_from_all_pixels", "_from_winners"):
        note(name, getattr(conv2d, name))
    return taken


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("images, size, padding, stride", [
    (5, 5, ((0, 0), (0, 0)), (1, 1)), (40, 5, ((0, 0), (0, 0)), (1, 1)), (48, 5, ((1, 1), (1, 1)), (1, 1)),
    (2, 17, ((1, 1), (1, 1)), (1, 1)), (3, 14, ((0, 1), (2, 0)), (2, 1))])
def test_relu_leaves_winners_where_it_lets_few_through(ways, images, size, padding, stride, dtype):
    channels = 2 * winners.WIDEST * simd.lanes(np.dtype(dtype)) // 3
    x, w = values(1, (images, size, size, channels), dtype), values(2, (3, 3, channels, 70), dtype)
    before = im2col.conv2d_forward(x, w, None, stride, padding)
    dy = values(3, before.shape, dtype)
    for share in (0, 0.1, 0.35, 0.75, 0.9):  # not too near to FEW: a sample decides
        y = cpu.conv2d_relu_forward(x, w, np.full(70, -np.quantile(before, 1 - share), dtype), stride, padding)
        gradient = np.where(y > 0, dy, 0)
        expected = im2col.conv2d_backward(gradient, x, w, stride, padding)
        scales = im2col.conv2d_backward(np.abs(gradient), np.abs(x), np.abs(w), stride, padding)
        got = cpu.conv2d_relu_backward(dy, y, x, w, stride, padding)
        for a, e, scale, what in zip(got, expected, scales, ("dx", "dw", "db")):
            assert_sums(a, e, scale, what)
        assert cpu.conv2d_relu_backward(dy, y, x, w, stride, padding, False)[0] is None
        assert set(ways) == {"_from_winners" if share < conv2d.FEW else "_from_all_pixels"}, share
        ways.clear()


def are_few(y, window):
    return conv2d._are_few(y.ravel(), conv2d.sample_of(y.shape, window))


@pytest.mark.parametrize("outputs", [1, 7, 16, 48, 64, 100])
@pytest.mark.parametrize("live", [0.3, 0.6])
def test_the_share_of_winners_does_not_depend_on_which_channels_are_live(outputs, live):
    y = np.zeros((32, 8, 8, outputs), np.float32)  # so many that every outputs-th would do for a sample
    pixels = y.copy()
    y[..., :math.ceil(live * outputs)] = 1  # relu lets some channels through everywhere,
    pixels.reshape(-1, outputs)[::round(1 / live)] = 1  # or all of them here and there
    for case in (y, y[..., ::-1].copy(), pixels):
        share = np.count_nonzero(case) / case.size
        if abs(share - conv2d.FEW) > 0.1:
            assert are_few(case, (1, 1)) == (share < conv2d.FEW)
        if abs(share - 2 * conv2d.FEW) > 0.1:
            assert are_few(case, (2, 1)) == (share < 2 * conv2d.FEW)
        assert are_few(case, (1, 3))  # at most one pixel in three


@pytest.mark.parametrize("first", [0, 1])
def test_every_other_number_is_half_of_them(monkeypatch, first):
    monkeypatch.setattr(conv2d, "FEW", 0.45)
    y = np.zeros((64, 5, 5, 7), np.float32)  # an odd number of each: even steps are coprime to them
    y.reshape(-1)[first::2] = 1
    assert not are_few(y, (1, 1))
    assert are_few(y, (2, 1))


@pytest.mark.parametrize("padding", [((1, 1), (1, 1)), ((0, 0), (0, 0)), ((2, 0), (0, 3))])
@pytest.mark.parametrize("stride, pool_size", [((1, 1), (2, 2)), ((2, 1), (3, 2)), ((3, 2), (2, 2))])
def test_winners_in_bands(units_of, monkeypatch, padding, stride, pool_size):
    x, w, b = values(1, (3, 31, 22, 16)), values(2, (3, 3, 16, 9)), values(3, (9,))
    y, argmax = cpu.conv2d_relu_max_pool2d_forward(x, w, b, stride, padding, pool_size)
    dy, seen = values(4, y.shape), []
    for limit in (64, 20_000, 60_000, 1 << 30):  # from a row of windows to the whole batch
        for size in (1, 10_000):  # groups of one window, and some
            units_of(limit)
            monkeypatch.setattr(setups, "GROUP_BYTES", size)
            seen.append((size, cpu.conv2d_relu_max_pool2d_backward(dy, y, argmax, x, w, stride, padding, pool_size)))
    expected = from_the_winners(dy, y, argmax, x, w, stride, padding, pool_size)
    for size, (dx, dw, _) in seen:
        assert_close(dx, expected[0], rtol=1e-13)
        assert_close(dw, expected[1], rtol=1e-13)
        # a pixel's sum has one order for any bands: their number depends on that of threads
        np.testing.assert_array_equal(dx, next(result[0] for other, result in seen if other == size))


def test_winners_of_more_windows_than_an_integer_has_bits(units_of, monkeypatch):
    units_of(1 << 30)
    monkeypatch.setattr(setups, "GROUP_BYTES", 1 << 30)
    x, w = values(1, (2, 5, 302, 8)), values(2, (2, 1, 8, 70))
    stride, padding, pool_size = (1, 1), ((0, 0), (0, 0)), (2, 2)
    y, argmax = cpu.conv2d_relu_max_pool2d_forward(x, w, None, stride, padding, pool_size)
    dy = values(3, y.shape)
    got = cpu.conv2d_relu_max_pool2d_backward(dy, y, argmax, x, w, stride, padding, pool_size)
    for a, e in zip(got, from_the_winners(dy, y, argmax, x, w, stride, padding, pool_size)):
        assert_close(a, e, rtol=1e-12)


def test_a_gradient_of_nan_spoils_its_own_channel_alone():
    x, w, b, padding = values(1, (2, 7, 6, 8)), values(2, (3, 3, 8, 9)), values(3, (9,)), ((1, 1), (1, 1))
    y, argmax = cpu.conv2d_relu_max_pool2d_forward(x, w, b, 1, padding, (2, 2))
    dy = values(4, y.shape)
    dy[1, 2, 0, 5], y[1, 2, 0, 5] = np.nan, 1
    dx, dw, db = cpu.conv2d_relu_max_pool2d_backward(dy, y, argmax, x, w, 1, padding, (2, 2))
    np.testing.assert_array_equal(np.isnan(dw).all((0, 1, 2)), np.arange(9) == 5)
    np.testing.assert_array_equal(np.isnan(dw).any((0, 1, 2)), np.arange(9) == 5)
    np.testing.assert_array_equal(np.isnan(db), np.arange(9) == 5)
    assert not np.isnan(dx[0]).any() and np.isnan(dx[1]).any()


needs_picks = pytest.mark.skipif(not simd.PICKS, reason="no instruction lets every lane pick one of four numbers")


@st.composite
def picked_cases(draw, kind="normal"):
    """Cases, with their windows, that need not fill a vector with their channels."""
    dtype, seed = np.dtype(draw(st.sampled_from(FLOATS))), draw(st.integers(0, 2**32 - 1))
    pool_size = draw(st.sampled_from([(2, 2), (2, 2), (1, 3), (3, 1), (1, 4), (4, 1), (1, 2), (2, 3), (3, 3)]))
    kernel, stride = ([draw(st.integers(1, most)) for _ in range(2)] for most in (4, 3))
    padding = tuple(tuple(draw(st.integers(0, 2)) for _ in range(2)) for _ in range(2))
    rows, columns = (draw(st.integers(1, 4)) * size + draw(st.integers(0, size - 1)) for size in pool_size)
    images, channels, outputs = (draw(st.integers(1, most)) for most in (3, 5, 70))
    case = case_with_result((rows, columns), images, kernel, channels, outputs, stride, padding, dtype, seed, kind)
    return case, pool_size


@pytest.fixture
def no_winners(monkeypatch):
    """Let no gradient be computed as in ``winners.py``: what can be picked is picked."""
    monkeypatch.setattr(setups, "winners", lambda *geometry: None)


@pytest.mark.filterwarnings("ignore:.*function-scoped fixture")
def test_pooling_in_registers_is_pooling_in_memory(guarded, units_of, monkeypatch):
    def both(case, pool_size):
        for terms in (0, 1 << 20):  # longest sum that is pooled in the registers
            monkeypatch.setattr(pooled, "MOST_TERMS", terms)
            units_of(plans.UNIT_BYTES)
            guard = guarded()
            yield cpu.conv2d_relu_max_pool2d_forward(*case.forward, pool_size)
            guard.check()

    @settings(max_examples=100, deadline=None)
    @given(st.one_of(picked_cases(), picked_cases("special"), pooled_cases()))
    def check(case):
        (y, argmax), (in_memory, places) = both(*case)
        np.testing.assert_array_equal(y, in_memory)
        np.testing.assert_array_equal(argmax, places)
        assert argmax.dtype == places.dtype

    check()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("pool_size", [(2, 2), (1, 4), (3, 1), (2, 1)])
def test_the_first_pixel_wins_a_tie_and_the_first_nan_the_window(dtype, pool_size):
    rng, size = np.random.default_rng(0), math.prod(pool_size)
    rows = [np.repeat(number, size) for number in (0.0, -0.0, -1, 1, np.nan, np.inf, -np.inf)]
    rows += [rng.choice([-1, -0.0, 0.0, 1, 2, np.nan, np.inf, -np.inf], size) for _ in range(200)]
    x = np.array(rows, dtype).reshape(-1, *pool_size, 1)
    w = np.ones((1, 1, 1, 19), dtype)
    y, argmax = cpu.conv2d_relu_max_pool2d_forward(x, w, None, 1, NO_PADDING, pool_size)
    expected, places = reference.max_pool2d_forward(reference.relu_forward(reference.conv2d_forward(x, w)), pool_size)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(argmax, places)


@needs_picks
@pytest.mark.filterwarnings("ignore:.*function-scoped fixture")
def test_a_picked_dw(no_winners, guarded):
    @settings(max_examples=120, deadline=None)
    @given(picked_cases())
    def check(case):
        guard = guarded()
        assert bool(setups.picked(*geometry(*case))) == (math.prod(case[1]) in (3, 4))
        compare_pooled(*case)
        guard.check()

    check()


@needs_picks
@pytest.mark.filterwarnings("ignore:.*function-scoped fixture")
def test_a_picked_dw_carries_nan_and_infinity(no_winners):
    @settings(max_examples=40, deadline=None)
    @given(picked_cases(kind="special"))
    def check(case):
        case, pool_size = case
        with np.errstate(invalid="ignore", over="ignore"):
            y, argmax = cpu.conv2d_relu_max_pool2d_forward(*case.forward, pool_size)
            dy = values(7, y.shape, y.dtype, "special")
            _, dw, db = cpu.conv2d_relu_max_pool2d_backward(dy, y, argmax, *case.backward[1:], pool_size)
            if not setups.picked(*geometry(case, pool_size)):
                return
            expected = every_winner(dy, y, argmax, *case.backward[1:], pool_size), np.where(y > 0, dy, 0).sum((0, 1, 2))
        for got, wanted in zip((dw, db), expected):
            np.testing.assert_array_equal(np.isnan(got), np.isnan(wanted))
            np.testing.assert_array_equal(got[np.isinf(wanted)], wanted[np.isinf(wanted)])

    check()


def every_winner(dy, y, argmax, x, w, stride, padding, pool_size):
    """dw as a sum over winners, in plain loops: all of them, with a gradient of 0 where relu lets nothing through."""
    padded, dw = np.pad(x, ((0, 0), *padding, (0, 0))), np.zeros_like(w)
    for place, o, gradient, passes in winners_of(dy, y, argmax, w, stride, pool_size):
        dw[..., o] += (gradient if passes else dy.dtype.type(0)) * padded[place]
    return dw


@needs_picks
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("padding", [((1, 1), (1, 1)), ((0, 0), (0, 0)), ((2, 0), (0, 3))])
@pytest.mark.parametrize("stride, pool_size", [((1, 1), (2, 2)), ((2, 1), (3, 1)), ((3, 2), (2, 2))])
def test_a_picked_dw_in_bands(units_of, channels, padding, stride, pool_size):
    x, w, b = values(1, (70, 14, 15, channels)), values(2, (3, 3, channels, 9)), values(3, (9,))
    y, argmax = cpu.conv2d_relu_max_pool2d_forward(x, w, b, stride, padding, pool_size)
    dy = values(4, y.shape)
    expected = every_winner(dy, y, argmax, x, w, stride, padding, pool_size)
    for limit in (64, 3_000, 20_000, 1 << 30):  # from a row of windows to the whole batch
        units_of(limit)
        _, dw, db = cpu.conv2d_relu_max_pool2d_backward(dy, y, argmax, x, w, stride, padding, pool_size, False)
        assert_close(dw, expected, rtol=1e-13)
        assert_close(db, np.where(y > 0, dy, 0).sum((0, 1, 2)), rtol=1e-13)


@settings(max_examples=25, deadline=None)
@given(pooled_cases(kind="special"))
def test_fused_pooling_carries_nan_and_infinity(case):
    case, pool_size = case
    with np.errstate(invalid="ignore", over="ignore"):
        expected = cpu.max_pool2d_forward(cpu.conv2d_relu_forward(*case.forward), pool_size)
    for got, wanted in zip(cpu.conv2d_relu_max_pool2d_forward(*case.forward, pool_size), expected):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("special", [
    [np.nan], [-np.nan], [np.inf, -np.inf], [np.nan, np.nan], [np.nan, np.inf], [-np.inf]], ids=str)
def test_fused_pooling_finds_what_no_comparison_finds(special, dtype):
    x, w = values(1, (1, 8, 20, 1), dtype), np.ones((1, 1, 1, 40), dtype)
    for first in np.ndindex(2, 2):
        for second in np.ndindex(2, 2):
            case = x.copy()
            for place, number in zip((second, first), special):  # in every window of a row, those above without
                case[0, 2 + place[0]:4:2, place[1]::2, 0] = number
            expected = reference.max_pool2d_forward(reference.relu_forward(reference.conv2d_forward(case, w)), 2)
            for got, wanted in zip(cpu.conv2d_relu_max_pool2d_forward(case, w), expected):
                np.testing.assert_array_equal(got, wanted)
