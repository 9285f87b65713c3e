"""Training: the loop that ``Sequential.fit`` runs.

Read ``train_step`` and ``fit`` first: forward, loss, backward, step, batch after batch, and nothing else.
"""

from __future__ import annotations

import math
import sys
import time

import numpy as np

from minicnn import inputs
from minicnn.data import Arrays, Batches


class History:
    """What ``fit`` returns: ``history["loss"][e]`` and so on for each epoch, under Keras' names."""

    def __init__(self):
        self.epoch = []
        self.history = {}

    def append(self, epoch, logs):
        """Add one epoch's figures."""
        self.epoch.append(epoch)
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)

    def __repr__(self):
        return f"<History of {len(self.epoch)} epochs: {', '.join(self.history)}>"


def train_step(model, x, labels, sample_weight=None):
    """The four steps of training on one batch; returns the loss and, for class labels, how many were right."""
    logits = model.forward(x, training=True)
    loss, dlogits = model.loss(logits, labels, sample_weight)
    correct = model.ops.count_correct(logits, labels) if "accuracy" in model.metrics else 0
    if isinstance(loss, float) and not math.isfinite(loss):  # a device's loss is looked at when it is read back
        raise FloatingPointError(describe_divergence(model, x, loss))
    model.backward(dlogits)
    model.optimizer.step()
    return loss, correct


def fit(model, x, y=None, batch_size=32, epochs=1, verbose="auto", callbacks=None, validation_data=None, shuffle=True,
        class_weight=None, sample_weight=None, initial_epoch=0, steps_per_epoch=None):
    """Train ``model`` for some epochs.

    Parameters
    ----------
    x, y : array
        Examples ``(N, ...)`` and their labels ``(N,)``. An array mapped from a file (``numpy.memmap``) is read batch
        by batch. Or ``x`` alone, a source of batches ``(x, y)`` or ``(x, y, sample_weight)``: see ``data.Batches``.
    batch_size : int
        Examples of one step; the last batch of an epoch may be smaller. A source of batches has its own.
    epochs, initial_epoch : int
        Training runs from epoch ``initial_epoch`` up to ``epochs``.
    verbose : "auto", 0, 1 or 2
        0 silent, 1 a progress bar and a line an epoch, 2 a line an epoch; "auto" is 1 on a terminal, else 2.
    callbacks : list
        Objects with any of Keras' methods ``on_epoch_end(epoch, logs)`` and so on; see ``minicnn.callbacks``.
    validation_data : (x, y), optional
        Evaluated after each epoch.
    shuffle : bool
        Whether each epoch takes the examples in a new order, which the model's seed and the epoch decide.
    class_weight : dict, optional
        Weight of each class in the loss.
    sample_weight : array (N,), optional
        Weight of each example in the loss.
    steps_per_epoch : int, optional
        For a generator, which has no end of its own: how many batches make an epoch.

    Returns
    -------
    History
        Loss, and metrics if any, of each epoch; ``val_...`` for the validation data.

    Raises
    ------
    ValueError, TypeError
        For data that do not fit the model; nothing has changed then.
    FloatingPointError
        When the loss is no longer finite; the message names the step and the first layer that is to blame.
    """
    model._check_compiled("fit")
    source = batch_source(model, x, y, batch_size, shuffle, class_weight, sample_weight, steps_per_epoch)
    validation = None if validation_data is None else _validation_source(model, validation_data)
    _check_epochs(epochs, initial_epoch)
    hooks = Hooks(model, callbacks)
    history = History()
    model.stop_training = False
    hooks("on_train_begin")
    for epoch in range(initial_epoch, epochs):
        hooks("on_epoch_begin", epoch)
        mean = RunningMean(model, training=True)
        with Progress(verbose, f"Epoch {epoch + 1}/{epochs}", source) as progress:
            for batch, (x_batch, y_batch, weights) in enumerate(source.epoch(epoch)):
                hooks("on_train_batch_begin", batch)
                loss, correct = train_step(model, *as_arrays(model, x_batch, y_batch, weights))
                mean.add(loss, correct, len(x_batch))
                hooks("on_train_batch_end", batch, mean)
                progress.advance(mean)
            logs = mean.logs()
            if validation is not None:
                logs.update({f"val_{name}": value for name, value in _evaluate_source(model, validation).items()})
            hooks("on_epoch_end", epoch, logs)
            history.append(epoch, logs)
            progress.close(logs)
        if model.stop_training:
            break
    hooks("on_train_end")
    return history


