"""Train a convolutional network and write what it became to runs/NAME/.

Without arguments: a small network on the 8x8 digits that ship with MiniCNN. Prints the network, its progress, the
accuracy on training and test images and which digits are taken for which, and writes the weights, history.csv and
pictures of the learning curves, the confusion matrix, the learned filters and the worst mistakes.

Examples:
  minicnn train
  minicnn train --split writers            the test images come from other writers than the training images
  minicnn train --optimizer sgd --learning-rate 0.05 --epochs 60
  minicnn train --seed 7 --out runs/seven
"""

from __future__ import annotations

import csv
import time
from pathlib import Path

from minicnn.cli import at_least_zero, positive, positive_number

DEFAULT_MODEL = {"digits": "digits_cnn", "mnist": "mnist_cnn", "fashion-mnist": "mnist_cnn", "cifar10": "cifar_cnn"}


def add_arguments(parser):
    parser.add_argument("--split", choices=("random", "writers"), default=None,
                        help="which digits are kept for the test: a random fifth, or those of the last writers")
    parser.add_argument("--epochs", type=positive, default=30, help="passes over the training images (default: 30)")
    parser.add_argument("--batch-size", type=positive, default=32, help="images in one step (default: 32)")
    parser.add_argument("--learning-rate", type=positive_number, default=None,
                        help="step size (default: 0.001 for adam, 0.05 for sgd)")
    parser.add_argument("--optimizer", choices=("adam", "sgd"), default="adam",
                        help="sgd has momentum 0.9 here (default: adam)")
    parser.add_argument("--backend", default=None, help="reference, im2col, cpu, cuda, or a Python file of your own "
                                                        "(its missing functions are taken from im2col)")
    parser.add_argument("--seed", type=at_least_zero, default=0,
                        help="decides initial weights, order and dropout (default: 0)")
    parser.add_argument("--out", type=Path, default=None, help="folder for the results (default: runs/DATA-TIME)")


def run(arguments):
    from minicnn import datasets, optimizers, zoo

    data = datasets.load("digits", split=arguments.split)
    out = make_run_folder(arguments.out, data.name)
    model = zoo.ZOO[DEFAULT_MODEL[data.name]](seed=arguments.seed, backend=arguments.backend)
    if arguments.optimizer == "adam":
        optimizer = optimizers.Adam(arguments.learning_rate or 0.001)
    else:
        optimizer = optimizers.SGD(arguments.learning_rate or 0.05, momentum=0.9)
    model.compile(optimizer, metrics=["accuracy"])

    print(data.describe(), "\n")
    model.summary()
    print()
    started = time.perf_counter()
    history = model.fit(data.x_train, data.y_train, batch_size=arguments.batch_size, epochs=arguments.epochs,
                        validation_data=(data.x_test, data.y_test))
    seconds = time.perf_counter() - started
    report(model, data, history, out, seconds)
    if arguments.split == "writers":
        print("\nOn this split the test images were written by people whose digits the network has (nearly) never seen."
              "\nThe random split (minicnn train) is easier: there each writer has images in both parts.")
    return 0


def make_run_folder(out, name):
    """The folder for a run's files; an existing run is never overwritten."""
    if out is None:
        out = Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"--out: {out} exists already and is not an empty folder; choose another one")
    out.mkdir(parents=True, exist_ok=True)
    return out


def report(model, data, history, out, seconds):
    """Print accuracy and confusion, and write the run's files."""
    import numpy as np

    from minicnn import metrics, plots

    probabilities = softmax(model.predict(data.x_test))
    predicted = probabilities.argmax(axis=1)
    train_accuracy = metrics.accuracy(data.y_train, model.predict(data.x_train).argmax(axis=1))
    confusion = metrics.confusion_matrix(data.y_test, predicted, len(data.class_names))
    print(f"\ntrained for {len(history.epoch)} epochs ({model.step} steps) in {seconds:.1f} s")
    print(f"training accuracy {train_accuracy:.2%}")
    print(f"test accuracy     {metrics.accuracy(data.y_test, predicted):.2%}\n")
    print(metrics.format_confusion(confusion, data.class_names))

    np.savez(out / "weights.npz", **{name: model.ops.to_numpy(array) for name, array in model.named_weights().items()})
    write_history(history, out / "history.csv")
    worst = metrics.worst_mistakes(probabilities, data.y_test, 18)
    pictures = {
        "learning_curves.png": plots.learning_curves(history),
        "confusion_matrix.png": plots.confusion_matrix(confusion, data.class_names),
        "filters.png": plots.filters(model.ops.to_numpy(model.layers[0].w)),
        "worst_mistakes.png": plots.mistakes(data.x_test[worst], data.y_test[worst], probabilities[worst],
                                             data.class_names),
    }
    for name, figure in pictures.items():
        plots.save(figure, out / name)
    print(f"\nwritten to {out}: weights.npz, history.csv, {', '.join(pictures)}")


def softmax(logits):
    """Probabilities of logits, row by row."""
    from kernels.reference import softmax_forward
    return softmax_forward(logits)


def write_history(history, path):
    """One row an epoch."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["epoch", *history.history])
        for row, epoch in enumerate(history.epoch):
            writer.writerow([epoch + 1, *(values[row] for values in history.history.values())])
