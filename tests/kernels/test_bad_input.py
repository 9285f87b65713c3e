"""What is wrong with an argument is said before any arithmetic, with the argument's name; nothing is changed."""

from __future__ import annotations

import numpy as np
import pytest
from arguments import BACKENDS, IN_PLACE, good_arguments, name_of

import kernels

each_backend = pytest.mark.parametrize("backend", BACKENDS, ids=name_of)

#: Every array argument of every function.
ARRAYS = [(function, name) for function in kernels.CONTRACT
          for name, value in good_arguments(function).items() if isinstance(value, np.ndarray)]

#: Functions whose ``x`` (and ``dy``) may have any number of dimensions.
ANY_SHAPE = ("relu", "leaky_relu", "sigmoid", "tanh", "softmax_forward", "softmax_backward", "dropout", "batch_norm")

INTEGERS = ("labels", "argmax")


def refused(backend, function, arguments, message, error=(TypeError, ValueError)):
    """Call with bad arguments: the error must match, and every array must be as it was.

    A good call goes before: what a back-end remembers of it must not hide what is wrong with this one.
    """
    getattr(backend, function)(**good_arguments(function))
    before = {name: value.tobytes() for name, value in arguments.items() if isinstance(value, np.ndarray)}
    with pytest.raises(error, match=message):
        getattr(backend, function)(**arguments)
    for name, content in before.items():
        assert arguments[name].tobytes() == content, f"{function} changed {name}"


@each_backend
@pytest.mark.parametrize("function, name", ARRAYS)
def test_what_is_not_an_array_of_the_right_type(backend, function, name):
    for wrong in (None, 3.0, [[1.0, 2.0]], "x"):
        if not (wrong is None and name in ("b", "sample_weight")):  # these two may be left out
            refused(backend, function, {**good_arguments(function), name: wrong}, name, TypeError)
    good = good_arguments(function)[name]
    other = {"labels": (np.float64, bool), "argmax": (np.float64, bool), "mask": (np.float64, np.uint8)}
    for dtype in other.get(name, (np.int64, np.float16, np.complex128, object)):
        refused(backend, function, {**good_arguments(function), name: good.astype(dtype)}, name, TypeError)


@each_backend
@pytest.mark.parametrize("function, name", ARRAYS)
def test_a_masked_array(backend, function, name):
    good = good_arguments(function)
    masked = np.ma.masked_array(good[name], np.arange(good[name].size).reshape(good[name].shape) == 1)
    refused(backend, function, {**good, name: masked}, f"{name}: expected .*, got a masked array", TypeError)


class Derived(np.ndarray):
    """A class derived from NumPy's array, in which the usual ways to a flat array lead elsewhere."""

    def ravel(self, order="C"):
        raise AssertionError("asked for its own ravel")

    def reshape(self, *shape, order="C"):
        raise AssertionError("asked for its own reshape")


@each_backend
@pytest.mark.parametrize("function, name", ARRAYS)
def test_an_array_of_a_derived_class_is_as_good(backend, function, name):
    for kind in (Derived, np.matrix) if good_arguments(function)[name].ndim == 2 else (Derived,):
        plain, derived = good_arguments(function), good_arguments(function)
        derived[name] = derived[name].view(kind)
        expected, got = (getattr(backend, function)(**arguments) for arguments in (plain, derived))
        for a, b in zip(*(result if isinstance(result, tuple) else (result,) for result in (got, expected))):
            np.testing.assert_array_equal(a, b)
        for changed in IN_PLACE.get(function, ()):
            np.testing.assert_array_equal(np.asarray(derived[changed]), plain[changed])


@each_backend
@pytest.mark.parametrize("function, name", [pair for pair in ARRAYS if pair[1] not in ("labels", "argmax", "mask")])
def test_two_float_types_do_not_mix(backend, function, name):
    arguments = good_arguments(function)
    if len([key for key, value in arguments.items() if isinstance(value, np.ndarray)
            and value.dtype == np.float64]) < 2:
        arguments[name] = arguments[name].astype(np.float32)
        getattr(backend, function)(**arguments)  # one array alone may have either type
        return
    arguments[name] = arguments[name].astype(np.float32)
    refused(backend, function, arguments, "expected .*dtype float(32|64)")


