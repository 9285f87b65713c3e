"""What every back-end asks of its arguments, in one place, so that all of them raise the same errors.

Each function looks at shapes and types only (at numbers only if they are used as places: labels and argmax), raises
``TypeError`` or ``ValueError`` with the argument's name, what was expected and what was given, and returns the
arguments in the form that a kernel wants: arrays C-contiguous, aligned and in native byte order, ``stride`` and
``pool_size`` as pairs. Python's own numbers and lists are not arrays: they are refused rather than guessed at.

What is an array is told by the first few names below. For NumPy's arrays they are what stands here; ``variant`` makes
the module anew with others in their place, for a back-end with arrays of its own (``kernels/cuda/checks.py``), or with
a quicker way to look at them (``kernels/cpu/checks.py``).
"""

from __future__ import annotations

import importlib.util
import operator

import numpy as np

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))

#: Default of the arguments that only some callers have checked. (None would not do: a caller may pass it by mistake.)
NOT_ASKED = object()

ARRAY = np.ndarray
ARRAY_NAME = "a NumPy array"


def variant(**names):
    """This module once more, with these in place of what stands here under their names."""
    module = importlib.util.module_from_spec(__spec__)
    __spec__.loader.exec_module(module)
    vars(module).update(names)
    return module


def plain(name, value):
    """``value`` without what a class derived from NumPy's array adds to it; what a mask hides must not be used."""
    if type(value) is ARRAY:  # nearly always
        return value
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name}: expected {ARRAY_NAME}, got a masked array, whose mask would be lost: use .filled()")
    return value.view(np.ndarray)


def laid_out(value, dtype=None):
    """``value`` as a C-contiguous, aligned array, copied only if its memory layout or ``dtype`` needs it."""
    if value.flags.carray and (dtype is None or value.dtype == dtype):  # nearly always; np.require takes long
        return value
    return np.require(value, dtype, ("C", "A"))


def extremes(value):
    """The smallest and the largest element of an integer array; of unsigned ones none is below 0."""
    return 0 if value.dtype.kind == "u" else value.min(), value.max()


def is_writeable(value):
    """Whether the array may be changed in place."""
    return value.flags.writeable


def array(name, value, ndim=None, dtype=None):
    """A float32 or float64 array of ``ndim`` dimensions, copied only if its memory layout needs it."""
    if not isinstance(value, ARRAY):
        raise TypeError(f"{name}: expected {ARRAY_NAME}, got {type(value).__name__}")
    value = plain(name, value)
    native = value.dtype if value.dtype in FLOATS else value.dtype.newbyteorder("=")
    if native not in FLOATS:
        raise TypeError(f"{name}: expected dtype float32 or float64, got {value.dtype}")
    if dtype is not None and native != dtype:
        raise TypeError(f"{name}: expected dtype {dtype} like the other arguments, got {value.dtype}")
    if ndim is not None and value.ndim != ndim:
        raise ValueError(f"{name}: expected {ndim} dimensions, got shape {value.shape}")
    if native is not value.dtype:
        value = value.astype(native)
    return laid_out(value)


def shaped(name, value, shape, dtype=None):
    """An array (as in ``array``) of exactly this shape."""
    value = array(name, value, len(shape), dtype)
    if value.shape != tuple(shape):
        raise ValueError(f"{name}: expected shape {tuple(shape)}, got {value.shape}")
    return value


def target(name, value, shape, dtype):
    """An array of exactly this shape and type that a result can be written to."""
    return _as_it_is(name, value, shaped(name, value, shape, dtype))


def _as_it_is(name, value, checked, writeable=True):
    """``value``, if that is what ``array`` made of it: what is written to a copy is lost."""
    if checked is not value and not np.shares_memory(checked, value):
        raise ValueError(f"{name}: expected a C-contiguous, aligned array in native byte order, because it is worked "
                         f"on in place; got strides {value.strides}, dtype {value.dtype}")
    if writeable and not is_writeable(value):
        raise ValueError(f"{name}: expected a writeable array, because it is changed in place")
    return value if type(value) is ARRAY else checked


def integer(name, value, minimum):
    """An integer that is at least ``minimum``; booleans and floats are refused."""
    if type(value) is int and value >= minimum:  # nearly always
        return value
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: expected an integer, got {value!r}")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected an integer, got {value!r}") from None
    if number < minimum:
        raise ValueError(f"{name}: expected at least {minimum}, got {number}")
    return number


def pair(name, value, minimum=1):
    """``value`` or ``(vertical, horizontal)`` as a pair of integers."""
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise ValueError(f"{name}: expected an integer or a pair (vertical, horizontal), got {value!r}")
        return integer(name, value[0], minimum), integer(name, value[1], minimum)
    return (integer(name, value, minimum),) * 2


