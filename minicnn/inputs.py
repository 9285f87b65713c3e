"""What ``fit``, ``evaluate`` and ``predict`` are given, checked before anything is computed or changed."""

from __future__ import annotations

import numpy as np

from kernels import arrays
from minicnn import shapes

_ROWS = 4096  # rows looked at together: bounds the memory of checks and casts on arrays of any size


def images(model, x, name="x", finite=True):
    """``x`` as a NumPy array of numbers that fits the model: not empty, of the right shape, without NaN or infinity.

    Integers and either float type are taken; each batch is cast to the model's own type when its turn comes. A
    memory-mapped array stays on disk.
    """
    x = np.asanyarray(x)
    if x.dtype.kind not in "fiub":
        raise TypeError(f"{name}: expected an array of numbers (float32, float64 or integers), got dtype {x.dtype}")
    if x.ndim == 0 or x.shape[0] == 0:
        raise ValueError(f"{name}: expected at least one example, got an array of shape {x.shape}")
    if not model.built:
        model.build(None if model.shapes_known else x.shape[1:])
    shapes.check_batch(model, x)
    if finite and x.dtype.kind == "f":
        _check_finite(name, x)
    return x


def targets(model, y, count, name="y"):
    """Labels as int64 ``(N,)``, or for other losses targets of the model's output shape, one for each example."""
    y = np.asanyarray(y)
    if y.ndim == 0 or y.shape[0] != count:
        raise ValueError(f"{name}: expected one entry for each of the {count} examples, got shape {y.shape}")
    if model.loss.name != "sparse_categorical_crossentropy":
        if y.dtype.kind not in "fiub":
            raise TypeError(f"{name}: expected an array of numbers, got dtype {y.dtype}")
        if y.shape[1:] != model.output_shape:
            raise ValueError(f"{name}: expected shape {(count, *model.output_shape)} like the model's output, got "
                             f"{y.shape}")
        _check_finite(name, y)
        return y
    classes = model.output_shape[-1]
    if y.dtype.kind not in "iu":
        hint = "; y.argmax(axis=1) turns one-hot rows into class numbers" if y.ndim == 2 and y.shape[1] > 1 else ""
        raise TypeError(f"{name}: expected integer class numbers, got dtype {y.dtype} and shape {y.shape}{hint}")
    if y.shape == (count, 1):
        y = y[:, 0]
    if y.ndim != 1:
        hint = "; y.argmax(axis=1) turns one-hot rows into class numbers" if y.shape == (count, classes) else ""
        raise ValueError(f"{name}: expected shape ({count},), one class number for each example, got {y.shape}{hint}")
    if y.min() < 0 or y.max() >= classes:
        raise ValueError(f"{name}: expected class numbers 0 to {classes - 1}, because the model ends in {classes} "
                         f"outputs; got {y.min()} to {y.max()}")
    return y.astype(np.int64)


def sample_weights(y, sample_weight, class_weight):
    """One weight for each example, or None: ``sample_weight`` times the weight of the example's class."""
    if sample_weight is None and class_weight is None:
        return None
    weights = np.ones(len(y))
    if sample_weight is not None:
        sample_weight = np.asarray(sample_weight)
        if sample_weight.shape != (len(y),) or sample_weight.dtype.kind not in "fiub":
            raise ValueError(f"sample_weight: expected numbers of shape ({len(y)},), got dtype {sample_weight.dtype} "
                             f"and shape {sample_weight.shape}")
        weights = weights * sample_weight
    if class_weight is not None:
        if not isinstance(class_weight, dict):
            raise TypeError("class_weight: expected a dict {class number: weight}, got "
                            f"{type(class_weight).__name__}")
        missing = sorted(set(np.unique(y).tolist()) - set(class_weight))
        if missing:
            raise ValueError(f"class_weight: no weight for class {', '.join(map(str, missing))}")
        table = np.zeros(int(y.max()) + 1)
        for label in np.unique(y).tolist():
            table[label] = class_weight[label]
        weights = weights * table[y]
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise ValueError("sample_weight, class_weight: expected finite weights of at least 0")
    return weights


def _check_finite(name, x):
    for start in range(0, len(x), _ROWS):
        block = x[start:start + _ROWS]
        if not arrays.is_finite(block):
            row, *place = (int(i) for i in np.argwhere(~np.isfinite(block))[0])
            value = block[(row, *place)]
            raise ValueError(f"{name}: expected finite numbers, got {value} in example {start + row}"
                             f"{' at ' + str(tuple(place)) if place else ''}; remove such examples or "
                             "replace the values first (np.nan_to_num)")
