"""The training loop: what it computes, what it prints, what it refuses, and that it repeats itself to the bit."""

import subprocess
import sys

import numpy as np
import pytest

from minicnn import data, inputs, models, optimizers
from minicnn.layers import Conv2D, Dense, Dropout, Flatten, Input


def small_model(seed=0, **options):
    return models.Sequential([Input((4, 4, 1)), Conv2D(3, 2, activation="relu"), Flatten(), Dropout(0.2), Dense(3)],
                             seed=seed, **options)


def compiled(seed=0, optimizer="adam", **options):
    model = small_model(seed, **options)
    model.compile(optimizer, metrics=["accuracy"])
    return model


def small_data(count=50, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, count)
    x = rng.random((count, 4, 4, 1)) * 0.3 + y[:, None, None, None] / 3
    return x, y


def test_fit_learns_and_returns_kerases_history():
    x, y = small_data()
    model = compiled(optimizer=optimizers.Adam(0.01))
    history = model.fit(x, y, epochs=40, batch_size=8, validation_data=small_data(30, 1), verbose=0)
    assert list(history.history) == ["loss", "accuracy", "val_loss", "val_accuracy"]
    assert history.epoch == list(range(40)) and all(len(values) == 40 for values in history.history.values())
    assert history.history["loss"][-1] < 0.5 * history.history["loss"][0]
    assert history.history["val_accuracy"][-1] > 0.8
    assert model.step == 40 * 7  # 50 examples: six batches of 8 and one of 2


def test_logged_loss_is_the_mean_over_examples():
    x, y = small_data(21)
    model = compiled(optimizer=optimizers.SGD(0.0))
    model.layers[2].rate = 0.0
    logs = model.fit(x, y, batch_size=8, verbose=0).history
    whole = model.evaluate(x, y, batch_size=21, return_dict=True)
    assert logs["loss"][0] == pytest.approx(whole["loss"], rel=1e-5)
    assert logs["accuracy"][0] == pytest.approx(whole["accuracy"])
    assert model.evaluate(x, y, batch_size=4) == pytest.approx([whole["loss"], whole["accuracy"]], rel=1e-5)


def test_same_seed_same_bits():
    x, y = small_data()
    runs = []
    for seed in (0, 0, 1):
        model = compiled(seed)
        model.fit(x, y, epochs=3, verbose=0)
        runs.append(model.parameters.tobytes())
    assert runs[0] == runs[1] != runs[2]


PROGRAM = """
import hashlib
from minicnn import datasets, zoo
data = datasets.load("digits")
model = zoo.digits_cnn(seed=11)
model.compile("adam")
model.fit(data.x_train[:300], data.y_train[:300], epochs=2, verbose=0)
print(hashlib.sha256(model.parameters.tobytes()).hexdigest())
"""


def test_same_seed_same_bits_in_two_processes():
    digests = [subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout
               for _ in range(2)]
    assert digests[0] == digests[1] and len(digests[0].strip()) == 64


def test_batches_cover_every_example_once_in_another_order_each_epoch():
    x = np.arange(23)[:, None]
    source = data.Arrays(x, x[:, 0], None, batch_size=5, shuffle=True, seed=2)
    assert len(source) == 5
    orders = []
    for epoch in (0, 1, 0):
        batches = list(source.epoch(epoch))
        assert [len(batch[0]) for batch in batches] == [5, 5, 5, 5, 3]
        assert all((batch[0][:, 0] == batch[1]).all() for batch in batches)
        orders.append(np.concatenate([batch[1] for batch in batches]))
        np.testing.assert_array_equal(np.sort(orders[-1]), np.arange(23))
    assert (orders[0] != orders[1]).any() and (orders[0] == orders[2]).all()


def test_initial_epoch_goes_on_in_the_same_order():
    x, y = small_data()
    whole, parts = compiled(), compiled()
    whole.fit(x, y, epochs=4, verbose=0)
    parts.fit(x, y, epochs=2, verbose=0)
    parts.fit(x, y, epochs=4, initial_epoch=2, verbose=0)
    assert whole.parameters.tobytes() == parts.parameters.tobytes()


def test_finite_numbers_whose_sum_overflows_are_taken():
    x = np.full((20, 4, 4, 1), np.finfo(np.float32).max)
    np.testing.assert_array_equal(inputs.images(compiled(), x), x)


def test_class_weight_is_sample_weight_by_class():
    x, y = small_data(16)
    a, b = compiled(), compiled()
    loss_a = a.train_on_batch(x, y, class_weight={0: 1.0, 1: 2.0, 2: 0.5})
    loss_b = b.train_on_batch(x, y, sample_weight=np.array([1.0, 2.0, 0.5])[y])
    assert loss_a == loss_b
    np.testing.assert_array_equal(a.parameters, b.parameters)
    with pytest.raises(ValueError, match="no weight for class 2"):
        a.train_on_batch(x, y, class_weight={0: 1.0, 1: 1.0})
    with pytest.raises(ValueError, match="finite weights"):
        a.train_on_batch(x, y, sample_weight=np.full(16, -1.0))