def padding_pairs(padding):
    """``((top, bottom), (left, right))`` as four integers, none of them negative."""
    try:
        (top, bottom), (left, right) = padding
    except (TypeError, ValueError):
        raise ValueError(f"padding: expected ((top, bottom), (left, right)), got {padding!r}") from None
    return ((integer("padding top", top, 0), integer("padding bottom", bottom, 0)),
            (integer("padding left", left, 0), integer("padding right", right, 0)))


def output_size(size, kernel, stride, padding):
    """Number of window positions along one axis: ``(size + before + after - kernel) // stride + 1``."""
    return (size + sum(padding) - kernel) // stride + 1


def windows(x_shape, window, stride, padding, name="w"):
    """``(OH, OW)`` for a window over images of shape ``(N, H, W, C)``; an error if it does not fit once."""
    _, h, w, _ = x_shape
    (top, bottom), (left, right) = padding
    if window[0] > h + top + bottom or window[1] > w + left + right:
        raise ValueError(f"{name}: a window of {window[0]}x{window[1]} does not fit the padded input of "
                         f"{h + top + bottom}x{w + left + right} (x has shape {tuple(x_shape)}, padding {padding})")
    return output_size(h, window[0], stride[0], padding[0]), output_size(w, window[1], stride[1], padding[1])


def conv2d_forward(x, w, b, stride, padding):
    """Return ``x, w, b, (SH, SW), padding, (N, OH, OW, O)`` after checking them."""
    x = array("x", x, 4)
    w = array("w", w, 4, x.dtype)
    stride, padding = pair("stride", stride), padding_pairs(padding)
    if 0 in x.shape[1:] or 0 in w.shape:
        raise ValueError(f"x, w: expected no empty axis but the batch, got x {x.shape}, w {w.shape}")
    if w.shape[2] != x.shape[3]:
        raise ValueError(f"w: expected shape (KH, KW, C, O) with C = {x.shape[3]}, the channels of x {x.shape}, "
                         f"got {w.shape}")
    if b is not None:
        b = shaped("b", b, (w.shape[3],), x.dtype)
    oh, ow = windows(x.shape, w.shape[:2], stride, padding)
    return x, w, b, stride, padding, (x.shape[0], oh, ow, w.shape[3])


def conv2d_backward(dy, x, w, stride, padding, y=NOT_ASKED):
    """Return ``dy, x, w, (SH, SW), padding`` (and ``y`` if one is given) after checking them."""
    x, w, _, stride, padding, y_shape = conv2d_forward(x, w, None, stride, padding)
    dy = shaped("dy", dy, y_shape, x.dtype)
    if y is NOT_ASKED:
        return dy, x, w, stride, padding
    return dy, x, w, stride, padding, shaped("y", y, y_shape, x.dtype)


def _pool_window(x_shape, pool_size, stride, padding):
    pool_size = pair("pool_size", pool_size)
    stride = pool_size if stride is None else pair("stride", stride)
    padding = padding_pairs(padding)
    for axis, pads, size in (("vertical", padding[0], pool_size[0]), ("horizontal", padding[1], pool_size[1])):
        if max(pads) >= size:
            raise ValueError(f"padding: expected the {axis} padding to be smaller than pool_size {size} (a window "
                             f"would see nothing but padding), got {pads}")
    return pool_size, stride, padding, windows(x_shape, pool_size, stride, padding, "pool_size")


def pool2d_forward(x, pool_size, stride, padding):
    """Return ``x, (PH, PW), (SH, SW), padding, (N, OH, OW, C)`` after checking them."""
    x = array("x", x, 4)
    if 0 in x.shape[1:]:
        raise ValueError(f"x: expected no empty axis but the batch, got {x.shape}")
    pool_size, stride, padding, (oh, ow) = _pool_window(x.shape, pool_size, stride, padding)
    return x, pool_size, stride, padding, (x.shape[0], oh, ow, x.shape[3])


def pool2d_backward(dy, x_shape, pool_size, stride, padding, argmax=NOT_ASKED):
    """Return ``dy, x_shape, (PH, PW), (SH, SW), padding`` (and ``argmax`` if given) after checking them."""
    dy = array("dy", dy, 4)
    if not isinstance(x_shape, (tuple, list)) or len(x_shape) != 4:
        raise ValueError(f"x_shape: expected (N, H, W, C), got {x_shape!r}")
    x_shape = tuple(integer("x_shape", size, 0 if axis == 0 else 1) for axis, size in enumerate(x_shape))
    pool_size, stride, padding, (oh, ow) = _pool_window(x_shape, pool_size, stride, padding)
    dy = shaped("dy", dy, (x_shape[0], oh, ow, x_shape[3]))
    if argmax is NOT_ASKED:
        return dy, x_shape, pool_size, stride, padding
    return dy, x_shape, pool_size, stride, padding, window_places(argmax, dy.shape, pool_size)


