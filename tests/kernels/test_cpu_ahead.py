"""The second process of a first start: when there is one, what it compiles, and that nothing depends on it."""

from __future__ import annotations

import io
import os
import sys

import numpy as np
import pytest
from numba import types
from test_cpu_process import RELU, run

from kernels import cpu
from kernels.cpu import ahead, compiling, optimizers, picked, winners

DISPATCHERS = {"_adam": optimizers._adam, "backward_from_winners": winners.backward_from_winners,
               "correlate_picked": picked.correlate_picked}

FLOAT32 = (types.int64, types.Tuple((types.float32[::1], types.int64)))
FLOAT64 = (types.int64, types.Tuple((types.float64[::1], types.float32)))

ADAM = RELU + """
from kernels.cpu import ahead, optimizers
parameters = np.zeros(3, np.float32)
cpu.adam_step(parameters, np.ones(3, np.float32), np.zeros(3, np.float32), np.zeros(3, np.float32), 1)
assert np.allclose(parameters, -0.001)
loaded = sum(optimizers._adam.stats.cache_hits.values())
compiled = sum(optimizers._adam.stats.cache_misses.values())
print(ahead._process is not None, loaded, compiled)
"""


def test_what_the_second_process_compiles_the_first_one_loads(tmp_path):
    if not ahead._helps("_rectify", FLOAT32):
        pytest.skip("no second process on this machine")
    out, said = run(ADAM, NUMBA_CACHE_DIR=str(tmp_path), MINICNN_NUM_THREADS="2")
    assert out[-3:] == ["True", "1", "0"]
    assert len(said.splitlines()) == 1
    out, said = run(ADAM, NUMBA_CACHE_DIR=str(tmp_path), MINICNN_NUM_THREADS="2")
    assert out[-3:] == ["False", "1", "0"]
    assert said == ""


@pytest.mark.parametrize("command", [[sys.executable, "-c", "raise SystemExit(1)"], ["there-is-no-such-program"]])
def test_a_second_process_that_ends_at_once_or_cannot_start_does_no_harm(tmp_path, command):
    instead = f"""
import subprocess
Popen = subprocess.Popen
subprocess.Popen = lambda _, **options: Popen({command!r}, **options)
"""
    out, said = run(instead + ADAM, NUMBA_CACHE_DIR=str(tmp_path), MINICNN_NUM_THREADS="2")
    assert out[-2:] == ["0", "1"]
    assert len(said.splitlines()) == 1


TRAINING = """
import hashlib
import numpy as np
from kernels.cpu import ahead, optimizers, picked, winners
from minicnn import layers, models, training
model = models.Sequential([
    layers.Conv2D(16, 3, activation="relu", input_shape=(14, 14, 1)), layers.MaxPooling2D(2),
    layers.Conv2D(32, 3, activation="relu"), layers.MaxPooling2D(2),
    layers.Flatten(), layers.Dense(10),
], seed=0)
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
rng = np.random.default_rng(0)
for _ in range(3):
    training.train_step(model, rng.normal(size=(4, 14, 14, 1)).astype(np.float32), rng.integers(10, size=4))
print(hashlib.sha256(b"".join(weights.tobytes() for weights in model.get_weights())).hexdigest())
"""


@pytest.mark.slow  # compiles all that a training step needs
def test_training_after_a_first_start_is_the_same_to_the_bit(tmp_path):
    digest, _ = run(TRAINING)
    out, said = run(TRAINING + """
for kernel in (winners.backward_from_winners, picked.correlate_picked, optimizers._adam):
    print(sum(kernel.stats.cache_misses.values()))
""", NUMBA_CACHE_DIR=str(tmp_path), MINICNN_NUM_THREADS="2")
    assert out[:1] == digest
    assert len(said.splitlines()) == 1
    if ahead._helps("convolve", FLOAT32):
        assert out[1:] == ["0", "0", "0"]


def test_the_calls_of_the_second_process_compile_what_training_needs(monkeypatch, capsys):
    rng = np.random.default_rng(0)
    for channels in (64, 1):
        x, w = (rng.normal(size=shape).astype(np.float32) for shape in ((2, 6, 6, channels), (3, 3, channels, 8)))
        y, argmax = cpu.conv2d_relu_max_pool2d_forward(x, w)
        cpu.conv2d_relu_max_pool2d_backward(y, y, argmax, x, w, input_gradient=channels > 1,
                                            out=(np.empty_like(w), np.empty(8, np.float32)))
    cpu.adam_step(*np.ones((4, 5), np.float32), 1, learning_rate=0.01)
    before = [len(DISPATCHERS[name].signatures) for name in ahead.KERNELS]
    assert min(before) > 0
    monkeypatch.setenv(ahead._CACHE_OF_FIRST, str(compiling.cache_directory()))
    ahead.compile_all()
    assert tuple(capsys.readouterr().out.split()) == ahead.KERNELS
    assert [len(DISPATCHERS[name].signatures) for name in ahead.KERNELS] == before


