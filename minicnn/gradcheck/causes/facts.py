"""What the cases that come out right have in common: "right only for square images"."""

from __future__ import annotations

import numpy as np

from minicnn.gradcheck.causes.engine import Cause

#: Properties of a case, the commonest first: key, how a sentence goes on after "right only for", and the test.
FACTS = (
    ("square images", "square images (as many rows as columns)", lambda c: c.h == c.width),
    ("square windows", "square windows (KH = KW)", lambda c: c.kh == c.kw),
    ("stride 1", "stride 1", lambda c: (c.sh, c.sw) == (1, 1)),
    ("equal strides", "the same stride in both directions", lambda c: c.sh == c.sw),
    ("no padding", "no padding", lambda c: c.top == c.bottom == c.left == c.right == 0),
    ("equal padding", "the same padding on all four sides", lambda c: c.top == c.bottom == c.left == c.right),
    ("symmetric padding", "symmetric padding (top = bottom, left = right)",
     lambda c: c.top == c.bottom and c.left == c.right),
    ("padding above", "no padding above and on the left", lambda c: c.top == c.left == 0),
    ("padding below", "no padding below and on the right", lambda c: c.bottom == c.right == 0),
    ("batch 1", "a batch of one", lambda c: _batch(c) == 1),
    ("one channel", "one channel", lambda c: c.x.shape[-1] == 1),
    ("one input channel", "one input channel", lambda c: c.w.shape[2] == 1),
    ("one output channel", "one output channel", lambda c: c.w.shape[-1] == 1),
    ("one channel in and out", "one channel in and out", lambda c: c.w.shape[2] == c.w.shape[3] == 1),
    ("fitting windows", "windows that fit the image exactly (no pixels left over)",
     lambda c: (c.h + c.top + c.bottom - c.kh) % c.sh == 0 and (c.width + c.left + c.right - c.kw) % c.sw == 0),
    ("separate windows", "windows that do not overlap", lambda c: c.sh >= c.kh and c.sw >= c.kw),
    ("overlapping windows", "windows without gaps between them", lambda c: c.sh <= c.kh and c.sw <= c.kw),
    ("stride of the window", "a stride equal to the window", lambda c: c.sh == c.kh and c.sw == c.kw),
    ("a bias", "layers with a bias", lambda c: c.b is not None),
    ("no ties", "windows without ties", lambda c: len(np.unique(c.x)) == c.x.size),
    ("one sample weight", "samples of equal weight (sample_weight=None)", lambda c: c.sample_weight is None),
    ("no smoothing", "label_smoothing = 0", lambda c: c.label_smoothing == 0),
    ("moderate numbers", "moderate numbers: with large ones it fails (exp overflows, or log(0))",
     lambda c: np.abs(c.logits if hasattr(c, "logits") else c.x).max() < 100),
    ("two dimensions", "two-dimensional arrays", lambda c: c.x.ndim == 2),
    ("images", "four-dimensional arrays", lambda c: c.x.ndim == 4),
    ("the default slope", "the default negative_slope", lambda c: c.negative_slope == 0.2),
    ("the default epsilon", "the default epsilon", lambda c: c.epsilon in (1e-3, 1e-7)),
    ("rate one half", "a rate of 0.5 (or 0)", lambda c: c.rate in (0.0, 0.5)),
    ("no momentum", "momentum 0", lambda c: c.momentum == 0),
    ("plain momentum", "nesterov=False", lambda c: not c.nesterov),
    ("no weight decay", "weight_decay 0", lambda c: c.weight_decay == 0),
    ("the first step", "the first step", lambda c: c.step == 1),
    ("the default betas", "the default betas", lambda c: (c.beta_1, c.beta_2) == (0.9, 0.999)),
    ("vectors too long", "vectors longer than max_norm", lambda c: np.linalg.norm(c.gradients) > c.max_norm),
    ("vectors short enough", "vectors shorter than max_norm", lambda c: np.linalg.norm(c.gradients) <= c.max_norm),
)


def _batch(c):
    for name in ("x", "logits", "predictions", "probabilities"):
        if hasattr(c, name):
            return len(getattr(c, name))
    raise AttributeError


def find(_function, result, observations, share=0.5):
    """The property with which every case comes out right, and without which most do not (``share`` at least)."""
    best, best_share = None, 0.0
    right = [seen for seen in observations if seen.right]
    if not right:
        return None
    for key, phrase, test in FACTS:
        try:
            holds = [bool(test(seen.view)) for seen in observations]
        except (AttributeError, IndexError):
            continue  # the operation has no such argument
        without = [seen for seen, held in zip(observations, holds, strict=True) if not held]
        with_fact = [seen for seen, held in zip(observations, holds, strict=True) if held]
        if not without or not with_fact or not all(seen.right for seen in with_fact):
            continue
        failing = sum(not seen.right for seen in without) / len(without)
        if failing > best_share + 1e-9:
            best_share = failing
            best = Cause(f"right only for {key}", f"{result} is right only for {phrase}; the other cases are wrong"
                         if failing == 1 else f"{result} is right for {phrase}; of the other cases {failing:.0%} are "
                                              f"wrong")
    return best if best_share >= share else None
