"""Every rung of the ladder computes the same convolution."""

from __future__ import annotations

import numpy as np
import pytest
from strategies import FLOATS, assert_close, values

from kernels import im2col

pytestmark = pytest.mark.cuda
cuda = pytest.importorskip("kernels.cuda")

RUNGS = ("naive", "shared_tile", "register_tile", "vector_loads", "pipelined")


@pytest.mark.parametrize("rung", RUNGS)
@pytest.mark.parametrize("dtype", FLOATS, ids=("float32", "float64"))
def test_a_rung_is_the_convolution(rung, dtype):
    from kernels.cuda import ladder
    small, ragged = ((2, 4, 5, 4), (3, 2, 4, 8)), ((1, 6, 15, 4), (2, 3, 4, 68))  # 65 pixels, 68 outputs: 2 x 2 tiles
    for shape, kernel in (small, ragged) if rung in ("register_tile", "vector_loads") else (small,):
        x, w = values(1, shape, dtype), values(2, kernel, dtype)
        y = getattr(ladder, rung)(cuda.asarray(x), cuda.asarray(w))
        assert_close(cuda.to_numpy(y), im2col.conv2d_forward(x, w), im2col.conv2d_forward(np.abs(x), np.abs(w)))


@pytest.mark.parametrize("rung", [rung for rung in RUNGS if rung != "vector_loads"])
def test_any_number_of_channels(rung):
    from kernels.cuda import ladder
    x, w = values(1, (2, 4, 5, 3), np.float32), values(2, (2, 2, 3, 5), np.float32)
    y = getattr(ladder, rung)(cuda.asarray(x), cuda.asarray(w))
    assert_close(cuda.to_numpy(y), im2col.conv2d_forward(x, w), 10.0)


def test_vector_loads_want_full_vectors():
    from kernels.cuda import ladder
    x, w = cuda.zeros((1, 3, 3, 3), np.float32), cuda.zeros((2, 2, 3, 4), np.float32)
    with pytest.raises(ValueError, match="multiples of 4 channels and outputs"):
        ladder.vector_loads(x, w)


def test_the_rungs_are_those_that_main_runs():
    from kernels.cuda import ladder
    assert [rung.__name__ for _, rung, _ in ladder.RUNGS] == list(RUNGS)
