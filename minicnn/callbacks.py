"""What ``fit`` can do besides training: stop in time, keep the best weights, log, change the learning rate, survive.

A callback is any object with some of Keras' methods ``on_train_begin(logs)``, ``on_epoch_begin(epoch, logs)``,
``on_train_batch_begin(batch, logs)``, ``on_train_batch_end(batch, logs)``, ``on_epoch_end(epoch, logs)`` and
``on_train_end(logs)``; epochs and batches count from 0. ``logs`` has the figures so far. To end training after the
epoch, set ``self.model.stop_training = True``.
"""

from __future__ import annotations

import csv
import inspect
import math
import signal
import sys
import threading
from pathlib import Path

from minicnn.files import atomic_write


class Callback:
    """Base class: every hook does nothing; ``self.model`` is the model in training.

    (The hooks of a batch are not here: ``fit`` reads the loss back from a GPU only if a callback has them.)
    """

    model = None

    def set_model(self, model):
        """``fit`` tells which model it trains."""
        self.model = model

    def on_train_begin(self, logs=None):
        pass

    def on_train_end(self, logs=None):
        pass

    def on_epoch_begin(self, epoch, logs=None):
        pass

    def on_epoch_end(self, epoch, logs=None):
        pass

    def get_state(self):
        """What the callback must know to go on in a resumed run, as plain values for JSON."""
        return {}

    def set_state(self, state):
        """Go on from what ``get_state`` gave."""


class _Monitor(Callback):
    """Base class of callbacks that watch one figure: is it better than the best so far?"""

    def __init__(self, monitor, mode="auto", min_delta=0.0):
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"mode: expected 'auto', 'min' or 'max', got {mode!r}")
        self.monitor, self.min_delta = monitor, abs(float(min_delta))
        self.maximize = mode == "max" or (mode == "auto" and "acc" in monitor)
        self.best = None

    def improved(self, logs):
        """Whether the figure is better, by more than ``min_delta``, than any before; then it is the new best."""
        if self.monitor not in (logs or {}):
            hint = "; pass validation_data to fit" if self.monitor.startswith("val_") else ""
            raise ValueError(f"{type(self).__name__}: there is no figure {self.monitor!r} to monitor; there are "
                             f"{', '.join(logs or {}) or 'none'}{hint}")
        value = logs[self.monitor]
        gain = None if self.best is None else (value - self.best if self.maximize else self.best - value)
        if math.isnan(value) or not (gain is None or gain > self.min_delta):
            return False
        self.best = value
        return True

    def get_state(self):
        return {"best": self.best}

    def set_state(self, state):
        self.best = state["best"]


class EarlyStopping(_Monitor):
    """End training when a figure has not improved for some epochs.

    Parameters
    ----------
    monitor : str
        A name from the logs: "val_loss", "val_accuracy", "loss" ...
    min_delta : float
        A smaller gain does not count.
    patience : int
        How many epochs without a gain to wait before the one that ends training.
    mode : {"auto", "min", "max"}
        Whether less or more is better; "auto": more, if the name has "acc" in it.
    restore_best_weights : bool
        Whether to end with the weights of the best epoch instead of the last. (They are kept in memory: a resumed run
        knows those since its start only.)
    """

    def __init__(self, monitor="val_loss", min_delta=0.0, patience=0, mode="auto", restore_best_weights=False):
        super().__init__(monitor, mode, min_delta)
        self.patience, self.restore_best_weights = patience, restore_best_weights
        self.wait, self.best_weights, self.stopped_epoch = 0, None, None

    def on_epoch_end(self, epoch, logs=None):
        if self.improved(logs):
            self.wait = 0
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()
            return
        self.wait += 1
        if self.wait >= max(self.patience, 1):
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs=None):
        if self.best_weights is not None:
            self.model.set_weights(self.best_weights)

    def get_state(self):
        return {"best": self.best, "wait": self.wait, "stopped_epoch": self.stopped_epoch}

    def set_state(self, state):
        self.best, self.wait, self.stopped_epoch = state["best"], state["wait"], state["stopped_epoch"]


