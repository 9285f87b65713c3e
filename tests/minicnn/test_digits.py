"""The digits inside the package: the whole set, unchanged, and two splits that do not leak."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from minicnn import datasets
from minicnn.datasets import digits


@pytest.fixture(scope="module")
def file():
    with np.load(Path(digits.__file__).with_name("digits.npz"), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def test_the_file_holds_the_published_set(file):
    assert file["images"].shape == (1797, 8, 8) and file["images"].dtype == np.uint8
    assert (file["images"].min(), file["images"].max()) == (0, 16)
    assert np.bincount(file["labels"]).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    checksum = hashlib.sha256(file["images"].tobytes() + file["labels"].tobytes()).hexdigest()
    assert checksum == "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"


def test_the_file_equals_scikit_learns_copy(file):
    copy = pytest.importorskip("sklearn.datasets").load_digits()
    assert np.array_equal(copy.images, file["images"]) and np.array_equal(copy.target, file["labels"])


def test_the_random_split_is_the_documented_draw(file):
    labels, random = file["labels"], np.random.RandomState(0)
    shares = np.bincount(labels) * 360 / len(labels)
    counts = np.floor(shares).astype(int)
    counts[np.argsort(-(shares - counts), kind="stable")[:360 - counts.sum()]] += 1
    test = np.concatenate([random.permutation(np.flatnonzero(labels == d))[:counts[d]] for d in range(10)])
    assert np.array_equal(np.sort(test), file["random_test"])


@pytest.mark.parametrize("split", digits.SPLITS)
def test_splits_are_disjoint_and_complete(file, split):
    (x_train, y_train), (x_test, y_test) = digits.load_data(split)
    assert x_train.shape == (1437, 8, 8) and x_test.shape == (360, 8, 8)
    assert x_train.dtype == x_test.dtype == y_train.dtype == y_test.dtype == np.uint8
    key = lambda x, y: sorted((image.tobytes(), int(label)) for image, label in zip(x, y))  # noqa: E731
    every = key(file["images"], file["labels"])
    assert len(set(every)) == 1797  # no picture occurs twice: so equal lists mean disjoint parts
    assert sorted(key(x_train, y_train) + key(x_test, y_test)) == every


def test_the_random_split_is_stratified_and_the_writers_split_keeps_the_order(file):
    (_, y_train), (_, y_test) = digits.load_data()
    share = np.bincount(y_test) / (np.bincount(y_train) + np.bincount(y_test))
    assert np.all(np.abs(share - 360 / 1797) < 1 / 170)
    (x_train, _), (x_test, _) = digits.load_data("writers")
    assert np.array_equal(x_train, file["images"][:1437]) and np.array_equal(x_test, file["images"][1437:])


def test_load_scales_and_names():
    dataset = datasets.load("digits")
    assert dataset.x_train.shape == (1437, 8, 8, 1) and dataset.x_train.dtype == np.float32
    assert dataset.x_train.min() == 0 and dataset.x_train.max() == 1 and dataset.y_train.dtype == np.int64
    assert dataset.class_names == tuple("0123456789") and dataset.image_shape == (8, 8, 1)
    edge = np.ones((8, 8), bool)
    edge[1:-1, 1:-1] = False
    border = dataset.preprocessing.pop("border")
    assert dataset.preprocessing == {"image_size": [8, 8], "color": "grayscale", "scale": 1 / 16}
    assert abs(border - dataset.x_train[:, edge].mean()) < 0.05
    assert dataset.describe() == "digits: 1,437 training and 360 test images of 8x8x1, 10 classes"


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="random, writers"):
        digits.load_data("writer")
    with pytest.raises(ValueError, match="digits"):
        datasets.load("digit")
