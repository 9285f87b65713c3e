"""The argument checks of ``kernels/checks.py`` for arrays on the device: same rules, same messages, another array.

The module is loaded a second time and told what an array is here. Nothing is read back from the device: of integer
arrays the bounds are known (``DeviceArray.bounds``).
"""

import importlib.util

from . import arrays


def _load():
    specification = importlib.util.find_spec("kernels.checks")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    module.ARRAY = arrays.DeviceArray
    module.ARRAY_NAME = "an array on the device (from kernels.cuda.asarray)"
    module.laid_out = lambda value, dtype=None: value
    module.extremes = arrays.bounds
    module.is_writeable = lambda value: True
    return module


checks = _load()
