"""Files of unknown quality: every way to be wrong gets a clear line, and the rest is still graded."""

import json

import pytest

from minicnn.cli import main
from minicnn.gradcheck import grade_file, homework
from minicnn.gradcheck.report import file_report

HOSTILE = '''
import ctypes
import os
import sys
import numpy as np

print("hello from the file")


def relu_forward(x):
    x[x < 0] = 0
    return x


def relu_backward(dy, y):
    print("mask", y > 0)
    return dy * (y > 0)


def sigmoid_forward(x):
    return np.log(-1.0 - np.abs(x))


def tanh_forward(x):
    return [np.tanh(value) for value in x]


def tanh_backward(dy, y):
    return "not an array"


def dense_forward(x, w, b=None):
    return (x @ w).astype(np.float32) if b is None else (x @ w + b).astype(np.float32)


def dense_backward(dy, x, w, input_gradient=True):
    return dy @ w.T, x.T @ dy


def softmax_forward(x):
    sys.exit(3)


def softmax_backward(dy, y):
    return softmax_backward(dy, y)


def leaky_relu_forward(x, negative_slope=0.2):
    while True:
        negative_slope += 1


def leaky_relu_backward(dy, y, negative_slope=0.2):
    return np.where(y > 0, dy, negative_slope * dy)


def batch_norm_forward(x, gamma, beta, epsilon=1e-3):
    os._exit(5)


def batch_norm_backward(dy, x, gamma, mean, variance, epsilon=1e-3):
    return undefined_name


def batch_norm_inference_forward(x, gamma, beta, mean, variance, epsilon=1e-3):
    return ctypes.string_at(0)


def avg_pool2d_forward(x, pool_size=2, stride=None, padding=((0, 0), (0, 0))):
    raise NotImplementedError


def max_pool2d_forward(x, pool_size=2, stride=None, padding=((0, 0), (0, 0))):
    return np.zeros((1, 2, 3, 4))


total = {}


def dropout_backward(dy, mask, rate):
    if dy.shape not in total:
        total[dy.shape] = np.zeros(dy.shape)
    total[dy.shape] += dy * mask / (1 - rate)
    return total[dy.shape]


def softmax_cross_entropi(logits, labels):
    pass
'''


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    path = tmp_path_factory.mktemp("homework") / "hostile.py"
    path.write_text(HOSTILE)
    return grade_file(str(path), time_limit=2.0)


@pytest.mark.parametrize("function, verdict, words", [
    ("relu_forward", "wrong", "overwrites its argument x, at line 11: x[x < 0] = 0"),
    ("relu_backward", "good", None),
    ("sigmoid_forward", "wrong", None),
    ("tanh_forward", "wrong", "y is a list; expected a NumPy array"),
    ("tanh_backward", "wrong", "dx is a str; expected an array of shape (1, 6)"),
    ("dense_forward", "wrong", "y has dtype float32; expected float64, like the arguments"),
    ("dense_backward", "wrong", "returns 2 results; expected 3 results: dx, dw, db"),
    ("softmax_forward", "wrong", "calls sys.exit() instead of returning (line 41, in softmax_forward)"),
    ("softmax_backward", "wrong", "line 45, in softmax_backward: RecursionError"),
    ("leaky_relu_forward", "time limit", "a call did not end within 2 s: an endless loop"),
    ("leaky_relu_backward", "good", None),
    ("batch_norm_forward", "crash", "ends the whole Python process (exit status 5)"),
    ("batch_norm_backward", "wrong", "line 62, in batch_norm_backward: NameError: name 'undefined_name'"),
    ("batch_norm_inference_forward", "crash", "it was at line 66, in batch_norm_inference_forward"),
    ("avg_pool2d_forward", "not written", None),
    ("max_pool2d_forward", "wrong", "returns one ndarray; expected 2 results: y, argmax"),
    ("dropout_backward", "wrong", "something is kept between calls"),
])
def test_each_way_to_be_wrong(hostile, function, verdict, words):
    report = {one.function: one for one in hostile.functions}[function]
    assert report.verdict == verdict
    if words:
        assert any(words in problem for problem in report.problems), report.problems


def test_the_report_is_about_the_file_and_nothing_else(hostile):
    text = file_report(hostile)
    assert "Traceback" not in text and "site-packages" not in text and "minicnn/" not in text
    assert "2 of 17 functions right, 1 not written yet." in text
    assert "it has softmax_cross_entropi: is softmax_cross_entropy meant?" in text
    assert "prints 'hello from the file'" in text
    assert "prints 'mask [[" in text
    assert "y contains NaN" in text
    assert "line 50" in text or "line 49" in text  # where the endless loop was


def test_a_function_after_an_endless_forward_is_graded_by_the_reference(hostile):
    report = {one.function: one for one in hostile.functions}["leaky_relu_backward"]
    assert report.results[0].coordinates > 10


