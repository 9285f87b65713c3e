"""Numbers and tables for a kernel, all in one array.

Numba looks at each argument of a kernel before it starts: at its type, and at the number or the address in it. For
thirty of them that takes longer than the arithmetic of a small layer, as none of them is in a cache: since the same
kernel's call before, the others went over megabytes. But most are the same in every call. So ``packed`` writes these
one behind the other once, and the kernel takes them apart again:

    start and length of each part, the numbers (part 0), table 1, table 2, ...
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from .simd import INT64, address


def packed(numbers, *tables):
    """One array of integers that holds some numbers, and tables with integers."""
    parts = [np.asarray(part, np.int64).ravel() for part in (numbers, *tables)]
    sizes = np.array([part.size for part in parts])
    starts = 2 * len(parts) + np.cumsum(sizes) - sizes
    return np.concatenate([np.stack([starts, sizes], axis=1).ravel(), *parts])


@intrinsic(prefer_literal=True)
def numbers_of(typing, array, first, count):
    """``count`` of the numbers in a ``packed`` array, from the ``first`` on, as a tuple."""
    result = types.UniTuple(types.int64, count.literal_value)

    def codegen(context, builder, signature, args):
        start = builder.add(_load(context, builder, array, args[0], ir.Constant(INT64, 0)),
                            ir.Constant(INT64, first.literal_value))
        values = [_load(context, builder, array, args[0], builder.add(start, ir.Constant(INT64, i)))
                  for i in range(count.literal_value)]
        return context.make_tuple(builder, result, values)

    return result(array, first, count), codegen


@intrinsic(prefer_literal=True)
def table_of(typing, array, number):
    """That table in a ``packed`` array, the first being 1; a view, like ``array[start:start + size]``.

    (A slice would do as well, but where no references are counted a function cannot return one.)
    """
    def codegen(context, builder, signature, args):
        from numba.np.arrayobj import make_array, populate_array  # who finds everything compiled starts without

        start, size = (_load(context, builder, array, args[0], ir.Constant(INT64, 2 * number.literal_value + i))
                       for i in (0, 1))
        view = make_array(array)(context, builder)
        populate_array(view, address(context, builder, array, args[0], start), [size], [ir.Constant(INT64, 8)],
                       ir.Constant(INT64, 8), None)
        return view._getvalue()

    return array(array, number), codegen


def _load(context, builder, array, value, index):
    return builder.load(address(context, builder, array, value, index))
