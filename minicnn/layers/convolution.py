"""Conv2D: one small window of weights, the same for every place in the picture."""

from __future__ import annotations

from minicnn import initializers
from minicnn.layers.base import Layer, activation_name, image_shape, integer_pair, positive_integer
from minicnn.layers.windows import check_padding, explicit_padding, kernel_argument, output_size


class Conv2D(Layer):
    """Two-dimensional convolution, ``y = activation(conv2d(x, w) + b)``.

        y[n, i, j, o] = b[o] + sum over m, k, c of x[n, i*S + m - top, j*S + k - left, c] * w[m, k, c, o]

    Input ``(N, H, W, C)``, output ``(N, OH, OW, filters)`` with OH = (H + top + bottom - KH) // S + 1. The formulas of
    both passes stand in ``kernels/reference/conv2d.py``.

    Parameters
    ----------
    filters : int
        Number O of output channels.
    kernel_size : int or pair
        Window height and width, KH and KW.
    strides : int or pair
        Step of the window.
    padding : "valid", "same", int, pair, or ((top, bottom), (left, right))
        See ``minicnn.layers.windows.check_padding``.
    activation : str, optional
        One of ``minicnn.operations.ACTIVATIONS``.
    use_bias : bool
        Whether there is a ``b``.
    kernel_initializer, bias_initializer : str or function
        See ``minicnn.initializers``.
    """

    def __init__(self, filters, kernel_size, strides=1, padding="valid", activation=None, use_bias=True,
                 kernel_initializer="glorot_uniform", bias_initializer="zeros", name=None, input_shape=None):
        super().__init__(name, input_shape)
        self.filters = positive_integer("filters", filters)
        self.kernel_size = integer_pair("kernel_size", kernel_size)
        self.strides = integer_pair("strides", strides)
        self.padding = check_padding(padding)
        self.activation = activation_name(activation)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = initializers.check(kernel_initializer)
        self.bias_initializer = initializers.check(bias_initializer)
        self.w = self.b = None

    def compute_output_shape(self, input_shape):
        height, width, _ = image_shape("Conv2D", input_shape)
        oh, ow = output_size("Conv2D", (height, width), self.kernel_size, self.strides, self.padding)
        return oh, ow, self.filters

    def create_parameters(self, input_shape):
        height, width, channels = input_shape
        self.pads = explicit_padding(self.padding, (height, width), self.kernel_size, self.strides)
        self.stride = kernel_argument(self.strides)
        self.add_parameter("w", (*self.kernel_size, channels, self.filters), self.kernel_initializer)
        if self.use_bias:
            self.add_parameter("b", (self.filters,), self.bias_initializer)

    def forward(self, x, training=False):
        self.x = x
        self.y = self.ops.conv2d_forward(x, self.w, self.b, self.stride, self.pads, self.activation)
        return self.y

    def backward(self, dy):
        dx, dw, db = self.ops.conv2d_backward(dy, self.y, self.x, self.w, self.stride, self.pads, self.activation,
                                              self.input_gradient, self.gradient_places)
        self.set_gradients(w=dw, b=db)
        return dx

    def multiply_adds(self):
        kh, kw = self.kernel_size
        oh, ow, filters = self.output_shape
        return oh * ow * filters * kh * kw * self.input_shape[2]

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "kernel_size": list(self.kernel_size),
                "strides": list(self.strides), "padding": self.padding, "activation": self.activation,
                "use_bias": self.use_bias, "kernel_initializer": initializers.name_of(self.kernel_initializer),
                "bias_initializer": initializers.name_of(self.bias_initializer)}
