"""What every back-end promises (the docstring of ``kernels``), for every function of the contract."""

from __future__ import annotations

import numpy as np
import pytest
from arguments import BACKENDS, IN_PLACE, arrays_of, good_arguments, name_of
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import FLOATS, values

import kernels
from kernels import reference

each_backend = pytest.mark.parametrize("backend", BACKENDS, ids=name_of)
each_function = pytest.mark.parametrize("function", kernels.CONTRACT)
NAN, INF = float("nan"), float("inf")


def bits(arrays):
    return [(array.dtype, array.shape, array.tobytes()) for array in arrays]


@each_backend
@each_function
@pytest.mark.parametrize("dtype", FLOATS, ids=("float32", "float64"))
def test_results_have_the_type_of_the_arguments(backend, function, dtype):
    arguments = good_arguments(function, dtype)
    result = getattr(backend, function)(**arguments)
    if function in IN_PLACE:
        assert result is None or isinstance(result, float)
        return
    for array in arrays_of(result):
        assert array.flags.c_contiguous and array.dtype.isnative
        if array.dtype.kind == "f":
            assert array.dtype == dtype
    if function in ("softmax_cross_entropy", "cross_entropy", "mean_squared_error"):
        assert type(result[0]) is float


@each_backend
@each_function
def test_arguments_are_not_changed(backend, function):
    arguments = good_arguments(function)
    kept = {name: value.tobytes() for name, value in arguments.items() if isinstance(value, np.ndarray)}
    getattr(backend, function)(**arguments)
    for name, before in kept.items():
        assert (arguments[name].tobytes() == before) == (name not in IN_PLACE.get(function, ())), name


@pytest.mark.parametrize("backend", [pytest.param(backend, marks=[pytest.mark.slow] * (name_of(backend) == "cpu"))
                                     for backend in BACKENDS], ids=name_of)  # Numba compiles each function once more
@each_function
def test_arguments_may_be_read_only(backend, function):
    arguments = good_arguments(function)
    for name, value in arguments.items():
        if isinstance(value, np.ndarray) and name not in IN_PLACE.get(function, ()):
            value.flags.writeable = False
    getattr(backend, function)(**arguments)


@each_backend
@each_function
def test_results_share_no_memory_with_arguments_or_earlier_results(backend, function):
    arguments = good_arguments(function)
    first = arrays_of(getattr(backend, function)(**arguments))
    before = bits(first)
    other = {name: -value if isinstance(value, np.ndarray) and value.dtype.kind == "f" and name not in
             ("variance", "sample_weight", "probabilities", "second_moment") else value
             for name, value in arguments.items()}
    second = arrays_of(getattr(backend, function)(**other))
    assert bits(first) == before
    for result in first:
        assert not any(np.shares_memory(result, array) for array in second + arrays_of(arguments))


@each_backend
@each_function
def test_the_same_arguments_give_the_same_bits(backend, function):
    runs = []
    for _ in range(2):
        arguments = good_arguments(function)
        result = getattr(backend, function)(**arguments)
        runs.append(bits(arrays_of(result) + [arguments[name] for name in IN_PLACE.get(function, ())]))
    assert runs[0] == runs[1]


@each_backend
@pytest.mark.parametrize("function", [name for name in kernels.CONTRACT if name not in IN_PLACE])
@pytest.mark.parametrize("layout", ["strided", "fortran", "byteswapped", "unaligned"])
def test_the_memory_layout_of_an_argument_does_not_matter(backend, function, layout):
    expected = good_arguments(function)
    arguments = {name: laid_out(value, layout) if isinstance(value, np.ndarray) else value
                 for name, value in expected.items()}
    assert bits(arrays_of(getattr(backend, function)(**arguments))) == bits(
        arrays_of(getattr(backend, function)(**expected)))


def laid_out(array, layout):
    """The same numbers in memory that is not what a kernel wants."""
    if layout == "strided":
        wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
        wide[..., ::2] = array
        return wide[..., ::2]
    if layout == "fortran":
        return np.asfortranarray(array)
    if layout == "byteswapped":
        return array.astype(array.dtype.newbyteorder())
    memory = np.zeros(array.nbytes + 1, np.uint8)
    unaligned = memory[1:].view(array.dtype).reshape(array.shape)
    unaligned[...] = array
    return unaligned


@each_backend
@pytest.mark.parametrize("function", [name for name in kernels.CONTRACT if "conv2d" in name or "pool2d" in name
                                      or "dense" in name or "relu" in name or "sigmoid" in name])
def test_a_batch_of_no_images_is_no_special_case(backend, function):
    arguments = good_arguments(function)
    for name in ("x", "dy", "y", "argmax"):
        if name in arguments:
            arguments[name] = arguments[name][:0]
    if "x_shape" in arguments:
        arguments["x_shape"] = (0, *arguments["x_shape"][1:])
    full = arrays_of(getattr(backend, function)(**good_arguments(function)))
    for got, expected in zip(arrays_of(getattr(backend, function)(**arguments)), full, strict=True):
        assert got.shape in (expected.shape, (0, *expected.shape[1:]))
        assert not got.any()


