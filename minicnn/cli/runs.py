"""What the commands on training runs share: data, network and optimizer from a run's settings, and its report.

A run's folder holds ``checkpoint.npz`` (all that training needs to go on), ``model.npz`` (the trained model, when the
run is complete), ``history.csv`` and pictures.
"""

from __future__ import annotations

import difflib
import inspect
import zlib
from pathlib import Path

import numpy as np

DEFAULT_MODEL = {"digits": "digits_cnn", "mnist": "mnist_cnn", "fashion-mnist": "mnist_cnn", "cifar10": "cifar_cnn"}
FOLDER_OPTIONS = ("image_size", "color", "test_share", "skip_unreadable")


def load_data(settings):
    """The ``Dataset`` that the settings name."""
    from minicnn import datasets

    options = {name: settings[name] for name in FOLDER_OPTIONS if settings.get(name)}
    name = settings["data"]
    if name not in datasets.NAMES and Path(name).is_dir():
        options["seed"] = settings["seed"]
    elif name not in datasets.NAMES:
        near = difflib.get_close_matches(name, datasets.NAMES, n=1)
        hint = f" (is {near[0]} meant?)" if near else ""
        raise ValueError(f"--data: {name!r} is neither a folder nor a data set{hint}; the data sets are "
                         f"{', '.join(datasets.NAMES)}")
    elif options:
        raise ValueError(f"{', '.join('--' + option.replace('_', '-') for option in options)}: only for a folder of "
                         f"pictures, not for {name}")
    return datasets.load(name, split=settings["split"], data_dir=settings["data_dir"], **options)


def fingerprint(data):
    """A number that changes with the images, labels or classes."""
    crc = zlib.crc32(repr(data.class_names).encode())
    for array in (data.x_train, data.y_train, data.x_test, data.y_test):
        crc = zlib.crc32(array, zlib.crc32(repr(array.shape).encode(), crc))
    return crc


# ---- the network -----------------------------------------------------------------------------------------------------


def make_model(settings, data):
    """The network that the settings name, for these data, with its augmentation in front."""
    from minicnn import augmentation
    from minicnn.layers import Input
    from minicnn.models import Sequential

    front = augmentation.from_words(settings["augment"], data.image_shape)
    shape = data.image_shape
    for layer in front:
        shape = layer.compute_output_shape(shape)
    options = {"seed": settings["seed"], "backend": settings["backend"]}
    name = settings["model"] or DEFAULT_MODEL.get(data.name, "image_cnn")
    if name.endswith(".py"):
        model = _from_file(name, shape, len(data.class_names), options)
    else:
        model = _from_zoo(name, shape, len(data.class_names), options)
    if front:
        if model.built:
            raise ValueError("--augment: the file builds its model itself; put the augmentation layers into it, or "
                             "return the model before build and compile")
        model = Sequential([Input(data.image_shape), *front, *model.layers], name=model.name, **options)
    return model


def _from_zoo(name, shape, classes, options):
    from minicnn import zoo

    if name not in zoo.ZOO:
        near = difflib.get_close_matches(name, zoo.ZOO, n=1)
        raise ValueError(f"--model: unknown network {name!r}{f' (is {near[0]} meant?)' if near else ''}; choose one of "
                         f"{', '.join(zoo.ZOO)}, or the path of a Python file (it ends in .py)")
    if name == "image_cnn":
        return zoo.image_cnn(shape, classes, **options)
    model = zoo.cifar_cnn(shape[0], **options) if name == "cifar_cnn" else zoo.ZOO[name](**options)
    if model.input_shape != shape or model.layers[-1].units != classes:
        raise ValueError(f"--model: {name} takes images of shape {model.input_shape} and knows "
                         f"{model.layers[-1].units} classes; the data have {shape} and {classes}. image_cnn takes any")
    return model


def _from_file(path, shape, classes, options):
    from minicnn.backends import load_file
    from minicnn.models import Sequential

    make = getattr(load_file(path), "make_model", None)
    if not callable(make):
        raise ValueError(f"--model: {path} has no function make_model(input_shape, classes) that returns a Sequential")
    taken = inspect.signature(make).parameters
    any_name = any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values())
    model = make(shape, classes, **{name: value for name, value in options.items() if any_name or name in taken})
    if not isinstance(model, Sequential):
        raise ValueError(f"--model: make_model in {path} returned {type(model).__name__}, expected a Sequential")
    if not model.shapes_known:
        model.build(shape)
    return model


