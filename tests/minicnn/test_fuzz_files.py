"""Mutated files: every one is read right or refused with a clear error; no crash, no hang, no memory beyond its size.

What comes out of a mutated file is held against what the same bytes mean: a reader may accept a flipped pixel in a raw
IDX file (the file says so), but not give another array than the file holds.
"""

import gzip
import io
import json
import struct
import tarfile
import time
import tracemalloc
import zipfile

import numpy as np
import pytest

import minicnn
from minicnn import layers
from minicnn.datasets import cifar10
from minicnn.datasets.idx import header_bytes, read_idx
from minicnn.models import Sequential

FAST, FULL = 120, 2000
SIZES = (0, 1, 2, 127, 255, 256, 65535, 1 << 16, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)


def mutate(rng, data):
    """Bit flips, absurd numbers, cuts, insertions and repetitions, a few at a time."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        kind, at = rng.integers(7), int(rng.integers(len(data))) if data else 0
        if not data:
            break
        if kind == 0:
            data[at] ^= 1 << rng.integers(8)
        elif kind == 1:
            data[at] = rng.integers(256)
        elif kind == 2:  # an absurd size, preferably in the header
            at = int(rng.integers(min(len(data), 64))) if rng.random() < 0.7 else at
            order = rng.choice(["<", ">"])
            data[at:at + 4] = struct.pack(order + "I", int(rng.choice(SIZES)))
        elif kind == 3:
            del data[at:]
        elif kind == 4:
            del data[at:at + int(rng.integers(1, 40))]
        elif kind == 5:
            data[at:at] = rng.integers(0, 256, rng.integers(1, 40), np.uint8).tobytes()
        else:
            data += data[at:at + 200]
    return bytes(data)


class Limits:
    """Each reading is quick and takes no more memory than ``allowed`` bytes (or a small multiple of the file)."""

    def __init__(self, allowed):
        self.allowed, self.read, self.refused = allowed, 0, 0

    def attempt(self, reader, path):
        tracemalloc.start()
        started = time.process_time()
        try:
            result = reader(path)
        except ValueError as error:
            assert str(path) in str(error) and len(str(error)) < 3000
            self.refused += 1
            return None
        finally:
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert peak < self.allowed + 20 * path.stat().st_size, f"{peak:,} bytes for {path.read_bytes()[:80]!r}"
            assert time.process_time() - started < 5
        self.read += 1
        return result


def idx_meaning(data):
    """The array in the bytes of a well-formed IDX file, read in another way."""
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    dtype = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}[data[2]]
    shape = struct.unpack(f">{data[3]}I", data[4:4 + 4 * data[3]])
    return np.ndarray(shape, dtype, data[4 + 4 * data[3]:])


@pytest.mark.parametrize("count", [FAST, pytest.param(FULL, marks=pytest.mark.slow)])
def test_idx(tmp_path, count):
    rng = np.random.default_rng(count)
    arrays = [rng.integers(0, 256, (20, 7, 7), np.uint8), rng.integers(0, 10, 30, np.uint8),
              rng.normal(size=(4, 5)).astype(np.float32)]
    seeds = [header_bytes(array) + array.astype(array.dtype.newbyteorder(">")).tobytes() for array in arrays]
    seeds += [gzip.compress(seed) for seed in seeds]
    seeds.append(gzip.compress(seeds[0] + bytes(1 << 22)))  # a bomb, and one whose header tells the truth about it
    seeds.append(gzip.compress(b"\x00\x00\x08\x01" + struct.pack(">I", 1 << 22) + bytes(1 << 22)))
    limits, path = Limits(1 << 23), tmp_path / "file"
    for _ in range(count):
        data = mutate(rng, seeds[rng.integers(len(seeds))])
        path.write_bytes(data)
        array = limits.attempt(lambda path: read_idx(path, limit=1 << 22), path)
        if array is not None:
            np.testing.assert_array_equal(array, idx_meaning(data))
    assert limits.read > count / 50 and limits.refused > count / 4


@pytest.mark.parametrize("count", [FAST, pytest.param(FULL, marks=pytest.mark.slow)])
def test_cifar(tmp_path, count, monkeypatch):
    rng = np.random.default_rng(count)
    monkeypatch.setattr(cifar10, "FILE_SIZE", 4 * cifar10.RECORD)
    contents = {}
    for name in cifar10.FILES:
        records = rng.integers(0, 256, (4, cifar10.RECORD), np.uint8)
        records[:, 0] %= 10
        contents[name] = records.tobytes()
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for name, data in contents.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    seeds = [contents["test_batch.bin"], plain.getvalue(), plain.getvalue(), gzip.compress(plain.getvalue()),
             gzip.compress(plain.getvalue() + bytes(1 << 24))]
    limits, path = Limits(1 << 22), tmp_path / "file"
    for _ in range(count):
        which = rng.integers(len(seeds))
        data = mutate(rng, seeds[which])
        path.write_bytes(data)
        if which == 0:
            result = limits.attempt(cifar10.read_batch, path)
            if result is not None and data[:2] != b"\x1f\x8b":
                records = np.frombuffer(data, np.uint8).reshape(-1, cifar10.RECORD)
                assert np.array_equal(result[1], records[:, 0]) and result[1].max() < 10
                assert np.array_equal(result[0][:, 3, 5, 2], records[:, 1 + 2048 + 3 * 32 + 5])
        else:
            result = limits.attempt(lambda path: dict(cifar10._from_archive(path)), path)
            if result is not None:
                assert set(result) == set(cifar10.FILES)
                assert all(images.shape[1:] == (32, 32, 3) and labels.max() < 10 for images, labels in result.values())
    assert limits.read > count / 50 and limits.refused > count / 4


@pytest.fixture(scope="module")
def model_bytes(tmp_path_factory):
    model = Sequential([layers.Input((6, 6, 1)), layers.Conv2D(3, 3), layers.BatchNormalization(), layers.Flatten(),
                        layers.Dense(3)])
    model.compile("adam")
    path = tmp_path_factory.mktemp("model") / "m.npz"
    model.save(path)
    return model, path.read_bytes()


def absurd(rng, value):
    """Another value of a JSON document, somewhere in it."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = list(value)[rng.integers(len(value))]
        return {**value, key: absurd(rng, value[key])} if rng.random() < 0.9 else {
            k: v for k, v in value.items() if k != key}
    if isinstance(value, list) and value and rng.random() < 0.9:
        at = int(rng.integers(len(value)))
        return [*value[:at], absurd(rng, value[at]), *value[at + 1:]]
    choices = [None, True, -1, 0, 1, 2, 3, 1e300, float("nan"), 2**31, 2**62, 10**40, "", "Dense", "x" * 5000, [], {},
               [1] * 100, {"class": "Dense", "config": {"units": 2**40}}]
    return choices[rng.integers(len(choices))]


