"""Measure a trained network: loss, accuracy, and which classes are taken for which.

MODEL is a model's file or the folder of a run of minicnn train. Without --data, the test images of that run are used.

Examples:
  minicnn evaluate runs/digits-20260101-120000
  minicnn evaluate model.npz --data mnist
  minicnn evaluate model.npz --data my_test_pictures/     a sub-folder for each class, named as in training
  minicnn evaluate model.npz --data mnist --json
"""

from __future__ import annotations

import json
from pathlib import Path

from minicnn.cli import positive


def add_arguments(parser):
    parser.add_argument("model", type=Path, metavar="MODEL", help="a model's file, or the folder of a run")
    parser.add_argument("--data", metavar="NAME|DIR", help="a data set (its test images) or a folder of pictures, one "
                                                           "sub-folder a class (default: the run's own test images)")
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="where data sets lie")
    parser.add_argument("--split", choices=("random", "writers"), help="of the digits")
    parser.add_argument("--skip-unreadable", action="store_true", help="leave out pictures that cannot be read")
    parser.add_argument("--batch-size", type=positive, default=128, metavar="N", help="images at once (default: 128)")
    parser.add_argument("--backend", help="reference, im2col, cpu, cuda, or a Python file of your own")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")


def run(arguments):
    import numpy as np

    import minicnn
    from minicnn import losses, metrics
    from minicnn.cli import runs

    path = runs.find_model(arguments.model)
    model = minicnn.load_model(path, backend=arguments.backend)
    name, x, labels, class_names, notes = load_test_data(arguments, model, path)
    if model.loss is None:
        model.compile("sgd", losses.SparseCategoricalCrossentropy(from_logits=not losses.ends_in_softmax(model)),
                      ["accuracy"])
    figures = model.evaluate(x, labels, batch_size=arguments.batch_size, return_dict=True)
    predicted = model.predict(x, batch_size=arguments.batch_size).argmax(axis=1)
    confusion = metrics.confusion_matrix(labels, predicted, len(class_names))
    figures["accuracy"] = metrics.accuracy(labels, predicted)
    if arguments.json:
        recall = np.diag(confusion) / np.maximum(confusion.sum(axis=1), 1)
        print(json.dumps({"model": str(path), "data": name, "images": len(x), **figures,
                          "recall": {class_name: share if total else None for class_name, share, total
                                     in zip(class_names, recall.tolist(), confusion.sum(axis=1).tolist())},
                          "confusion": confusion.tolist(), "notes": list(notes)}, indent=2, ensure_ascii=False))
        return 0
    print(f"{path} on {name}: {len(x):,} images", *notes, sep="\n")
    print(f"loss {figures['loss']:.4f}   accuracy {figures['accuracy']:.2%}")
    runs.print_confusion(confusion, class_names)
    return 0


def load_test_data(arguments, model, path):
    """``name, images, labels, class names, notes``: what the options ask for, else the test images of the run."""
    from minicnn import datasets
    from minicnn.cli import runs

    names = model.class_names or tuple(str(label) for label in range(model.output_shape[-1]))
    if arguments.data is not None and arguments.data not in datasets.NAMES and Path(arguments.data).is_dir():
        return load_folder(arguments, model, names)
    if arguments.data is None:
        settings = {**runs.read_facts(path)["settings"]}
        if arguments.data_dir is not None:
            settings["data_dir"] = str(arguments.data_dir)
        if arguments.split is not None:
            settings["split"] = arguments.split
    else:
        settings = {"data": arguments.data, "data_dir": arguments.data_dir, "split": arguments.split}
    data = runs.load_data(settings)
    if data.image_shape != model.input_shape or len(data.class_names) != model.output_shape[-1]:
        raise ValueError(f"{path} takes images of shape {model.input_shape} and knows {model.output_shape[-1]} "
                         f"classes; {data.name} has {data.image_shape} and {len(data.class_names)}")
    return data.name, data.x_test, data.y_test, names, data.notes


def load_folder(arguments, model, names):
    """All pictures of a folder (its test part, if it has one), with the model's own class numbers."""
    import numpy as np

    from minicnn.cli import predict
    from minicnn.datasets import image_folder

    size, color = predict.picture_form(model)
    data = image_folder(arguments.data, size, color, test_share=0.0, skip_unreadable=arguments.skip_unreadable)
    if unknown := [name for name in data.class_names if name not in names]:
        raise ValueError(f"--data: {arguments.data} has the class {unknown[0]!r}, which the model does not know; it "
                         f"knows {', '.join(names)}")
    x, y = (data.x_test, data.y_test) if len(data.x_test) else (data.x_train, data.y_train)
    numbers = np.array([names.index(name) for name in data.class_names])
    return str(arguments.data), x, numbers[y], names, data.notes
