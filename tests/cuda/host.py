"""The cuda back-end as the other back-ends' tests want it: NumPy arrays in, NumPy arrays out.

Every function uploads its arguments, calls ``kernels.cuda``, takes the results back to the host, and copies what was
changed in place. Positions in a window come back as int64, so that they compare with the reference's.
"""

import functools
import inspect
import sys

import numpy as np

import kernels
from kernels import cuda

IN_PLACE = {
    "sgd_step": ("parameters", "velocity"),
    "adam_step": ("parameters", "first_moment", "second_moment"),
    "clip_by_global_norm": ("gradients",),
}


def to_host(value):
    if isinstance(value, tuple):
        return tuple(to_host(item) for item in value)
    if isinstance(value, cuda.DeviceArray):
        host = cuda.to_numpy(value)
        return host.astype(np.int64) if host.dtype.kind in "iu" else host
    return float(value) if hasattr(value, "__float__") else value


def on_host(name):
    function = getattr(cuda, name)

    @functools.wraps(function)
    def wrapper(*arguments, **keywords):
        bound = inspect.signature(function).bind(*arguments, **keywords).arguments
        on_device = {key: cuda.asarray(value) if isinstance(value, np.ndarray) else value
                     for key, value in bound.items()}
        result = function(**on_device)
        for key in IN_PLACE.get(name, ()):
            bound[key][...] = cuda.to_numpy(on_device[key])
        return to_host(result)

    return wrapper


for _name in (*kernels.CONTRACT, *(name for name in kernels.FUSED if hasattr(cuda, name))):
    setattr(sys.modules[__name__], _name, on_host(_name))
