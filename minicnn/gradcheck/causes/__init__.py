"""Naming the mistake: from wrong numbers to a sentence about the code.

Each known mistake is a **hypothesis**: a sentence, and a function that computes what the result *would be* if that were
the mistake. A hypothesis is accepted when it predicts the given result in every case, to many digits, and predicts
something else than the right answer in at least one. Nothing is guessed: a result that no hypothesis predicts is
reported without a cause, with a description of where it is wrong.

``windows``, ``conv2d``, ``pool2d``, ``dense``, ``activations``, ``losses``, ``normalization`` and
``optimizers`` hold the
mistakes of each operation, ``general`` those that any result may have, and ``facts`` finds what the cases that come out
right have in common ("right only for stride 1").
"""

from __future__ import annotations

from minicnn.gradcheck.causes.engine import Cause, Observation, find_cause, view

__all__ = ["Cause", "Observation", "find_cause", "view"]
