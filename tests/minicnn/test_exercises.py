"""The skeletons that students get: valid, unwritten, never overwritten, and right once the reference fills them in."""

import inspect
import types

import pytest

import kernels
from kernels import reference
from minicnn import exercises
from minicnn.backends import defined_functions, load_file
from minicnn.cli import main
from minicnn.gradcheck import grade_file, grade_function
from minicnn.gradcheck.operations import REQUIRED, parameters_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exercises")
    exercises.write(folder)
    return folder


def test_every_lesson_is_there(folder):
    names = {path.name for path in folder.iterdir()}
    assert names == {f"{name}.py" for name in exercises.LESSONS} | {"my_backend.py", "README.md"}
    functions = [name for lesson in exercises.LESSONS for name in defined_functions(load_file(folder / f"{lesson}.py"))]
    for needed in ("dense_backward", "relu_backward", "softmax_cross_entropy", "conv2d_backward", "max_pool2d_backward",
                   "avg_pool2d_backward", "batch_norm_backward", "sgd_step", "adam_step"):
        assert needed in functions


@pytest.mark.parametrize("lesson", exercises.LESSONS)
def test_signatures_are_the_contracts(folder, lesson):
    module = load_file(folder / f"{lesson}.py")
    assert "noqa" not in (folder / f"{lesson}.py").read_text()
    assert f"minicnn gradcheck {lesson}.py" in module.__doc__
    for function in defined_functions(module):
        parameters = inspect.signature(getattr(module, function)).parameters
        wanted = parameters_of(function)
        assert list(parameters) == list(wanted)
        for name, default in wanted.items():
            assert parameters[name].default == (inspect.Parameter.empty if default is REQUIRED else default)
        with pytest.raises(NotImplementedError):
            getattr(module, function)(*[None] * len(parameters))
        assert len(getattr(module, function).__doc__) > 60


def test_skeletons_are_reported_as_not_written(folder):
    report = grade_file(str(folder / "dense.py"))
    assert [function.verdict for function in report.functions] == ["not written"] * 2 and not report.ok


@pytest.mark.parametrize("lesson", exercises.LESSONS)
def test_the_reference_solves_it(folder, lesson):
    skeleton = load_file(folder / f"{lesson}.py")
    solved = types.ModuleType(lesson)
    for function in defined_functions(skeleton):
        setattr(solved, function, getattr(reference, function))
    for function in defined_functions(solved):
        report = grade_function(solved, function, seed=2, budget=0.1)
        assert report.ok, report.problems


def test_a_finished_lesson_becomes_part_of_a_back_end(tmp_path):
    exercises.write(tmp_path)
    (tmp_path / "relu.py").write_text("import numpy as np\n\n\ndef relu_forward(x):\n    return np.maximum(x, 0)\n\n\n"
                                      "def relu_backward(dy, y):\n    return dy * (y > 0)\n")
    mine = tmp_path / "my_backend.py"
    text = mine.read_text()
    mine.write_text(text.replace("# from relu import", "from relu import"))
    report = grade_file(str(mine))
    assert report.ok and [function.function for function in report.functions] == ["relu_forward", "relu_backward"]


def test_existing_files_are_left_alone(tmp_path, capsys):
    (tmp_path / "dense.py").write_text("mine")
    assert main(["exercises", str(tmp_path)]) == 0
    assert (tmp_path / "dense.py").read_text() == "mine"
    assert "left alone, it exists already" in capsys.readouterr().out
    written, kept = exercises.write(tmp_path)
    assert not written and len(kept) == len(exercises.LESSONS) + 2


def test_a_file_in_the_way(tmp_path, capsys):
    (tmp_path / "taken").write_text("")
    assert main(["exercises", str(tmp_path / "taken")]) == 2
    assert "is a file" in capsys.readouterr().err


def test_my_backend_names_functions_of_the_contract():
    text = (exercises.pathlib.Path(exercises.__file__).parent / "my_backend.py").read_text()
    for line in text.splitlines():
        if line.startswith("# from "):
            for name in line.partition(" import ")[2].split(", "):
                assert name in kernels.CONTRACT
