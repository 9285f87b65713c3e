"""The im2col back-end: vectorised NumPy, as good as NumPy gets.

Convolution and dense layers become matrix products, which run in BLAS; pooling becomes a few operations on strided
views. Where NumPy's expression is both the formula and the fast way (most activations, the losses, the optimizers),
the function is the reference's own. Lay a file beside the one of the same name in ``kernels/reference`` to compare.

What NumPy cannot do: every operation is a pass of its own over memory, and all but the matrix products run on one core.
How a matrix product splits its sums is BLAS's affair: the same bits come back for the same number of BLAS threads.
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
