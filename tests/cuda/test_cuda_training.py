"""A model on the cuda back-end trains as it does on the others."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = pytest.mark.cuda
cuda = pytest.importorskip("kernels.cuda")


def model_on(backend, dtype="float32"):
    """A small network with every layer that has kernels of its own."""
    from minicnn import Sequential, layers
    return Sequential([
        layers.Input((6, 6, 1)), layers.Conv2D(4, 3, activation="relu", padding="same"), layers.BatchNormalization(),
        layers.MaxPooling2D(2), layers.Conv2D(3, 2, activation="tanh"), layers.AveragePooling2D(2), layers.Flatten(),
        layers.Dropout(0.3), layers.Dense(5, activation="relu"), layers.Dense(3)], backend=backend, dtype=dtype, seed=3)


def losses_on(backend, optimizer, steps=2, dtype="float32"):
    from minicnn.training import checked_batch, train_step
    model = model_on(backend, dtype)
    model.compile(optimizer=optimizer(), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4, 6, 6, 1)), rng.integers(0, 3, 4)
    results = [train_step(model, *checked_batch(model, x, y)) for _ in range(steps)]
    return [(float(loss), int(correct)) for loss, correct in results], model.ops.to_numpy(model.parameters)


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_two_training_steps_are_those_of_the_cpu(name):
    from minicnn import optimizers
    options = {"SGD": {"learning_rate": 0.1, "momentum": 0.9, "global_clipnorm": 0.5}, "Adam": {}}[name]

    def optimizer():
        return getattr(optimizers, name)(**options)

    got, parameters = losses_on("cuda", optimizer)
    expected, other = losses_on("cpu", optimizer)
    for (loss, correct), (other_loss, other_correct) in zip(got, expected):
        assert loss == pytest.approx(other_loss, abs=1e-5) and correct == other_correct
    assert got[0][0] != got[1][0]
    np.testing.assert_allclose(parameters, other, atol=1e-4)


def test_fit_evaluate_predict_and_the_saved_model(tmp_path):
    from minicnn import load_model
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 6, 6, 1)).astype(np.float32), rng.integers(0, 3, 6)
    histories = {}
    for backend in ("cuda", "im2col"):
        model = model_on(backend)
        model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
        histories[backend] = model.fit(x, y, batch_size=4, epochs=1, validation_data=(x, y), verbose=0).history
        if backend == "cuda":
            model.save(tmp_path / "model.npz")
            on_device = model.predict(x)
    assert histories["cuda"].keys() == histories["im2col"].keys()
    for name, (value,) in histories["cuda"].items():
        assert value == pytest.approx(histories["im2col"][name][0], abs=1e-4), name
    loaded = load_model(tmp_path / "model.npz", backend="im2col")
    np.testing.assert_allclose(loaded.predict(x), on_device, atol=1e-5)


def test_a_loss_that_is_not_finite_stops_the_training():
    model = model_on("cuda")
    model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy")
    x = np.full((2, 6, 6, 1), 1e38, np.float32)
    with pytest.raises((FloatingPointError, ValueError)):
        model.fit(x, np.array([0, 1]), batch_size=2, epochs=1, verbose=0)


def test_the_benchmark_trains_and_predicts_on_the_device(monkeypatch):
    from minicnn import zoo
    from minicnn.bench.contestants import minicnn as contestant
    from minicnn.bench.works import Network
    monkeypatch.setattr(zoo, "small", model_on, raising=False)
    monkeypatch.setitem(contestant.NETWORKS, "small", Network("small", {}, (6, 6, 1), "sgd", {"learning_rate": 0.1}, 0))
    rng = np.random.default_rng(0)
    x, y = rng.random((2, 2, 6, 6, 1), np.float32), rng.integers(0, 3, (2, 2))
    weights, found = model_on("im2col").get_weights(), {}
    for backend in ("cuda", "im2col"):
        bench = contestant.Contestant(1, backend)
        training, inference = (getattr(bench, way)("small", weights, x, y) for way in ("training", "inference"))
        found[backend] = training.result()["losses"], inference.result()["logits"]
        assert training.seconds(2) > 0
    np.testing.assert_allclose(found["cuda"][0], found["im2col"][0], atol=1e-5)
    np.testing.assert_allclose(found["cuda"][1], found["im2col"][1], atol=1e-5)


def test_gradients_of_a_whole_model_in_float64():
    """Central differences on the device's own float64 kernels, at some places of every parameter."""
    from minicnn.training import checked_batch
    model = model_on("cuda", "float64")
    model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy")
    rng = np.random.default_rng(1)
    x, y, weights = checked_batch(model, rng.normal(size=(3, 6, 6, 1)), rng.integers(0, 3, 3))

    def loss():
        return float(model.loss(model.forward(x, training=True), y, weights)[0])

    _, dlogits = model.loss(model.forward(x, training=True), y, weights)
    model.backward(dlogits)
    analytic, start = model.ops.to_numpy(model.gradients), model.ops.to_numpy(model.parameters)
    for index in (0, 37, 41, 60, 99, len(start) - 1):
        step, values = 1e-6, []
        for sign in (1, -1):
            moved = start.copy()
            moved[index] += sign * step
            model.ops.assign(model.parameters, moved)
            values.append(loss())
        model.ops.assign(model.parameters, start)
        assert (values[0] - values[1]) / (2 * step) == pytest.approx(analytic[index], rel=1e-4, abs=1e-8), index
