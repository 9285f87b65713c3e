"""Callbacks: early stopping, checkpoints, logs, learning rates, Ctrl-C, and runs that resume bit for bit."""

import csv
import math
import os
import signal

import numpy as np
import pytest

import minicnn
from minicnn import callbacks, layers, optimizers
from minicnn.callbacks import (
    Backup,
    Callback,
    CSVLogger,
    EarlyStopping,
    LearningRateScheduler,
    ModelCheckpoint,
    StopOnInterrupt,
    cosine_decay,
    step_decay,
    warm_up,
)
from minicnn.models import Sequential

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(40, 6, 6, 1)).astype(np.float32), RNG.integers(0, 3, 40)


def model(seed=3, optimizer="adam"):
    made = Sequential([
        layers.Input((6, 6, 1)), layers.RandomTranslation(0.2, 0.2), layers.RandomRotation(0.1),
        layers.Conv2D(3, 3, activation="relu"), layers.BatchNormalization(), layers.Flatten(), layers.Dropout(0.3),
        layers.Dense(3)], seed=seed)
    made.compile(optimizer, metrics=["accuracy"])
    return made


def fit(made, epochs=4, **options):
    return made.fit(X, Y, batch_size=16, epochs=epochs, verbose=0, validation_data=(X, Y), **options)


class Feed(Callback):
    """Puts made-up figures into the logs, for the callbacks after it."""

    def __init__(self, name, values):
        self.name, self.values = name, values

    def on_epoch_end(self, epoch, logs=None):
        logs[self.name] = self.values[epoch]


@pytest.mark.parametrize("name, values, options, epochs", [
    ("val_loss", [3, 2, 1, 1, 1, 1], {}, 4),
    ("val_loss", [3, 2, 1, 1, 1, 1], {"patience": 2}, 5),
    ("val_loss", [3, 2, 2.5, 1.9, 2, 2], {"patience": 2}, 6),
    ("val_loss", [3, 2.95, 2.9, 0, 0, 0], {"min_delta": 0.2, "patience": 2}, 3),
    ("val_accuracy", [0.1, 0.2, 0.15, 0, 0, 0], {}, 3),
    ("val_accuracy", [0.3, 0.2, 0.1, 0.1, 0, 0], {"mode": "min"}, 4),
    ("val_loss", [3, math.nan, math.nan, 1, 1, 1], {"patience": 2}, 3),
])
def test_early_stopping(name, values, options, epochs):
    stopping = EarlyStopping(name, **options)
    history = fit(model(), 6, callbacks=[Feed(name, values), stopping])
    assert len(history.epoch) == epochs
    assert stopping.stopped_epoch == epochs - 1


def test_early_stopping_restores_the_best_weights():
    best = []

    class Keep(Callback):
        def on_epoch_end(self, epoch, logs=None):
            best.append(self.model.get_weights())

    made = model()
    fit(made, 6, callbacks=[Keep(), Feed("f", [2, 1, 3, 3, 3, 3]), EarlyStopping("f", patience=2,
                                                                              restore_best_weights=True)])
    assert len(best) == 4 and all(np.array_equal(a, b) for a, b in zip(made.get_weights(), best[1]))


def test_a_figure_that_is_not_there():
    with pytest.raises(ValueError, match="no figure 'val_loss' to monitor; there are loss, accuracy; pass validation"):
        model().fit(X, Y, verbose=0, callbacks=[EarlyStopping()])
    with pytest.raises(ValueError, match="mode"):
        EarlyStopping(mode="more")


def test_model_checkpoint(tmp_path):
    made = model()
    fit(made, 4, callbacks=[
        Feed("f", [0.5, 0.25, 0.75, 0.125]),
        ModelCheckpoint(tmp_path / "all-{epoch:02d}.npz"),
        ModelCheckpoint(tmp_path / "best-{epoch}-{f:.2f}.npz", monitor="f", save_best_only=True),
        ModelCheckpoint(tmp_path / "w.npz", save_weights_only=True)])
    assert sorted(os.listdir(tmp_path)) == ["all-01.npz", "all-02.npz", "all-03.npz", "all-04.npz", "best-1-0.50.npz",
                                            "best-2-0.25.npz", "best-4-0.12.npz", "w.npz"]
    last = minicnn.load_model(tmp_path / "all-04.npz")
    assert all(np.array_equal(a, b) for a, b in zip(made.get_weights(), last.get_weights()))
    other = model(seed=9)
    other.load_weights(tmp_path / "w.npz")
    assert np.array_equal(other.predict(X), made.predict(X))
    with pytest.raises(ValueError, match="asks for 'g'"):
        fit(made, 1, callbacks=[ModelCheckpoint(tmp_path / "{g}.npz")])


