"""Figures about predictions: accuracy, and which classes are taken for which."""

from __future__ import annotations

import numpy as np


def accuracy(labels, predicted):
    """Share of ``predicted`` classes that equal ``labels``."""
    labels, predicted = np.asarray(labels), np.asarray(predicted)
    return float(np.mean(labels == predicted))


def confusion_matrix(labels, predicted, classes):
    """``matrix[t, p]``: how many examples of class ``t`` were taken for class ``p``.

    Parameters
    ----------
    labels, predicted : array of int (N,)
        True and predicted class numbers, 0 to ``classes - 1``.
    classes : int
        Number of classes.
    """
    labels, predicted = np.asarray(labels), np.asarray(predicted)
    if labels.shape != predicted.shape:
        raise ValueError(f"predicted: expected shape {labels.shape} like labels, got {predicted.shape}")
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (labels, predicted), 1)
    return matrix


def format_confusion(matrix, names=None):
    """The matrix as text: rows are true classes, columns predictions, a dot where nothing was counted."""
    names = [str(name) for name in (range(len(matrix)) if names is None else names)]
    width = max(3, *(len(name) for name in names), len(str(matrix.max())))
    head = " " * (width + 8) + " ".join(f"{name:>{width}}" for name in names) + "   recall"
    lines = [head]
    for name, row, hits in zip(names, matrix, np.diag(matrix)):
        cells = " ".join(f"{count if count else '.':>{width}}" for count in row)
        recall = f"{hits / row.sum():8.1%}" if row.sum() else "       -"
        lines.append(f"  true {name:>{width}} {cells} {recall}")
    return "\n".join(lines)


def worst_mistakes(probabilities, labels, count):
    """Indices of the examples whose true class got the least probability among the wrongly classified, worst first."""
    probabilities, labels = np.asarray(probabilities), np.asarray(labels)
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    return wrong[np.argsort(probabilities[wrong, labels[wrong]], kind="stable")][:count]
