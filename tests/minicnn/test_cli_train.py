"""``minicnn train`` and the command line's manners."""

import csv
import subprocess
import sys
import time

import numpy as np
import pytest

from minicnn.cli import main


def test_train_writes_a_complete_run(tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["train", "--epochs", "2", "--out", str(out), "--backend", "im2col"]) == 0
    printed = capsys.readouterr().out
    for part in ("digits_cnn", "Epoch 2/2", "training accuracy", "test accuracy", "true   9"):
        assert part in printed
    with open(out / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"] and float(rows[1]["loss"]) < float(rows[0]["loss"])
    for name in ("learning_curves", "confusion_matrix", "filters", "worst_mistakes"):
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_train_never_overwrites(tmp_path, capsys):
    (tmp_path / "precious.txt").write_text("mine")
    assert main(["train", "--epochs", "1", "--out", str(tmp_path)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_writers_split_is_explained(tmp_path, capsys):
    assert main(["train", "--split", "writers", "--epochs", "1", "--out", str(tmp_path / "w")]) == 0
    assert "written by people" in capsys.readouterr().out


@pytest.mark.parametrize(("argv", "message"), [
    (["tarin"], "is 'train' meant?"), (["train", "--epoch-s", "3"], "is --epochs meant?"),
    (["train", "--batch", "0"], "positive integer"), (["train", "--learning-rate", "nan"], "positive number"),
    (["train", "--optimizer", "adm"], "adam"), (["train", "--backend", "torch", "--out", "x/y"], "reference, im2col"),
    (["train", "--seed", "-3"], "at least 0"), (["train", "extra"], "unexpected argument 'extra'"),
    (["train", "--backend", "missing.py"], "no such file"),
])
def test_mistakes_on_the_command_line(argv, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        status = main(argv)
    except SystemExit as exit_:
        status = exit_.code
    error = capsys.readouterr().err
    assert status == 2 and message in error and "Traceback" not in error


def test_help_and_version(capsys):
    assert main([]) == main(["--help"]) == 0
    assert "train" in capsys.readouterr().out
    assert main(["--version"]) == 0
    with pytest.raises(SystemExit) as exit_:
        main(["train", "--help"])
    assert exit_.value.code == 0 and "Examples" in capsys.readouterr().out


def test_python_dash_m():
    result = subprocess.run([sys.executable, "-m", "minicnn", "--version"], capture_output=True, text=True, check=True)
    assert result.stdout.startswith("minicnn ")


def test_import_is_light():
    program = ("import sys, time; start = time.perf_counter(); import minicnn, minicnn.cli; "
               "from minicnn import layers, models; print(time.perf_counter() - start); "
               "print([name for name in ('matplotlib', 'numba', 'tqdm', 'PIL') if name in sys.modules])")
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    seconds, modules = result.stdout.splitlines()
    assert modules == "[]", modules
    assert float(seconds) < 5  # a bound for a busy machine; README gives the measured figure


def test_same_command_same_weights(tmp_path):
    weights = []
    for name in ("a", "b"):
        out = tmp_path / name
        assert main(["train", "--epochs", "1", "--out", str(out), "--seed", "5"]) == 0
        time.sleep(0.01)
        path = next(path for path in out.iterdir() if path.suffix == ".npz")
        with np.load(path, allow_pickle=False) as file:
            weights.append({key: file[key] for key in file.files if file[key].dtype.kind == "f"})
    assert weights[0].keys() == weights[1].keys() and weights[0]
    for key, array in weights[0].items():
        np.testing.assert_array_equal(array, weights[1][key])