def windows_side_by_side(shape, pool_size):
    """Return ``(PH, PW)`` and the shape that pooling makes of ``shape``, for windows that touch and do not overlap."""
    pool_size, _, _, (oh, ow) = _pool_window(shape, pool_size, None, ((0, 0), (0, 0)))
    return pool_size, (shape[0], oh, ow, shape[3])


def window_places(argmax, shape, pool_size):
    """Return ``argmax``, places in windows of that size, for a pooled gradient of that shape, after checking it."""
    if not isinstance(argmax, ARRAY) or argmax.dtype.kind not in "iu":
        raise TypeError(f"argmax: expected the integer array that max_pool2d_forward returned, got {_kind(argmax)}")
    argmax = plain("argmax", argmax)
    if argmax.shape != shape:
        raise ValueError(f"argmax: expected the shape of dy {shape}, got {argmax.shape}")
    argmax = laid_out(argmax, argmax.dtype.newbyteorder("="))
    if argmax.size:
        lowest, highest = extremes(argmax)
        if lowest < 0 or highest >= pool_size[0] * pool_size[1]:
            raise ValueError(f"argmax: expected indices inside the {pool_size[0]}x{pool_size[1]} window, got "
                             f"{lowest} to {highest}")
    return argmax


def dense_forward(x, w, b):
    """Return ``x, w, b`` after checking them."""
    x = array("x", x, 2)
    w = array("w", w, 2, x.dtype)
    if 0 in w.shape:
        raise ValueError(f"w: expected no empty axis, got shape {w.shape}")
    if w.shape[0] != x.shape[1]:
        raise ValueError(f"w: expected shape (I, O) with I = {x.shape[1]}, the columns of x {x.shape}, got {w.shape}")
    if b is not None:
        b = shaped("b", b, (w.shape[1],), x.dtype)
    return x, w, b


def dense_backward(dy, x, w, y=NOT_ASKED):
    """Return ``dy, x, w`` (and ``y`` if one is given) after checking them."""
    x, w, _ = dense_forward(x, w, None)
    shape = (x.shape[0], w.shape[1])
    dy = shaped("dy", dy, shape, x.dtype)
    return (dy, x, w) if y is NOT_ASKED else (dy, x, w, shaped("y", y, shape, x.dtype))


def elementwise(name, x, other_name=None, other=None):
    """Return one array, or two of the same shape and type, for an elementwise operation."""
    x = array(name, x)
    return x if other_name is None else (x, shaped(other_name, other, x.shape, x.dtype))


def last_axis(name, x, other_name=None, other=None):
    """Like ``elementwise``, for operations over a last axis that must exist and not be empty (softmax)."""
    checked = elementwise(name, x, other_name, other)
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ValueError(f"{name}: expected a last axis with at least one element, got shape {x.shape}")
    return checked


def slope(negative_slope):
    """A leak in [0, 1): with a slope below zero ``y`` no longer tells the sign of ``x``."""
    return fraction("negative_slope", negative_slope)


def fraction(name, value):
    """A number in [0, 1)."""
    number = real(name, value)
    if not 0.0 <= number < 1.0:
        raise ValueError(f"{name}: expected a number in [0, 1), got {value!r}")
    return number


def real(name, value):
    """A Python float from a real number; arrays, strings and booleans are refused."""
    if type(value) is float:  # nearly always
        return value
    if isinstance(value, (bool, np.bool_, str, bytes, np.ndarray, ARRAY)) or not hasattr(value, "__float__"):
        raise TypeError(f"{name}: expected a real number, got {_kind(value)}")
    return float(value)


def class_labels(labels, shape):
    """Integer labels ``(N,)`` inside ``0 .. K-1`` for logits of shape ``(N, K)``."""
    if not isinstance(labels, ARRAY) or labels.dtype.kind not in "iu":
        raise TypeError(f"labels: expected an integer array (class numbers, not one-hot rows), got {_kind(labels)}")
    labels = plain("labels", labels)
    if labels.shape != shape[:1]:
        raise ValueError(f"labels: expected shape {shape[:1]}, one class number for each row of logits {tuple(shape)}, "
                         f"got {labels.shape}")
    if labels.size:
        lowest, highest = extremes(labels)
        if lowest < 0 or highest >= shape[1]:
            raise ValueError(f"labels: expected class numbers 0 to {shape[1] - 1} for {shape[1]} logits, got "
                             f"{lowest} to {highest}")
    return laid_out(labels, np.int64)


