"""Diagrams and sheets show the numbers that they are given; grading and key numbers say what they should."""

import io

import numpy as np
import pytest
from PIL import Image

from minicnn import notebook, plots


def texts(axis):
    return [text.get_text() for text in axis.texts]


def is_png(figure):
    with Image.open(io.BytesIO(figure._repr_png_())) as image:
        return image.format == "PNG" and image.width > 50


def test_grids_print_every_number():
    figure = plots.grids({"x": [[1, 2.5], [np.nan, -3]], "y": [[0.125]]}, windows={"x": [(0, 0, 1, 2)]}, signs=["="])
    left, right = figure.axes
    assert texts(left) == ["1", "2.50", "-3"] and texts(right)[:1] == ["0.12"] and "=" in texts(right)
    assert len(left.patches) == 1 and is_png(figure)


def test_images_take_pairs_with_equal_titles():
    figure = plots.images([("a", np.eye(3)), ("a", -np.eye(3))], signed=["a"])
    assert [axis.get_title() for axis in figure.axes] == ["a", "a"]


def test_curves_differ_in_more_than_colour():
    axis = plots.curves({"one": [1, 2], "two": [2, 1]}, yscale="log").axes[0]
    first, second = axis.get_lines()
    assert first.get_linestyle() != second.get_linestyle()
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["one", "two"]


def test_bars_are_labelled_with_their_numbers():
    axis = plots.bars({"a": 1.0, "b": -2.0}, label="{:.1f}").axes[0]
    assert [text.strip() for text in texts(axis)] == ["1.0", "-2.0"]
    assert [patch.get_width() for patch in axis.patches] == [1.0, -2.0]


def test_paths_draw_each_track():
    figure = plots.paths(lambda a, b: a**2 + b**2, {"x": [(1, 1), (0, 0)], "y": [(1, 0)]}, (-2, -2), (2, 2), (0, 0))
    assert [axis.get_title() for axis in figure.axes] == ["x", "y"] and is_png(figure)


def test_blocks_number_the_threads():
    axis = plots.blocks((3, 5), (2, 4)).axes[0]
    numbers = texts(axis)
    assert len(numbers) == 4 * 8 and numbers[0] == "0,0" and numbers[5] == "0,1"
    assert [label.get_text() for label in axis.get_xticklabels()] == ["block 0", "block 1"]


def test_memory_lines_show_what_is_read_and_what_comes_with_it():
    figure = plots.memory_lines({"a": [0, 1, 5], "none": []}, 10, per_line=4)
    first, second = (axis.get_images()[0].get_array() for axis in figure.axes)
    assert first.shape == (3, 4, 3) and is_png(figure)
    kinds = [[tuple(np.round(colour, 3)) for colour in row] for row in np.asarray(first)]
    read, fetched, nothing = kinds[0][0], kinds[0][2], kinds[2][0]
    assert len({read, fetched, nothing}) == 3
    assert kinds == [[read, read, fetched, fetched], [fetched, read, fetched, fetched],
                     [nothing, nothing, (1, 1, 1), (1, 1, 1)]]
    assert np.allclose(np.asarray(second)[:2], nothing, atol=1e-3)
    assert figure.legends[0].get_texts()[0].get_text() == "read"
    with pytest.raises(ValueError, match="expected addresses from 0 to 9, got 0 to 10"):
        plots.memory_lines({"a": [0, 10]}, 10)


def test_roofline_draws_the_limits_and_every_point():
    figure = plots.roofline({"a": (0.5, 3.0), "b": (64.0, 90.0)}, 100.0, {"memory": 10.0, "cache": 50.0})
    axis = figure.axes[0]
    drawn = {line.get_label(): line.get_xydata() for line in axis.get_lines()}
    assert drawn["a"].tolist() == [[0.5, 3.0]] and drawn["b"].tolist() == [[64.0, 90.0]]
    for name, bandwidth in (("memory: 10 GB/s", 10.0), ("cache: 50 GB/s", 50.0)):
        assert np.allclose(drawn[name][:, 1] / drawn[name][:, 0], bandwidth)
        assert drawn[name][-1].tolist() == [100.0 / bandwidth, 100.0]
    low, high = axis.get_xlim()
    assert low < 0.5 and high > 64 and axis.get_xscale() == axis.get_yscale() == "log" and is_png(figure)


def add(a, b):
    return a + b


@pytest.mark.parametrize(("function", "right", "word"), [
    (lambda a, b: b + a, True, "right, in all 2 cases"),
    (lambda a, b: a - b, False, "should be"),
    (lambda a, b: None, False, "not written yet"),
    (lambda a, b: [a, b], False, "has shape (2,), should have ()"),
    (lambda a, b: a / 0, False, "raises ZeroDivisionError"),
])
def test_grade(capsys, function, right, word):
    assert notebook.grade(function, add, [(1, 2), (5, 7)]) is right
    assert word in capsys.readouterr().out


def test_grade_hands_out_copies():
    def spoils(x):
        x[:] = 0
        return x
    x = np.ones(3)
    notebook.grade(spoils, lambda x: x, [(x,)])
    assert (x == 1).all()


def test_grade_functions(capsys):
    def relu_forward(x):
        return np.maximum(x, 0)

    def relu_backward(dy, y):
        return dy
    assert notebook.grade_functions(relu_forward)
    assert not notebook.grade_functions(relu_backward)
    assert "relu_backward" in capsys.readouterr().out


def test_key_numbers_are_json(capsys):
    notebook.key_numbers(0.01, a=np.float32(0.5), b=3)
    assert capsys.readouterr().out == 'key numbers (within 0.01): {"a": 0.5, "b": 3.0}\n'
