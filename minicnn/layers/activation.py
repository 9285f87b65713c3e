"""Activations as layers of their own; most networks give them as ``activation=`` of the layer before."""

from __future__ import annotations

from minicnn.layers.base import Layer, activation_name


class Activation(Layer):
    """Apply an activation by name, elementwise (softmax: over the last axis).

    Parameters
    ----------
    activation : str
        One of ``minicnn.operations.ACTIVATIONS``. Formulas: ``kernels/reference/activations.py``.
    """

    def __init__(self, activation, name=None, input_shape=None):
        super().__init__(name, input_shape)
        self.activation = activation_name(activation)

    def forward(self, x, training=False):
        self.y = self.ops.activate(self.activation, x)
        return self.y

    def backward(self, dy):
        return self.ops.activate_backward(self.activation, dy, self.y)

    def get_config(self):
        return {**super().get_config(), "activation": self.activation}