def test_callbacks_are_called_like_kerases():
    calls = []

    class Recorder:
        def set_model(self, model):
            self.model = model

        def on_train_begin(self, logs):
            calls.append("train begin")

        def on_epoch_begin(self, epoch, logs):
            calls.append(f"epoch {epoch}")

        def on_train_batch_end(self, batch, logs):
            calls.append(f"batch {batch} {'loss' in logs}")

        def on_epoch_end(self, epoch, logs):
            calls.append(f"end {sorted(logs)}")
            self.model.stop_training = True

        def on_train_end(self, logs):
            calls.append("train end")

    x, y = small_data(10)
    history = compiled().fit(x, y, batch_size=8, epochs=5, callbacks=[Recorder()], verbose=0)
    assert calls == ["train begin", "epoch 0", "batch 0 True", "batch 1 True", "end ['accuracy', 'loss']", "train end"]
    assert history.epoch == [0]


def test_plain_lines_when_not_on_a_terminal(capsys):
    x, y = small_data()
    compiled().fit(x, y, epochs=3)
    output = capsys.readouterr()
    lines = output.out.splitlines()
    assert len(lines) == 3 and lines[0].startswith("Epoch 1/3  loss ") and output.err == ""


def test_a_bar_on_demand_and_silence(capsys):
    x, y = small_data()
    compiled().fit(x, y, epochs=1, verbose=1)
    assert "Epoch 1/1" in capsys.readouterr().err
    compiled().fit(x, y, epochs=1, verbose=0)
    output = capsys.readouterr()
    assert output.out == output.err == ""


# ---- bad data: one clear error, and nothing has changed ----------------------------------------------------------


def bad(change):
    x, y = small_data(12)
    return change(x, y)


@pytest.mark.parametrize(("make", "error", "message"), [
    (lambda x, y: (x[:0], y[:0]), ValueError, "at least one example"),
    (lambda x, y: (x, y[:5]), ValueError, "each of the 12 examples"),
    (lambda x, y: (x, y.astype(float)), TypeError, "integer class numbers"),
    (lambda x, y: (x, np.eye(3)[y]), TypeError, "argmax"),
    (lambda x, y: (x, np.eye(3, dtype=int)[y]), ValueError, "argmax"),
    (lambda x, y: (x, y + 1), ValueError, "0 to 2"),
    (lambda x, y: (x, y - 1), ValueError, "0 to 2"),
    (lambda x, y: (np.where(x == x[7, 1, 2, 0], np.nan, x), y), ValueError, r"nan in example 7 at \(1, 2, 0\)"),
    (lambda x, y: (np.where(x == x[3, 0, 0, 0], -np.inf, x), y), ValueError, "-inf in example 3"),
    (lambda x, y: (np.where(x == x[3, 0, 0, 0], np.inf, np.where(x == x[5, 0, 0, 0], -np.inf, x)), y), ValueError,
     "got inf in example 3"),
    (lambda x, y: (x.astype(complex), y), TypeError, "complex"),
    (lambda x, y: (x.astype(str), y), TypeError, "array of numbers"),
    (lambda x, y: (x.astype(object), y), TypeError, "object"),
    (lambda x, y: (x[..., 0], y), ValueError, "channel axis"),
    (lambda x, y: (x, None), ValueError, "expected labels"),
])
def test_bad_data_changes_nothing(make, error, message):
    x, y = bad(make)
    model = compiled()
    before = model.parameters.copy()
    x_before = np.array(x, copy=True)
    with pytest.raises(error, match=message):
        model.fit(x, y, verbose=0)
    np.testing.assert_array_equal(model.parameters, before)
    np.testing.assert_array_equal(x, x_before)
    assert model.step == 0


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"batch_size": 2.5}, {"epochs": -1}, {"epochs": 1.5},
                                     {"validation_data": small_data(3)[0]}, {"verbose": "loud"},
                                     {"validation_data": (small_data(3)[0], np.array([0, 1, 9]))}])
def test_bad_options(options):
    model = compiled()
    with pytest.raises(ValueError):
        model.fit(*small_data(), **options)
    assert model.step == 0


def test_column_labels_and_lists_are_taken():
    x, y = small_data()
    compiled().fit(x, y[:, None].astype(np.uint8), verbose=0)
    compiled().fit(x.tolist(), y.tolist(), verbose=0)


def test_divergence_names_step_and_layer():
    x, y = small_data()
    model = compiled(optimizer=optimizers.SGD(1e30))
    with pytest.raises(FloatingPointError) as caught, np.errstate(all="ignore"):
        model.fit(x, y, batch_size=8, epochs=5, verbose=0)
    text = str(caught.value)
    assert f"step {model.step + 1}" in text and "the output of layer 'dense' (Dense)" in text
    assert "learning rate" in text


def test_divergence_blames_the_right_layer():
    x, y = small_data()
    model = compiled()
    model.layers[3].w[0, 0] = np.inf
    with pytest.raises(FloatingPointError, match=r"layer 'dense' \(Dense\), whose w are not finite"):
        model.fit(x + 0.1, y, verbose=0)


def test_evaluate_and_predict_check_their_input():
    model = compiled()
    with pytest.raises(ValueError, match="at least one example"):
        model.predict(np.zeros((0, 4, 4, 1)))
    with pytest.raises(ValueError, match="nan"):
        model.predict(np.full((2, 4, 4, 1), np.nan))
    with pytest.raises(ValueError, match="batch_size"):
        model.predict(np.zeros((2, 4, 4, 1)), batch_size=0)
    with pytest.raises(RuntimeError, match="compile"):
        small_model().evaluate(*small_data())


def test_predict_does_not_depend_on_the_batch_size():
    model = compiled()
    x, _ = small_data(13)
    np.testing.assert_allclose(model.predict(x, batch_size=5), model.predict(x, batch_size=100), rtol=1e-6, atol=1e-7)
