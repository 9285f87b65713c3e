"""Two layers in one step: a convolution with relu, and the max-pooling behind it.

A convolution's result is the largest array of a network, and max-pooling throws three quarters of it away at once. A
back-end that offers both in one function never writes that array to memory, forward or backward. The layers stay what
they are, and do the same when they are called one by one; only ``Sequential`` takes the two together.
"""

from __future__ import annotations

from kernels import NO_PADDING
from minicnn.layers import Conv2D, MaxPooling2D


class ConvolutionAndPooling:
    """``pooling(convolution(x))``, for the model that both layers belong to."""

    def __init__(self, convolution, pooling):
        self.convolution, self.pooling = convolution, pooling
        self.index = convolution.index

    def forward(self, x, training=False):
        """The pooled output; the layers keep what they would, except for the convolution's output, which is None."""
        layer, pooling = self.convolution, self.pooling
        layer.x, layer.y = x, None
        self.y, pooling.argmax = layer.ops.conv2d_relu_max_pool2d_forward(
            x, layer.w, layer.b, layer.stride, layer.pads, pooling.window[0])
        pooling.x_shape = (x.shape[0], *layer.output_shape)
        return self.y

    def backward(self, dy):
        """Set the convolution's gradients and return ``dx``, as the two layers would."""
        layer, pooling = self.convolution, self.pooling
        dx, dw, db = layer.ops.conv2d_relu_max_pool2d_backward(
            dy, self.y, pooling.argmax, layer.x, layer.w, layer.stride, layer.pads, pooling.window[0],
            layer.input_gradient, out=layer.gradient_places)
        layer.set_gradients(w=dw, b=db)
        return dx


def steps(layers):
    """The layers of a built model, with those that go together in pairs."""
    taken = []
    for layer in layers:
        if taken and _go_together(taken[-1], layer):
            taken[-1] = ConvolutionAndPooling(taken[-1], layer)
        else:
            taken.append(layer)
    return taken


def _go_together(layer, pooling):
    # classes derived from these may do something else; windows that overlap need more than one unit of the result
    return (type(layer) is Conv2D and type(pooling) is MaxPooling2D and layer.activation == "relu"
            and pooling.strides == pooling.pool_size and pooling.window[2] == NO_PADDING
            and layer.ops.pools_convolutions)
