"""The cpu back-end against the reference, where tiles end, units meet and memory stops."""

from __future__ import annotations

import math
import threading

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import FLOATS, assert_close, assert_sums, conv2d_cases, dense_cases, pool2d_cases, values

import kernels
from kernels import cpu, im2col, reference
from kernels.cpu import compiling, conv2d, convolution, ladder, plans, setups, simd, threads, winners, workspace
from kernels.cpu.exponential import exponential

FEW = settings(max_examples=40, deadline=None)
WIDE = {"max_images": 2, "max_size": 6, "max_channels": 5, "max_outputs": 70}


def compare_convolution(case, guarded=None):
    guard = guarded() if guarded else None
    positive = case.absolute()
    assert_sums(cpu.conv2d_forward(*case.forward), reference.conv2d_forward(*case.forward),
                reference.conv2d_forward(*positive.forward), "y")
    results = zip(("dx", "dw", "db"), cpu.conv2d_backward(*case.backward),
                  reference.conv2d_backward(*case.backward), reference.conv2d_backward(*positive.backward))
    for name, got, expected, scale in results:
        assert_sums(got, expected, scale, name)
    if guard:
        guard.check()


@FEW
@given(case=conv2d_cases(FLOATS, **WIDE))
def test_convolution(case):
    compare_convolution(case)


@pytest.mark.filterwarnings("ignore:.*function-scoped fixture")
def test_convolution_stays_within_its_memory(guarded):
    @settings(max_examples=40, deadline=None)
    @given(conv2d_cases(FLOATS, **WIDE))
    def check(case):
        compare_convolution(case, guarded)

    check()


@settings(max_examples=25, deadline=None)
@given(conv2d_cases(FLOATS, max_padding=0, kind="special", **WIDE))
def test_convolution_carries_nan_and_infinity(case):
    with np.errstate(invalid="ignore", over="ignore"):
        for got, expected in zip((cpu.conv2d_forward(*case.forward), *cpu.conv2d_backward(*case.backward)),
                                 (reference.conv2d_forward(*case.forward), *reference.conv2d_backward(*case.backward))):
            np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
            np.testing.assert_array_equal(got[np.isinf(expected)], expected[np.isinf(expected)])


@pytest.mark.filterwarnings("ignore:.*function-scoped fixture")
def test_fused_relu_is_relu_of_the_convolution(all_pixels):
    @settings(max_examples=25, deadline=None)
    @given(conv2d_cases(FLOATS, **WIDE))
    def check(case):
        y = cpu.conv2d_relu_forward(*case.forward)
        np.testing.assert_array_equal(y, np.maximum(cpu.conv2d_forward(*case.forward), 0))
        dy, *rest = case.backward
        for got, expected in zip(cpu.conv2d_relu_backward(dy, y, *rest),
                                 cpu.conv2d_backward(reference.relu_backward(dy, y), *rest)):
            np.testing.assert_array_equal(got, expected)

    check()


@pytest.mark.parametrize("limit", [64, 2_000, 20_000])
@pytest.mark.parametrize("kernel, pool_size, stride", [(3, 2, 1), (1, (3, 1), 1), (4, (2, 5), (2, 1))])
def test_bands_hold_whole_windows(units_of, limit, kernel, pool_size, stride):
    units_of(limit)
    x, w, b = values(1, (5, 17, 26, 3)), values(2, (kernel, kernel, 3, 20)), values(3, (20,))
    y, argmax = cpu.conv2d_relu_max_pool2d_forward(x, w, b, stride, ((1, 0), (0, 1)), pool_size)
    dy = values(4, y.shape)
    got = cpu.conv2d_relu_max_pool2d_backward(dy, y, argmax, x, w, stride, ((1, 0), (0, 1)), pool_size)
    before = reference.relu_forward(im2col.conv2d_forward(x, w, b, stride, ((1, 0), (0, 1))))
    expected_y, expected_argmax = im2col.max_pool2d_forward(before, pool_size)
    assert_close(y, expected_y, rtol=1e-13)
    np.testing.assert_array_equal(argmax, expected_argmax)
    gradient = reference.relu_backward(im2col.max_pool2d_backward(dy, argmax, before.shape, pool_size), before)
    for a, e in zip(got, im2col.conv2d_backward(gradient, x, w, stride, ((1, 0), (0, 1)))):
        assert_close(a, e, rtol=1e-12)


