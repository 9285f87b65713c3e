"""The Numba back-end: the same formulas, with every vector register and every core at work.

``README.md`` in this folder leads from the loops of ``reference`` to these kernels, step by step. In short: ``simd.py``
has the register tile, ``product.py`` the one matrix product that uses it, ``plans.py`` the tables that make a
convolution such a product, ``convolution.py`` the kernels that walk them on all cores, ``winners.py`` those of the
gradient through max-pooling.
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
from .conv2d import (
    conv2d_backward,
    conv2d_forward,
    conv2d_relu_backward,
    conv2d_relu_forward,
    conv2d_relu_max_pool2d_backward,
    conv2d_relu_max_pool2d_forward,
)
from .dense import dense_backward, dense_forward, dense_relu_backward, dense_relu_forward
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
from .threads import get_num_threads, set_num_threads

#: See ``kernels.OUT``.
TAKES_OUT = True

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
    "conv2d_relu_backward",
    "conv2d_relu_forward",
    "conv2d_relu_max_pool2d_backward",
    "conv2d_relu_max_pool2d_forward",
    "cross_entropy",
    "dense_backward",
    "dense_forward",
    "dense_relu_backward",
    "dense_relu_forward",
    "dropout_backward",
    "dropout_forward",
    "get_num_threads",
    "leaky_relu_backward",
    "leaky_relu_forward",
    "max_pool2d_backward",
    "max_pool2d_forward",
    "mean_squared_error",
    "relu_backward",
    "relu_forward",
    "set_num_threads",
    "sgd_step",
    "sigmoid_backward",
    "sigmoid_forward",
    "softmax_backward",
    "softmax_cross_entropy",
    "softmax_forward",
    "tanh_backward",
    "tanh_forward",
]