def test_nothing_is_compiled_for_another_cache(monkeypatch, capsys):
    monkeypatch.setenv(ahead._CACHE_OF_FIRST, "another")
    ahead.compile_all()
    assert capsys.readouterr().out == ""


class Fake:
    """A process that was started, and has written some names."""

    def __init__(self, command, **options):
        self.command, self.options, self.stdout = command, options, io.StringIO("hello\n_adam\n")
        self.ended = []

    def terminate(self):
        self.ended.append("terminate")

    def wait(self):
        self.ended.append("wait")


@pytest.fixture
def fake(monkeypatch):
    """On a machine where a second process would help: what it would be started with."""
    monkeypatch.setattr(ahead, "_process", None)
    monkeypatch.setattr(ahead, "_awaited", set())
    monkeypatch.setattr(ahead.subprocess, "Popen", Fake)
    monkeypatch.setattr(ahead.atexit, "register", lambda function: None)
    monkeypatch.setattr(ahead.threads, "physical_cores", lambda: 2)
    monkeypatch.setattr(ahead.threads, "get_num_threads", lambda: 2)
    monkeypatch.setattr(sys, "executable", os.path.join("somewhere", "python3"))
    monkeypatch.delenv(ahead._CACHE_OF_FIRST, raising=False)
    return monkeypatch


def test_waiting_for_names_until_the_end(fake, tmp_path):
    directory = tmp_path / "minicnn" / "0123"
    directory.mkdir(parents=True)
    ahead.start(directory, "convolve", FLOAT32)
    assert ahead._process.options["env"]["NUMBA_CACHE_DIR"] == str(tmp_path)
    assert not ahead.wait_for("convolve")
    assert ahead._process.stdout.tell() == 0
    assert ahead.wait_for("_adam")
    assert not ahead.wait_for("_adam")
    assert ahead.wait_for("backward_from_winners")  # the end: it may have been kept without being named
    assert not ahead._awaited


def test_the_first_process_ends_the_second_and_then_awaits_nothing(fake, tmp_path):
    ahead.start(tmp_path, "convolve", FLOAT32)
    ahead._end()
    assert not ahead.wait_for("_adam")
    assert ahead._process.ended == ["terminate", "wait"] and ahead._process.stdout.closed


def test_the_second_process_imports_what_the_first_one_would(fake, tmp_path):
    fake.setattr(sys, "path", ["first \N{SNOWMAN}'", tmp_path, "second"])
    ahead.start(tmp_path, "convolve", FLOAT32)
    code = ahead._process.command[-1].partition("from kernels")[0]
    exec(code)
    assert code.isascii() and sys.path == ["first \N{SNOWMAN}'", "second"]


@pytest.mark.parametrize("change", [
    lambda patch: patch.setattr(ahead.threads, "physical_cores", lambda: 1),
    lambda patch: patch.setattr(ahead.threads, "get_num_threads", lambda: 1),
    lambda patch: patch.setattr(sys, "executable", ""),
    lambda patch: patch.setattr(sys, "executable", None),
    lambda patch: patch.setattr(sys, "executable", os.path.join("somewhere", "editor")),
    lambda patch: patch.setattr(sys, "frozen", True, raising=False),
    lambda patch: patch.setenv(ahead._CACHE_OF_FIRST, "of the first"),
], ids=["one core", "one thread", "no executable", "none", "embedded", "frozen", "second process"])
def test_where_there_is_no_second_process(fake, tmp_path, change):
    change(fake)
    ahead.start(tmp_path, "convolve", FLOAT32)
    assert ahead._process is None and not ahead.wait_for("_adam")


def test_there_is_none_for_other_types_nor_for_a_kernel_of_its_own_nor_where_something_is_compiled(fake, tmp_path):
    ahead.start(tmp_path, "convolve", FLOAT64)
    ahead.start(tmp_path, "_adam", FLOAT32)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "kernel.1.nbc").write_bytes(b"")
    ahead.start(tmp_path, "convolve", FLOAT32)
    assert ahead._process is None


def test_there_is_none_in_tests(fake):
    fake.setattr(compiling, "_announced", False)
    assert not compiling._announce()
