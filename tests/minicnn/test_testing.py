"""minicnn.testing: assertions that pass for what is right and explain what is wrong."""

import textwrap
import types

import numpy as np
import pytest
from hypothesis import given, settings

from kernels import im2col, reference
from minicnn import testing


def test_the_example_in_the_documentation_runs():
    example = textwrap.dedent(testing.__doc__.partition("::\n")[2].rpartition("``hypothesis``")[0])
    assert 8 <= sum(bool(line.strip()) for line in example.splitlines()) <= 12
    names = {}
    exec(compile(example, "example", "exec"), names)
    tests = [value for name, value in names.items() if name.startswith("test_")]
    assert len(tests) == 2
    module = types.ModuleType("small")
    module.dense_forward = im2col.dense_forward  # the whole back-end is graded elsewhere
    names["homework"] = types.SimpleNamespace(**vars(im2col))
    names["homework"].__name__ = "im2col"
    settings(max_examples=5, deadline=None)(tests[1])()
    testing.assert_matches_reference(module)


@settings(max_examples=15, deadline=None)
@given(testing.convolutions(dtypes=("float32", "float64")))
def test_convolutions_are_valid(case):
    y = im2col.conv2d_forward(**case)
    assert y.size and y.dtype == case["x"].dtype
    tolerance = 1e-12 if y.dtype == np.float64 else 1e-4
    np.testing.assert_allclose(y, reference.conv2d_forward(**case), rtol=tolerance, atol=tolerance)


@settings(max_examples=15, deadline=None)
@given(testing.poolings())
def test_poolings_are_valid(case):
    y, argmax = im2col.max_pool2d_forward(**case)
    dx = im2col.max_pool2d_backward(y, argmax, case["x"].shape, case["pool_size"], case["stride"], case["padding"])
    assert dx.shape == case["x"].shape and len(np.unique(case["x"])) == case["x"].size
    np.testing.assert_allclose(im2col.avg_pool2d_forward(**case), reference.avg_pool2d_forward(**case), atol=1e-12)


def test_matches_reference():
    testing.assert_matches_reference(im2col, ["tanh_backward", "softmax_cross_entropy"], seeds=[0])


def test_does_not_match_reference():
    module = types.ModuleType("mine")
    module.softmax_backward = lambda dy, y: dy * y * (1 - y)
    with pytest.raises(AssertionError, match=r"(?s)softmax_backward: WRONG.*only the diagonal of the Jacobian"):
        testing.assert_matches_reference(module)
    with pytest.raises(AssertionError, match="defines none"):
        testing.assert_matches_reference(types.ModuleType("empty"))
    with pytest.raises(AssertionError, match="missing"):
        testing.assert_matches_reference(module, ["relu_forward"])


def rows(x):
    return np.maximum(x, 0) ** 2


def test_gradients():
    x = np.random.default_rng(0).standard_normal((3, 4))
    testing.assert_gradients(rows, lambda dy, x: 2 * dy * np.maximum(x, 0), x)
    testing.assert_gradients(lambda a, b: a @ b, lambda dy, a, b: (dy @ b.T, None), x, np.ones((4, 2)))


def test_wrong_gradients_are_located():
    def backward(dy, x):
        dx = 2 * dy * np.maximum(x, 0)
        dx[-1] = 0.5
        return dx
    with pytest.raises(AssertionError) as failure:
        testing.assert_gradients(rows, backward, np.abs(np.random.default_rng(0).standard_normal((3, 4))), names=["x"])
    text = str(failure.value)
    assert "only the last row" in text and "# # # #" in text and "finite differences give" in text
    with pytest.raises(AssertionError, match=r"shape \(4,\); expected \(3, 4\)"):
        testing.assert_gradients(rows, lambda dy, x: dy[0], np.ones((3, 4)))


def test_kinks_are_skipped():
    x = np.array([0.0, 1.0, -1.0])
    relu = lambda x: np.maximum(x, 0)  # noqa: E731
    testing.assert_gradients(relu, lambda dy, x: dy * (x > 0), x, kinks=lambda x: x > 0)
    with pytest.raises(AssertionError, match="1 of 3"):
        testing.assert_gradients(relu, lambda dy, x: dy * (x > 0), x)
    with pytest.raises(AssertionError, match="every element lies at a kink"):
        testing.assert_gradients(relu, lambda dy, x: dy, np.zeros(2), kinks=lambda x: x > 0)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_adjoint(dtype):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 5, 4, 3)).astype(dtype), rng.standard_normal((3, 2, 3, 4)).astype(dtype)
    testing.assert_adjoint(lambda x: im2col.conv2d_forward(x, w), lambda dy: im2col.conv2d_backward(dy, x, w)[0], x)
    with pytest.raises(AssertionError, match="not the transpose"):
        testing.assert_adjoint(lambda x: im2col.conv2d_forward(x, w),
                               lambda dy: im2col.conv2d_backward(dy, x, w[::-1].copy())[0], x)
    with pytest.raises(AssertionError, match="has it a bias"):
        testing.assert_adjoint(lambda x: x + 1, lambda dy: dy, x)
