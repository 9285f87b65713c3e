"""``minicnn train`` on any data, stopped, killed and resumed; ``evaluate``, ``predict``, ``data`` and ``doctor``."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

import minicnn
from minicnn import callbacks
from minicnn.cli import main

FAST = ["--backend", "im2col"]


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """Drawing takes longer than these trainings; ``bars_run``, made before this is in force, has its pictures."""
    from minicnn.cli import runs

    monkeypatch.setattr(runs, "draw", lambda *arguments: [])


def run(capsys, *argv, status=0):
    try:
        result = main([str(word) for word in argv])
    except SystemExit as error:
        result = error.code
    captured = capsys.readouterr()
    assert result == status, captured.err
    assert "Traceback" not in captured.err
    return captured.out if status == 0 else captured.err


def weights(path):
    model = minicnn.load_model(path)
    return np.concatenate([model.parameters, *model.optimizer.state.values()])


MODEL_FILE = """
from minicnn import layers, models

def make_model(input_shape, classes, seed=0, **options):
    return models.Sequential([
        layers.Input(input_shape), layers.Conv2D(3, 3, strides=2, activation="relu"), layers.BatchNormalization(),
        layers.Flatten(), layers.Dropout(0.2), layers.Dense(classes)], seed=seed, **options)
"""


@pytest.fixture(scope="module")
def shapes_folder(tmp_path_factory):
    """Pictures of bars: a data set that a network learns in seconds."""
    root, rng = tmp_path_factory.mktemp("data") / "bars", np.random.default_rng(0)
    for name in ("across", "down"):
        (root / name).mkdir(parents=True)
        for index in range(30):
            image = rng.integers(0, 90, (12, 12, 3), np.uint8)
            at = rng.integers(2, 9)
            image[(slice(at, at + 2), slice(None)) if name == "across" else (slice(None), slice(at, at + 2))] += 160
            Image.fromarray(image).save(root / name / f"{index}.png")
    return root


@pytest.fixture(scope="module")
def bars_run(shapes_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "bars"
    assert main(["train", "--data", str(shapes_folder), "--image-size", "12", "--augment", "shift=1", "flip",
                 "--epochs", "12", "--out", str(out), "--class-weight", "balanced", "--label-smoothing", "0.05",
                 "--weight-decay", "0.01", "--clip-norm", "5", "--schedule", "cosine", "--warm-up", "1", *FAST]) == 0
    return out


def test_a_folder_of_pictures_end_to_end(bars_run, shapes_folder, capsys, tmp_path):
    assert {"model.npz", "checkpoint.npz", "history.csv", "filters.png"} <= set(os.listdir(bars_run))
    figures = json.loads(run(capsys, "evaluate", bars_run, "--json", *FAST))
    assert figures["images"] == 12 and figures["accuracy"] >= 0.9 and np.sum(figures["confusion"]) == 12
    assert "accuracy" in run(capsys, "evaluate", bars_run / "model.npz", "--data", shapes_folder, *FAST)
    down = sorted((shapes_folder / "down").iterdir())[:3]
    answers = json.loads(run(capsys, "predict", bars_run, *down, "--json", *FAST))
    assert [answer["classes"][0]["name"] for answer in answers].count("down") >= 2
    assert abs(sum(entry["probability"] for entry in answers[0]["classes"]) - 1) < 1e-5
    text = run(capsys, "predict", bars_run, down[0], "--top", "1", *FAST)
    assert text.startswith(f"{down[0]}: ") and text.count("%") == 1


def test_predict_names_what_it_cannot_read(bars_run, shapes_folder, capsys, tmp_path):
    (tmp_path / "a.png").write_text("no picture")
    good = next((shapes_folder / "down").iterdir())
    assert main(["predict", str(bars_run), str(tmp_path / "a.png"), str(good), *FAST]) == 2
    captured = capsys.readouterr()
    assert "a.png: not a picture" in captured.err and str(good) in captured.out


def test_predict_hints_at_inverted_pictures(tmp_path, capsys):
    run(capsys, "train", "--epochs", "1", "--out", tmp_path / "run", "--batch-size", 256, *FAST)
    paper = np.full((40, 40), 255, np.uint8)
    paper[5:35, 18:22] = 0
    Image.fromarray(paper).save(tmp_path / "one.png")
    for option, hint in (((), "try --invert"), (("--invert",), "")):
        assert main(["predict", str(tmp_path / "run"), str(tmp_path / "one.png"), *option, *FAST]) == 0
        error = capsys.readouterr().err
        assert (hint in error) if hint else not error


def test_evaluate_checks_that_data_and_model_fit(bars_run, capsys, tmp_path):
    assert "takes images of shape (12, 12, 3)" in run(capsys, "evaluate", bars_run, "--data", "digits", status=2)
    for name in ("across", "sideways"):
        (tmp_path / "other" / name).mkdir(parents=True)
        Image.new("RGB", (5, 5)).save(tmp_path / "other" / name / "1.png")
    error = run(capsys, "evaluate", bars_run, "--data", tmp_path / "other", status=2)
    assert "class 'sideways', which the model does not know; it knows across, down" in error
    assert "holds neither" in run(capsys, "evaluate", tmp_path, status=2)
    model = minicnn.zoo.digits_cnn()
    model.save(tmp_path / "m.npz")
    assert "no run of minicnn train" in run(capsys, "evaluate", tmp_path / "m.npz", status=2)
    assert "accuracy" in run(capsys, "evaluate", tmp_path / "m.npz", "--data", "digits", *FAST)


def test_a_network_from_a_file(tmp_path, capsys):
    (tmp_path / "mine.py").write_text(MODEL_FILE)
    out = run(capsys, "train", "--model", tmp_path / "mine.py", "--epochs", "1", "--out", tmp_path / "run", "--seed", 3,
              "--augment", "shift=1", *FAST)
    assert "random_translation" in out and "dense (Dense)" in out
    assert minicnn.load_model(tmp_path / "run" / "model.npz").seed == 3
    for text, message in [("x = 1", "no function make_model"), ("def make_model(s, c): return 3", "returned int"),
                          ("def make_model(s, c): return undefined", "undefined")]:
        (tmp_path / "bad.py").write_text(text)
        try:
            assert message in run(capsys, "train", "--model", tmp_path / "bad.py", "--out", tmp_path / "b", status=2)
        except NameError as error:  # a fault in the user's own function keeps its traceback
            assert "undefined" in str(error)


def test_the_network_for_each_data_set():
    from minicnn.cli import runs
    from minicnn.cli.train import DEFAULTS
    from minicnn.datasets.dataset import make

    for name, size, channels, augment, kinds in [
            ("cifar10", 32, 3, ["flip", "crop=24"], ["RandomFlip", "RandomCrop", "Conv2D"]),
            ("cifar10", 32, 3, [], ["Conv2D"]), ("mnist", 28, 1, ["shift=2"], ["RandomTranslation", "Conv2D"]),
            ("fashion-mnist", 28, 1, [], ["Conv2D"]), ("my pictures", 20, 3, [], ["Conv2D"])]:
        images = np.zeros((2, size, size, channels), np.float32)
        data = make(name, (images, [0, 9]), (images, [0, 9]), tuple("0123456789"))
        model = runs.make_model({**DEFAULTS, "augment": augment}, data)
        runs.compile_model(model, DEFAULTS)
        assert [layer.kind for layer in model.layers[:len(kinds)]] == kinds
        assert model.predict(images).shape == (2, 10)
        if "crop=24" in augment:
            assert model.count_params() == minicnn.zoo.cifar_cnn(24).count_params()


@pytest.mark.parametrize("argv, message", [
    (["--data", "minst"], "is mnist meant?"), (["--model", "mnist_cn"], "is mnist_cnn meant?"),
    (["--model", "mnist_cnn"], "takes images of shape (28, 28, 1)"), (["--augment", "flpi"], "is flip meant?"),
    (["--image-size", "8"], "only for a folder"), (["--resume", "nowhere"], "holds no checkpoint.npz"),
    (["--lerning-rate", "1"], "is --learning-rate meant?"), (["--label-smoothing", "2"], "label_smoothing"),
    (["--data", "digits", "--split", "wrtiers"], "writers"),
])
def test_mistakes(argv, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in run(capsys, "train", *argv, status=2)
    assert os.listdir(tmp_path) == []


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "mine.py"
    path.write_text(MODEL_FILE)
    return ["--model", str(path), "--epochs", "6", "--augment", "shift=1", "rotate=5", "--schedule", "cosine",
            "--warm-up", "1", "--early-stopping", "50", "--seed", "4", "--batch-size", "128", *FAST]


@pytest.fixture(scope="module")
def whole(tmp_path_factory, recipe):
    out = tmp_path_factory.mktemp("whole") / "run"
    assert main(["train", *recipe, "--out", str(out)]) == 0
    return out


class CtrlC(callbacks.CSVLogger):
    """The logger of the run, which presses Ctrl-C in the third epoch."""

    times = 1

    def on_train_batch_end(self, batch, logs=None):
        if self.model.step == 2 * 12 + 5:
            for _ in range(self.times):
                os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("times, status, finished", [(1, 130, 3), (2, 130, 2)])
def test_stopped_by_ctrl_c_and_resumed(whole, recipe, tmp_path, capsys, monkeypatch, times, status, finished):
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(CtrlC, "times", times)
        patch.setattr(callbacks, "CSVLogger", CtrlC)
        assert main(["train", *recipe, "--out", str(out)]) == status
    captured = capsys.readouterr()
    assert f"minicnn train --resume {out}" in captured.out + captured.err
    assert "model.npz" not in os.listdir(out)
    assert f"{finished} of 6 epochs are done" in run(capsys, "train", "--resume", out)
    assert np.array_equal(weights(out / "model.npz"), weights(whole / "model.npz"))
    assert (out / "history.csv").read_text() == (whole / "history.csv").read_text()
    assert "The run is complete" in run(capsys, "train", "--resume", out)
    assert np.array_equal(weights(out / "model.npz"), weights(whole / "model.npz"))


def kill_and_resume(recipe, out, kills, rng):
    """Start the run and resume it, killing it at random instants, until it is complete."""
    command = [sys.executable, "-m", "minicnn", "train"]
    for _ in range(kills):
        arguments = ["--resume", str(out)] if (out / "checkpoint.npz").exists() else [*recipe, "--out", str(out)]
        process = subprocess.Popen([*command, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        started = time.monotonic()
        while process.poll() is None and not (out / "checkpoint.npz").exists() and time.monotonic() - started < 60:
            time.sleep(0.01)
        try:
            process.wait(rng.uniform(0.0, 3.0))
        except subprocess.TimeoutExpired:
            process.kill()
        process.wait()
    assert main(["train", "--resume", str(out)]) == 0


@pytest.mark.parametrize("kills", [2, pytest.param(12, marks=pytest.mark.slow)])
def test_killed_and_resumed(whole, recipe, tmp_path, kills):
    kill_and_resume(recipe, tmp_path / "run", kills, np.random.default_rng(kills))
    assert np.array_equal(weights(tmp_path / "run" / "model.npz"), weights(whole / "model.npz"))


def test_a_resumed_run_keeps_its_settings(whole, capsys, tmp_path):
    error = run(capsys, "train", "--resume", whole, "--seed", "5", "--out", tmp_path, status=2)
    assert "--seed, --out: a resumed run keeps its settings" in error
    assert run(capsys, "train", "--resume", whole, "--seed", "4")  # the same value is no change


def test_a_resumed_run_can_train_on(recipe, tmp_path, capsys):
    out = tmp_path / "run"
    constant = [*recipe, "--schedule", "constant"]
    run(capsys, "train", *constant, "--epochs", "2", "--out", out)
    run(capsys, "train", "--resume", out, "--epochs", "4")
    run(capsys, "train", *constant, "--epochs", "4", "--out", tmp_path / "other")
    assert np.array_equal(weights(out / "model.npz"), weights(tmp_path / "other" / "model.npz"))


def test_a_run_does_not_go_on_with_other_data(shapes_folder, tmp_path, capsys):
    import shutil

    shutil.copytree(shapes_folder, tmp_path / "bars")
    run(capsys, "train", "--data", tmp_path / "bars", "--image-size", 12, "--epochs", 1, "--out", tmp_path / "r", *FAST)
    Image.new("RGB", (12, 12)).save(tmp_path / "bars" / "down" / "0.png")
    assert "are not those that the run" in run(capsys, "train", "--resume", tmp_path / "r", "--epochs", 2, status=2)


def test_data_lists_what_is_there(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    lines = run(capsys, "data", "--data-dir", tmp_path).splitlines()
    assert lines[0] == f"data directory: {tmp_path}" and "part of MiniCNN" in lines[1]
    assert lines[2].split()[:4] == ["mnist", "missing", "11.6", "MB"]
    (tmp_path / "cifar-10-batches-bin").mkdir()
    (tmp_path / "cifar-10-batches-bin" / "test_batch.bin").write_bytes(bytes(3073 * 3))
    assert "0 + 3 of 50,000 + 10,000 images" in run(capsys, "data", "--data-dir", tmp_path)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (tmp_path / "mnist").mkdir(exist_ok=True)
        (tmp_path / "mnist" / f"{name}-ubyte").write_bytes(b"junk")
    assert "damaged" in run(capsys, "data", "--data-dir", tmp_path)
    assert "digits: here already" in run(capsys, "data", "--download", "digits", "--data-dir", tmp_path)
    assert "invalid choice: 'mnits'" in run(capsys, "data", "--download", "mnits", status=2)


def test_doctor(monkeypatch, capsys, tmp_path):
    from minicnn.cli import doctor

    monkeypatch.setattr(doctor, "probe", lambda program: (
        {"layer": "workqueue", "threads": 1, "limit": 1, "lanes": 4, "cores": 2, "cache": str(tmp_path)}, None)
        if "threading_layer" in program else ({"devices": []}, None))
    text = run(capsys, "doctor")
    assert "libgomp1" in text and "1 of 2 cores" in text and "Python" in text and "WRONG" not in text
    findings = json.loads(run(capsys, "doctor", "--json"))
    assert {"numpy", "numba", "CUDA", "data directory"} <= {finding["what"] for finding in findings}
    monkeypatch.setattr(doctor, "probe", lambda program: (None, "ImportError: broken"))
    assert main(["doctor"]) == 1 and "ImportError: broken" in capsys.readouterr().out
    monkeypatch.setitem(doctor.LIBRARIES, "no-such-library", ((1, 0), "nothing"))
    monkeypatch.setitem(doctor.LIBRARIES, "numpy", ((99, 0), "arrays"))
    assert main(["doctor"]) == 1
    text = capsys.readouterr().out
    assert "pip install 'no-such-library>=1.0'" in text and "needs 99.0 or newer" in text


def test_the_probes_of_the_doctor():
    from minicnn.cli import doctor

    assert doctor.probe("print('{\"a\": 1}')") == ({"a": 1}, None)
    assert doctor.probe("raise ImportError('no')") == (None, "ImportError: no")
    assert "signal 9" in doctor.probe("import os; os.kill(os.getpid(), 9)")[1]
    assert "no answer" in doctor.probe("import time; time.sleep(9)", timeout=0.5)[1]
    assert doctor.probe("import sys; sys.exit(3)") == (None, "the process ended with status 3")


@pytest.mark.slow
def test_doctor_for_real(capsys):
    assert "compiles, and a convolution is right" in run(capsys, "doctor")


@pytest.mark.parametrize("command", ["train", "evaluate", "predict", "data", "doctor"])
def test_help_has_examples(command, capsys):
    assert f"minicnn {command}" in run(capsys, command, "--help").partition("Examples:")[2]
