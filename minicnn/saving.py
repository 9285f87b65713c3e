"""Models as files: one ``.npz`` without pickles.

    description                     JSON: format and version, architecture, optimizer, loss, step, class names ...
    weights/conv2d/w                every array of ``model.named_weights()``
    optimizer/first_moment          every array of ``optimizer.state``

``numpy.load`` opens it too. A file is written under a temporary name and renamed when it is whole, so a killed program
leaves the old file or the new one. A file is read with suspicion: nothing is made before the description is understood,
and no array before its size agrees with the architecture.
"""

from __future__ import annotations

import json
from math import prod

import numpy as np

from minicnn import losses, optimizers, shapes
from minicnn._version import __version__
from minicnn.files import atomic_write
from minicnn.npz import Archive

MODEL, WEIGHTS = "minicnn model", "minicnn weights"
VERSION = 1

MAX_DESCRIPTION = 1 << 24  # bytes
MAX_LAYERS = 10000


def save_model(model, path, progress=None):
    """Write the whole model: architecture, weights, optimizer and its state, loss, class names, preprocessing.

    Parameters
    ----------
    model : Sequential
    path : path
        The file, by custom ``something.npz``. An older file of that name is replaced in one step.
    progress : dict, optional
        What a training run wants to find again (plain values for JSON); ``read_description`` returns it.

    Raises
    ------
    OSError
        When the file cannot be written; an older file is unchanged then.
    ValueError
        When the model has no known input shape, or something in it is no plain value.
    """
    weights = _host_weights(model)  # builds the model, so that the description below has its shape
    description = {
        "format": MODEL, "format_version": VERSION, "minicnn_version": __version__,
        "architecture": model.get_config(),
        "class_names": None if model.class_names is None else list(model.class_names),
        "preprocessing": model.preprocessing,
        "step": model.step,
        "training": None,
        "progress": progress,
    }
    arrays = {f"weights/{name}": array for name, array in weights.items()}
    if model.optimizer is not None:
        description["training"] = {
            "optimizer": {"class": type(model.optimizer).__name__, "config": model.optimizer.get_config()},
            "loss": {"class": type(model.loss).__name__, "config": model.loss.get_config()},
            "metrics": list(model.metrics),
        }
        arrays |= {f"optimizer/{name}": np.array(model.ops.to_numpy(array))
                   for name, array in model.optimizer.state.items()}
    _write(path, description, arrays)


def save_weights(model, path):
    """Write the weights alone; ``load_weights`` puts them into a model of the same layers."""
    description = {"format": WEIGHTS, "format_version": VERSION, "minicnn_version": __version__}
    _write(path, description, {f"weights/{name}": array for name, array in _host_weights(model).items()})


def load_model(path, backend=None, compile=True):
    """Make the model that ``model.save(path)`` wrote, ready to predict and to go on training.

    Parameters
    ----------
    path : path
    backend : str, path or module, optional
        Where the arithmetic is done; a file does not say.
    compile : bool
        Whether to restore optimizer, loss and metrics. Without them the model can predict only.

    Returns
    -------
    Sequential

    Raises
    ------
    ValueError
        For a file that is damaged, truncated, not from MiniCNN, from a newer version, or contradicts itself.
    OSError
        When it cannot be opened.
    """
    from minicnn.models import Sequential

    with Archive(path) as archive:
        description = _description(archive, path, MODEL)
        try:
            architecture = description["architecture"]
            if len(architecture["layers"]) > MAX_LAYERS:
                raise ValueError(f"{len(architecture['layers']):,} layers; at most {MAX_LAYERS:,} are accepted")
            if architecture["input_shape"] is None:
                raise ValueError("it gives no input shape")
            model = Sequential.from_config(architecture, backend=backend)
            parts = _training_parts(description) if compile and description["training"] is not None else None
            step, class_names, preprocessing = _facts(description)
            expected = _declared(model)
            vector = (sum(prod(layer.parameter_specs[name][0]) for layer in model.layers
                          for name in layer.parameter_specs),)
            if parts is not None:
                expected |= {f"optimizer/{name}": vector for name in parts[0].state_names}
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
            what = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise ValueError(f"{path}: the description of the model is not usable: {what:.1000}") from error
        arrays = _read_arrays(archive, expected, np.dtype(model.dtype), path)
    if parts is not None:
        try:
            model.compile(*parts)
        except ValueError as error:
            raise ValueError(f"{path}: the description of the model is not usable: {error!s:.1000}") from error
        for name, place in model.optimizer.state.items():
            model.ops.assign(place, model.ops.asarray(arrays[f"optimizer/{name}"]))
    _put_weights(model, arrays)
    model.step, model.class_names, model.preprocessing = step, class_names, preprocessing
    return model


def load_weights(model, path):
    """Take over the weights from a file of ``save_weights`` or ``save``. The layers' names and shapes must agree.

    Raises what ``load_model`` raises; the model is unchanged then.
    """
    _host_weights(model)
    with Archive(path) as archive:
        _description(archive, path, MODEL, WEIGHTS)
        arrays = _read_arrays(archive, _declared(model), np.dtype(model.dtype), path)
    _put_weights(model, arrays)


