"""A back-end that computes what another computes and notes on which side of every kink it went.

A network's relus and max-poolings have no derivative where they switch. Whether a finite difference stepped over such a
point shows when both of its forward passes note their masks and winners: they must be the same. Since a back-end is any
module with the right functions, a wrapper around one is one too, and layers need not know that they are watched.
"""

from __future__ import annotations

import types

import numpy as np

from kernels import ARRAYS, CONTRACT, FUSED, arrays

#: Functions whose result y is positive where the kink's right side was taken.
_MASKED = ("relu_forward", "leaky_relu_forward", "conv2d_relu_forward", "dense_relu_forward")


def recording(backend):
    """``(module, sides)``: a copy of ``backend`` that appends to the list ``sides`` in every forward pass."""
    module = types.ModuleType(backend.__name__)
    to_numpy = getattr(backend, "to_numpy", arrays.to_numpy)
    sides = []
    for name in (*CONTRACT, *FUSED, *ARRAYS):
        if hasattr(backend, name):
            setattr(module, name, getattr(backend, name))
    for name in _MASKED:
        if hasattr(backend, name):
            setattr(module, name, _noting(getattr(backend, name), sides, lambda y: np.array(to_numpy(y)) > 0))
    if hasattr(backend, "conv2d_relu_max_pool2d_forward"):  # which number of a window won, unless relu let none pass
        module.conv2d_relu_max_pool2d_forward = _noting(
            backend.conv2d_relu_max_pool2d_forward, sides,
            lambda results: np.where(np.array(to_numpy(results[0])) > 0, np.array(to_numpy(results[1]), np.int64), -1))
    module.max_pool2d_forward = _noting(backend.max_pool2d_forward, sides,
                                        lambda results: np.array(to_numpy(results[1])))
    return module, sides


def _noting(function, sides, side):
    def noted(*arguments, **options):
        result = function(*arguments, **options)
        sides.append(side(result))
        return result
    return noted