def _loss_inputs(name, values):
    values = array(name, values, 2)
    if 0 in values.shape:
        raise ValueError(f"{name}: expected at least one row and one column, got shape {values.shape}")
    return values


def softmax_cross_entropy(logits, labels, sample_weight, label_smoothing):
    """Return ``logits, labels, sample_weight, label_smoothing`` after checking them."""
    return _labelled("logits", logits, labels, sample_weight, label_smoothing)


def cross_entropy(probabilities, labels, sample_weight, label_smoothing):
    """Return ``probabilities, labels, sample_weight, label_smoothing`` after checking them."""
    return _labelled("probabilities", probabilities, labels, sample_weight, label_smoothing)


def _labelled(name, values, labels, sample_weight, label_smoothing):
    values = _loss_inputs(name, values)
    labels = class_labels(labels, values.shape)
    if sample_weight is not None:
        sample_weight = shaped("sample_weight", sample_weight, labels.shape, values.dtype)
    return values, labels, sample_weight, fraction("label_smoothing", label_smoothing)


def mean_squared_error(predictions, targets, sample_weight):
    """Return ``predictions, targets, sample_weight`` after checking them."""
    predictions = _loss_inputs("predictions", predictions)
    targets = shaped("targets", targets, predictions.shape, predictions.dtype)
    if sample_weight is not None:
        sample_weight = shaped("sample_weight", sample_weight, predictions.shape[:1], predictions.dtype)
    return predictions, targets, sample_weight


def channels(x, epsilon, dy=NOT_ASKED, x_name="x", **vectors):
    """Return ``x, epsilon, [dy,] *vectors`` for a normalization over the last axis; each vector has shape ``(C,)``."""
    x = array(x_name, x)
    if x.ndim < 2 or 0 in x.shape:
        raise ValueError(f"{x_name}: expected shape (N, ..., C) without an empty axis, got {x.shape}")
    number = real("epsilon", epsilon)
    if number < 0:
        raise ValueError(f"epsilon: expected a number of at least 0, got {epsilon!r}")
    checked = [shaped(name, vector, x.shape[-1:], x.dtype) for name, vector in vectors.items()]
    return (x, number, *checked) if dy is NOT_ASKED else (x, number, shaped("dy", dy, x.shape, x.dtype), *checked)


def dropout_forward(x, rate, seed):
    """Return ``x, rate, seed`` after checking them."""
    seed = integer("seed", seed, 0)
    if seed >= 2**63:
        raise ValueError(f"seed: expected an integer below 2**63, got {seed}")
    return array("x", x), fraction("rate", rate), seed


def dropout_backward(dy, mask, rate):
    """Return ``dy, mask, rate`` after checking them."""
    dy = array("dy", dy)
    if not isinstance(mask, ARRAY) or mask.dtype != np.bool_:
        raise TypeError(f"mask: expected the boolean array that dropout_forward returned, got {_kind(mask)}")
    mask = plain("mask", mask)
    if mask.shape != dy.shape:
        raise ValueError(f"mask: expected the shape of dy {dy.shape}, got {mask.shape}")
    return dy, laid_out(mask), fraction("rate", rate)


def flat_vectors(**vectors):
    """Check the vectors of an optimizer's step: alike, and all but ``gradients`` fit to be changed in place."""
    first_name, first = next(iter(vectors.items()))
    for name, vector in vectors.items():
        flat_vector(name, vector, writeable=name != "gradients")
        if vector.dtype != first.dtype or vector.shape != first.shape:
            raise ValueError(f"{name}: expected shape {first.shape} and dtype {first.dtype} like {first_name}, got "
                             f"{vector.shape} and {vector.dtype}")


def flat_vector(name, vector, writeable=True):
    """Check a vector of a step in place."""
    _as_it_is(name, vector, array(name, vector, 1), writeable)


def hyperparameters(**values):
    """Check an optimizer's numbers: rates and norms are finite and not negative, decay rates lie in [0, 1)."""
    checked = []
    for name, value in values.items():
        number = real(name, value)
        if name in ("momentum", "beta_1", "beta_2"):
            number = fraction(name, value)
        elif not (0.0 <= number < float("inf")):
            raise ValueError(f"{name}: expected a finite number of at least 0, got {value!r}")
        checked.append(number)
    return checked


def _kind(value):
    if isinstance(value, ARRAY):
        return f"an array of dtype {value.dtype} and shape {value.shape}"
    return type(value).__name__
