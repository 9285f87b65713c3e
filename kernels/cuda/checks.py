"""The argument checks of ``kernels/checks.py`` for arrays on the device: same rules, same messages, another array.

Nothing is read back from the device: of integer arrays the bounds are known (``DeviceArray.bounds``).
"""

from .. import checks as of_numpy
from . import arrays

checks = of_numpy.variant(
    ARRAY=arrays.DeviceArray,
    ARRAY_NAME="an array on the device (from kernels.cuda.asarray)",
    laid_out=lambda value, dtype=None: value,
    extremes=arrays.bounds,
    is_writeable=lambda value: True,
)