def test_a_fused_window_of_more_than_256_places():
    x, w = values(1, (2, 19, 18, 3)), values(2, (1, 1, 3, 5))
    y, argmax = cpu.conv2d_relu_max_pool2d_forward(x, w, pool_size=(19, 18))
    before = im2col.conv2d_forward(x, w)
    np.testing.assert_array_equal(argmax, reference.max_pool2d_forward(np.maximum(before, 0), (19, 18))[1])
    dx, _, db = cpu.conv2d_relu_max_pool2d_backward(y, y, argmax, x, w, pool_size=(19, 18))
    assert_close(db, y.sum((0, 1, 2)), rtol=1e-13)
    assert np.count_nonzero(dx.any(-1)) <= 2 * 5  # one place for every image and channel


@pytest.mark.parametrize("change, error, message", [
    ({"pool_size": 5}, ValueError, "pool_size: a window of 5x5 does not fit"),
    ({"pool_size": 0}, ValueError, "pool_size: expected at least 1, got 0"),
    ({"dy": np.zeros((2, 4, 4, 6))}, ValueError, r"dy: expected shape \(2, 2, 2, 6\), got \(2, 4, 4, 6\)"),
    ({"y": np.zeros((2, 2, 2, 6), np.float32)}, TypeError, "y: expected dtype float64"),
    ({"argmax": np.zeros((2, 2, 2, 6))}, TypeError, "argmax: expected the integer array"),
    ({"argmax": np.full((2, 2, 2, 6), 4)}, ValueError, "argmax: expected indices inside the 2x2 window, got 4 to 4"),
    ({"x": np.zeros((2, 6, 6, 3))}, ValueError, "w: expected shape"),
])
def test_bad_input_of_the_fused_pooling(change, error, message):
    x, w = values(1, (2, 6, 6, 2)), values(2, (3, 3, 2, 6))
    y, argmax = cpu.conv2d_relu_max_pool2d_forward(x, w)
    arguments = {"dy": y, "y": y, "argmax": argmax, "x": x, "w": w, "pool_size": 2, **change}
    with pytest.raises(error, match=message):
        cpu.conv2d_relu_max_pool2d_backward(**arguments)


@FEW
@given(case=dense_cases(FLOATS, max_images=9, max_inputs=80, max_outputs=70))
def test_dense(case):
    positive = case.absolute()
    assert_sums(cpu.dense_forward(*case.forward), reference.dense_forward(*case.forward),
                reference.dense_forward(*positive.forward), "y")
    for name, got, expected, scale in zip(
            ("dx", "dw", "db"), cpu.dense_backward(*case.backward), reference.dense_backward(*case.backward),
            reference.dense_backward(*positive.backward)):
        assert_sums(got, expected, scale, name)


@pytest.mark.parametrize("rows", [256, 257, 2500])
def test_a_dense_layer_of_more_rows_than_a_unit_has(rows):
    x, w, b, dy = values(1, (rows, 21)), values(2, (21, 37)), values(3, (37,)), values(4, (rows, 37))
    plan = plans.plan_of((rows, 1, 1, 21), (1, 1), 37, (1, 1), kernels.NO_PADDING, (1, 1), 8, 1)
    assert plan.images <= plans.UNIT_ROWS and (plan.images == rows) == (rows <= plans.UNIT_ROWS)
    y = cpu.dense_relu_forward(x, w, b)
    for got, expected in zip((y, *cpu.dense_relu_backward(dy, y, x, w)),
                             (np.maximum(x @ w + b, 0), (dy * (y > 0)) @ w.T, x.T @ (dy * (y > 0)),
                              (dy * (y > 0)).sum(axis=0))):
        assert_close(got, expected, rtol=1e-12)