def evaluate(model, x, y, batch_size=128, sample_weight=None):
    """Mean loss (and accuracy, if compiled with it) over a data set, as a dict."""
    return _evaluate_source(model, batch_source(model, x, y, batch_size, False, None, sample_weight))


def _evaluate_source(model, source):
    mean = RunningMean(model)
    for x, y, weights in source.epoch(0):
        x, y, weights = as_arrays(model, x, y, weights)
        predictions = model.forward(x, training=False)
        loss, _ = model.loss(predictions, y, weights)
        mean.add(loss, model.ops.count_correct(predictions, y) if "accuracy" in model.metrics else 0, len(x))
    return mean.logs()


# ---- what the loop stands on -------------------------------------------------------------------------------------


def batch_source(model, x, y, batch_size, shuffle, class_weight, sample_weight, steps_per_epoch=None):
    """A source of batches: arrays are checked in full before the first batch is used, other sources batch by batch."""
    if y is None and Batches.fits(x):
        if sample_weight is not None:
            raise ValueError("sample_weight: a source of batches gives (x, y, sample_weight) itself")

        def checked(x, y, weights=None):
            x = inputs.images(model, x)
            y = inputs.targets(model, y, len(x))
            return x, y, inputs.sample_weights(y, weights, class_weight)

        return Batches(x, checked, steps_per_epoch, shuffle, model.seed)
    if steps_per_epoch is not None:
        raise ValueError("steps_per_epoch: only for a generator of batches; arrays have an end")
    if y is None:
        raise ValueError("y: expected labels for x")
    check_batch_size(batch_size)
    x = inputs.images(model, x)
    y = inputs.targets(model, y, len(x))
    return Arrays(x, y, inputs.sample_weights(y, sample_weight, class_weight), batch_size, shuffle, model.seed)


def _validation_source(model, data):
    if Batches.fits(data) and not isinstance(data, (tuple, list)):
        if hasattr(data, "__next__"):
            raise TypeError("validation_data: a generator is used up after one epoch; pass a function that makes one")
        return batch_source(model, data, None, 128, False, None, None)
    if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
        raise ValueError("validation_data: expected (x, y) or (x, y, sample_weight), or a source of such batches")
    x, y, *rest = data
    return batch_source(model, x, y, 128, False, None, rest[0] if rest else None)


def checked_batch(model, x, y, sample_weight=None, class_weight=None):
    """One batch for ``train_step``: checked, in the model's type, where the back-end wants it."""
    source = batch_source(model, x, y, max(len(x), 1), False, class_weight, sample_weight)
    return as_arrays(model, source.x, source.y, source.weights)


def as_arrays(model, x, y, weights):
    """A checked batch in the model's type and on its device."""
    y = y if model.loss.name == "sparse_categorical_crossentropy" else y.astype(model.dtype, copy=False)
    weights = None if weights is None else model.ops.asarray(weights.astype(model.dtype, copy=False))
    return model.ops.asarray(x.astype(model.dtype, copy=False)), model.ops.asarray(y), weights


def check_batch_size(batch_size):
    """Check that it is a positive integer."""
    if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
        raise ValueError(f"batch_size: expected a positive integer, got {batch_size!r}")


