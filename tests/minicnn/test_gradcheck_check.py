"""The check of back-ends: good ones pass, and a checker that cannot fail is no checker."""

import json
import types

import numpy as np
import pytest

import kernels
from kernels import im2col, reference
from minicnn.cli import main
from minicnn.gradcheck import check_operation, survey
from minicnn.gradcheck.operations import OPERATION_OF, OPERATIONS, arguments_for, parameters_of


def broken(**functions):
    """im2col with some functions replaced."""
    module = types.ModuleType("broken")
    for name in kernels.CONTRACT:
        setattr(module, name, functions.get(name, getattr(im2col, name)))
    return module


def test_the_table_of_operations_covers_the_contract():
    assert set(OPERATION_OF) == set(kernels.CONTRACT)
    for function in kernels.CONTRACT:
        assert list(parameters_of(function))  # every signature can be read


def test_default_arguments_are_left_out_of_calls():
    x = np.ones((1, 2, 2, 1))
    assert list(arguments_for("max_pool2d_forward", {"x": x, "pool_size": 2, "stride": None})) == ["x"]
    assert list(arguments_for("max_pool2d_forward", {"x": x, "pool_size": 2, "stride": 1})) == [
        "x", "pool_size", "stride"]


@pytest.mark.parametrize("name", OPERATIONS)
def test_im2col_passes(name):
    check_operation(name, im2col, seed=3, coordinates=20).raise_if_wrong()


@pytest.mark.parametrize("name", OPERATIONS)
def test_im2col_passes_in_float32(name):
    check_operation(name, im2col, seed=4, dtype="float32", coordinates=10).raise_if_wrong()


@pytest.mark.parametrize("name", ["conv2d", "max_pool2d", "avg_pool2d", "dense", "batch_norm", "softmax_cross_entropy"])
def test_reference_passes(name):
    check_operation(name, reference, seed=5, coordinates=10).raise_if_wrong()


def test_ties_are_skipped_and_counted():
    row = check_operation("max_pool2d", im2col, seed=0).rows[-1]
    assert row.tensor == "dx" and row.kinks > 0 and row.coordinates > 50 and row.verdict == "good"


def scaled_dw(dy, x, w, stride=1, padding=kernels.NO_PADDING, input_gradient=True):
    dx, dw, db = im2col.conv2d_backward(dy, x, w, stride, padding, input_gradient)
    return dx, dw * (1 + 1e-6), db


def one_wrong_element(dy, x, w, stride=1, padding=kernels.NO_PADDING, input_gradient=True):
    dx, dw, db = im2col.conv2d_backward(dy, x, w, stride, padding, input_gradient)
    dx[-1, -1, -1, -1] += 1e-3
    return dx, dw, db


def not_a_number(dy, x, w, stride=1, padding=kernels.NO_PADDING, input_gradient=True):
    dx, dw, db = im2col.conv2d_backward(dy, x, w, stride, padding, input_gradient)
    return dx, dw, db * np.nan


def single_precision(dy, x, w, stride=1, padding=kernels.NO_PADDING, input_gradient=True):
    dx, dw, db = im2col.conv2d_backward(dy, x, w, stride, padding, input_gradient)
    return dx.astype(np.float32), dw, db


def raising(*arguments):
    raise ZeroDivisionError("oh")


@pytest.mark.parametrize("function, tensor, verdict", [
    (scaled_dw, "dw", "suspect"), (one_wrong_element, "dx", "wrong"), (not_a_number, "db", "wrong"),
    (single_precision, "dx", "wrong"), (raising, "dx", "wrong")])
def test_a_broken_backward_fails(function, tensor, verdict):
    result = check_operation("conv2d", broken(conv2d_backward=function), seed=1, coordinates=10)
    assert not result.ok
    assert {row.tensor: row.verdict for row in result.rows}[tensor] == verdict
    with pytest.raises(AssertionError, match="gradient check failed"):
        result.raise_if_wrong()


def test_a_broken_forward_fails_both_ways():
    """The values differ from the reference's, and the gradient is no longer that of this forward."""
    def forward(x):
        return np.tanh(1.1 * x)
    result = check_operation("tanh", broken(tanh_forward=forward), seed=1)
    rows = {row.tensor: row for row in result.rows}
    assert rows["y"].verdict == "wrong" and rows["dx"].error > 1e-3


def test_a_back_end_that_overwrites_its_arguments_fails():
    def forward(x):
        np.maximum(x, 0, out=x)
        return x
    result = check_operation("relu", broken(relu_forward=forward), seed=1)
    assert not result.ok and "overwrites its argument x" in " ".join(row.detail for row in result.rows)


def test_command_line_passes_and_prints_a_table(capsys):
    assert main(["gradcheck", "--backend", "im2col", "--only", "dense,losses"]) == 0
    out = capsys.readouterr().out
    for word in ("operation", "worst error", "coordinates", "kinks", "verdict", "SparseCategoricalCrossentropy",
                 "all good"):
        assert word in out


def test_command_line_json(capsys):
    assert main(["gradcheck", "--backend", "im2col", "--only", "relu_backward", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] and {row["tensor"] for row in answer["rows"]} == {"y", "dx"}


def test_command_line_fails_for_a_broken_back_end(tmp_path, capsys):
    file = tmp_path / "mine.py"
    file.write_text("def relu_backward(dy, y):\n    return 1.01 * dy * (y > 0)\n")
    assert main(["gradcheck", "--backend", str(file), "--only", "relu"]) == 1
    assert "WRONG" in capsys.readouterr().out


def test_plot_of_back_ends_and_of_a_file(tmp_path, capsys):
    picture = tmp_path / "curves.png"
    assert main(["gradcheck", "--backend", "im2col", "--only", "tanh", "--plot", str(picture)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    file = tmp_path / "mine.py"
    file.write_text("def tanh_backward(dy, y):\n    return dy * (1 - y)\n")
    assert main(["gradcheck", str(file), "--plot", str(tmp_path / "file.png")]) == 1
    assert (tmp_path / "file.png").stat().st_size > 5000
    assert "the V-curve and the map of the errors" in capsys.readouterr().out


@pytest.mark.parametrize("arguments, words", [
    (["--only", "conv3d"], "unknown name 'conv3d'"), (["--backend", "gpu"], "unknown name 'gpu'"),
    (["nothing.py"], "there is no such file")])
def test_command_line_user_errors(arguments, words, capsys):
    assert main(["gradcheck", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_a_back_end_that_cannot_run_is_left_out_with_a_reason(monkeypatch):
    monkeypatch.setattr(kernels, "available_backends", lambda: ["im2col", "cuda"])
    monkeypatch.setattr(kernels, "get_backend", lambda name: broken(relu_forward=raising) if name == "cuda" else im2col)
    found, skipped = survey.backends_to_check("all")
    assert [name for name, _ in found] == ["im2col"] and skipped == {"cuda": "oh"}


@pytest.mark.slow
@pytest.mark.parametrize("backend", [reference, im2col], ids=["reference", "im2col"])
def test_everything_passes(backend):
    for seed in range(3):
        bad = [row for row in survey.survey(backend, seed) if row.verdict != "good"]
        assert not bad, bad