class ModelCheckpoint(_Monitor):
    """Write the model to a file after each epoch, or after each that is the best so far.

    Parameters
    ----------
    filepath : path
        May name the epoch (from 1) and figures: ``"model-{epoch:02d}-{val_accuracy:.3f}.npz"``. Written in one step:
        a killed program leaves the old file or the new one.
    monitor, mode
        As for ``EarlyStopping``; used with ``save_best_only``.
    save_best_only : bool
    save_weights_only : bool
        ``model.save_weights`` instead of ``model.save``.
    """

    def __init__(self, filepath, monitor="val_loss", save_best_only=False, save_weights_only=False, mode="auto"):
        super().__init__(monitor, mode)
        self.filepath, self.save_best_only, self.save_weights_only = str(filepath), save_best_only, save_weights_only

    def on_epoch_end(self, epoch, logs=None):
        if self.save_best_only and not self.improved(logs):
            return
        try:
            path = self.filepath.format(epoch=epoch + 1, **(logs or {}))
        except KeyError as error:
            raise ValueError(f"ModelCheckpoint: the file name {self.filepath!r} asks for {error}, which is not among "
                             f"epoch, {', '.join(logs or {})}") from None
        if self.save_weights_only:
            self.model.save_weights(path)
        else:
            self.model.save(path)


class CSVLogger(Callback):
    """Write one row an epoch to a file: the epoch, from 1, and every figure. Each row is on disk when its epoch ends.

    Parameters
    ----------
    filename : path
    separator : str
    append : bool
        Whether to go on with the rows of an existing file, those of epochs that are run again left out.
    """

    def __init__(self, filename, separator=",", append=False):
        self.filename, self.separator, self.append = Path(filename), separator, append

    def on_train_begin(self, logs=None):
        self.rows = []
        if self.append and self.filename.exists():
            with open(self.filename, newline="", encoding="utf-8") as file:
                self.rows = list(csv.DictReader(file, delimiter=self.separator))

    def on_epoch_end(self, epoch, logs=None):
        self.rows = [row for row in self.rows if row["epoch"].isdigit() and int(row["epoch"]) <= epoch]
        self.rows.append({"epoch": str(epoch + 1), **(logs or {})})
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        with atomic_write(self.filename) as file:
            lines = [names, *([row.get(name, "") for name in names] for row in self.rows)]
            for line in lines:
                file.write((self.separator.join(str(value) for value in line) + "\n").encode())