@each_backend
def test_the_first_maximum_of_a_tie_gets_all_the_gradient(backend):
    x = np.zeros((1, 3, 3, 2))
    x[0, :, :, 1] = [[1, 2, 2], [2, 2, 1], [2, 1, 2]]
    y, argmax = backend.max_pool2d_forward(x, 2, 1)
    np.testing.assert_array_equal(y[0, :, :, 1], [[2, 2], [2, 2]])
    np.testing.assert_array_equal(argmax[0, :, :, 0], np.zeros((2, 2)))
    np.testing.assert_array_equal(argmax[0, :, :, 1], [[1, 0], [0, 0]])
    dx = backend.max_pool2d_backward(np.ones((1, 2, 2, 2)), argmax, x.shape, 2, 1)
    np.testing.assert_array_equal(dx[0, :, :, 0], [[1, 1, 0], [1, 1, 0], [0, 0, 0]])
    np.testing.assert_array_equal(dx[0, :, :, 1], [[0, 2, 0], [1, 1, 0], [0, 0, 0]])


@each_backend
def test_the_first_nan_of_a_window_wins(backend):
    x = np.array([[1, NAN, INF, NAN], [NAN, 3, -INF, INF]])[np.newaxis, :, :, np.newaxis]
    y, argmax = backend.max_pool2d_forward(x)
    np.testing.assert_array_equal(y[0, 0, :, 0], [NAN, NAN])
    np.testing.assert_array_equal(argmax[0, 0, :, 0], [1, 1])


@each_backend
def test_padding_never_wins_a_maximum(backend):
    x = np.full((1, 2, 2, 1), -INF)
    padding = ((1, 1), (1, 1))
    y, argmax = backend.max_pool2d_forward(x, 2, 1, padding)
    assert (y == -INF).all()
    np.testing.assert_array_equal(argmax[0, :, :, 0], [[3, 2, 2], [1, 0, 0], [1, 0, 0]])
    dx = backend.max_pool2d_backward(np.ones(y.shape), argmax, x.shape, 2, 1, padding)
    assert dx.sum() == 9


@each_backend
def test_an_argmax_that_points_at_padding_routes_to_no_pixel(backend):
    """No forward pass returns it, but it is a valid position of the window: nothing outside dx may be written."""
    dy = np.ones((1, 2, 2, 1))
    dx = backend.max_pool2d_backward(dy, np.zeros((1, 2, 2, 1), np.int64), (1, 2, 2, 1), 2, 2, ((1, 1), (1, 1)))
    np.testing.assert_array_equal(dx[0, :, :, 0], [[0, 0], [0, 1]])


@each_backend
def test_padding_is_not_counted_in_a_mean(backend):
    x = np.array([[1.0, 2.0], [4.0, 8.0]])[np.newaxis, :, :, np.newaxis]
    y = backend.avg_pool2d_forward(x, 2, 1, ((1, 0), (0, 1)))
    np.testing.assert_array_equal(y[0, :, :, 0], [[1.5, 2.0], [3.75, 5.0]])
    dx = backend.avg_pool2d_backward(np.ones((1, 2, 2, 1)), x.shape, 2, 1, ((1, 0), (0, 1)))
    np.testing.assert_array_equal(dx[0, :, :, 0], [[0.75, 2.25], [0.25, 0.75]])


@each_backend
def test_pixels_that_no_window_covers_get_gradient_zero(backend):
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, 6, 6, 2)), rng.normal(size=(2, 2, 2, 3))
    uncovered = np.ones((6, 6), bool)
    uncovered[:5, :5] = np.arange(5)[:, np.newaxis] % 3 == 2
    uncovered[:5, :5] |= np.arange(5) % 3 == 2
    conv = backend.conv2d_backward(rng.normal(size=(2, 2, 2, 3)), x, w, 3)[0]
    _, argmax = backend.max_pool2d_forward(x, 2, 3)
    largest = backend.max_pool2d_backward(rng.normal(size=(2, 2, 2, 2)), argmax, x.shape, 2, 3)
    mean = backend.avg_pool2d_backward(rng.normal(size=(2, 2, 2, 2)), x.shape, 2, 3)
    for dx in (conv, largest, mean):
        assert not dx[:, uncovered].any()
    assert conv[:, ~uncovered].all() and mean[:, ~uncovered].all()


@each_backend
@pytest.mark.parametrize("dtype", FLOATS, ids=("float32", "float64"))
@pytest.mark.parametrize("name, x, expected", [
    ("relu", [NAN, INF, -INF, 0, -0.5, 2], [NAN, INF, 0, 0, 0, 2]),
    ("leaky_relu", [NAN, INF, -INF, 0, -0.5, 2], [NAN, INF, -INF, 0, -0.1, 2]),
    ("sigmoid", [NAN, INF, -INF, 0, -800, 800], [NAN, 1, 0, 0.5, 0, 1]),
    ("tanh", [NAN, INF, -INF, 0, -800, 800], [NAN, 1, -1, 0, -1, 1]),
    ("softmax", [NAN, 1, 2], [NAN, NAN, NAN]),
    ("softmax", [INF, 1, 2], [NAN, NAN, NAN]),
    ("softmax", [-INF, 1, 1], [0, 0.5, 0.5]),
    ("softmax", [1e4, 0, 1e4], [0.5, 0, 0.5]),
    ("softmax", [-INF, -INF], [NAN, NAN]),
])
def test_activations_at_the_ends_of_the_number_line(backend, dtype, name, x, expected):
    y = getattr(backend, f"{name}_forward")(np.array(x, dtype))
    np.testing.assert_allclose(y, np.array(expected, dtype), rtol=1e-6)