@each_backend
@pytest.mark.parametrize("function, name", ARRAYS)
def test_a_wrong_shape(backend, function, name):
    good = good_arguments(function)[name]
    alone = sum(isinstance(value, np.ndarray) for value in good_arguments(function).values()) == 1
    if not (alone and (function.startswith(ANY_SHAPE) or function in IN_PLACE)):
        short = np.ascontiguousarray(good[..., :-1])
        if function == "avg_pool2d_forward" or function == "max_pool2d_forward":
            short = np.zeros((2, 1, 4, 3))  # any shape is good in which the window fits
        refused(backend, function, {**good_arguments(function), name: short}, "expected|does not fit", ValueError)
    if not (name == "x" and function.startswith(ANY_SHAPE)):
        refused(backend, function, {**good_arguments(function), name: good[np.newaxis]}, f"{name}|expected", ValueError)


ZERO = np.zeros


#: (function, arguments that replace good ones, what the message must say)
CASES = [
    # convolution
    ("conv2d_forward", {"w": ZERO((6, 2, 3, 4)), "padding": ((0, 0), (0, 0))}, "w: a window of 6x2 does not fit"),
    ("conv2d_forward", {"w": ZERO((7, 2, 3, 4))}, "padded input of 6x6"),
    ("conv2d_forward", {"w": ZERO((3, 2, 5, 4))}, r"w: .*C = 3, the channels of x \(2, 5, 4, 3\), got \(3, 2, 5, 4\)"),
    ("conv2d_forward", {"x": ZERO((2, 5, 0, 3))}, "x, w: expected no empty axis"),
    ("conv2d_forward", {"w": ZERO((3, 2, 3, 0))}, "x, w: expected no empty axis"),
    ("conv2d_forward", {"b": ZERO(3)}, r"b: expected shape \(4,\), got \(3,\)"),
    ("conv2d_forward", {"stride": 0}, "stride: expected at least 1, got 0"),
    ("conv2d_forward", {"stride": (1, -2)}, "stride: expected at least 1, got -2"),
    ("conv2d_forward", {"stride": (1, 2, 3)}, "stride: expected an integer or a pair"),
    ("conv2d_forward", {"stride": 1.0}, "stride: expected an integer, got 1.0"),
    ("conv2d_forward", {"stride": True}, "stride: expected an integer, got True"),
    ("conv2d_forward", {"padding": ((0, -1), (0, 0))}, "padding bottom: expected at least 0, got -1"),
    ("conv2d_forward", {"padding": ((0, 0), (0.5, 0))}, "padding left: expected an integer, got 0.5"),
    ("conv2d_forward", {"padding": 1}, r"padding: expected \(\(top, bottom\), \(left, right\)\), got 1"),
    ("conv2d_forward", {"padding": "same"}, "padding: expected"),
    ("conv2d_forward", {"padding": (1, 1)}, "padding: expected"),
    ("conv2d_backward", {"dy": ZERO((2, 2, 4, 4))}, r"dy: expected shape \(2, 2, 5, 4\), got \(2, 2, 4, 4\)"),
    ("conv2d_backward", {"stride": 1}, r"dy: expected shape \(2, 4, 5, 4\), got \(2, 2, 5, 4\)"),
    # pooling
    ("max_pool2d_forward", {"pool_size": 7}, "pool_size: a window of 7x7 does not fit"),
    ("avg_pool2d_forward", {"pool_size": 7}, "pool_size: a window of 7x7 does not fit"),
    ("max_pool2d_forward", {"pool_size": 0}, "pool_size: expected at least 1, got 0"),
    ("max_pool2d_forward", {"padding": ((3, 0), (0, 0))}, "padding: .*vertical padding to be smaller than pool_size 3"),
    ("avg_pool2d_forward", {"padding": ((0, 0), (0, 2))}, "padding: .*horizontal padding to be smaller than"),
    ("avg_pool2d_forward", {"stride": (0, 1)}, "stride: expected at least 1, got 0"),
    ("max_pool2d_forward", {"x": ZERO((2, 5, 4, 0))}, "x: expected no empty axis but the batch"),
    ("max_pool2d_backward", {"dy": ZERO((2, 3, 4, 3))}, r"dy: expected shape \(2, 2, 4, 3\)"),
    ("max_pool2d_backward", {"argmax": ZERO((2, 2, 4, 2), int)}, "argmax: expected the shape of dy"),
    ("max_pool2d_backward", {"argmax": np.full((2, 2, 4, 3), 6)}, "argmax: expected indices inside the 3x2 window"),
    ("max_pool2d_backward", {"argmax": np.full((2, 2, 4, 3), -1)}, "argmax: expected indices inside the 3x2 window"),
    ("max_pool2d_backward", {"x_shape": (2, 5, 4)}, r"x_shape: expected \(N, H, W, C\)"),
    ("avg_pool2d_backward", {"x_shape": (2, 5, 4, 2)}, r"dy: expected shape \(2, 2, 4, 2\), got \(2, 2, 4, 3\)"),
    ("avg_pool2d_backward", {"x_shape": (2, 5, 0, 3)}, "x_shape: expected at least 1, got 0"),
    # dense
    ("dense_forward", {"w": ZERO((4, 2))}, r"w: expected shape \(I, O\) with I = 5, the columns of x \(3, 5\)"),
    ("dense_forward", {"b": ZERO((1, 2))}, "b: expected 1 dimensions"),
    ("dense_forward", {"w": ZERO((5, 0))}, "w: expected no empty axis"),
    ("dense_backward", {"dy": ZERO((2, 2))}, r"dy: expected shape \(3, 2\), got \(2, 2\)"),
    # activations
    ("relu_backward", {"y": ZERO((4, 3))}, r"y: expected shape \(3, 4\), got \(4, 3\)"),
    ("leaky_relu_forward", {"negative_slope": 1.0}, r"negative_slope: expected a number in \[0, 1\), got 1.0"),
    ("leaky_relu_forward", {"negative_slope": -0.1}, r"negative_slope: expected a number in \[0, 1\)"),
    ("leaky_relu_backward", {"negative_slope": "0.1"}, "negative_slope: expected a real number, got str"),
    ("softmax_forward", {"x": ZERO(())}, "x: expected a last axis"),
    ("softmax_forward", {"x": ZERO((3, 0))}, "x: expected a last axis"),
    ("softmax_backward", {"y": ZERO((3, 5))}, r"y: expected shape \(3, 4\)"),
    # losses
    ("softmax_cross_entropy", {"labels": np.array([0, 3, 1, 2])}, "labels: expected class numbers 0 to 2 .*got 0 to 3"),
    ("softmax_cross_entropy", {"labels": np.array([0, -1, 1, 2])}, "labels: expected class numbers 0 to 2"),
    ("softmax_cross_entropy", {"labels": np.eye(4, 3)}, "labels: expected an integer array .*not one-hot rows"),
    ("softmax_cross_entropy", {"labels": np.eye(4, 3, dtype=int)}, r"labels: expected shape \(4,\)"),
    ("softmax_cross_entropy", {"labels": np.array([0, 1])}, r"labels: expected shape \(4,\)"),
    ("softmax_cross_entropy", {"logits": ZERO((0, 3)), "labels": ZERO(0, int)}, "logits: expected at least one row"),
    ("softmax_cross_entropy", {"sample_weight": ZERO(3)}, r"sample_weight: expected shape \(4,\)"),
    ("softmax_cross_entropy", {"label_smoothing": 1.0}, r"label_smoothing: expected a number in \[0, 1\)"),
    ("cross_entropy", {"labels": np.array([0, 3, 1, 2])}, "labels: expected class numbers 0 to 2 .*got 0 to 3"),
    ("cross_entropy", {"probabilities": ZERO((0, 3)), "labels": ZERO(0, int)}, "probabilities: expected at least one"),
    ("mean_squared_error", {"targets": ZERO((4, 2))}, r"targets: expected shape \(4, 3\), got \(4, 2\)"),
    ("mean_squared_error", {"predictions": ZERO((0, 3))}, "predictions: expected at least one row"),
    ("mean_squared_error", {"sample_weight": ZERO((4, 1))}, "sample_weight: expected 1 dimensions"),
    # normalization
    ("batch_norm_forward", {"x": ZERO(3)}, r"x: expected shape \(N, ..., C\)"),
    ("batch_norm_forward", {"x": ZERO((0, 3))}, "x: .*without an empty axis"),
    ("batch_norm_forward", {"gamma": ZERO(2)}, r"gamma: expected shape \(3,\), got \(2,\)"),
    ("batch_norm_forward", {"epsilon": -1e-3}, "epsilon: expected a number of at least 0"),
    ("batch_norm_forward", {"epsilon": "1e-3"}, "epsilon: expected a real number"),
    ("batch_norm_backward", {"variance": ZERO(4)}, r"variance: expected shape \(3,\)"),
    ("batch_norm_inference_forward", {"mean": ZERO((1, 3))}, "mean: expected 1 dimensions"),
    ("batch_norm_inference_backward", {"dy": ZERO((2, 5, 4, 2))}, r"dy: expected shape \(2, 5, 4, 3\)"),
    ("dropout_forward", {"rate": 1.0}, r"rate: expected a number in \[0, 1\), got 1.0"),
    ("dropout_forward", {"rate": float("nan")}, r"rate: expected a number in \[0, 1\)"),
    ("dropout_forward", {"seed": -1}, "seed: expected at least 0"),
    ("dropout_forward", {"seed": 2**63}, r"seed: expected an integer below 2\*\*63"),
    ("dropout_forward", {"seed": 1.5}, "seed: expected an integer"),
    ("dropout_backward", {"mask": ZERO((5, 4), bool)}, "mask: expected the shape of dy"),
    # optimizers
    ("sgd_step", {"learning_rate": -0.1}, "learning_rate: expected a finite number of at least 0"),
    ("sgd_step", {"learning_rate": float("nan")}, "learning_rate: expected a finite number"),
    ("sgd_step", {"momentum": 1.0}, r"momentum: expected a number in \[0, 1\)"),
    ("sgd_step", {"weight_decay": float("inf")}, "weight_decay: expected a finite number"),
    ("sgd_step", {"velocity": ZERO(5)}, r"velocity: expected shape \(6,\)"),
    ("sgd_step", {"velocity": None}, "velocity: expected a NumPy array"),
    ("adam_step", {"step": 0}, "step: expected at least 1, got 0"),
    ("adam_step", {"step": 1.0}, "step: expected an integer"),
    ("adam_step", {"beta_1": 1.0}, r"beta_1: expected a number in \[0, 1\)"),
    ("adam_step", {"beta_2": -0.1}, r"beta_2: expected a number in \[0, 1\)"),
    ("adam_step", {"epsilon": -1.0}, "epsilon: expected a finite number of at least 0"),
    ("adam_step", {"gradients": ZERO((2, 3))}, "gradients: expected 1 dimensions"),
    ("clip_by_global_norm", {"max_norm": -1.0}, "max_norm: expected a finite number of at least 0"),
    ("clip_by_global_norm", {"gradients": ZERO((2, 3))}, "gradients: expected 1 dimensions"),
]


