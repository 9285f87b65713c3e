"""Pooling: fewer pixels, each the largest or the mean of a window."""

from __future__ import annotations

from minicnn.layers.base import Layer, image_shape, integer_pair
from minicnn.layers.windows import check_padding, explicit_padding, kernel_argument, output_size


class _Pooling2D(Layer):
    """What both poolings share: a window, a stride that defaults to the window, and padding smaller than the window."""

    def __init__(self, pool_size=2, strides=None, padding="valid", name=None, input_shape=None):
        super().__init__(name, input_shape)
        self.pool_size = integer_pair("pool_size", pool_size)
        self.strides = self.pool_size if strides is None else integer_pair("strides", strides)
        self.padding = check_padding(padding)
        if not isinstance(self.padding, str):
            for pads, size in zip(self.padding, self.pool_size):
                if max(pads) >= size:
                    raise ValueError(f"padding: expected less than pool_size {self.pool_size}, or a window could see "
                                     f"nothing but padding; got {self.padding}")

    def compute_output_shape(self, input_shape):
        height, width, channels = image_shape(self.kind, input_shape)
        return (*output_size(self.kind, (height, width), self.pool_size, self.strides, self.padding), channels)

    def create_parameters(self, input_shape):
        pads = explicit_padding(self.padding, input_shape[:2], self.pool_size, self.strides)
        self.window = kernel_argument(self.pool_size), kernel_argument(self.strides), pads

    def get_config(self):
        return {**super().get_config(), "pool_size": list(self.pool_size), "strides": list(self.strides),
                "padding": self.padding}


class MaxPooling2D(_Pooling2D):
    """The largest number of each window: ``y[n, i, j, c] = max over m, k of x[n, i*S + m - top, j*S + k - left, c]``.

    Padding counts as minus infinity. In the backward pass the gradient goes to the one element that was the largest
    (the first in row-major order, on a tie). Formulas: ``kernels/reference/pool2d.py``.

    Parameters
    ----------
    pool_size : int or pair
        The window.
    strides : int or pair, optional
        Step of the window; by default the window's size, so that windows do not overlap.
    padding
        As for ``Conv2D``, but smaller than the window.
    """

    def forward(self, x, training=False):
        self.x_shape = x.shape
        y, self.argmax = self.ops.max_pool2d_forward(x, *self.window)
        return y

    def backward(self, dy):
        return self.ops.max_pool2d_backward(dy, self.argmax, self.x_shape, *self.window)


class AveragePooling2D(_Pooling2D):
    """The mean of each window; padding is not counted. Parameters as for ``MaxPooling2D``.

    In the backward pass each pixel of a window gets the same share of the gradient.
    """

    def forward(self, x, training=False):
        self.x_shape = x.shape
        return self.ops.avg_pool2d_forward(x, *self.window)

    def backward(self, dy):
        return self.ops.avg_pool2d_backward(dy, self.x_shape, *self.window)
