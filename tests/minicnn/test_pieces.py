"""Initializers, metrics and pictures."""

import numpy as np
import pytest

from minicnn import initializers, metrics, plots


@pytest.mark.parametrize(("name", "variance"), [
    ("glorot_uniform", 2 / (150 + 400)), ("glorot_normal", 2 / (150 + 400)), ("he_uniform", 2 / 150),
    ("he_normal", 2 / 150)])
def test_initializers_have_the_variance_they_promise(name, variance):
    shape = (5, 5, 6, 16)
    values = initializers.get(name)(shape, np.random.default_rng(0))
    assert initializers.fans(shape) == (150, 400) and values.shape == shape
    # the sample variance of 2,400 draws lies within 10 % with room to spare (its standard error is 1.3 to 2.9 %)
    assert values.var() == pytest.approx(variance, rel=0.1) and abs(values.mean()) < 0.1 * np.sqrt(variance)


def test_uniform_initializers_stay_in_their_limits():
    values = initializers.glorot_uniform((30, 20), np.random.default_rng(0))
    assert np.abs(values).max() <= np.sqrt(6 / 50)
    assert (initializers.zeros((3,), None) == 0).all() and (initializers.ones((3,), None) == 1).all()
    with pytest.raises(ValueError, match="he_normal"):
        initializers.get("he")


def test_confusion_matrix_counts_rows_by_truth():
    matrix = metrics.confusion_matrix([0, 0, 1, 2, 2, 2], [0, 1, 1, 2, 0, 2], 3)
    np.testing.assert_array_equal(matrix, [[1, 1, 0], [0, 1, 0], [1, 0, 2]])
    text = metrics.format_confusion(matrix, ["ant", "bee", "crab"])
    rows = text.splitlines()
    assert len(rows) == 4 and "50.0%" in rows[1] and "66.7%" in rows[3] and len({len(row) for row in rows}) == 1
    assert metrics.accuracy([0, 1, 2, 2], [0, 1, 1, 2]) == 0.75
    with pytest.raises(ValueError, match="predicted"):
        metrics.confusion_matrix([0, 1], [0], 2)


def test_worst_mistakes_are_ordered_by_the_true_class_probability():
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.99, 0.01], [0.2, 0.8]])
    labels = np.array([1, 1, 1, 0])
    np.testing.assert_array_equal(metrics.worst_mistakes(probabilities, labels, 5), [2, 0, 3])
    np.testing.assert_array_equal(metrics.worst_mistakes(probabilities, labels, 1), [2])


def test_pictures_are_drawn(tmp_path):
    rng = np.random.default_rng(0)
    figures = {
        "curves": plots.learning_curves({"loss": [1.0, 0.5], "val_loss": [1.1, 0.7], "accuracy": [0.5, 0.8]}),
        "loss only": plots.learning_curves({"loss": [1.0]}),
        "confusion": plots.confusion_matrix([[5, 1], [0, 4]], ["cat", "dog"]),
        "grey": plots.filters(rng.normal(size=(3, 3, 1, 5))),
        "colour": plots.filters(rng.normal(size=(3, 3, 3, 9))),
        "deep": plots.filters(rng.normal(size=(3, 3, 8, 9))),
        "mistakes": plots.mistakes(rng.random((7, 6, 6, 1)), np.zeros(7, int), np.full((7, 3), 1 / 3)),
        "no mistakes": plots.mistakes(np.zeros((0, 6, 6, 1)), np.zeros(0, int), np.zeros((0, 3))),
    }
    for name, figure in figures.items():
        path = tmp_path / f"{name}.png"
        plots.save(figure, path)
        assert path.read_bytes().startswith(b"\x89PNG")
    confusion = figures["confusion"].axes[0]
    assert {text.get_text() for text in confusion.texts} == {"5", "1", "4"}
    assert "90.0%" in confusion.get_title()
