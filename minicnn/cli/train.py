"""Train a convolutional network and write what it became to runs/NAME/.

Without arguments: a small network on the 8x8 digits that ship with MiniCNN. Prints the network, its progress, the
accuracy on training and test images and which classes are taken for which, and writes the model, history.csv and
pictures of the learning curves, the confusion matrix, the learned filters and the worst mistakes.

After each epoch everything that training needs goes to runs/NAME/checkpoint.npz. Ctrl-C finishes the epoch and stops;
--resume goes on from there and ends with the same weights, bit for bit, as if nothing had happened.

Examples:
  minicnn train
  minicnn train --split writers            the test images come from other writers than the training images
  minicnn train --data mnist --backend cpu
  minicnn train --data cifar10 --augment flip crop=24 --epochs 20
  minicnn train --data my_pictures/ --image-size 48 --augment flip shift=4 rotate=10
  minicnn train --model my_network.py      a file with a function make_model(input_shape, classes)
  minicnn train --optimizer sgd --learning-rate 0.05 --schedule cosine --warm-up 1
  minicnn train --resume runs/digits-20260101-120000
  minicnn train --resume runs/digits-20260101-120000 --epochs 60
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

from minicnn import datasets
from minicnn.cli import at_least_zero, positive, positive_number

#: What an option is when it is not given. (The parser itself has no defaults: so a resumed run knows what was said.)
DEFAULTS = {
    "data": "digits", "data_dir": None, "split": None, "image_size": None, "color": None, "test_share": None,
    "skip_unreadable": False, "model": None, "augment": [], "epochs": 30, "batch_size": 32, "learning_rate": None,
    "optimizer": "adam", "weight_decay": 0.0, "clip_norm": None, "label_smoothing": 0.0, "class_weight": None,
    "schedule": "constant", "warm_up": 0, "early_stopping": None, "backend": None, "seed": 0,
}

#: What is better known for some data sets. The documents train on MNIST with a constant rate for 5 epochs.
RECIPES = {
    "digits": {"learning_rate": 0.002, "schedule": "cosine", "augment": ["shift=1"]},
    "mnist": {"epochs": 5}, "fashion-mnist": {"epochs": 10}, "cifar10": {"epochs": 20},
}

#: Options that may change when a run is resumed.
CHANGEABLE = ("epochs", "data_dir", "backend")


def add_arguments(parser):
    parser.argument_default = argparse.SUPPRESS
    data = parser.add_argument_group("data")
    data.add_argument("--data", metavar="NAME|DIR", help="digits (default), mnist, fashion-mnist, cifar10, or a folder "
                                                         "with a sub-folder of pictures for each class")
    data.add_argument("--data-dir", type=Path, metavar="DIR", help="where data sets lie and downloads go (default: "
                                                                   "MINICNN_DATA_DIR, else the user's cache folder)")
    data.add_argument("--split", choices=("random", "writers"),
                      help="which digits are kept for the test: a random fifth, or those of the last writers")
    data.add_argument("--image-size", type=positive, metavar="N", help="size of pictures from a folder (default: 32)")
    data.add_argument("--color", choices=("rgb", "grayscale"), help="of pictures from a folder (default: rgb)")
    data.add_argument("--test-share", type=positive_number, metavar="SHARE",
                      help="share of a folder's pictures that is kept for the test (default: 0.2)")
    data.add_argument("--skip-unreadable", action="store_true", help="leave out pictures that cannot be read")
    data.add_argument("--augment", nargs="+", metavar="WORD", help="show pictures changed at random: flip, "
                      "flip-vertical, shift=PIXELS, rotate=DEGREES, crop=SIZE; or none (default: none, "
                      "but shift=1 for the digits)")
    model = parser.add_argument_group("network and training")
    model.add_argument("--model", metavar="NAME|FILE", help="digits_cnn, mnist_cnn, cifar_cnn, image_cnn, or a Python "
                       "file with make_model(input_shape, classes) (default: by the data)")
    model.add_argument("--epochs", type=positive, metavar="N", help="passes over the training images (default: 30; "
                       "mnist 5, fashion-mnist 10, cifar10 20)")
    model.add_argument("--batch-size", type=positive, metavar="N", help="images in one step (default: 32)")
    model.add_argument("--optimizer", choices=("adam", "sgd"), help="sgd has momentum 0.9 here (default: adam)")
    model.add_argument("--learning-rate", type=positive_number, metavar="RATE",
                       help="step size (default: 0.001 for adam, 0.002 on the digits; 0.05 for sgd)")
    model.add_argument("--schedule", choices=("constant", "cosine", "step"), help="how the learning rate falls: not "
                       "at all (default), along a cosine to 0 (default for the digits), or to a tenth after each "
                       "third of the epochs")
    model.add_argument("--warm-up", type=at_least_zero, metavar="EPOCHS", help="epochs in which it rises first")
    model.add_argument("--weight-decay", type=positive_number, metavar="W", help="share of the weights, times the "
                       "learning rate, that each step takes off")
    model.add_argument("--clip-norm", type=positive_number, metavar="NORM", help="largest norm of the gradient")
    model.add_argument("--label-smoothing", type=positive_number, metavar="S", help="share of each label that is "
                       "spread over all classes")
    model.add_argument("--class-weight", choices=("balanced",), help="let rare classes count as much as common ones")
    model.add_argument("--early-stopping", type=positive, metavar="N", help="stop after N epochs without a lower loss "
                                                                            "on the test images")
    model.add_argument("--backend", help="reference, im2col, cpu, cuda, or a Python file of your own (its missing "
                                         "functions are taken from im2col)")
    model.add_argument("--seed", type=at_least_zero, help="decides initial weights, order, dropout and augmentation "
                                                          "(default: 0)")
    run_group = parser.add_argument_group("the run")
    run_group.add_argument("--out", type=Path, metavar="DIR", help="folder for the results (default: runs/DATA-TIME)")
    run_group.add_argument("--resume", type=Path, metavar="DIR", help="go on with the run in this folder")


def run(arguments):
    given = {name: value for name, value in vars(arguments).items() if name in DEFAULTS}
    if given.get("augment") == ["none"]:
        given["augment"] = []
    if "data_dir" in given:
        given["data_dir"] = str(given["data_dir"].absolute())
    if "data" in given and given["data"] not in datasets.NAMES and Path(given["data"]).is_dir():
        given["data"] = str(Path(given["data"]).absolute())
    if getattr(arguments, "resume", None) is not None:
        return resume(arguments.resume, given, getattr(arguments, "out", None))
    recipe = RECIPES.get(given.get("data", DEFAULTS["data"]), {})
    if given.get("optimizer", "adam") != "adam":  # the recipe's learning rate is one for Adam
        recipe = {name: value for name, value in recipe.items() if name != "learning_rate"}
    return start({**DEFAULTS, **recipe, **given}, getattr(arguments, "out", None))


def start(settings, out):
    """Begin a run in a new folder."""
    from minicnn.cli import runs

    data = runs.load_data(settings)
    model = runs.make_model(settings, data)
    runs.compile_model(model, settings)
    model.build()
    out = make_run_folder(out, data.name)
    print(data.describe(), *data.notes, "", sep="\n")
    model.summary()
    print()
    facts = {"settings": settings, "fingerprint": runs.fingerprint(data)}
    return train(model, data, settings, out, facts, restore=False)


def resume(folder, given, out):
    """Go on with a run from its checkpoint."""
    import minicnn
    from minicnn.cli import runs

    checkpoint = folder / "checkpoint.npz"
    if not checkpoint.is_file():
        raise ValueError(f"--resume: {folder} holds no checkpoint.npz; expected the folder of a run of minicnn train")
    facts = runs.read_facts(checkpoint)
    settings = {**DEFAULTS, **facts["settings"]}
    fixed = sorted(name for name, value in given.items() if name not in CHANGEABLE and value != settings[name])
    if fixed or out is not None:
        names = ", ".join("--" + name.replace("_", "-") for name in [*fixed, *(["out"] if out is not None else [])])
        raise ValueError(f"--resume: {names}: a resumed run keeps its settings; only --epochs, --data-dir and "
                         "--backend may be given anew")
    settings.update(given)
    data = runs.load_data(settings)
    if runs.fingerprint(data) != facts["fingerprint"]:
        raise ValueError(f"--resume: the data ({data.describe()}) are not those that the run in {folder} began with; "
                         "a run goes on only with the same images")
    model = minicnn.load_model(checkpoint, backend=settings["backend"])
    return train(model, data, settings, folder, {**facts, "settings": settings}, restore=True)


def train(model, data, settings, out, facts, restore):
    """Train with everything that a run needs around it, then report."""
    from minicnn import callbacks
    from minicnn.cli import runs

    epochs, steps = settings["epochs"], math.ceil(len(data.x_train) / settings["batch_size"])
    early = callbacks.EarlyStopping("val_loss", patience=settings["early_stopping"] or 0)
    helpers = [*runs.scheduler(settings, epochs * steps, steps), *([early] if settings["early_stopping"] else [])]
    backup = callbacks.Backup(out / "checkpoint.npz", helpers, facts)
    first = backup.restore() if restore else 0
    backup.facts = facts
    if restore:
        print(f"{data.describe()}\n{out}: {first} of {epochs} epochs are done")
        if first >= epochs or early.stopped_epoch is not None:
            print("The run is complete" + ("." if first < epochs else "; --epochs N, with a larger N, trains on."))
            epochs = first
    model.class_names, model.preprocessing = data.class_names, data.preprocessing
    started, goon = time.perf_counter(), f"minicnn train --resume {out}"
    message = f"finishing this epoch (Ctrl-C again stops at once; then go on with {goon})"
    with callbacks.StopOnInterrupt(message) as stop:
        model.fit(data.x_train, data.y_train, batch_size=settings["batch_size"], epochs=epochs, initial_epoch=first,
                  validation_data=(data.x_test, data.y_test), class_weight=runs.class_weight(settings, data),
                  callbacks=[*helpers, callbacks.CSVLogger(out / "history.csv", append=restore), backup, stop])
    if stop.interrupted and backup.epochs < epochs:
        print(f"stopped after {backup.epochs} of {epochs} epochs; go on with: {goon}")
        return 130
    runs.report(model, data, backup, out, time.perf_counter() - started)
    if settings["split"] == "writers":
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