def _check_epochs(epochs, initial_epoch):
    for name, value in (("epochs", epochs), ("initial_epoch", initial_epoch)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
            raise ValueError(f"{name}: expected an integer of at least 0, got {value!r}")


def describe_divergence(model, x, loss):
    """Which layer's output is the first that is not finite, and what to do about it."""
    where = "the loss itself; every layer's output is still finite"
    for layer in model.layers:
        x = layer.forward(x, True)
        if not model.ops.is_finite(x):
            weights = [name for name, array in layer.parameters.items() if not model.ops.is_finite(array)]
            detail = f", whose {' and '.join(weights)} are not finite" if weights else ""
            where = f"the output of layer {layer.name!r} ({layer.kind}){detail}"
            break
    rate = model.optimizer.learning_rate
    return (f"training stopped at step {model.step + 1}: the loss is {loss}. First to be not finite: {where}. A "
            f"learning rate that is too high is the usual cause (here {rate:g}; try {rate / 10:g}), or inputs that are "
            "not scaled to about [0, 1]. The weights are those before this step")


class RunningMean:
    """Mean loss and accuracy over the examples seen so far.

    On a device, a loss stays there until a mean is asked for; in training, a loss that is not finite is an error then.
    """

    def __init__(self, model, training=False):
        self.model, self.training = model, training
        self.count = self.total = self.correct = 0
        self.pending = []

    def add(self, loss, correct, count):
        """Count in one batch of ``count`` examples."""
        self.pending.append((loss, correct, count))

    def logs(self):
        """``{"loss": ..., "accuracy": ...}``."""
        for loss, correct, count in self.pending:
            loss = float(loss)
            if self.training and not math.isfinite(loss):
                raise FloatingPointError(f"training stopped: a loss before step {self.model.step} was {loss}")
            self.total += loss * count
            self.correct += int(correct)
            self.count += count
        self.pending.clear()
        logs = {"loss": self.total / self.count}
        if "accuracy" in self.model.metrics:
            logs["accuracy"] = self.correct / self.count
        return logs


class Hooks:
    """Calls the callbacks' methods of one name, those that have it."""

    def __init__(self, model, callbacks):
        self.callbacks = list(callbacks or [])
        for callback in self.callbacks:
            if hasattr(callback, "set_model"):
                callback.set_model(model)

    def __call__(self, name, *arguments):
        for callback in self.callbacks:
            method = getattr(callback, name, None)
            if method is not None:
                *position, logs = (*arguments, None) if len(arguments) < 2 else arguments
                method(*position, logs.logs() if isinstance(logs, RunningMean) else (logs or {}))


class Progress:
    """A tqdm bar while an epoch runs, on a terminal; and one line when it has ended."""

    def __init__(self, verbose, title, source):
        if verbose not in ("auto", 0, 1, 2, True, False):
            raise ValueError(f"verbose: expected 'auto', 0, 1 or 2, got {verbose!r}")
        self.verbose = (1 if sys.stderr.isatty() else 2) if verbose == "auto" else int(verbose)
        self.title, self.bar, self.started = title, None, time.perf_counter()
        self.total = len(source) or None
        if self.verbose == 1:
            from tqdm import tqdm
            self.bar = tqdm(total=self.total, desc=title, unit="batch", leave=False)

    def advance(self, mean):
        """One batch is done."""
        if self.bar is None:
            return
        shown = self.bar.update()
        if shown:  # tqdm has just drawn itself: the moment at which reading the loss costs little
            self.bar.set_postfix(loss=f"{mean.logs()['loss']:.4f}", refresh=False)

    def close(self, logs):
        """Print the epoch's line."""
        if self.bar is not None:
            self.bar.close()
        if self.verbose:
            figures = "  ".join(f"{name} {value:.2e}" if name == "learning_rate" else f"{name} {value:.4f}"
                                for name, value in logs.items())
            print(f"{self.title}  {figures}  {time.perf_counter() - self.started:.1f} s", flush=True)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self.bar is not None:
            self.bar.close()