@pytest.mark.parametrize("workers", [1, 2, 3, 4, 16])
@pytest.mark.parametrize("outputs", [1, 10, 64, 130, 576, 5408])
def test_all_workers_have_a_part_of_a_dense_layer(outputs, workers):
    rows = 32
    plan = plans.plan_of((rows, 1, 1, 5), (1, 1), outputs, (1, 1), kernels.NO_PADDING, (1, 1), 4, workers)
    panels = math.ceil(outputs / (simd.PANEL * simd.lanes(np.dtype(np.float32))))
    tasks = math.ceil(rows / plan.images) * panels
    assert math.ceil(tasks / workers) <= 1.15 * tasks / workers


def backward_calls(channels=5):
    """The functions of ``kernels.OUT``, with arguments: name, function, arguments, shape of w."""
    x, w = values(1, (3, 6, 6, channels)), values(2, (3, 3, channels, 7))
    y, dy = cpu.conv2d_relu_forward(x, w), values(3, (3, 4, 4, 7))
    rows, matrix = values(4, (9, 30)), values(5, (30, 20))
    out, dout = cpu.dense_relu_forward(rows, matrix), values(6, (9, 20))
    pooled, argmax = cpu.conv2d_relu_max_pool2d_forward(x, w)
    return {"conv2d_backward": ((dy, x, w), w.shape), "conv2d_relu_backward": ((dy, y, x, w), w.shape),
            "conv2d_relu_max_pool2d_backward": ((values(7, pooled.shape), pooled, argmax, x, w), w.shape),
            "dense_backward": ((dout, rows, matrix), matrix.shape),
            "dense_relu_backward": ((dout, out, rows, matrix), matrix.shape)}


@pytest.mark.parametrize("channels", [5, 16])
@pytest.mark.parametrize("name", kernels.OUT)
def test_gradients_are_written_where_they_are_wanted(name, channels):
    arguments, shape = backward_calls(channels)[name]
    expected = getattr(cpu, name)(*arguments)
    for use_bias in (True, False):
        vector = np.full(5 + math.prod(shape) + shape[-1], 8.5)  # places in a vector begin anywhere
        dw, db = vector[3:3 + math.prod(shape)].reshape(shape), vector[-2 - shape[-1]:-2] if use_bias else None
        got = getattr(cpu, name)(*arguments, out=(dw, db))
        assert got[1] is dw and (got[2] is db or not use_bias)
        for a, b in zip(got, expected):
            np.testing.assert_array_equal(a, b)
        assert (vector[:3] == 8.5).all() and (vector[-2:] == 8.5).all()


@pytest.mark.parametrize("name", kernels.OUT)
def test_gradients_of_an_empty_batch_are_written_too(name):
    arguments, shape = backward_calls()[name]
    arguments = [a[:0] if len(a) in (3, 9) and a.shape != shape else a for a in arguments]
    dw, db = np.full(shape, 8.5), np.full(shape[-1:], 8.5)
    getattr(cpu, name)(*arguments, out=(dw, db))
    assert not dw.any() and not db.any()


