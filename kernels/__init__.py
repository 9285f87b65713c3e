"""The arithmetic of MiniCNN: pure functions on arrays, in several back-ends.

A **back-end is a module** that offers the functions of the contract below. Four ship here, one folder each with
the same file names, so that two of them can be read side by side:

``reference``  the formulas as loops: slow, obvious, the judge of the others;
``im2col``     vectorised NumPy: convolution as one matrix product;
``cpu``        Numba: register tiles and all cores;
``cuda``       Numba for NVIDIA GPUs.

Any other module will do as well, a single file included: ``get_backend(module)`` asks only whether the functions are
there.

Conventions
-----------
Arrays are C-contiguous, channels last: images ``x (N, H, W, C)``, kernels ``w (KH, KW, C, O)``, biases ``b (O,)``,
outputs ``y (N, OH, OW, O)``; dense layers ``x (N, I)``, ``w (I, O)``. A gradient is named for what it belongs to:
``dy`` comes in, ``dx, dw, db`` go out. Labels are integers ``(N,)``. Padding is ``((top, bottom), (left, right))``,
``stride`` and ``pool_size`` are an integer or a pair ``(vertical, horizontal)``, and

    OH = (H + top + bottom - KH) // stride + 1.

Promises of every back-end
--------------------------
* float32 and float64, computed in the type given.
* Inputs are never changed, except by the functions that say ``in place``; results never share memory with an earlier
  result that the caller may still hold.
* Max-pooling: padding counts as minus infinity; on a tie the first element in row-major window order wins and alone
  gets the gradient; a NaN in the window wins over every number (the first NaN, if there are several).
  Average-pooling: padding is not counted in the mean. A pixel that no window covers gets gradient zero.
* NaN and infinity go through, relu, max-pooling and softmax included.
* The same bits for the same input, whatever the number of threads (``im2col`` leaves its products to BLAS and can
  promise this for an equal number of threads only).
* Padding is left out of a sum rather than multiplied by zero where the back-end can choose, and so are the zeros in a
  gradient that comes through relu or max-pooling. With factors that are infinite or NaN the two differ, and no
  back-end is bound to either.
* ``clip_by_global_norm`` sums squares in float64 and leaves gradients alone whose norm is not finite; ``argmax`` may be
  of any integer type; ``cross_entropy`` takes the logarithm of ``max(p, tiny)``, tiny the smallest normal number.
* Wrong shapes, types or sizes raise ``ValueError`` or ``TypeError`` before any arithmetic, naming the argument, what
  was expected and what was given.
"""

from __future__ import annotations

import importlib
import importlib.util
import types

#: Every function that a back-end offers, with its arguments and results. The docstrings in ``kernels/reference`` give
#: the formula of each. Arguments with a default may be left out by the caller.
CONTRACT = {
    # conv2d.py
    "conv2d_forward": "(x, w, b=None, stride=1, padding=NO_PADDING) -> y",
    "conv2d_backward": "(dy, x, w, stride=1, padding=NO_PADDING, input_gradient=True) -> dx or None, dw, db",
    # pool2d.py
    "max_pool2d_forward": "(x, pool_size=2, stride=None, padding=NO_PADDING) -> y, argmax",
    "max_pool2d_backward": "(dy, argmax, x_shape, pool_size=2, stride=None, padding=NO_PADDING) -> dx",
    "avg_pool2d_forward": "(x, pool_size=2, stride=None, padding=NO_PADDING) -> y",
    "avg_pool2d_backward": "(dy, x_shape, pool_size=2, stride=None, padding=NO_PADDING) -> dx",
    # dense.py
    "dense_forward": "(x, w, b=None) -> y",
    "dense_backward": "(dy, x, w, input_gradient=True) -> dx or None, dw, db",
    # activations.py (elementwise on any shape; softmax over the last axis)
    "relu_forward": "(x) -> y",
    "relu_backward": "(dy, y) -> dx",
    "leaky_relu_forward": "(x, negative_slope=0.2) -> y",
    "leaky_relu_backward": "(dy, y, negative_slope=0.2) -> dx",
    "sigmoid_forward": "(x) -> y",
    "sigmoid_backward": "(dy, y) -> dx",
    "tanh_forward": "(x) -> y",
    "tanh_backward": "(dy, y) -> dx",
    "softmax_forward": "(x) -> y",
    "softmax_backward": "(dy, y) -> dx",
    # loss.py
    "softmax_cross_entropy": "(logits, labels, sample_weight=None, label_smoothing=0.0) -> loss, dlogits",
    "cross_entropy": "(probabilities, labels, sample_weight=None, label_smoothing=0.0) -> loss, dprobabilities",
    "mean_squared_error": "(predictions, targets, sample_weight=None) -> loss, dpredictions",
    # normalization.py (statistics per channel: over every axis but the last)
    "batch_norm_forward": "(x, gamma, beta, epsilon=1e-3) -> y, mean, variance",
    "batch_norm_backward": "(dy, x, gamma, mean, variance, epsilon=1e-3) -> dx, dgamma, dbeta",
    "batch_norm_inference_forward": "(x, gamma, beta, mean, variance, epsilon=1e-3) -> y",
    "batch_norm_inference_backward": "(dy, x, gamma, mean, variance, epsilon=1e-3) -> dx, dgamma, dbeta",
    "dropout_forward": "(x, rate, seed) -> y, mask",
    "dropout_backward": "(dy, mask, rate) -> dx",
    # optimizers.py (in place on flat vectors)
    "sgd_step": "(parameters, gradients, velocity, learning_rate, momentum=0.0, nesterov=False, weight_decay=0.0)",
    "adam_step": (
        "(parameters, gradients, first_moment, second_moment, step, learning_rate=0.001, beta_1=0.9, beta_2=0.999, "
        "epsilon=1e-7, weight_decay=0.0)"
    ),
    "clip_by_global_norm": "(gradients, max_norm) -> norm",
}

