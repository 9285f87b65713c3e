"""MNIST's family and CIFAR-10 from disk: every layout that others leave, parts of a set, and damage."""

import gzip
import hashlib
import io
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from minicnn import datasets
from minicnn.datasets import cifar10, mnist, mnist_family, storage
from minicnn.datasets.idx import header_bytes

N_TRAIN, N_TEST = 30, 20


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return {
        "x_train": rng.integers(0, 256, (N_TRAIN, 28, 28), np.uint8),
        "y_train": rng.integers(0, 10, N_TRAIN, np.uint8),
        "x_test": rng.integers(0, 256, (N_TEST, 28, 28), np.uint8),
        "y_test": rng.integers(0, 10, N_TEST, np.uint8),
    }


@pytest.fixture(autouse=True)
def nowhere(monkeypatch, tmp_path):
    """No Keras folder, no user's cache and no network."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("MINICNN_DATA_DIR", raising=False)

    def refuse(*arguments):
        raise ConnectionError("  no network in this test")

    monkeypatch.setattr("minicnn.datasets.download.fetch", refuse)


@pytest.fixture
def small_mnist(monkeypatch, arrays):
    """MNIST as if it had been published with a few rows only."""
    files = {}
    for part, array in arrays.items():
        raw = header_bytes(array) + array.tobytes()
        files[part] = (len(raw), "", hashlib.md5(raw).hexdigest())
    monkeypatch.setattr(mnist_family, "SHAPES", {part: array.shape for part, array in arrays.items()})
    family = mnist_family.Family("mnist", mnist.SET.folders, ("http://localhost/",), files)
    monkeypatch.setattr(mnist, "SET", family)
    return family


def write_idx(folder, arrays, suffix=".gz", parts=mnist_family.PARTS, dotted=False):
    folder.mkdir(parents=True)
    for part in parts:
        raw = header_bytes(arrays[part]) + arrays[part].tobytes()
        name = mnist_family.PARTS[part] + suffix
        (folder / (name.replace("-idx", ".idx") if dotted else name)).write_bytes(
            gzip.compress(raw) if suffix else raw)


def assert_same(loaded, arrays):
    for array, part in zip((*loaded[0], *loaded[1]), mnist_family.PARTS):
        assert array.dtype == np.uint8 and np.array_equal(array, arrays[part])


@pytest.mark.parametrize("folder", ["mnist", "MNIST/raw", "MNIST"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_layouts(tmp_path, arrays, small_mnist, folder, suffix):
    write_idx(tmp_path / folder, arrays, suffix)
    assert_same(mnist.load_data(tmp_path), arrays)
    assert small_mnist.find(tmp_path).state == "complete"


def test_dotted_names_and_a_data_directory_of_the_sets_name(tmp_path, arrays, small_mnist):
    write_idx(tmp_path / "mnist", arrays, "", dotted=True)
    assert_same(mnist.load_data(tmp_path / "mnist"), arrays)


def test_the_environment_and_the_cache_folder(tmp_path, monkeypatch, arrays, small_mnist):
    write_idx(tmp_path / "cache" / "minicnn" / "datasets" / "mnist", arrays)
    if sys.platform.startswith("linux"):
        assert_same(mnist.load_data(), arrays)
    write_idx(tmp_path / "elsewhere" / "mnist", arrays)
    monkeypatch.setenv("MINICNN_DATA_DIR", str(tmp_path / "elsewhere"))
    assert storage.data_directory() == tmp_path / "elsewhere"
    assert small_mnist.find().folder == tmp_path / "elsewhere" / "mnist"
    assert storage.data_directory("~/x") == Path.home() / "x"


@pytest.mark.parametrize("where", ["mnist.npz", "mnist/mnist.npz", "keras/datasets/mnist.npz"])
def test_keras_npz(tmp_path, arrays, small_mnist, where):
    (tmp_path / where).parent.mkdir(parents=True, exist_ok=True)
    np.savez(tmp_path / where, **arrays)
    assert_same(mnist.load_data(tmp_path), arrays)


def test_a_part_of_the_set_is_used_with_a_warning(tmp_path, arrays, small_mnist):
    part = {**arrays, "x_train": arrays["x_train"][:7], "y_train": arrays["y_train"][:7]}
    write_idx(tmp_path / "mnist", part)
    with pytest.warns(UserWarning, match="only a part of the set: 7 of"):
        assert_same(mnist.load_data(tmp_path), part)
    assert "only a part" in datasets.load("mnist", data_dir=tmp_path).notes[0]


def change(array, index, value):
    array = array.copy()
    array[index] = value
    return array


@pytest.mark.parametrize("part, damage, message", [
    ("x_train", lambda a: change(a, (3, 4, 5), a[3, 4, 5] ^ 1), "MD5"),
    ("y_test", lambda a: change(a, 0, 10), "labels from 0 to 9, got 10"),
    ("y_train", lambda a: a[:-1], "29 labels for 30 images"),
    ("x_train", lambda a: a[:, 1:], "shape"),
    ("x_train", lambda a: a[:0], "rows"),
    ("x_train", lambda a: np.concatenate([a, a]), "limit"),
    ("x_train", lambda a: a[:9].astype(np.int16), "uint8"),
    ("x_train", lambda a: a.reshape(-1), "shape"),
])
def test_damage_is_found_and_named(tmp_path, arrays, small_mnist, part, damage, message):
    write_idx(tmp_path / "mnist", {**arrays, part: damage(arrays[part])})
    with pytest.raises(ValueError, match=message) as error:
        mnist.load_data(tmp_path)
    assert mnist_family.PARTS[part] in str(error.value)


def test_an_npz_of_other_arrays_is_refused(tmp_path, arrays, small_mnist):
    np.savez(tmp_path / "mnist.npz", x_train=arrays["x_train"])
    with pytest.raises(ValueError, match=r"y_train, x_test, y_test missing"):
        mnist.load_data(tmp_path)


def test_without_files_and_network_the_error_tells_what_to_do(tmp_path, arrays, small_mnist):
    write_idx(tmp_path / "mnist", arrays, parts=["x_train"])
    found = small_mnist.find(tmp_path)
    assert found.state == "partial" and found.missing == ["y_train", "x_test", "y_test"]
    with pytest.raises(ConnectionError) as error:
        mnist.load_data(tmp_path)
    text = str(error.value)
    for needed in ("http://localhost/train-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz", str(tmp_path / "mnist"),
                   "MINICNN_DATA_DIR", "no network in this test"):
        assert needed in text


# ---- CIFAR-10 ------------------------------------------------------------------------------------------------------


def records(count, seed=0):
    rng = np.random.default_rng(seed)
    data = rng.integers(0, 256, (count, cifar10.RECORD), np.uint8)
    data[:, 0] %= 10
    return data


@pytest.fixture
def small_cifar(monkeypatch):
    """The six files with ten records each, as if they had been published so."""
    files = {name: records(10, seed).tobytes() for seed, name in enumerate(cifar10.FILES)}
    monkeypatch.setattr(cifar10, "FILE_SIZE", 10 * cifar10.RECORD)
    monkeypatch.setattr(cifar10, "FILES", {name: hashlib.md5(data).hexdigest() for name, data in files.items()})
    return files


def write_cifar(folder, files):
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)


def write_archive(path, files, folder="cifar-10-batches-bin"):
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def test_the_planes_of_a_record_become_channels():
    data = records(3)
    images, labels = cifar10.parse(data.tobytes())
    assert images.shape == (3, 32, 32, 3) and images.flags.c_contiguous and labels.tolist() == data[:, 0].tolist()
    for channel, row, column in [(0, 0, 0), (1, 0, 31), (2, 31, 7)]:
        assert images[1, row, column, channel] == data[1, 1 + 1024 * channel + 32 * row + column]


def load_small_cifar(path):
    with pytest.warns(UserWarning, match="only a part"):  # 50 images, not 50,000
        return cifar10.load_data(path)


@pytest.mark.parametrize("folder", ["cifar-10-batches-bin", "cifar10", "keras/datasets/cifar-10-batches-bin"])
def test_cifar_folders(tmp_path, small_cifar, folder):
    write_cifar(tmp_path / folder, small_cifar)
    (x_train, y_train), (x_test, y_test) = load_small_cifar(tmp_path)
    assert x_train.shape == (50, 32, 32, 3) and y_train.shape == (50,) and x_test.shape == (10, 32, 32, 3)
    assert np.array_equal(x_train[10:20], cifar10.parse(small_cifar["data_batch_2.bin"])[0])
    assert np.array_equal(y_test, cifar10.parse(small_cifar["test_batch.bin"])[1])


def test_cifar_archive_in_any_order(tmp_path, small_cifar):
    write_cifar(tmp_path / "cifar-10-batches-bin", small_cifar)
    expected = load_small_cifar(tmp_path)
    (tmp_path / "two").mkdir()
    write_archive(tmp_path / "two" / "cifar-10-binary.tar.gz", dict(reversed(small_cifar.items())))
    loaded = load_small_cifar(tmp_path / "two")
    for one, other in zip((*expected[0], *expected[1]), (*loaded[0], *loaded[1])):
        assert np.array_equal(one, other)


def test_some_batches_and_short_files_are_used_with_a_warning(tmp_path, small_cifar):
    some = {"data_batch_2.bin": small_cifar["data_batch_2.bin"],
            "test_batch.bin": small_cifar["test_batch.bin"][:4 * cifar10.RECORD]}
    write_cifar(tmp_path / "cifar-10-batches-bin", some)
    with pytest.warns(UserWarning, match="10 of 50,000 training and 4 of 10,000 test images"):
        (x_train, _), (x_test, _) = cifar10.load_data(tmp_path)
    assert len(x_train) == 10 and len(x_test) == 4
    assert cifar10.find(tmp_path).state == "partial"


@pytest.mark.parametrize("damage, message", [
    (lambda data: data[:-1], "not a whole number of CIFAR records"),
    (lambda data: b"", "not a whole number"),
    (lambda data: bytes([10]) + data[1:], "record 0 has the label 10"),
    (lambda data: data[:5] + bytes([data[5] ^ 1]) + data[6:], "MD5"),
    (lambda data: data + data[:cifar10.RECORD], "longer than"),
])
@pytest.mark.parametrize("form", ["folder", "archive"])
def test_damaged_cifar_files(tmp_path, small_cifar, damage, message, form):
    files = {**small_cifar, "data_batch_3.bin": damage(small_cifar["data_batch_3.bin"])}
    if form == "folder":
        write_cifar(tmp_path / "cifar-10-batches-bin", files)
    else:
        write_archive(tmp_path / "cifar-10-binary.tar.gz", files)
        message = message if message != "longer than" else "declares"
    with pytest.raises(ValueError, match=f"data_batch_3.*{message}"):
        cifar10.load_data(tmp_path)


def test_damaged_archives(tmp_path, small_cifar):
    path = tmp_path / "cifar-10-binary.tar.gz"
    write_archive(path, {name: data for name, data in small_cifar.items() if name != "data_batch_4.bin"})
    with pytest.raises(ValueError, match=r"lacks data_batch_4\.bin"):
        cifar10.load_data(tmp_path)
    write_archive(path, {"junk": bytes(3 << 20), **small_cifar})
    with pytest.raises(ValueError, match="unpacks to more bytes"):
        cifar10.load_data(tmp_path)
    write_archive(path, small_cifar)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=r"tar\.gz"):
        cifar10.load_data(tmp_path)


def test_pickles_are_refused_with_the_way_out(tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    with pytest.raises(ConnectionError) as error:
        cifar10.load_data(tmp_path)
    assert "pickles" in str(error.value) and cifar10.URLS[0] in str(error.value)


# ---- by name -------------------------------------------------------------------------------------------------------


def test_load_by_name(tmp_path, arrays, small_mnist, small_cifar):
    write_idx(tmp_path / "mnist", arrays)
    dataset = datasets.load("mnist", data_dir=tmp_path)
    assert dataset.x_train.shape == (N_TRAIN, 28, 28, 1) and dataset.x_train.dtype == np.float32
    np.testing.assert_allclose(dataset.x_train[..., 0] * 255, arrays["x_train"], rtol=1e-6)
    assert dataset.y_train.dtype == np.int64 and dataset.preprocessing["scale"] == 1 / 255 and not dataset.notes
    write_cifar(tmp_path / "cifar-10-batches-bin", small_cifar)
    dataset = datasets.load("cifar10", data_dir=tmp_path)
    assert dataset.image_shape == (32, 32, 3) and dataset.preprocessing["color"] == "rgb"
    assert dataset.class_names[3] == "cat"


def test_bad_names(tmp_path):
    with pytest.raises(ValueError, match="neither a folder nor a data set; the data sets are digits, mnist"):
        datasets.load("minst")
    with pytest.raises(ValueError, match="digits only"):
        datasets.load("mnist", split="writers")
    with pytest.raises(ValueError, match="only for a folder"):
        datasets.load("mnist", image_size=3)


def test_import_is_light():
    code = ("import sys, minicnn.datasets as d; assert not {'PIL', 'tqdm', 'urllib.request', 'minicnn.datasets.mnist'} "
            "& set(sys.modules); d.mnist, d.cifar10; assert not {'PIL', 'matplotlib'} & set(sys.modules)")
    subprocess.run([sys.executable, "-c", code], check=True)