def read_csv(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_csv_logger_goes_on_where_the_run_goes_on(tmp_path):
    path = tmp_path / "log.csv"
    history = fit(model(), 3, callbacks=[CSVLogger(path)])
    rows = read_csv(path)
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [float(row["val_loss"]) for row in rows] == history.history["val_loss"]
    fit(model(), 4, initial_epoch=2, callbacks=[LearningRateScheduler(lambda e: 0.1), CSVLogger(path, append=True)])
    again = read_csv(path)
    assert [row["epoch"] for row in again] == ["1", "2", "3", "4"]
    assert again[0] == {**rows[0], "learning_rate": ""} and again[3]["learning_rate"] == "0.1"
    fit(model(), 1, callbacks=[CSVLogger(path)])
    assert len(read_csv(path)) == 1


def test_schedules():
    assert [step_decay(1.0, 0.5, 2)(t) for t in range(5)] == [1, 1, 0.5, 0.5, 0.25]
    cosine = cosine_decay(1.0, 4, final=0.2)
    np.testing.assert_allclose([cosine(t) for t in range(6)],
                               [1, 0.6 + 0.4 * math.sqrt(0.5), 0.6, 0.6 - 0.4 * math.sqrt(0.5), 0.2, 0.2])
    warmed = warm_up(step_decay(1.0, 0.1, 4), 3)
    np.testing.assert_allclose([warmed(t) for t in range(6)], [0.25, 0.5, 0.75, 1, 0.1, 0.1])


def test_learning_rate_scheduler():
    history = fit(model(), 3, callbacks=[LearningRateScheduler(step_decay(0.5, 0.1, 1))])
    np.testing.assert_allclose(history.history["learning_rate"], [0.5, 0.05, 0.005])
    history = fit(model(), 3, callbacks=[LearningRateScheduler(lambda epoch, rate: rate / 2)])
    np.testing.assert_allclose(history.history["learning_rate"], [0.0005, 0.00025, 0.000125])
    rates = []

    class Watch(Callback):
        def on_train_batch_end(self, batch, logs=None):
            rates.append(self.model.optimizer.learning_rate)

    fit(model(), 2, callbacks=[LearningRateScheduler(lambda step: 0.1 / (1 + step), unit="step"), Watch()])
    np.testing.assert_allclose(rates, [0.1 / (1 + step) for step in range(6)])
    with pytest.raises(TypeError):
        LearningRateScheduler(0.1)
    with pytest.raises(ValueError, match="unit"):
        LearningRateScheduler(abs, unit="day")


@pytest.fixture(autouse=True)
def ctrl_c_reaches_python():
    """A shell starts its background jobs with Ctrl-C ignored, and then Python leaves it so."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Interrupt(Callback):
    """Presses Ctrl-C in the middle of an epoch."""

    def __init__(self, epoch, times=1):
        self.epoch, self.times, self.now = epoch, times, None

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.now == self.epoch and batch == 1:
            for _ in range(self.times):
                os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_finishes_the_epoch(capsys):
    before = signal.getsignal(signal.SIGINT)
    made = model()
    with StopOnInterrupt() as stop:
        history = fit(made, 6, callbacks=[Interrupt(2), stop])
    assert stop.interrupted and len(history.epoch) == 3 and made.step == 9
    assert "finishing this epoch" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_ctrl_c_stops_at_once():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), StopOnInterrupt() as stop:
        fit(model(), 6, callbacks=[Interrupt(2, times=2), stop])
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("optimizer", [
    lambda: optimizers.Adam(0.01, weight_decay=0.01, global_clipnorm=0.5),
    lambda: optimizers.SGD(0.05, momentum=0.9, nesterov=True)])
@pytest.mark.parametrize("how", ["end", "ctrl-c", "killed in an epoch"])
def test_a_resumed_run_ends_with_the_same_bits(tmp_path, optimizer, how):
    def helpers():
        return [EarlyStopping("val_loss", patience=50), LearningRateScheduler(cosine_decay(0.01, 6)),
                LearningRateScheduler(warm_up(cosine_decay(0.02, 30), 5), unit="step")]

    whole = model(optimizer=optimizer())
    history = fit(whole, 6, callbacks=helpers())

    path, first, others = tmp_path / "backup.npz", model(optimizer=optimizer()), helpers()
    backup = Backup(path, others, facts={"a": 1})
    if how == "end":
        fit(first, 3, callbacks=[*others, backup])
    elif how == "ctrl-c":
        with StopOnInterrupt() as stop:
            fit(first, 6, callbacks=[stop, *others, backup, Interrupt(2)])
    else:
        with pytest.raises(KeyboardInterrupt):
            fit(first, 6, callbacks=[*others, backup, Interrupt(3)])

    second, others = minicnn.load_model(path), helpers()
    backup = Backup(path, others)
    assert backup.restore() == 3 and backup.facts == {"a": 1} and others[0].best is not None
    rest = fit(second, 6, initial_epoch=3, callbacks=[*others, backup])
    for a, b in zip(whole.get_weights(), second.get_weights()):
        assert np.array_equal(a, b)
    for name, state in whole.optimizer.state.items():
        assert np.array_equal(state, second.optimizer.state[name])
    assert whole.step == second.step and rest.history["val_loss"] == history.history["val_loss"][3:]
    assert backup.history == history.history
    assert minicnn.saving.read_description(path)["progress"]["epochs"] == 6


def test_a_backup_is_there_from_the_first_moment(tmp_path):
    path = tmp_path / "backup.npz"
    with pytest.raises(KeyboardInterrupt):
        fit(model(), 6, callbacks=[Backup(path), Interrupt(0)])
    made = minicnn.load_model(path)
    assert made.step == 0 and Backup(path).restore() == 0
    assert all(np.array_equal(a, b) for a, b in zip(made.get_weights(), model().get_weights()))


def test_what_is_no_backup(tmp_path):
    model().save(tmp_path / "m.npz")
    with pytest.raises(ValueError, match="not the backup of a training run"):
        Backup(tmp_path / "m.npz").restore()
    fit(model(), 1, callbacks=[Backup(tmp_path / "b.npz")])
    with pytest.raises(ValueError, match="with these callbacks"):
        Backup(tmp_path / "b.npz", [EarlyStopping()]).restore()


def test_the_base_class_has_the_hooks_of_epochs_only():
    assert not hasattr(Callback, "on_train_batch_end") and callbacks.Callback().get_state() == {}