#: Functions that a back-end may offer besides, because they save it passes over memory. ``minicnn`` uses them when
#: they are there and otherwise composes the same result from the contract.
FUSED = {
    "conv2d_relu_forward": "(x, w, b=None, stride=1, padding=NO_PADDING) -> y = relu(conv2d_forward(...))",
    "conv2d_relu_backward": "(dy, y, x, w, stride=1, padding=NO_PADDING, input_gradient=True) -> dx or None, dw, db",
    "conv2d_relu_max_pool2d_forward": (
        "(x, w, b=None, stride=1, padding=NO_PADDING, pool_size=2) -> y, argmax = "
        "max_pool2d_forward(relu(conv2d_forward(...)), pool_size)"
    ),
    "conv2d_relu_max_pool2d_backward": (
        "(dy, y, argmax, x, w, stride=1, padding=NO_PADDING, pool_size=2, input_gradient=True) -> dx or None, dw, db"
    ),
    "dense_relu_forward": "(x, w, b=None) -> y = relu(dense_forward(...))",
    "dense_relu_backward": "(dy, y, x, w, input_gradient=True) -> dx or None, dw, db",
}

#: Functions that a back-end with ``TAKES_OUT = True`` offers with one argument more, ``out=None``. With
#: ``out=(dw, db)``, arrays like w and b (or None for a new one), it writes the gradients there, and these arrays are
#: what it returns. That saves a training step the copy of all gradients into one vector.
OUT = ("conv2d_backward", "dense_backward", "conv2d_relu_backward", "conv2d_relu_max_pool2d_backward",
       "dense_relu_backward")

#: Array functions that a back-end offers when its arrays are not NumPy's (``cuda``: they live on the device). For every
#: other back-end ``minicnn`` uses the NumPy versions in ``kernels/arrays.py``. Slices and reshapes of such an array are
#: views, as NumPy's are.
ARRAYS = {
    "asarray": "(host_array) -> array",
    "to_numpy": "(array) -> numpy.ndarray",
    "empty": "(shape, dtype) -> array",
    "zeros": "(shape, dtype) -> array",
    "assign": "(destination, source): copy the numbers of source into destination",
    "count_correct": "(logits, labels) -> number of rows whose largest logit (the first, on a tie) is the label's",
    "is_finite": "(array) -> whether every element is",
    "update_average": "(average, value, momentum): average = momentum * average + (1 - momentum) * value, in place",
}

#: The back-ends that live in this package.
BACKENDS = ("reference", "im2col", "cpu", "cuda")

NO_PADDING = ((0, 0), (0, 0))


class BackendUnavailable(RuntimeError):
    """A back-end needs something that this machine lacks, such as a GPU or its driver; the message says what."""


def available_backends() -> list[str]:
    """Names of the back-ends in this package whose folder is installed (not: whose hardware is present)."""
    return [name for name in BACKENDS if importlib.util.find_spec(f"kernels.{name}") is not None]


def missing_functions(backend) -> list[str]:
    """Names of the contract's functions that ``backend`` does not offer, in the contract's order."""
    return [name for name in CONTRACT if not callable(getattr(backend, name, None))]


def get_backend(backend="cpu", fallback=None):
    """Return the back-end module that is meant by ``backend``.

    Parameters
    ----------
    backend : str or module
        A name from ``BACKENDS``, or any module (or object) that offers the functions of ``CONTRACT``.
    fallback : str or module, optional
        Where the functions come from that ``backend`` lacks: with it, a student's file that holds nothing but
        ``conv2d_forward`` and ``conv2d_backward`` is a back-end.

    Returns
    -------
    module
        ``backend`` itself when it is complete, else a new module with its functions and the fallback's.

    Raises
    ------
    ValueError
        For an unknown name; the message lists the known ones.
    TypeError
        For a module that lacks functions, when no fallback is given; the message names module and functions.
    """
    if isinstance(backend, str):
        if backend not in available_backends():
            raise ValueError(f"backend: unknown name {backend!r}; choose one of {', '.join(available_backends())}, "
                             "or pass a module that offers the functions of kernels.CONTRACT")
        return importlib.import_module(f"kernels.{backend}")
    missing = missing_functions(backend)
    if not missing:
        return backend
    name = getattr(backend, "__name__", repr(backend))
    if fallback is None:
        listed = "\n".join(f"    {function}{CONTRACT[function]}" for function in missing)
        raise TypeError(f"backend: module {name!r} lacks {len(missing)} of the {len(CONTRACT)} functions of the "
                        f"contract:\n{listed}")
    return _completed(backend, name, get_backend(fallback))


def _completed(backend, name, fallback):
    module = types.ModuleType(f"{name}+{fallback.__name__.rpartition('.')[2]}", getattr(backend, "__doc__", None))
    for function in CONTRACT:
        own = getattr(backend, function, None)
        setattr(module, function, own if callable(own) else getattr(fallback, function))
    for function in FUSED:  # a fused function of the fallback would bypass the student's own: take only the student's
        if callable(getattr(backend, function, None)):
            setattr(module, function, getattr(backend, function))
    return module
