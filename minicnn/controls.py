"""Controls: experiments that tell what an accuracy is worth.

A high accuracy does not prove that the convolutions have learned. Train twice more: once with ``Freeze`` on the
convolutions, whose filters then stay random (what the layers behind them can do alone), and once on
``shuffled_labels`` (what can be learned by heart where there is nothing to understand: training accuracy may still
rise, test accuracy must stay at chance).
"""

from __future__ import annotations

import numpy as np

from minicnn.explain import find_layer


class Freeze:
    """A callback for ``fit`` that keeps the parameters of some layers as they are.

    After every step it writes the old numbers back, so it holds for every optimizer, momentum and weight decay
    included.

    Parameters
    ----------
    *layers : str, int or Layer
        Which layers, as in ``minicnn.explain.find_layer``.
    """

    def __init__(self, *layers):
        if not layers:
            raise ValueError("Freeze: expected at least one layer")
        self.wanted = layers
        self.kept = []

    def set_model(self, model):
        """Called by ``fit``: note the numbers to keep."""
        layers = [find_layer(model, layer, default=list) for layer in self.wanted]
        self.model = model
        self.kept = [(array, model.ops.asarray(np.array(model.ops.to_numpy(array))))
                     for layer in layers for array in layer.parameters.values()]

    def on_train_batch_end(self, batch, logs=None):
        """Called by ``fit`` after each step."""
        for place, values in self.kept:
            self.model.ops.assign(place, values)


def shuffled_labels(labels, seed=0):
    """The same labels, dealt out at random: as many of each class as before, and no connection with the images."""
    return np.random.default_rng(seed).permutation(np.asarray(labels))