class LearningRateScheduler(Callback):
    """Set the learning rate before each epoch, or before each step.

    Parameters
    ----------
    schedule : callable
        ``schedule(time)``, or ``schedule(time, learning_rate)`` with the rate as it is, gives the new rate. ``time``
        counts from 0. Ready-made: ``step_decay``, ``cosine_decay`` and ``warm_up`` in this module.
    unit : {"epoch", "step"}
        What ``time`` counts: epochs, or the optimizer's steps (batches).
    """

    def __init__(self, schedule, unit="epoch"):
        if not callable(schedule):
            raise TypeError(f"schedule: expected a function of the epoch, got {type(schedule).__name__}")
        if unit not in ("epoch", "step"):
            raise ValueError(f"unit: expected 'epoch' or 'step', got {unit!r}")
        self.schedule, self.unit = schedule, unit
        required = [p for p in inspect.signature(schedule).parameters.values()
                    if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        self.takes_rate = len(required) > 1

    def on_epoch_begin(self, epoch, logs=None):
        if self.unit == "epoch":
            self._set(epoch)

    def on_train_batch_begin(self, batch, logs=None):
        if self.unit == "step":
            self._set(self.model.step)

    def _set(self, time):
        optimizer = self.model.optimizer
        optimizer.learning_rate = self.schedule(time, optimizer.learning_rate) if self.takes_rate else (
            self.schedule(time))

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            logs["learning_rate"] = self.model.optimizer.learning_rate


def step_decay(initial, factor=0.1, every=10):
    """``initial * factor**k`` after ``k * every`` epochs (or steps)."""
    return lambda time: initial * factor ** (time // every)


def cosine_decay(initial, length, final=0.0):
    """From ``initial`` to ``final`` along half a cosine over ``length`` epochs (or steps), then ``final``.

        rate = final + (initial - final) * (1 + cos(pi * time / length)) / 2

    Source: I. Loshchilov and F. Hutter, ICLR 2017, equation 5, without restarts.
    """
    def schedule(time):
        return final + (initial - final) * (1 + math.cos(math.pi * min(time / length, 1.0))) / 2
    return schedule


def warm_up(schedule, length):
    """Another schedule, its first ``length`` epochs (or steps) scaled by ``(time + 1) / (length + 1)``.

    Small first steps while the running means of Adam and of batch normalization know little.
    """
    return lambda time: schedule(time) * min((time + 1) / (length + 1), 1.0)


class StopOnInterrupt(Callback):
    """Let Ctrl-C end training in order: the epoch is finished, ``fit`` returns, files are written.

    A second Ctrl-C stops at once, with the ``KeyboardInterrupt`` that Python programs know. Use it as a context
    manager around ``fit``, so that Ctrl-C has its usual meaning again however ``fit`` ends.

    Attributes
    ----------
    interrupted : bool
    """

    def __init__(self, message="finishing this epoch; Ctrl-C again stops at once"):
        self.message, self.interrupted = message, False

    def __enter__(self):
        self._before = None
        if threading.current_thread() is threading.main_thread():  # Python lets no other thread handle signals
            self._before = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *exception):
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _handle(self, number, frame):
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True
        if self.model is not None:
            self.model.stop_training = True
        print(f"\n{self.message}", file=sys.stderr, flush=True)

    def on_epoch_end(self, epoch, logs=None):
        if self.interrupted:  # also when it came before fit began
            self.model.stop_training = True


class Backup(Callback):
    """Keep a file from which an interrupted run goes on as if nothing had happened.

    Written before the first epoch and after each. With the model (weights, optimizer, step) it holds the number of
    finished epochs, the figures of each, and the state of other callbacks. Order, dropout and augmentation of an epoch
    depend on the model's seed, the epoch and the step alone, so a run that is resumed from it ends with the same bits:

        model = minicnn.load_model(path)
        backup = Backup(path, callbacks)
        epoch = backup.restore()
        model.fit(..., initial_epoch=epoch, callbacks=[*callbacks, backup])

    Parameters
    ----------
    path : path
        The file.
    callbacks : list of Callback
        Others of the same ``fit``, whose state is kept too. Put the backup after them.
    facts : dict, optional
        More to keep (plain values), such as the program's arguments.
    """

    def __init__(self, path, callbacks=(), facts=None):
        self.path, self.callbacks, self.facts = Path(path), list(callbacks), facts or {}
        self.epochs, self.history = 0, {}

    def on_train_begin(self, logs=None):
        self._save()

    def on_epoch_end(self, epoch, logs=None):
        self.epochs = epoch + 1
        for name, value in (logs or {}).items():
            self.history.setdefault(name, [None] * (epoch - len(self.history.get(name, [])))).append(value)
        self._save()

    def _save(self):
        states = [callback.get_state() if hasattr(callback, "get_state") else {} for callback in self.callbacks]
        self.model.save(self.path, progress={"epochs": self.epochs, "history": self.history, "callbacks": states,
                                             "facts": self.facts})

    def restore(self):
        """Take over the file's figures and states; returns the number of finished epochs.

        Raises ``ValueError`` when the file holds a model but no training run, or other callbacks than these.
        """
        from minicnn.saving import read_description

        progress = read_description(self.path)["progress"]
        try:
            epochs, history, states = progress["epochs"], progress["history"], progress["callbacks"]
            if not isinstance(epochs, int) or epochs < 0 or len(states) != len(self.callbacks):
                raise ValueError("epochs or callbacks")
            for callback, state in zip(self.callbacks, states):
                if state:
                    callback.set_state(state)
        except (TypeError, KeyError, ValueError) as error:
            raise ValueError(f"{self.path}: not the backup of a training run with these callbacks ({error})") from None
        self.epochs, self.history, self.facts = epochs, history, progress.get("facts", {})
        return epochs
