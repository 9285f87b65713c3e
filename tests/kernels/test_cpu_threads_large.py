"""Every operation on arrays large enough for threads; small ones run serially, in another compiled function."""

import numpy as np
import pytest

import kernels
from kernels import cpu, im2col

RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 9, 10, 40)).astype(np.float32)


@pytest.mark.parametrize("pool", ["max", "avg"])
def test_pools(pool):
    results = []
    for backend in (cpu, im2col):
        forward = getattr(backend, f"{pool}_pool2d_forward")(X, (2, 3), (2, 1), ((1, 0), (0, 2)))
        y, *argmax = forward if isinstance(forward, tuple) else (forward,)
        dy = np.cos(np.arange(y.size, dtype=np.float32)).reshape(y.shape)
        dx = (backend.max_pool2d_backward(dy, *argmax, X.shape, (2, 3), (2, 1), ((1, 0), (0, 2)))
              if argmax else backend.avg_pool2d_backward(dy, X.shape, (2, 3), (2, 1), ((1, 0), (0, 2))))
        results.append((y, dx))
    for ours, theirs in zip(*results):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "sigmoid", "tanh", "softmax"])
def test_activations(name):
    for direction, arguments in (("forward", (X,)), ("backward", (X[::-1].copy(), np.tanh(np.abs(X))))):
        ours, theirs = (getattr(backend, f"{name}_{direction}")(*arguments) for backend in (cpu, im2col))
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_normalization_and_dropout():
    gamma, beta = np.full(40, 1.5, np.float32), np.full(40, 0.25, np.float32)
    ours, theirs = (backend.batch_norm_forward(X, gamma, beta) for backend in (cpu, im2col))
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    dy = np.cos(X)
    gradients = [backend.batch_norm_backward(dy, X, gamma, *theirs[1:]) for backend in (cpu, im2col)]
    gradients += [backend.batch_norm_inference_backward(dy, X, gamma, *theirs[1:]) for backend in (cpu, im2col)]
    for first, second in (gradients[:2], gradients[2:]):
        for a, b in zip(first, second):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3)
    for a, b in zip(cpu.dropout_forward(X, 0.4, 123), im2col.dropout_forward(X, 0.4, 123)):
        np.testing.assert_array_equal(a, b)


def test_optimizers():
    vectors = [RNG.random(200_000).astype(np.float32) for _ in range(4)]
    for name, count, rest in (("sgd_step", 3, (0.1, 0.9, True, 0.01)), ("adam_step", 4, (3,))):
        copies = [[vector.copy() for vector in vectors[:count]] for _ in range(2)]
        getattr(cpu, name)(*copies[0], *rest)
        getattr(im2col, name)(*copies[1], *rest)
        for a, b in zip(*copies):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    gradients = [vectors[1].copy(), vectors[1].copy()]
    norms = [backend.clip_by_global_norm(vector, 2.0) for backend, vector in zip((cpu, im2col), gradients)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-5)
    np.testing.assert_allclose(*gradients, rtol=1e-5)


def test_dense_and_convolution():
    x, w = RNG.normal(size=(300, 130)).astype(np.float32), RNG.normal(size=(130, 70)).astype(np.float32)
    dy = RNG.normal(size=(300, 70)).astype(np.float32)
    kernel = RNG.normal(size=(3, 3, 40, 24)).astype(np.float32)
    calls = [("dense_forward", (x, w)), ("dense_backward", (dy, x, w)), ("conv2d_forward", (X, kernel))]
    calls.append(("conv2d_backward", (np.cos(im2col.conv2d_forward(X, kernel)), X, kernel)))
    for name, arguments in calls:
        assert name in kernels.CONTRACT
        ours, theirs = (getattr(backend, name)(*arguments) for backend in (cpu, im2col))
        for a, b in zip(*((r if isinstance(r, tuple) else (r,)) for r in (ours, theirs))):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5 * np.abs(b).max())
