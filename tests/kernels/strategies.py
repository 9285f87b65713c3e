"""Hypothesis strategies for the arguments of the back-ends, and the comparison that goes with them.

Hypothesis draws shapes, strides, paddings and a seed; NumPy draws the numbers from the seed. So a failing example
shrinks to the smallest shape that fails, and drawing stays cheap. Sizes can be widened by the caller: a back-end with
tiles of 16 channels wants to see 17 of them.

Every ``*_cases`` strategy yields a frozen dataclass whose fields bear the names of the contract's arguments.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

import kernels

#: Relative tolerance when two back-ends are compared. In float64 it is the contract's; in float32 the two differ by
#: roundings of 6e-8 each, a few dozen of which add up in the sums of these small cases.
RTOL = {np.dtype(np.float64): 1e-12, np.dtype(np.float32): 1e-5}

FLOATS = (np.float32, np.float64)


def assert_close(got, expected, scale=None, rtol=None, what=""):
    """Assert equal shape, type and, within ``rtol * scale``, numbers (NaN and infinities in the same places).

    ``scale`` is what the rounding errors are proportional to, element by element. For a sum of products that is the
    sum of the *absolute* products, which the operation itself yields when it is given absolute values. Without it the
    largest finite magnitude in ``expected`` is taken.
    """
    assert isinstance(got, np.ndarray), f"{what}: expected an array, got {type(got).__name__}"
    assert got.shape == expected.shape, f"{what}: shape {got.shape}, expected {expected.shape}"
    assert got.dtype == expected.dtype, f"{what}: dtype {got.dtype}, expected {expected.dtype}"
    if expected.size == 0:
        return
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(got[~finite], expected[~finite], err_msg=f"{what}: NaN and infinity")
    if scale is None:
        scale = np.max(np.abs(expected[finite]), initial=0.0)
    scale = np.broadcast_to(scale, expected.shape)[finite]
    rtol = RTOL[expected.dtype] if rtol is None else rtol
    error = np.abs(got[finite] - expected[finite])
    worst = np.max(error - rtol * scale, initial=0.0)
    assert not (worst > 0 or np.isnan(error).any()), (
        f"{what}: off by up to {error.max()} where {rtol} of {scale[np.argmax(error)]} is allowed")


def values(seed, shape, dtype=np.float64, kind="normal"):
    """Numbers of one kind: ``normal``; ``ties`` (small integers); ``special`` (with NaN, infinities and zeros)."""
    rng = np.random.default_rng(seed)
    if kind == "ties":
        return rng.integers(-2, 3, shape).astype(dtype)
    array = rng.normal(size=shape).astype(dtype)
    if kind == "special":
        choices = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0], dtype)
        array = np.where(rng.random(shape) < 0.3, rng.choice(choices, shape), array)
    return array


def seeds():
    """Seeds for ``values``."""
    return st.integers(0, 2**32 - 1)


def pairs(low, high):
    """An integer, or a pair (vertical, horizontal)."""
    return st.one_of(st.integers(low, high), st.tuples(st.integers(low, high), st.integers(low, high)))


def as_pair(value):
    """``value`` as a pair."""
    return value if isinstance(value, tuple) else (value, value)


@dataclass(frozen=True)
class Conv2DCase:
    """Arguments of ``conv2d_forward`` (``forward``) and ``conv2d_backward`` (``backward``)."""

    x: np.ndarray
    w: np.ndarray
    b: np.ndarray | None
    dy: np.ndarray
    stride: int | tuple
    padding: tuple

    @property
    def forward(self):
        return self.x, self.w, self.b, self.stride, self.padding

    @property
    def backward(self):
        return self.dy, self.x, self.w, self.stride, self.padding

    def absolute(self):
        """The same case with absolute values, for the sums of absolute products."""
        b = None if self.b is None else np.abs(self.b)
        return Conv2DCase(np.abs(self.x), np.abs(self.w), b, np.abs(self.dy), self.stride, self.padding)


@st.composite
def conv2d_cases(draw, dtypes=(np.float64,), max_images=3, max_size=7, max_channels=3, max_outputs=4, max_kernel=4,
                 max_stride=3, max_padding=3, kind="normal"):
    """Convolutions whose kernel fits the padded image at least once; the batch may be empty."""
    images = draw(st.integers(0, max_images))
    sizes, kernel, padding = [], [], []
    for _axis in range(2):
        sizes.append(draw(st.integers(1, max_size)))
        padding.append((draw(st.integers(0, max_padding)), draw(st.integers(0, max_padding))))
        kernel.append(draw(st.integers(1, min(max_kernel, sizes[-1] + sum(padding[-1])))))
    channels, outputs = draw(st.integers(1, max_channels)), draw(st.integers(1, max_outputs))
    stride = draw(pairs(1, max_stride))
    dtype, seed = draw(st.sampled_from(dtypes)), draw(seeds())
    y_shape = (images, *(_windows(*args) for args in zip(sizes, kernel, as_pair(stride), padding)), outputs)
    return Conv2DCase(
        x=values(seed, (images, *sizes, channels), dtype, kind),
        w=values(seed + 1, (*kernel, channels, outputs), dtype),
        b=values(seed + 2, (outputs,), dtype) if draw(st.booleans()) else None,
        dy=values(seed + 3, y_shape, dtype, kind),
        stride=stride, padding=tuple(padding))


def case_with_result(result, images, kernel, channels, outputs, stride, padding, dtype, seed, kind, rest=(0, 0)):
    """A case whose result has so many rows and columns, or more where padding alone makes them.

    Of the images the last ``rest`` rows and columns, fewer than a stride, are in no window.
    """
    sizes = [max(1, (n - 1) * s + k - sum(p) + r) for n, s, k, p, r in zip(result, stride, kernel, padding, rest)]
    y_shape = (images, *(_windows(*args) for args in zip(sizes, kernel, stride, padding)), outputs)
    return Conv2DCase(
        x=values(seed, (images, *sizes, channels), dtype, kind),
        w=values(seed + 1, (*kernel, channels, outputs), dtype, kind),
        b=values(seed + 2, (outputs,), dtype),
        dy=values(seed + 3, y_shape, dtype, kind),
        stride=tuple(stride), padding=tuple(padding))


@dataclass(frozen=True)
class Pool2DCase:
    """Arguments of the pooling functions; ``window`` are the three that all of them take last."""

    x: np.ndarray
    dy: np.ndarray
    pool_size: int | tuple
    stride: int | tuple | None
    padding: tuple

    @property
    def window(self):
        return self.pool_size, self.stride, self.padding


@st.composite
def pool2d_cases(draw, dtypes=(np.float64,), max_images=3, max_size=7, max_channels=3, max_pool=4, max_stride=4,
                 kinds=("normal", "ties", "special")):
    """Poolings whose window fits the padded image, with padding smaller than the window; the batch may be empty."""
    images, channels = draw(st.integers(0, max_images)), draw(st.integers(1, max_channels))
    sizes = [draw(st.integers(1, max_size)) for _axis in range(2)]
    pool_size = draw(pairs(1, max_pool))
    padding = []
    for size, pool in zip(sizes, as_pair(pool_size)):
        before, after = draw(st.integers(0, pool - 1)), draw(st.integers(0, pool - 1))
        missing = pool - (size + before + after)  # at most what both sides may still take: pool <= size + 2 (pool - 1)
        while missing > 0:
            before, after = (before + 1, after) if before < pool - 1 else (before, after + 1)
            missing -= 1
        padding.append((before, after))
    stride = draw(st.one_of(st.none(), pairs(1, max_stride)))
    step = as_pair(pool_size if stride is None else stride)
    dtype, seed, kind = draw(st.sampled_from(dtypes)), draw(seeds()), draw(st.sampled_from(kinds))
    y_shape = (images, *(_windows(*args) for args in zip(sizes, as_pair(pool_size), step, padding)), channels)
    return Pool2DCase(x=values(seed, (images, *sizes, channels), dtype, kind), dy=values(seed + 1, y_shape, dtype),
                      pool_size=pool_size, stride=stride, padding=tuple(padding))


@dataclass(frozen=True)
class DenseCase:
    """Arguments of ``dense_forward`` (``forward``) and ``dense_backward`` (``backward``)."""

    x: np.ndarray
    w: np.ndarray
    b: np.ndarray | None
    dy: np.ndarray

    @property
    def forward(self):
        return self.x, self.w, self.b

    @property
    def backward(self):
        return self.dy, self.x, self.w

    def absolute(self):
        """The same case with absolute values, for the sums of absolute products."""
        return DenseCase(np.abs(self.x), np.abs(self.w), None if self.b is None else np.abs(self.b), np.abs(self.dy))


@st.composite
def dense_cases(draw, dtypes=(np.float64,), max_images=5, max_inputs=9, max_outputs=7):
    """Dense layers; the batch may be empty."""
    images, inputs = draw(st.integers(0, max_images)), draw(st.integers(1, max_inputs))
    outputs = draw(st.integers(1, max_outputs))
    dtype, seed = draw(st.sampled_from(dtypes)), draw(seeds())
    return DenseCase(
        x=values(seed, (images, inputs), dtype), w=values(seed + 1, (inputs, outputs), dtype),
        b=values(seed + 2, (outputs,), dtype) if draw(st.booleans()) else None,
        dy=values(seed + 3, (images, outputs), dtype))


@st.composite
def elementwise_cases(draw, dtypes=(np.float64,), max_dims=4, max_side=6, kinds=("normal", "special")):
    """``x, dy`` of the same shape with at least one axis, the last of them not empty, for the activations."""
    shape = (*draw(st.lists(st.integers(0, max_side), max_size=max_dims - 1)), draw(st.integers(1, max_side)))
    dtype, seed, kind = draw(st.sampled_from(dtypes)), draw(seeds()), draw(st.sampled_from(kinds))
    return values(seed, shape, dtype, kind) * dtype(3), values(seed + 1, shape, dtype)


@dataclass(frozen=True)
class LossCase:
    """Arguments of the losses: ``scores`` and either ``labels`` or ``targets``."""

    scores: np.ndarray
    labels: np.ndarray
    targets: np.ndarray
    sample_weight: np.ndarray | None
    label_smoothing: float


@st.composite
def loss_cases(draw, dtypes=(np.float64,), max_samples=6, max_classes=7):
    """At least one sample and one class; labels of any integer type; weights that may be zero."""
    shape = draw(st.integers(1, max_samples)), draw(st.integers(1, max_classes))
    dtype, seed = draw(st.sampled_from(dtypes)), draw(seeds())
    rng = np.random.default_rng(seed)
    weight = rng.choice([0.0, 0.5, 1.0, 3.0], shape[0]).astype(dtype) if draw(st.booleans()) else None
    return LossCase(
        scores=values(seed, shape, dtype) * dtype(draw(st.sampled_from([1, 10, 100]))),
        labels=rng.integers(0, shape[1], shape[0]).astype(draw(st.sampled_from([np.uint8, np.int32, np.int64]))),
        targets=values(seed + 1, shape, dtype), sample_weight=weight,
        label_smoothing=draw(st.sampled_from([0.0, 0.1, 0.9])))


@dataclass(frozen=True)
class BatchNormCase:
    """Arguments of the batch-normalization functions."""

    x: np.ndarray
    dy: np.ndarray
    gamma: np.ndarray
    beta: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    epsilon: float


@st.composite
def batch_norm_cases(draw, dtypes=(np.float64,), max_images=5, max_size=4, max_channels=5):
    """Inputs (N, C) and (N, H, W, C) off zero; ``mean`` and ``variance`` are for the inference pair."""
    pixels = draw(st.sampled_from([0, 2])) * (draw(st.integers(1, max_size)),)
    channels = draw(st.integers(1, max_channels))
    shape = (draw(st.integers(1, max_images)), *pixels, channels)
    dtype, seed = draw(st.sampled_from(dtypes)), draw(seeds())
    vectors = values(seed + 2, (4, channels), dtype)
    return BatchNormCase(
        x=values(seed, shape, dtype) * dtype(2) + vectors[0], dy=values(seed + 1, shape, dtype), gamma=vectors[1],
        beta=vectors[2], mean=vectors[3], variance=np.abs(vectors[0]), epsilon=draw(st.sampled_from([1e-5, 1e-3, 0.1])))


def _windows(size, kernel, stride, padding):
    return kernels.checks.output_size(size, kernel, stride, padding)


#: The tolerances that the cpu back-end promises, relative to the sum of absolute products.
CPU_RTOL = {np.dtype(np.float64): 1e-12, np.dtype(np.float32): 2e-6}


def assert_sums(got, expected, scale, what):
    assert_close(got, expected, scale, CPU_RTOL[expected.dtype], what)