@each_backend
def test_relu_gradients_choose_and_do_not_multiply(backend):
    y, dy = np.array([NAN, 0.0, -0.0, 3.0, INF]), np.array([INF, INF, NAN, NAN, 2.0])
    np.testing.assert_array_equal(backend.relu_backward(dy, y), [0, 0, 0, NAN, 2])
    np.testing.assert_array_equal(backend.leaky_relu_backward(np.full(5, 4.0), y, 0.25), [1, 1, 1, 4, 4])


@each_backend
@pytest.mark.parametrize("bad", [NAN, INF])
def test_one_bad_number_reaches_every_output_that_depends_on_it_and_no_other(backend, bad):
    x = np.ones((2, 4, 4, 2))
    x[1, 1, 2, 0] = bad
    y = backend.conv2d_forward(x, np.ones((2, 2, 2, 3)))
    assert not np.isfinite(y[1, 0:2, 1:3]).any()
    assert np.isfinite(y).sum() == y.size - 4 * 3
    y = backend.avg_pool2d_forward(x)
    assert not np.isfinite(y[1, 0, 1, 0]) and np.isfinite(y).sum() == y.size - 1
    y = backend.dense_forward(x[:, 1, 2], np.ones((2, 3)))
    assert not np.isfinite(y[1]).any() and np.isfinite(y[0]).all()


@each_backend
@pytest.mark.parametrize("bad", [NAN, INF])
def test_a_loss_tells_of_bad_logits(backend, bad):
    logits = np.array([[0.0, bad, 1.0], [1.0, 2.0, 3.0]])
    loss, dlogits = backend.softmax_cross_entropy(logits, np.array([0, 1]))
    assert np.isnan(loss) and np.isnan(dlogits[0]).all() and np.isfinite(dlogits[1]).all()
    loss, dpredictions = backend.mean_squared_error(logits, np.zeros((2, 3)))
    assert not np.isfinite(loss) and np.isfinite(dpredictions).sum() == 5


@each_backend
def test_a_class_ruled_out_is_no_error_unless_it_is_the_label(backend):
    logits = np.array([[0.0, -INF, 0.0]])
    loss, dlogits = backend.softmax_cross_entropy(logits, np.array([2]))
    assert loss == pytest.approx(np.log(2))
    np.testing.assert_allclose(dlogits, [[0.5, 0, -0.5]])
    assert backend.softmax_cross_entropy(logits, np.array([1]))[0] == INF


@each_backend
@pytest.mark.parametrize("backward, shapes", [("conv2d_backward", ((2, 3, 3, 4), (2, 5, 5, 2), (3, 3, 2, 4))),
                                              ("dense_backward", ((3, 4), (3, 5), (5, 4)))])
def test_the_input_gradient_can_be_left_out(backend, backward, shapes):
    arguments = [values(seed, shape) for seed, shape in enumerate(shapes)]
    whole = getattr(backend, backward)(*arguments)
    assert len(whole) == 3 and all(isinstance(array, np.ndarray) for array in whole)
    dx, *others = getattr(backend, backward)(*arguments, input_gradient=False)
    assert dx is None
    assert bits(others) == bits(whole[1:])


@settings(deadline=None, max_examples=30)
@given(shape=st.lists(st.integers(0, 6), min_size=1, max_size=4), rate=st.sampled_from([0.0, 0.1, 0.5, 0.99]),
       seed=st.integers(0, 2**63 - 1), dtype=st.sampled_from(FLOATS))
def test_all_backends_drop_the_same_elements(shape, rate, seed, dtype):
    x = values(1, shape, dtype, "special")
    expected = reference.dropout_forward(x, rate, seed)
    for backend in BACKENDS:
        y, mask = backend.dropout_forward(x, rate, seed)
        assert mask.dtype == bool
        np.testing.assert_array_equal(mask, expected[1])
        np.testing.assert_allclose(y, expected[0], rtol=4 * np.finfo(dtype).eps)
        assert not y[~mask].any()
        np.testing.assert_allclose(backend.dropout_backward(x, mask, rate), expected[0],
                                   rtol=4 * np.finfo(dtype).eps)


@each_backend
@pytest.mark.parametrize("gradients", [[1.0, NAN], [1.0, INF]])
def test_a_gradient_that_is_not_finite_is_not_clipped(backend, gradients):
    gradients = np.array(gradients)
    before = gradients.copy()
    norm = backend.clip_by_global_norm(gradients, 1.0)
    np.testing.assert_array_equal(norm, before[1])
    np.testing.assert_array_equal(gradients, before)
