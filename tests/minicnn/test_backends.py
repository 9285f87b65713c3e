"""Which back-end is meant: names, modules, files, and what is said of files that are none."""

import types

import numpy as np
import pytest

import kernels
from kernels import im2col, reference
from minicnn import backends, layers, models


def test_names_and_modules():
    assert backends.resolve_backend("im2col") is im2col
    assert backends.resolve_backend(reference) is reference
    with pytest.raises(ValueError, match="unknown name 'im3col'"):
        backends.resolve_backend("im3col")


def test_a_module_with_some_functions_borrows_the_others():
    module = types.ModuleType("mine")
    module.relu_forward = lambda x: np.maximum(x, 0) + 1
    backend = backends.resolve_backend(module)
    assert kernels.missing_functions(backend) == []
    assert backend.relu_forward is module.relu_forward and backend.conv2d_forward is im2col.conv2d_forward
    other = backends.resolve_backend(module, fallback="reference")
    assert other.conv2d_forward is reference.conv2d_forward


@pytest.mark.parametrize("kind", [str, lambda path: path], ids=["str", "Path"])
def test_a_file_is_a_back_end(tmp_path, kind):
    file = tmp_path / "homework.py"
    file.write_text("def tanh_forward(x):\n    return 0 * x + 7\n")
    backend = backends.resolve_backend(kind(file))
    assert (backend.tanh_forward(np.zeros(3)) == 7).all() and backend.relu_forward is im2col.relu_forward


def test_a_model_computes_with_a_file(tmp_path):
    file = tmp_path / "homework.py"
    file.write_text("def tanh_forward(x):\n    return 0 * x + 7\n")
    model = models.Sequential([layers.Activation("tanh", input_shape=(2,))], backend=str(file))
    assert (model.predict(np.zeros((1, 2))) == 7).all()


@pytest.mark.parametrize("text, words", [
    ("def tanh_forwrad(x): pass\n", "it has tanh_forwrad: is tanh_forward meant?"),
    ("x = 3\n", "holds none of the contract's functions"),
    ("def f(:\n", "cannot be loaded: line 1: SyntaxError"),
    ("\nimport nothing_of_that_name\n", "line 2: ModuleNotFoundError"),
    ("import sys\nsys.exit(1)\n", "line 2: SystemExit"),
])
def test_files_that_are_no_back_end(tmp_path, text, words):
    file = tmp_path / "homework.py"
    file.write_text(text)
    with pytest.raises(ValueError) as failure:
        backends.resolve_backend(str(file))
    assert words in str(failure.value)


def test_no_file():
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        backends.resolve_backend("nowhere/homework.py")


def test_an_error_is_described_by_the_authors_line(tmp_path):
    file = tmp_path / "homework.py"
    file.write_text("import numpy as np\n\n\ndef relu_forward(x):\n    return np.maximum(x, [1, 2, 3])\n")
    backend = backends.resolve_backend(str(file))
    with pytest.raises(ValueError) as failure:
        backend.relu_forward(np.zeros(2))
    text = backends.describe_error(failure.value, str(file))
    assert text.startswith("line 5, in relu_forward: ValueError") and text.endswith("(return np.maximum(x, [1, 2, 3]))")