def read_description(path):
    """What a model's file says of itself, as a dict, without reading its weights."""
    with Archive(path) as archive:
        return _description(archive, path, MODEL)


# ---- writing -------------------------------------------------------------------------------------------------------


def _host_weights(model):
    return {name: np.array(model.ops.to_numpy(array)) for name, array in model.named_weights().items()}


def _write(path, description, arrays):
    try:
        text = json.dumps(description)
    except TypeError as error:
        raise ValueError(f"save: expected plain values (numbers, texts, lists, dicts) in the model's configuration, "
                         f"class names, preprocessing and progress: {error}") from None
    with atomic_write(path) as file:
        np.savez(file, description=np.array(text), **arrays)


# ---- reading -------------------------------------------------------------------------------------------------------


def _description(archive, path, *formats):
    """The description, if it is one that this version understands."""
    if "description" not in archive.names:
        raise ValueError(f"{path}: not a model of MiniCNN: it has no description. (Arrays in it: "
                         f"{', '.join(archive.names[:6]) or 'none':.200}{' ...' if len(archive.names) > 6 else ''})")
    text = archive.read("description", MAX_DESCRIPTION)
    try:
        if text.dtype.kind != "U" or text.shape != ():
            raise ValueError("the description is not a text")
        description = json.loads(str(text))
        if not isinstance(description, dict):
            raise ValueError("the description is not a dict")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not a model of MiniCNN, or a damaged one: {error}") from None
    found, version = description.get("format"), description.get("format_version")
    if found not in formats:
        hint = "; build the model and call model.load_weights(path)" if found == WEIGHTS else ""
        raise ValueError(f"{path}: expected a file of format {formats[0]!r}, got {found!r:.100}{hint}")
    if not isinstance(version, int) or version < 1:
        raise ValueError(f"{path}: damaged: its format version is {version!r:.100}")
    if version > VERSION:
        author = f"{description.get('minicnn_version')!s:.40}, format {version!s:.40}"
        raise ValueError(f"{path}: written by a newer MiniCNN ({author}), and this one ({__version__}) reads formats "
                         f"up to {VERSION}; update MiniCNN")
    return description


def _declared(model):
    """Name in the file and shape of every weight, from the configuration alone: no memory is taken for them."""
    arriving = [model.input_shape, *shapes.infer(model.layers, model.input_shape)]
    declared = {}
    for layer, shape in zip(model.layers, arriving):
        if not model.built:
            layer.build(shape)
        for name, (weight_shape, _) in {**layer.parameter_specs, **layer.state_specs}.items():
            declared[f"weights/{layer.name}/{name}"] = weight_shape
    return declared


def _read_arrays(archive, expected, dtype, path):
    """The expected arrays, all of them and of weights no others, in the model's type."""
    there = {name for name in archive.names if name.startswith("weights/")}
    wanted = {name for name in expected if name.startswith("weights/")}
    problems = [f"it lacks {name}" for name in sorted(set(expected) - set(archive.names))]
    problems += [f"it holds {name}, which the model has not" for name in sorted(there - wanted)]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise ValueError(f"{path}: not the weights of this model: {'; '.join(problems[:3]):.1000}{more}")
    arrays = {}
    for name, shape in expected.items():
        array = archive.read(name, 8 * prod(shape))
        if array.shape != shape or array.dtype.kind != "f":
            raise ValueError(f"{path}: {name}: expected shape {shape} of numbers, got {array.shape} of {array.dtype}")
        arrays[name] = np.ascontiguousarray(array.astype(dtype, copy=False))
    return arrays


def _put_weights(model, arrays):
    for name, place in model.named_weights().items():
        model.ops.assign(place, model.ops.asarray(arrays[f"weights/{name}"]))


def _training_parts(description):
    """Optimizer, loss and metrics as the description has them."""
    training = description["training"]
    optimizer = _by_class(optimizers.OPTIMIZERS, training["optimizer"], "optimizer")
    loss = _by_class(losses.LOSSES, training["loss"], "loss")
    metrics = training["metrics"]
    if not isinstance(metrics, list):
        raise TypeError(f"metrics: expected a list, got {metrics!r}")
    return optimizer, loss, metrics


def _by_class(known, entry, what):
    classes = {cls.__name__: cls for cls in known.values()}
    if entry["class"] not in classes:
        raise ValueError(f"unknown {what} {entry['class']!r}; known are {', '.join(classes)}. "
                         "load_model(path, compile=False) loads the model without it")
    return classes[entry["class"]](**entry["config"])


def _facts(description):
    """Step, class names and preprocessing, each of the type that the rest of the library relies on."""
    step, names, preprocessing = (description[key] for key in ("step", "class_names", "preprocessing"))
    if isinstance(step, bool) or not isinstance(step, int) or not 0 <= step < 2**63:
        raise ValueError(f"step: expected an integer of at least 0, got {step!r}")
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise ValueError("class_names: expected a list of texts")
    if preprocessing is not None and not isinstance(preprocessing, dict):
        raise ValueError("preprocessing: expected a dict")
    return step, None if names is None else tuple(names), preprocessing