@pytest.mark.parametrize("name", kernels.OUT)
@pytest.mark.parametrize("change, error, message", [
    (lambda dw, db: (dw.ravel(), db), ValueError, r"out\[0\]: expected . dimensions"),
    (lambda dw, db: (dw[..., :-1], db), ValueError, r"out\[0\]: expected shape"),
    (lambda dw, db: (dw[::-1], db), ValueError, r"out\[0\]: expected a C-contiguous"),
    (lambda dw, db: (dw.astype(">f8"), db), ValueError, r"out\[0\]: expected a C-contiguous"),
    (lambda dw, db: (dw.astype(np.float32), db), TypeError, r"out\[0\]: expected dtype float64"),
    (lambda dw, db: (dw.tolist(), db), TypeError, r"out\[0\]: expected a NumPy array"),
    (lambda dw, db: (dw, np.broadcast_to(np.float64(0), db.shape)), ValueError, r"out\[1\]: expected a C-contiguous"),
    (lambda dw, db: (dw, np.frombuffer(db.tobytes())), ValueError, r"out\[1\]: expected a writeable"),
    (lambda dw, db: (dw, db[1:]), ValueError, r"out\[1\]: expected shape"),
])
def test_places_that_gradients_cannot_be_written_to(name, change, error, message):
    arguments, shape = backward_calls()[name]
    dw, db = np.full(shape, 8.5), np.full(shape[-1:], 8.5)
    with pytest.raises(error, match=message):
        getattr(cpu, name)(*arguments, out=change(dw, db))
    assert (dw == 8.5).all() and (db == 8.5).all()


@settings(max_examples=60, deadline=None)
@given(pool2d_cases(FLOATS, max_size=12, max_channels=40))
def test_pooling(case):
    y, argmax = cpu.max_pool2d_forward(case.x, *case.window)
    expected_y, expected_argmax = im2col.max_pool2d_forward(case.x, *case.window)
    np.testing.assert_array_equal(y, expected_y)
    np.testing.assert_array_equal(argmax, expected_argmax)
    scale = np.abs(case.dy).max(initial=0.0) * np.prod(case.pool_size) ** 2
    dx = cpu.max_pool2d_backward(case.dy, argmax, case.x.shape, *case.window)
    assert_close(dx, im2col.max_pool2d_backward(case.dy, argmax, case.x.shape, *case.window), scale)
    assert_close(cpu.avg_pool2d_forward(case.x, *case.window), im2col.avg_pool2d_forward(case.x, *case.window), 4.0)
    assert_close(cpu.avg_pool2d_backward(case.dy, case.x.shape, *case.window),
                 im2col.avg_pool2d_backward(case.dy, case.x.shape, *case.window), scale)


@pytest.mark.parametrize("limit", [64, 2_000, 20_000])
@pytest.mark.parametrize("channels", [3, 20])
@pytest.mark.parametrize("stride, padding", [
    (1, ((1, 1), (1, 1))), ((2, 1), ((0, 2), (3, 0))), ((3, 4), ((0, 0), (0, 0))), (2, ((3, 3), (3, 3)))])
def test_bands_and_groups_of_images_fit_together(units_of, limit, channels, stride, padding):
    units_of(limit)  # units of a single row, of bands, of several images
    x, w = values(1, (5, 17, 13, channels)), values(2, (3, 4, channels, 20))
    y = cpu.conv2d_forward(x, w, None, stride, padding)
    dy = values(3, y.shape)
    got = y, *cpu.conv2d_backward(dy, x, w, stride, padding)
    expected = im2col.conv2d_forward(x, w, None, stride, padding), *im2col.conv2d_backward(dy, x, w, stride, padding)
    for a, b in zip(got, expected):
        assert_close(a, b, rtol=1e-13)


@pytest.mark.parametrize("limit", [64, 2_000, 20_000, 200_000])
@pytest.mark.parametrize("channels, kernel, padding, pool_size", [
    (70, (3, 3), ((1, 1), (1, 1)), 0), (20, (3, 2), ((0, 2), (1, 0)), 0), (17, (2, 3), ((0, 0), (0, 0)), 2),
    (16, (3, 3), ((2, 1), (2, 2)), (2, 3))])