@pytest.mark.parametrize("text, words", [
    ("def f(:\n", "line 1: SyntaxError: invalid syntax (def f(:)"),
    ("import numpy\nimport no_such_module\n", "line 2: ModuleNotFoundError: No module named 'no_such_module'"),
    ("x = 1 / 0\n", "line 1: ZeroDivisionError: division by zero (x = 1 / 0)"),
    ("import sys\nsys.exit('bye')\n", "line 2: SystemExit: bye"),
    ("import os\nos._exit(0)\n", "loading the file ends the whole Python process"),
    ("def conv2d_foward(x): pass\n", "it has conv2d_foward: is conv2d_forward meant?"),
    ("", "defines none of the contract's functions"),
    ("while True:\n    pass\n", "loading the file did not end within 1 s; it was at line"),
])
def test_files_that_cannot_be_loaded(text, words, tmp_path, monkeypatch):
    monkeypatch.setattr(homework, "LOAD_LIMIT", 1.0 if "while" in text else 20.0)
    file = tmp_path / "mine.py"
    file.write_text(text)
    report = grade_file(str(file))
    assert not report.ok and words in report.error
    assert "Traceback" not in file_report(report)


def test_command_line_on_a_good_file(tmp_path, capsys):
    file = tmp_path / "dense.py"
    file.write_text("def dense_forward(x, w, b=None):\n    return x @ w if b is None else x @ w + b\n\n\n"
                    "def dense_backward(dy, x, w, input_gradient=True):\n"
                    "    return dy @ w.T if input_gradient else None, x.T @ dy, dy.sum(axis=0)\n")
    assert main(["gradcheck", str(file)]) == 0
    assert "dense.py: all 2 functions are right." in capsys.readouterr().out


def test_command_line_on_a_wrong_file_as_json(tmp_path, capsys):
    file = tmp_path / "dense.py"
    file.write_text("def dense_backward(dy, x, w, input_gradient=True):\n"
                    "    return dy @ w.T if input_gradient else None, x.T @ dy, dy.mean(axis=0)\n")
    assert main(["gradcheck", str(file), "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    results = {result["name"]: result for result in answer["functions"][0]["results"]}
    assert not answer["ok"] and results["dw"]["verdict"] == "good"
    assert results["db"]["cause_key"] == "factor N"


def test_a_right_gradient_of_a_wrong_forward_is_told_apart(tmp_path):
    """A true convolution, kernel flipped, with the gradient that belongs to it; and a wrong gradient beside it."""
    file = tmp_path / "flipped.py"
    file.write_text("from kernels import im2col\n\n\n"
                    "def conv2d_forward(x, w, b=None, stride=1, padding=((0, 0), (0, 0))):\n"
                    "    return im2col.conv2d_forward(x, w[::-1, ::-1].copy(), b, stride, padding)\n\n\n"
                    "def conv2d_backward(dy, x, w, stride=1, padding=((0, 0), (0, 0)), input_gradient=True):\n"
                    "    dx, dw, db = im2col.conv2d_backward(dy, x, w[::-1, ::-1].copy(), stride, padding)\n"
                    "    return dx if input_gradient else None, dw[::-1, ::-1].copy(), db * 2\n")
    forward, backward = grade_file(str(file)).functions
    assert forward.causes == ["kernel flipped"]
    keys = {result.name: result.cause_key for result in backward.results}
    assert keys == {"dx": "right gradient of a wrong forward", "dw": "right gradient of a wrong forward",
                    "db": "constant factor"}


def test_a_right_gradient_beside_a_wrong_forward_is_right(tmp_path):
    file = tmp_path / "dense.py"
    file.write_text("def dense_forward(x, w, b=None):\n    return 2 * (x @ w)\n\n\n"
                    "def dense_backward(dy, x, w, input_gradient=True):\n"
                    "    return dy @ w.T if input_gradient else None, x.T @ dy, dy.sum(axis=0)\n")
    forward, backward = grade_file(str(file)).functions
    assert forward.verdict == "wrong" and backward.verdict == "good"
    assert "not the gradient of your dense_forward, because that is wrong" in backward.notes[0]


def test_neighbouring_files_can_be_imported(tmp_path):
    (tmp_path / "my_helpers_for_relu.py").write_text("def positive(x):\n    return x.no_such_attribute\n")
    file = tmp_path / "mine.py"
    file.write_text("from my_helpers_for_relu import positive\n\n\ndef relu_forward(x):\n    return positive(x)\n")
    problem = grade_file(str(file)).functions[0].problems[0]
    assert problem.startswith("my_helpers_for_relu.py, line 2, in positive: AttributeError")


def test_the_seed_decides(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def relu_forward(x):\n    return x\n")
    first, again, other = (grade_file(str(file), seed=seed).functions[0].results[0] for seed in (1, 1, 2))
    assert first.actual == again.actual and first.actual != other.actual
