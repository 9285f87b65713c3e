"""The cuda back-end: Numba kernels on an NVIDIA GPU.

Its arrays live on the device (``kernels.cuda.asarray``, ``to_numpy``); otherwise the functions are those of every
back-end. Start with ``README.md`` in this folder and ``ladder.py``; then ``tiles.py``.

Importing this package costs nothing and needs no GPU; the first function that is asked for imports numba.cuda, and the
first array looks for a device. With ``NUMBA_ENABLE_CUDASIM=1`` in the environment all of it runs, slowly, without one.
"""

import importlib

_HOME = {
    "activations": ("relu_forward", "relu_backward", "leaky_relu_forward", "leaky_relu_backward", "sigmoid_forward",
                    "sigmoid_backward", "tanh_forward", "tanh_backward", "softmax_forward", "softmax_backward"),
    "arrays": ("DeviceArray", "asarray", "to_numpy", "empty", "zeros", "assign", "take", "count_correct", "is_finite",
               "update_average", "free_memory"),
    "conv2d": ("conv2d_forward", "conv2d_backward", "conv2d_relu_forward", "conv2d_relu_backward"),
    "dense": ("dense_forward", "dense_backward", "dense_relu_forward", "dense_relu_backward"),
    "device": ("require_device", "synchronize"),
    "loss": ("softmax_cross_entropy", "cross_entropy", "mean_squared_error"),
    "normalization": ("batch_norm_forward", "batch_norm_backward", "batch_norm_inference_forward",
                      "batch_norm_inference_backward", "dropout_forward", "dropout_backward"),
    "optimizers": ("sgd_step", "adam_step", "clip_by_global_norm"),
    "pool2d": ("max_pool2d_forward", "max_pool2d_backward", "avg_pool2d_forward", "avg_pool2d_backward"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

HOW_TO_INSTALL = ("in a clone of MiniCNN: pip install '.[cuda13]' for a driver of CUDA 13 or later, '.[cuda12]' for "
                  "one of CUDA 12 (the first line of nvidia-smi tells)")

__all__ = sorted(_MODULE_OF)


def __getattr__(name):
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_MODULE_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__():
    return __all__