def test_a_gathered_dx(units_of, all_pixels, limit, channels, kernel, padding, pool_size):
    units_of(limit)
    x, w = values(1, (5, 24, 26, channels)), values(2, (*kernel, channels, 7))
    before = im2col.conv2d_forward(x, w, None, 1, padding)
    y = np.maximum(before, 0)
    if pool_size:
        pooled, argmax = cpu.max_pool2d_forward(y, pool_size)
        dy = values(3, pooled.shape)
        got = cpu.conv2d_relu_max_pool2d_backward(dy, pooled, argmax, x, w, 1, padding, pool_size)
        dy = cpu.max_pool2d_backward(dy, argmax, y.shape, pool_size)
    else:
        dy = values(3, y.shape)
        got = cpu.conv2d_relu_backward(dy, y, x, w, 1, padding)
    assert setups.gather.cache_info().currsize == 1
    assert setups.spread.cache_info().currsize == 0
    for a, b in zip(got, im2col.conv2d_backward(np.where(before > 0, dy, 0), x, w, 1, padding)):
        assert_close(a, b, rtol=1e-13)


@pytest.mark.parametrize("special", [np.nan, np.inf])
def test_a_border_of_zeros_stays_out_of_dx(units_of, special):
    units_of(1 << 18)
    x, w = values(1, (2, 18, 18, 20)), values(2, (3, 3, 20, 7))
    w[0, 0, 3, 5] = special
    dy = values(3, (2, 18, 18, 7))
    padding = ((1, 1), (1, 1))
    dx = cpu.conv2d_backward(dy, x, w, 1, padding)[0]
    expected = reference.conv2d_backward(dy, x, w, 1, padding)[0]
    assert setups.gather(x.shape, w.shape, (1, 1), padding, (18, 18), x.dtype, threads.get_num_threads(), False, (0, 0))
    np.testing.assert_array_equal(np.isfinite(dx), np.isfinite(expected))
    assert not np.isfinite(dx[:, 3, 3, 3]).any() and np.isfinite(dx[:, -1:]).all()


@pytest.mark.parametrize("images, size, channels, kernel, outputs", [
    (1, 1, 2048, 1, 130), (1, 3, 1, 3, 2048), (2, 7, 260, 3, 65), (300, 1, 700, 1, 10), (9, 24, 3, 24, 33),
    (3, 9, 3, 5, 20), (2, 18, 1, 16, 5), (2, 11, 3, 6, 9), (1, 3, 3, 3, 40)])
def test_unusual_sizes(images, size, channels, kernel, outputs):
    x, w = values(1, (images, size, size, channels)), values(2, (kernel, kernel, channels, outputs))
    y = cpu.conv2d_forward(x, w)
    dy = values(3, y.shape)
    for a, b in zip((y, *cpu.conv2d_backward(dy, x, w)), (im2col.conv2d_forward(x, w),
                                                          *im2col.conv2d_backward(dy, x, w))):
        assert_close(a, b, rtol=1e-12)


def test_an_argmax_of_more_than_256_places():
    x = values(1, (2, 20, 18, 5))
    y, argmax = cpu.max_pool2d_forward(x, (20, 18))
    np.testing.assert_array_equal(argmax, reference.max_pool2d_forward(x, (20, 18))[1])
    np.testing.assert_array_equal(cpu.max_pool2d_backward(y, argmax, x.shape, (20, 18)),
                                  reference.max_pool2d_backward(y, argmax, x.shape, (20, 18)))


def test_moments_do_not_become_subnormal():
    for dtype in FLOATS:
        tiny = np.finfo(dtype).tiny
        parameters, gradients, first, second = np.zeros((4, 40), dtype)
        first[:], second[:] = tiny, tiny
        cpu.adam_step(parameters, gradients, first, second, 1)
        assert (first == 0).all() and (second == 0).all()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(
    st.integers(0, 5), st.sampled_from([((5_000,), np.float32), ((50, 50), np.float64), ((5_500,), np.float32),
                                        ((70_000,), np.float32)]), st.sampled_from(["itself", "a view", "its memory"])),
    max_size=40))
def test_the_pool_never_hands_out_memory_that_is_in_use(actions):
    held = {}
    for name, (shape, dtype), what in actions:
        held.pop(name, None)
        array = workspace.empty(shape, np.dtype(dtype))
        assert array.shape == shape and array.dtype == dtype and array.flags.carray and array.ctypes.data % 64 == 0
        array[...] = name
        held[name] = array, array.copy()
        if what != "itself":  # what is held keeps the memory, though the array that was handed out is gone
            view = array.ravel()[10:20].reshape(2, 5).T
            held[name] = (view, view.copy()) if what == "a view" else (array.base, array.base.copy())
            del view
        del array
        for kept, then in held.values():
            np.testing.assert_array_equal(kept, then)


