"""The reference back-end: the formulas, written down as loops.

Slow and obvious, in the type it is given; in float64 it is what the other back-ends are judged by. Read it first: one
file an operation, the forward formula, then the backward pass with its derivation. The formulas of convolution,
pooling and the dense layer are those of the second document that MiniCNN started from (its section 3.1), which states
them for one channel and stride 1; each docstring shows the step to batches, channels, stride and padding.

Loops run over the indices that a formula sums over. What is left, the independent copies of one formula (all output
channels of a pixel, all elements of an activation), is one NumPy expression.
"""

from .activations import (
    leaky_relu_backward,
    leaky_relu_forward,
    relu_backward,
    relu_forward,
    sigmoid_backward,
    sigmoid_forward,
    softmax_backward,
    softmax_forward,
    tanh_backward,
    tanh_forward,
)
from .conv2d import conv2d_backward, conv2d_forward
from .dense import dense_backward, dense_forward
from .loss import cross_entropy, mean_squared_error, softmax_cross_entropy
from .normalization import (
    batch_norm_backward,
    batch_norm_forward,
    batch_norm_inference_backward,
    batch_norm_inference_forward,
    dropout_backward,
    dropout_forward,
)
from .optimizers import adam_step, clip_by_global_norm, sgd_step
from .pool2d import avg_pool2d_backward, avg_pool2d_forward, max_pool2d_backward, max_pool2d_forward

__all__ = [
    "adam_step",
    "avg_pool2d_backward",
    "avg_pool2d_forward",
    "batch_norm_backward",
    "batch_norm_forward",
    "batch_norm_inference_backward",
    "batch_norm_inference_forward",
    "clip_by_global_norm",
    "conv2d_backward",
    "conv2d_forward",
    "cross_entropy",
    "dense_backward",
    "dense_forward",
    "dropout_backward",
    "dropout_forward",
    "leaky_relu_backward",
    "leaky_relu_forward",
    "max_pool2d_backward",
    "max_pool2d_forward",
    "mean_squared_error",
    "relu_backward",
    "relu_forward",
    "sgd_step",
    "sigmoid_backward",
    "sigmoid_forward",
    "softmax_backward",
    "softmax_cross_entropy",
    "softmax_forward",
    "tanh_backward",
    "tanh_forward",
]