def rebuilt(rng, data):
    """A model's file with right checksums around a description or an array header that is not right."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        victim = rng.choice(old.namelist()) if rng.random() < 0.4 else "description.npy"
        for name in old.namelist():
            content = old.read(name)
            if name == victim == "description.npy":
                description = json.loads(str(np.load(io.BytesIO(content))))
                buffer = io.BytesIO()
                np.save(buffer, np.array(json.dumps(absurd(rng, description))))
                content = buffer.getvalue()
            elif name == victim:
                content = mutate(rng, content)
            new.writestr(name, content)
    return target.getvalue()


@pytest.mark.parametrize("count", [FAST, pytest.param(FULL, marks=pytest.mark.slow)])
def test_models(tmp_path, count, model_bytes):
    model, data = model_bytes
    rng, limits, path = np.random.default_rng(count), Limits(1 << 24), tmp_path / "m.npz"
    target = Sequential.from_config(model.get_config())
    before = target.get_weights()
    for index in range(count):
        path.write_bytes(rebuilt(rng, data) if index % 2 else mutate(rng, data))
        loaded = limits.attempt(minicnn.load_model, path)
        if loaded is not None:
            assert loaded.predict(np.zeros((1, *loaded.input_shape), np.float32)).shape[0] == 1
            if not index % 2:  # under a checksum of its own, no changed number gets through
                assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), loaded.get_weights()))
        weights = limits.attempt(lambda path: target.load_weights(path) or True, path)
        if weights is None:
            assert all(np.array_equal(a, b) for a, b in zip(before, target.get_weights()))
        before = target.get_weights()
    assert limits.read > count / 50 and limits.refused > count / 2