def test_the_pool_keeps_no_more_than_its_limit(monkeypatch):
    monkeypatch.setattr(workspace, "_buffers", {})  # other tests' arrays may still wait for the garbage collector
    monkeypatch.setattr(workspace, "IDLE_BYTES", 1_000_000)
    for size in range(100_000, 1_000_000, 50_000):
        workspace.Results((size,), np.uint8).empty()
    assert sum(len(buffer.memory) for buffers in workspace._buffers.values() for buffer in buffers) < 1_200_000
    workspace.clear()
    assert not any(workspace._buffers.values())


def test_scratch_of_one_name_is_one_memory_that_grows(monkeypatch):
    monkeypatch.setattr(workspace, "_scratch", threading.local())
    float32, float64 = np.dtype(np.float32), np.dtype(np.float64)
    room, table = workspace.Room, np.arange(3)
    small = workspace.Fixed([room("a", (2, 50), float32), table, room("b", (3,), float64)])
    large = workspace.Fixed([room("a", (10, 500), float64), room("b", (2,), float64), room("c", (9, 0), float32)])
    a, same, b = workspace.arguments(small)
    assert same is table
    assert (a.shape, a.dtype, b.shape, b.dtype) == ((2, 50), float32, (3,), float64)
    assert not np.shares_memory(a, b)
    assert workspace.arguments(small)[0] is a
    arrays = workspace.arguments(large)
    assert [array.shape for array in arrays] == [(10, 500), (2,), (9, 0)]
    assert np.shares_memory(arrays[1], b) and not np.shares_memory(arrays[0], a)  # the first had to grow
    assert np.shares_memory(arrays[0], workspace.arguments(small)[0])
    assert all(array.ctypes.data % 64 == 0 for array in arrays)
    elsewhere = []
    thread = threading.Thread(target=lambda: elsewhere.extend(workspace.arguments(large)))
    thread.start()
    thread.join()
    assert not np.shares_memory(elsewhere[0], arrays[0])


def test_scratch_forgets_calls_that_are_long_past(monkeypatch):
    monkeypatch.setattr(workspace, "_scratch", threading.local())
    monkeypatch.setattr(workspace, "MOST_KEPT", 20)
    addresses = set()
    for size in [100_000, *range(1, 100)]:
        (array,) = workspace.arguments(workspace.Fixed([workspace.Room("a", (size,), np.dtype(np.int32))]))
        addresses.add(array.ctypes.data)
        assert len(workspace._scratch.__dict__) <= 22
    assert len(addresses) == 1


