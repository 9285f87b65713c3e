"""Training from what does not lie in memory: mapped files, generators, sequences of batches."""

import numpy as np
import pytest

from minicnn import layers
from minicnn.data import Batches
from minicnn.models import Sequential

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(50, 4)).astype(np.float32), RNG.integers(0, 3, 50)


def model():
    made = Sequential([layers.Dense(5, activation="relu", input_shape=(4,)), layers.Dense(3)], seed=3)
    made.compile("adam", metrics=["accuracy"])
    return made


def weights_after(x, y=None, **options):
    made = model()
    history = made.fit(x, y, epochs=3, verbose=0, **options)
    return np.concatenate([array.reshape(-1) for array in made.get_weights()]), history.history


def in_order(epoch=None):
    for start in range(0, 50, 16):
        yield X[start:start + 16], Y[start:start + 16]


class Sequence:
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return X[index * 16:index * 16 + 16], Y[index * 16:index * 16 + 16]


class Loader:
    def __iter__(self):
        return in_order()


def forever():
    while True:
        yield from in_order()


EXPECTED = weights_after(X, Y, batch_size=16, shuffle=False)


@pytest.mark.parametrize("source, options", [
    (in_order, {}), (Sequence(), {"shuffle": False}), (Loader(), {}), (forever(), {"steps_per_epoch": 4}),
    (lambda epoch: ((x, y, np.full(len(y), 1.0)) for x, y in in_order()), {}),
], ids=["function", "sequence", "loader", "generator", "weights"])
def test_every_source_trains_as_the_arrays_do(source, options):
    weights, history = weights_after(source, **options)
    assert np.array_equal(weights, EXPECTED[0]) and history == EXPECTED[1]


def test_a_mapped_file_trains_as_the_array_does(tmp_path):
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    weights, _ = weights_after(mapped, Y, batch_size=16)
    assert np.array_equal(weights, weights_after(X, Y, batch_size=16)[0])


def test_a_sequence_is_shuffled_by_seed_and_epoch():
    orders = []

    class Recorder(Sequence):
        def __getitem__(self, index):
            orders.append(index)
            return super().__getitem__(index)

    for _ in range(2):
        weights_after(Recorder())
    assert orders[:12] == orders[12:] and len({tuple(orders[i:i + 4]) for i in (0, 4, 8)}) > 1
    assert all(sorted(orders[i:i + 4]) == [0, 1, 2, 3] for i in (0, 4, 8))


def test_validation_and_evaluation_from_a_source():
    made = model()
    history = made.fit(X, Y, epochs=2, verbose=0, validation_data=in_order).history
    assert made.evaluate(in_order) == pytest.approx(made.evaluate(X, Y), rel=1e-6)
    assert history["val_accuracy"][-1] == made.evaluate(X, Y)[1]


def test_class_weight_reaches_batches():
    weight = {0: 1.0, 1: 0.5, 2: 2.0}
    assert np.array_equal(weights_after(in_order, class_weight=weight)[0],
                          weights_after(X, Y, batch_size=16, shuffle=False, class_weight=weight)[0])


@pytest.mark.parametrize("make, options, message", [
    (lambda: in_order(), {}, "needs it, to know where"),
    (lambda: in_order, {"steps_per_epoch": 4}, "only for a running generator"),
    (lambda: in_order(), {"steps_per_epoch": 5}, "ended after 4 of the 5 batches of epoch 1"),
    (lambda: iter([]), {"steps_per_epoch": 5}, "gave none in epoch 1"),
    (lambda: lambda epoch: [], {}, "gave none"),
    (lambda: lambda epoch: [X], {}, "batch 1: expected"),
    (lambda: lambda epoch: [(X,)], {}, "got tuple of 1"),
    (lambda: lambda epoch: [(X, Y[:-1])], {}, "one entry for each of the 50"),
    (lambda: lambda epoch: [(X[:, :3], Y)], {}, "shape"),
    (lambda: lambda epoch: [(X * np.nan, Y)], {}, "nan"),
    (lambda: in_order, {"sample_weight": np.ones(50)}, "itself"),
    (lambda: X, {}, "expected labels"),
])
def test_bad_sources(make, options, message):
    with pytest.raises(ValueError, match=message):
        model().fit(make(), epochs=1, verbose=0, **options)


def test_a_generator_cannot_validate():
    with pytest.raises(TypeError, match="used up"):
        model().fit(X, Y, verbose=0, validation_data=in_order())
    with pytest.raises(ValueError, match="only for a generator"):
        model().fit(X, Y, verbose=0, steps_per_epoch=2)


def test_what_counts_as_a_source():
    assert not Batches.fits(X) and not Batches.fits([[1.0]]) and not Batches.fits(3) and not Batches.fits(None)
    assert Batches.fits(in_order) and Batches.fits(Loader()) and Batches.fits(iter([]))