@each_backend
@pytest.mark.parametrize("function, wrong, message", CASES,
                         ids=[f"{case[0]}-{'-'.join(case[1])}-{number}" for number, case in enumerate(CASES)])
def test_the_message_names_the_argument(backend, function, wrong, message):
    refused(backend, function, {**good_arguments(function), **wrong}, message)


@each_backend
@pytest.mark.parametrize("function", [name for name in kernels.CONTRACT if good_arguments(name).keys() & {"x", "dy"}])
def test_an_input_of_too_few_dimensions(backend, function):
    for name in ("x", "dy"):
        if name in good_arguments(function) and not function.startswith(ANY_SHAPE[:-1]):
            refused(backend, function, {**good_arguments(function), name: np.zeros(3)}, f"{name}: expected", ValueError)


@each_backend
@pytest.mark.parametrize("function, name", [(function, name) for function in IN_PLACE
                                            for name in IN_PLACE[function]])
def test_a_vector_changed_in_place_must_not_need_a_copy(backend, function, name):
    good = good_arguments(function)
    strided = np.repeat(good[name], 2)[::2]
    refused(backend, function, {**good, name: strided}, f"{name}: expected a C-contiguous", ValueError)
    swapped = good[name].astype(good[name].dtype.newbyteorder())
    refused(backend, function, {**good, name: swapped}, f"{name}: ", ValueError)
    locked = good[name].copy()
    locked.flags.writeable = False
    refused(backend, function, {**good, name: locked}, f"{name}: expected a writeable array", ValueError)