@pytest.mark.parametrize("dtype, planted", [(np.uint8, (0, 201)), (np.int64, (-3, 50, 2**40))])
@pytest.mark.parametrize("size", [1, 2, 32, 1001, 200_001])
def test_extremes(dtype, planted, size):
    numbers = np.random.default_rng(size).integers(1, 100, size).astype(dtype)
    assert tuple(cpu.checks.extremes(numbers)) == (numbers.min(), numbers.max())
    compiled = len(cpu.checks._extremes.signatures)
    for at in {0, size // 2, size - 1}:
        for value in planted:
            numbers[at] = value
            locked = numbers.copy()
            locked.flags.writeable = False
            for array in (numbers, numbers[::-1], np.repeat(numbers, 2)[::2], numbers.astype(">i8"),
                          numbers.astype(np.int8), locked):
                assert tuple(cpu.checks.extremes(array)) == (array.min(), array.max())
    assert len(cpu.checks._extremes.signatures) == compiled


@pytest.mark.parametrize("step", [1, 3, 7, 100])
def test_count_positive(step):
    numbers = values(step, (1000,))
    numbers[:30:3] = 0, -0.0, math.nan, math.inf, -math.inf, 5e-324, -5e-324, 1, 2, 3
    assert winners.count_positive(numbers, step) == np.count_nonzero(numbers[::step] > 0)


@numba.njit
def exponentials(x):
    y = np.empty_like(x)
    for i in range(len(x)):
        y[i] = exponential(x[i], x.dtype.type)
    return y


@pytest.mark.parametrize("dtype, lowest", [(np.float32, -87.33654), (np.float64, -708.3964185322641)])
def test_exponentials(dtype, lowest):
    number = np.finfo(dtype)
    x = -np.concatenate([np.linspace(0, -lowest, 200_001), np.geomspace(1e-30, 1, 1001),
                         np.log(2) * (np.arange(-lowest) + 0.5)]).astype(dtype)  # the last ones lie between two n
    exact = np.exp(x.astype(np.longdouble))
    got = exponentials(x)
    assert got.dtype == dtype and np.max(np.abs(got - exact) / exact) <= 2 * number.eps
    extremes = exponentials(np.array([0, -0.0, -math.inf, math.nan, 1.01 * lowest, -1e30, -number.max], dtype))
    np.testing.assert_array_equal(extremes, [1, 1, 0, math.nan, 0, 0, 0])


def test_memory_is_used_again():
    first = workspace.empty((100_000,), np.dtype(np.float64))
    address = first.ctypes.data
    del first
    assert workspace.empty((99_000,), np.dtype(np.float64)).ctypes.data == address


def test_read_only_arguments_need_no_other_kernel():
    x, w = values(1, (2, 5, 5, 3)), values(2, (3, 3, 3, 4))
    y = cpu.conv2d_forward(x, w)
    compiled = len(conv2d.convolve.signatures)
    x.flags.writeable = w.flags.writeable = False
    np.testing.assert_array_equal(cpu.conv2d_forward(x, w), y)
    assert len(conv2d.convolve.signatures) == compiled


def test_kernels_count_no_references():
    fresh = numba.njit(**compiling.OPTIONS)(lambda workers, *arguments: convolution.add_splits(workers, *arguments))
    partial, sums, dw, db = values(1, (3, 8)), values(2, (3, 2)), np.empty(8), np.empty(2)
    threads.run(fresh, 0, dw, db, partial.ravel(), sums, 3)
    np.testing.assert_allclose(dw, partial.sum(axis=0))
    np.testing.assert_allclose(db, sums.sum(axis=0))
    (text,) = fresh.inspect_llvm().values()
    assert "add_splits" in text and "NRT_" not in text


@pytest.mark.parametrize("number, error", [(0, ValueError), (10_000, ValueError), (True, TypeError), (1.5, TypeError)])
def test_a_wrong_number_of_threads(number, error):
    before = cpu.get_num_threads()
    with pytest.raises(error, match="set_num_threads: expected"):
        cpu.set_num_threads(number)
    assert cpu.get_num_threads() == before


def test_the_number_of_threads_is_a_setting():
    before = cpu.get_num_threads()
    try:
        cpu.set_num_threads(1)
        assert cpu.get_num_threads() == 1
    finally:
        cpu.set_num_threads(before)
    assert threads.physical_cores() >= 1


@pytest.mark.parametrize("name, rung, shows", ladder.RUNGS, ids=[name for name, *_ in ladder.RUNGS])
def test_every_rung_of_the_ladder_is_a_convolution(name, rung, shows):
    x, w, b = values(1, (3, 8, 7, 5)), values(2, (3, 2, 5, 37)), values(3, (37,))
    for stride, padding in ((1, ((0, 0), (0, 0))), ((2, 1), ((1, 0), (2, 1)))):
        assert_close(rung(x, w, b, stride, padding), im2col.conv2d_forward(x, w, b, stride, padding), rtol=1e-13)
        assert_close(rung(x, w, None, stride, padding), im2col.conv2d_forward(x, w, None, stride, padding), rtol=1e-13)