def compile_model(model, settings):
    """Give the model its optimizer and loss."""
    from minicnn import losses, optimizers

    shared = {"weight_decay": settings["weight_decay"], "global_clipnorm": settings["clip_norm"]}
    if settings["optimizer"] == "adam":
        optimizer = optimizers.Adam(settings["learning_rate"] or 0.001, **shared)
    else:
        optimizer = optimizers.SGD(settings["learning_rate"] or 0.05, momentum=0.9, **shared)
    loss = losses.SparseCategoricalCrossentropy(from_logits=not losses.ends_in_softmax(model),
                                                label_smoothing=settings["label_smoothing"])
    model.compile(optimizer, loss, ["accuracy"])


def scheduler(settings, length, steps_per_epoch):
    """The callback that changes the learning rate step by step, in a list; none for a constant rate."""
    from minicnn import callbacks

    if settings["schedule"] == "constant" and not settings["warm_up"]:
        return []
    rate = settings["learning_rate"] or (0.001 if settings["optimizer"] == "adam" else 0.05)
    schedule = {
        "constant": lambda step: rate,
        "cosine": callbacks.cosine_decay(rate, length),
        "step": callbacks.step_decay(rate, 0.1, max(1, -(-length // 3))),
    }[settings["schedule"]]
    if settings["warm_up"]:
        schedule = callbacks.warm_up(schedule, settings["warm_up"] * steps_per_epoch)
    return [callbacks.LearningRateScheduler(schedule, unit="step")]


def class_weight(settings, data):
    """Weights N / (K * count of the class), whose mean over the examples is 1; None if they are not asked for."""
    if settings["class_weight"] != "balanced":
        return None
    counts = np.bincount(data.y_train, minlength=len(data.class_names))
    return {label: len(data.y_train) / (len(counts) * count) for label, count in enumerate(counts.tolist()) if count}


# ---- what a run leaves -----------------------------------------------------------------------------------------------


def find_model(path):
    """The model's file: the path itself, or in a run's folder ``model.npz``, else ``checkpoint.npz``."""
    path = Path(path)
    if not path.is_dir():
        return path
    for name in ("model.npz", "checkpoint.npz"):
        if (path / name).is_file():
            return path / name
    raise FileNotFoundError(f"{path}: holds neither model.npz nor checkpoint.npz; expected a model's file or the "
                            "folder of a run of minicnn train")


def read_facts(path):
    """Settings and fingerprint of the run that a file comes from."""
    from minicnn.saving import read_description

    facts = ((read_description(path)["progress"] or {}).get("facts")) or {}
    if not isinstance(facts.get("settings"), dict) or not isinstance(facts.get("fingerprint"), int):
        raise ValueError(f"{path}: holds no run of minicnn train")
    return facts


def probabilities(model, x):
    """The model's probabilities for each class, whether it ends in logits or in a softmax."""
    from kernels.reference import softmax_forward
    from minicnn.losses import ends_in_softmax

    outputs = model.predict(x)
    return outputs if ends_in_softmax(model) else softmax_forward(outputs)


def print_confusion(confusion, class_names):
    """The confusion matrix, unless it would be too wide to read."""
    from minicnn import metrics

    if len(class_names) <= 20:
        print("\n" + metrics.format_confusion(confusion, class_names))


def report(model, data, backup, out, seconds):
    """Print accuracy and confusion, and write the run's files."""
    from minicnn import metrics

    predicted = probabilities(model, data.x_test)
    train_accuracy = metrics.accuracy(data.y_train, model.predict(data.x_train).argmax(axis=1))
    confusion = metrics.confusion_matrix(data.y_test, predicted.argmax(axis=1), len(data.class_names))
    print(f"\ntrained for {backup.epochs} epochs ({model.step} steps) in {seconds:.1f} s")
    print(f"training accuracy {train_accuracy:.2%}")
    print(f"test accuracy     {metrics.accuracy(data.y_test, predicted.argmax(axis=1)):.2%}")
    print_confusion(confusion, data.class_names)

    model.save(out / "model.npz", progress={"facts": backup.facts})
    pictures = draw(model, data, backup.history, predicted, confusion, out)
    print(f"\nwritten to {out}: model.npz, history.csv, {', '.join(pictures)}")


def draw(model, data, history, predicted, confusion, out):
    """Write the run's pictures; returns their names."""
    from minicnn import metrics, plots

    worst = metrics.worst_mistakes(predicted, data.y_test, 18)
    pictures = {
        "learning_curves.png": plots.learning_curves(history),
        "confusion_matrix.png": plots.confusion_matrix(confusion, data.class_names),
        "worst_mistakes.png": plots.mistakes(data.x_test[worst], data.y_test[worst], predicted[worst],
                                             data.class_names),
    }
    kernels = [layer.parameters["w"] for layer in model.layers if getattr(layer.parameters.get("w"), "ndim", 0) == 4]
    if kernels:
        pictures["filters.png"] = plots.filters(model.ops.to_numpy(kernels[0]))
    for name, figure in pictures.items():
        plots.save(figure, out / name)
    return list(pictures)
