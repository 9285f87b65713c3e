"""Dense and Flatten: every output looks at every input."""

from __future__ import annotations

from math import prod

from minicnn import initializers
from minicnn.layers.base import Layer, activation_name, positive_integer


class Flatten(Layer):
    """``(N, H, W, C)`` to ``(N, H*W*C)``, channels fastest. The backward pass is the reshape back."""

    def compute_output_shape(self, input_shape):
        return (prod(input_shape),)

    def forward(self, x, training=False):
        self.x_shape = x.shape
        return x.reshape(x.shape[0], prod(x.shape[1:]))

    def backward(self, dy):
        return dy.reshape(self.x_shape)


class Dense(Layer):
    """``y = activation(x w + b)``, the documents' ``sigma(Wx + b)`` with one row of ``x`` an example.

    Input ``(N, I)``, output ``(N, units)``. The formulas of both passes stand in ``kernels/reference/dense.py``.

    Parameters
    ----------
    units : int
        Number O of outputs.
    activation, use_bias, kernel_initializer, bias_initializer
        As for ``Conv2D``.
    """

    def __init__(self, units, activation=None, use_bias=True, kernel_initializer="glorot_uniform",
                 bias_initializer="zeros", name=None, input_shape=None):
        super().__init__(name, input_shape)
        self.units = positive_integer("units", units)
        self.activation = activation_name(activation)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = initializers.check(kernel_initializer)
        self.bias_initializer = initializers.check(bias_initializer)
        self.w = self.b = None

    def compute_output_shape(self, input_shape):
        if len(input_shape) != 1:
            raise ValueError(f"Dense expects one row of numbers for each example, got images of shape {input_shape}; "
                             "put a Flatten() layer before it")
        return (self.units,)

    def create_parameters(self, input_shape):
        self.add_parameter("w", (*input_shape, self.units), self.kernel_initializer)
        if self.use_bias:
            self.add_parameter("b", (self.units,), self.bias_initializer)

    def forward(self, x, training=False):
        self.x = x
        self.y = self.ops.dense_forward(x, self.w, self.b, self.activation)
        return self.y

    def backward(self, dy):
        dx, dw, db = self.ops.dense_backward(dy, self.y, self.x, self.w, self.activation, self.input_gradient,
                                             self.gradient_places)
        self.set_gradients(w=dw, b=db)
        return dx

    def multiply_adds(self):
        return self.input_shape[0] * self.units

    def get_config(self):
        return {**super().get_config(), "units": self.units, "activation": self.activation, "use_bias": self.use_bias,
                "kernel_initializer": initializers.name_of(self.kernel_initializer),
                "bias_initializer": initializers.name_of(self.bias_initializer)}
