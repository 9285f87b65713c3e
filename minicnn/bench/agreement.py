"""Did everybody compute the same? A fast wrong answer is worth nothing.

The judge is MiniCNN's im2col back-end in float64. Contestants compute in float32, each in its own order, so they differ
from it by rounding; a wrong padding, a forgotten transposition or another optimizer is off by orders of magnitude more.
"""

from __future__ import annotations

import numpy as np

#: Operations and logits: the largest difference may be this share of the judge's largest number.
OPERATION_TOLERANCE = 1e-4
#: Training: a loss may differ by this share of what the judge's losses fell by in the steps that are compared. What a
#: training step changes is small beside the loss itself, so a share of the loss would let a wrong step pass.
TRAINING_TOLERANCE = 0.01
#: ... plus this share of the loss, for float32's rounding.
LOSS_ROUNDING = 1e-6


def judge(work, arrays, weights=None):
    """The right results of a work, ``{name: ndarray}`` in float64; None for what only the machine itself does."""
    from minicnn.bench.contestants.minicnn import Contestant
    if work.section == "machine":
        return None
    contestant = Contestant(threads=1, backend="im2col", dtype="float64")
    if work.images:
        prepare = contestant.inference if work.section == "inference" else contestant.training
        return prepare(work.job, weights, arrays["images"].astype(np.float64), arrays["labels"]).result()
    return contestant.operation(work.job, arrays, work.options).result()


def deviation(work, right, found):
    """How far ``found`` is from ``right``, in units of what is tolerated: at most 1 is agreement.

    Infinite where a result is missing, has another shape, or is not finite.
    """
    if right is None:
        return 0.0
    worst = 0.0
    for name, expected in right.items():
        expected = np.asarray(expected, np.float64)
        actual = np.asarray(found.get(name, np.nan), np.float64)
        if actual.shape != expected.shape or not np.isfinite(actual).all():
            return float("inf")
        difference = np.abs(actual - expected).max()
        worst = max(worst, difference / tolerated(work, expected))
    return float(worst)


def tolerated(work, expected):
    """The largest difference that counts as agreement."""
    if work.section in ("training", "scaling"):
        return TRAINING_TOLERANCE * abs(expected[0] - expected[-1]) + LOSS_ROUNDING * abs(expected[0])
    return OPERATION_TOLERANCE * max(np.abs(expected).max(), np.finfo(np.float32).tiny)
