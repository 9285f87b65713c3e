"""Convolution and dense layers against the reference, through every tile, split and flag of the two products."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from strategies import FLOATS, RTOL, assert_close, conv2d_cases, dense_cases, values

from kernels import im2col, reference

pytestmark = pytest.mark.cuda
cuda = pytest.importorskip("kernels.cuda")

SIMPLE = ((0, 0), (0, 0))


def on_device(*arguments):
    return [cuda.asarray(value) if isinstance(value, np.ndarray) else value for value in arguments]


def assert_same(name, arguments, positive):
    """The cuda operation gives what the reference does, to the roundings of its sum of absolute products."""
    got = getattr(cuda, name)(*on_device(*arguments))
    expected, scale = getattr(im2col, name)(*arguments), getattr(im2col, name)(*positive)
    if not isinstance(expected, tuple):
        got, expected, scale = (got,), (expected,), (scale,)
    for what, *arrays in zip(("y",) if name.endswith("forward") else ("dx", "dw", "db"), got, expected, scale):
        if arrays == [None, None, None]:
            continue
        assert_close(cuda.to_numpy(arrays[0]), arrays[1], arrays[2], what=f"{what} of {name}")


@settings(deadline=None, max_examples=15)
@given(conv2d_cases(FLOATS, max_images=2, max_size=6, max_channels=5, max_outputs=6))
def test_convolution_of_any_shape(case):
    positive = case.absolute()
    assert_same("conv2d_forward", case.forward, positive.forward)
    assert_same("conv2d_backward", case.backward, positive.backward)


@settings(deadline=None, max_examples=15)
@given(dense_cases(FLOATS, max_outputs=9))
def test_dense_of_any_shape(case):
    positive = case.absolute()
    assert_same("dense_forward", case.forward, positive.forward)
    assert_same("dense_backward", case.backward, positive.backward)


@pytest.fixture
def force(monkeypatch):
    """Prescribe the tile and the number of partial sums."""
    from kernels.cuda import tiles

    def force(tile, splits):
        def plan(rows, columns, depth, T, narrow=False):
            chunk = -(-depth // (splits * tile.BK)) * tile.BK
            return tiles.Plan(tile, -(-depth // chunk), chunk,
                              (-(-rows // tile.BM), -(-columns // tile.BN), -(-depth // chunk)))
        monkeypatch.setattr(tiles, "plan", plan)

    return force


#: One row and one column more than a tile has, or a few that make no full vector.
RAGGED = {"LARGE": (135, 68), "TALL": (135, 35), "MEDIUM": (72, 65), "SMALL": (36, 34)}


@pytest.mark.parametrize("name, dtype, splits", [
    *((name, np.float32, 1) for name in RAGGED), ("SMALL", np.float32, 2), ("MEDIUM", np.float64, 1),
    ("SMALL", np.float64, 2)])
def test_every_tile_with_ragged_edges(force, monkeypatch, name, dtype, splits):
    """Each of the three products with few terms and more than one tile either way."""
    from kernels.cuda import conv2d, tiles
    force(getattr(tiles, name), splits)
    rows, columns = RAGGED[name]
    padding = ((1, 0), (0, 1))  # images and results of 3 x 3 pixels
    x, w = values(1, (rows // 9, 3, 3, 4), dtype), values(2, (2, 2, 4, columns), dtype)
    assert_same("conv2d_forward", (x, w, None, 1, padding), (np.abs(x), np.abs(w), None, 1, padding))

    dy, w = values(3, (rows // 9, 3, 3, 4), dtype), values(4, (2, 2, columns, 4), dtype)
    x = values(5, (rows // 9, 3, 3, columns), dtype)
    with monkeypatch.context() as patch:
        patch.setattr(conv2d, "weight_gradients", lambda *arguments: (None, None))
        dx, _, _ = cuda.conv2d_backward(*on_device(dy, x, w, 1, padding))
    assert_close(cuda.to_numpy(dx), im2col.conv2d_backward(dy, x, w, 1, padding)[0],
                 im2col.conv2d_backward(np.abs(dy), x, np.abs(w), 1, padding)[0])

    channels = rows // 16 * 4 if name == "TALL" else rows // 4  # TALL has too few threads for loads of one element
    x, dy = values(6, (1, 4, 4, channels), dtype), values(7, (1, 3, 3, columns), dtype)
    w = np.zeros((2, 2, channels, columns), dtype)
    assert_same("conv2d_backward", (dy, x, w, 1, SIMPLE, False), (np.abs(dy), np.abs(x), w, 1, SIMPLE, False))


@pytest.mark.parametrize("dtype", FLOATS, ids=("float32", "float64"))
@pytest.mark.parametrize("channels, outputs", [(4, 8), (4, 5), (3, 8), (3, 5)])
@pytest.mark.parametrize("splits", [1, 2])
def test_the_fused_relu_is_the_composition(force, channels, outputs, splits, dtype):
    from kernels.cuda import tiles
    force(tiles.SMALL, splits)
    x, w, b = values(1, (2, 4, 3, channels), dtype), values(2, (2, 2, channels, outputs), dtype), values(3, (outputs,),
                                                                                                       dtype)
    y = cuda.conv2d_relu_forward(*on_device(x, w, b, (2, 1)))
    expected = reference.relu_forward(reference.conv2d_forward(x, w, b, (2, 1)))
    assert_close(cuda.to_numpy(y), expected, 10.0)
    dy = values(4, expected.shape, dtype)
    got = cuda.conv2d_relu_backward(*on_device(dy), y, *on_device(x, w, (2, 1)))
    masked = reference.relu_backward(dy, cuda.to_numpy(y))
    for array, value in zip(got, reference.conv2d_backward(masked, x, w, (2, 1))):
        assert_close(cuda.to_numpy(array), value, 30.0)
    rows, matrix = x.reshape(24 * channels // 6, 6), values(5, (6, outputs), dtype)
    y = cuda.dense_relu_forward(*on_device(rows, matrix, b))
    assert_close(cuda.to_numpy(y), reference.relu_forward(reference.dense_forward(rows, matrix, b)), 10.0)
    dy = values(6, y.shape, dtype)
    got = cuda.dense_relu_backward(*on_device(dy), y, *on_device(rows, matrix))
    for array, value in zip(got, reference.dense_backward(reference.relu_backward(dy, cuda.to_numpy(y)), rows, matrix)):
        assert_close(cuda.to_numpy(array), value, 30.0)


def test_relu_lets_nan_through_and_its_gradient_does_not():
    x = np.array([[np.nan, 1.0], [-1.0, 2.0]])
    w, dy = np.eye(2), np.array([[np.inf, 1.0], [np.nan, 1.0]])
    y = cuda.dense_relu_forward(*on_device(x, w))
    np.testing.assert_array_equal(cuda.to_numpy(y), [[np.nan, np.nan], [0, 2]])
    dx, _, db = cuda.dense_relu_backward(*on_device(dy), y, *on_device(x, w))
    np.testing.assert_array_equal(cuda.to_numpy(dx), [[0, 0], [0, 1]])
    np.testing.assert_array_equal(cuda.to_numpy(db), [0, 1])


@pytest.mark.parametrize("shift", [1, 2, 3])
def test_weights_at_any_place_of_the_flat_vector(shift):
    """Parameters are slices of one vector: where they do not start at 16 bytes, no load of 128 bits may be used."""
    dtype, channels, outputs = np.float32, 4, 8
    w, x = values(1, (2, 2, channels, outputs), dtype), values(2, (1, 3, 3, channels), dtype)
    dy = values(3, (1, 2, 2, outputs), dtype)
    vector = cuda.asarray(np.concatenate([np.full(shift, np.nan, dtype), w.reshape(-1), np.full(5, np.nan, dtype)]))
    view = vector[shift:shift + w.size].reshape(w.shape)
    assert not view.is_aligned
    assert_close(cuda.to_numpy(cuda.conv2d_forward(cuda.asarray(x), view)), reference.conv2d_forward(x, w), 10.0)
    dx = cuda.conv2d_backward(*on_device(dy, x), view)[0]
    assert_close(cuda.to_numpy(dx), reference.conv2d_backward(dy, x, w)[0], 10.0)


def test_batches_that_are_slices():
    x, w = values(1, (5, 3, 3, 1), np.float32), values(2, (2, 2, 1, 4), np.float32)
    batch = cuda.asarray(x)[1:3]
    assert not batch.is_aligned
    y = cuda.conv2d_forward(batch, cuda.asarray(w))
    assert_close(cuda.to_numpy(y), reference.conv2d_forward(x[1:3], w), 10.0)


@pytest.mark.parametrize("padding, stride", [(((2, 3), (1, 2)), 2), (((3, 0), (0, 3)), 3), (((2, 2), (2, 2)), 1)])
def test_padding_beyond_the_kernel(padding, stride):
    """Windows that see padding only; in the input gradient the padding of the flipped kernel becomes negative."""
    x, w = values(1, (2, 4, 3, 2)), values(2, (1, 2, 2, 3))
    dy = values(3, reference.conv2d_forward(x, w, None, stride, padding).shape)
    positive = [np.abs(array) for array in (dy, x, w)]
    assert_same("conv2d_forward", (x, w, None, stride, padding), (*positive[1:], None, stride, padding))
    assert_same("conv2d_backward", (dy, x, w, stride, padding), (*positive, stride, padding))


def test_an_empty_batch():
    x, w = np.zeros((0, 4, 4, 2)), values(1, (2, 2, 2, 3))
    y = cuda.conv2d_forward(*on_device(x, w))
    assert y.shape == (0, 3, 3, 3)
    dx, dw, db = cuda.conv2d_backward(y, *on_device(x, w))
    assert dx.shape == x.shape and not cuda.to_numpy(dw).any() and not cuda.to_numpy(db).any()


def test_the_plan_depends_on_the_shape_and_covers_it():
    from kernels.cuda import tiles
    for T in FLOATS:
        for rows, columns, depth in ((1, 1, 1), (9, 32, 27), (289, 64, 62000), (61952, 64, 288), (32, 10, 64),
                                     (4096 * 26 * 26, 32, 9), (577, 64, 512)):
            tile, splits, chunk, blocks = tiles.plan(rows, columns, depth, T)
            narrow = tiles.plan(rows, columns, depth, T, narrow=True).tile
            assert narrow.threads >= narrow.BM
            assert blocks[0] * tile.BM >= rows > (blocks[0] - 1) * tile.BM
            assert blocks[1] * tile.BN >= columns > (blocks[1] - 1) * tile.BN
            assert blocks[2] == splits and chunk % tile.BK == 0
            assert splits * chunk >= depth > (splits - 1) * chunk


def test_the_tolerance_would_catch_a_missing_product():
    """One product of a sum left out is seen by ``assert_close``, at the scale that is used here."""
    x, w = values(1, (2, 3, 3, 2), np.float32), values(2, (2, 2, 2, 2), np.float32)
    y, scale = reference.conv2d_forward(x, w), reference.conv2d_forward(np.abs(x), np.abs(w))
    wrong = w.copy()
    wrong[1, 1, 1, 1] = 0
    assert RTOL[np.dtype(np.float32)] < 1e-4
    with pytest.raises(AssertionError):
        assert_close(reference.conv2d_forward(x, wrong), y, scale)


def test_the_sweep_finds_the_fastest_plan_and_the_chosen_one(monkeypatch):
    from kernels.cuda import sweep, tiles
    monkeypatch.setattr(sweep, "BLOCKS", (1, 8))
    monkeypatch.setattr(sweep, "seconds_per_call", lambda call, *_: len(call().shape))
    found, own = sweep.times(sweep.calls((3, 3, 4), 4, 0, 1)["forward"], None)
    assert own in found and {plan.tile for plan in found} == set(tiles.SPEED)
    assert set(found.values()) == {4}
