"""Vectors and register tiles for Numba: the few instructions that a compiler does not find by itself.

A processor's vector register holds several numbers, its vector units do the same thing to all of them at once, and
a multiply-add of two vectors is the fastest arithmetic there is. To keep those units busy, numbers must stay in
registers: loading costs as much as computing. That is what a **tile** is for: ``rows`` x ``vectors`` registers that
hold a small block of the result while the sum runs, so that each number loaded is used many times:

    tile[r, :] += x[r] * w[:]          for every row r: one number of x, times one row of w

This is a rank-1 update (an outer product). It loads ``rows + vectors`` values for ``rows * vectors`` multiply-adds.

LLVM, the compiler behind Numba, knows vectors as a type (``<16 x float>``) but Numba does not show it. So this file
gives Numba one more type, ``Vector``; a tile is a tuple of them, and LLVM keeps tuples in registers. Each function
below is an *intrinsic*: it writes LLVM instructions directly, by means of an IR builder. ``rows`` and ``vectors`` must
be compile-time constants; the loops over them run while compiling and leave straight code behind.

None of these functions checks an index. That is the caller's task.
"""

from __future__ import annotations

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import cgutils, config, types
from numba.extending import intrinsic, models, register_model

INT64 = ir.IntType(64)
INT32 = ir.IntType(32)


def _host():
    """Bits in a vector register, and the number of such registers, of the processor that Numba compiles for."""
    listed = config.CPU_FEATURES
    if listed is None:
        features = {name for name, present in llvm.get_host_cpu_features().items() if present}
    else:
        features = {name[1:] for name in listed.split(",") if name.startswith("+")}
    if "avx512f" in features:
        return 512, 32
    if "avx2" in features or "avx" in features:
        return 256, 16
    if llvm.get_process_triple().startswith(("aarch64", "arm64")):
        return 128, 32
    return 128, 16


BITS, REGISTERS = _host()

#: Vectors in a full panel of output channels, and for each number of vectors the rows of the tile that goes with it:
#: as many as registers (those of the tile, of one row of w, and one for x) and addresses (one for each row) allow.
PANEL = 4 if REGISTERS == 32 else 2
ROWS = (8, 10, 7, 6) if REGISTERS == 32 else (8, 6)


def lanes(dtype):
    """Numbers of this NumPy type in one vector."""
    return BITS // 8 // dtype.itemsize


class Vector(types.Type):
    """Numba's view of one vector register: ``count`` numbers of a type."""

    def __init__(self, dtype):
        self.dtype = dtype
        self.count = BITS // dtype.bitwidth
        super().__init__(name=f"Vector({dtype}, {self.count})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, vector):
        number = manager.lookup(vector.dtype).get_value_type()
        super().__init__(manager, vector, ir.VectorType(number, vector.count))


@intrinsic(prefer_literal=True)
def tile_of(typing, bias, at, rows, vectors):
    """A tile whose rows are all ``bias[at : at + vectors * lanes]``."""
    tile = types.UniTuple(Vector(bias.dtype), rows.literal_value * vectors.literal_value)

    def codegen(context, builder, signature, args):
        model = _Model(context, builder, tile)
        row = model.load_vectors(_address(context, builder, bias, args[0], args[1]), vectors.literal_value)
        return model.pack(row * rows.literal_value)

    return tile(bias, types.intp, rows, vectors), codegen


@intrinsic(prefer_literal=True)
def offsets(typing, table, base, first, last, rows):
    """``rows`` offsets, ``base + table[first], base + table[first + 1], ...``; behind ``last`` the last one repeats.

    So a tile that sticks out computes its last row several times over, and stores the same numbers several times.
    """
    result = types.UniTuple(types.intp, rows.literal_value)

    def codegen(context, builder, signature, args):
        array, base, first, last, _ = args
        values = []
        for r in range(rows.literal_value):
            index = builder.add(first, ir.Constant(INT64, r))
            index = builder.select(builder.icmp_signed("<", index, last), index, last)
            values.append(builder.add(base, builder.load(_address(context, builder, table, array, index))))
        return context.make_tuple(builder, result, values)

    return result(table, types.intp, types.intp, types.intp, rows), codegen


@intrinsic
def tile_add_outer(typing, tile, x, rows, step, k, w, at):
    """``tile[r, :] += x[rows[r] + step[k]] * w[at : at + vectors * lanes]`` for every row r."""
    def codegen(context, builder, signature, args):
        acc, x_array, offset, step_array, k_value, w_array, at_value = args
        step_value = builder.load(_address(context, builder, step, step_array, k_value))
        model = _Model(context, builder, tile)
        count, vectors = len(rows), len(tile) // len(rows)
        weights = model.load_vectors(_address(context, builder, w, w_array, at_value), vectors)
        # fmuladd, not fma: where there is no such instruction the latter becomes a call of a library
        multiply_add = model.function("llvm.fmuladd", 3)
        start = _address(context, builder, x, x_array, step_value)
        sums = []
        for r in range(count):
            number = builder.load(builder.gep(start, [builder.extract_value(offset, r)]))
            factor = model.broadcast(number)
            for v in range(vectors):
                sums.append(builder.call(multiply_add, [factor, weights[v], builder.extract_value(acc, len(sums))]))
        return model.pack(sums)

    return tile(tile, x, rows, step, types.intp, w, types.intp), codegen


@intrinsic
def tile_relu(typing, tile):
    """``max(tile, 0)``, NaN staying NaN."""
    def codegen(context, builder, signature, args):
        model = _Model(context, builder, tile)
        zero = ir.Constant(model.vector, None)
        values = [builder.extract_value(args[0], i) for i in range(len(tile))]
        return model.pack([builder.select(builder.fcmp_ordered("<", v, zero), zero, v) for v in values])

    return tile(tile), codegen


@intrinsic
def tile_positive(typing, tile, signs):
    """``tile`` where ``signs > 0``, else 0: what relu lets through of a gradient."""
    def codegen(context, builder, signature, args):
        model = _Model(context, builder, tile)
        zero = ir.Constant(model.vector, None)
        pairs = [[builder.extract_value(arg, i) for arg in args] for i in range(len(tile))]
        return model.pack([builder.select(builder.fcmp_ordered(">", s, zero), v, zero) for v, s in pairs])

    return tile(tile, tile), codegen


@intrinsic
def tile_plus(typing, tile, other):
    """``tile + other``."""
    def codegen(context, builder, signature, args):
        pairs = [[builder.extract_value(arg, i) for arg in args] for i in range(len(tile))]
        return _Model(context, builder, tile).pack([builder.fadd(a, b) for a, b in pairs])

    return tile(tile, tile), codegen


@intrinsic(prefer_literal=True)
def tile_load(typing, y, rows, width, vectors):
    """A tile whose row r is ``y[rows[r] : rows[r] + width]``; width ends inside the last vector, lanes behind are 0."""
    vectors_count = vectors.literal_value
    tile = types.UniTuple(Vector(y.dtype), len(rows) * vectors_count)

    def codegen(context, builder, signature, args):
        model = _Model(context, builder, tile)
        mask = model.mask_of_last(args[2], vectors_count)
        values = []
        for r in range(len(rows)):
            start = _address(context, builder, y, args[0], builder.extract_value(args[1], r))
            values += model.load_vectors(start, vectors_count - 1)
            values.append(model.load_masked(start, vectors_count - 1, mask))
        return model.pack(values)

    return tile(y, rows, types.intp, vectors), codegen


@intrinsic
def tile_store(typing, tile, y, rows, width):
    """``y[rows[r] : rows[r] + width] = tile[r, :width]`` for every row r; width ends inside the last vector."""
    def codegen(context, builder, signature, args):
        model = _Model(context, builder, tile)
        vectors = len(tile) // len(rows)
        full = builder.icmp_signed("==", args[3], ir.Constant(INT64, vectors * model.count))
        starts = [_address(context, builder, y, args[1], builder.extract_value(args[2], r)) for r in range(len(rows))]
        values = [builder.extract_value(args[0], i) for i in range(len(tile))]
        for r, start in enumerate(starts):
            for v in range(vectors - 1):
                model.store(values[r * vectors + v], start, v)
        # a masked store is slow on some processors, so it is kept for the panels that need it
        with builder.if_else(full) as (whole, ragged):
            with whole:
                for r, start in enumerate(starts):
                    model.store(values[(r + 1) * vectors - 1], start, vectors - 1)
            with ragged:
                mask = model.mask_of_last(args[3], vectors)
                for r, start in enumerate(starts):
                    model.store_masked(values[(r + 1) * vectors - 1], start, vectors - 1, mask)
        return context.get_dummy_value()

    return types.void(tile, y, rows, types.intp), codegen


class _Model:
    """LLVM's side of a tile: how its vectors are loaded, stored and called with."""

    def __init__(self, context, builder, tile):
        self.context, self.builder, self.tile = context, builder, tile
        self.vector = context.get_value_type(tile.dtype)
        self.count = tile.dtype.count
        self.bytes = tile.dtype.dtype.bitwidth // 8
        self.mask = ir.VectorType(ir.IntType(1), self.count)

    def pack(self, vectors):
        return self.context.make_tuple(self.builder, self.tile, vectors)

    def pointer(self, start, index):
        start = self.builder.gep(start, [ir.Constant(INT64, index * self.count)])
        return self.builder.bitcast(start, self.vector.as_pointer())

    def load_vectors(self, start, number):
        return [self.builder.load(self.pointer(start, v), align=self.bytes) for v in range(number)]

    def store(self, value, start, index):
        self.builder.store(value, self.pointer(start, index), align=self.bytes)

    def broadcast(self, number):
        undefined, first = ir.Constant(self.vector, ir.Undefined), ir.Constant(INT32, 0)
        alone = self.builder.insert_element(undefined, number, first)
        return self.builder.shuffle_vector(alone, undefined, ir.Constant(ir.VectorType(INT32, self.count), None))

    def mask_of_last(self, width, vectors):
        """Which lanes of the last of so many vectors lie below ``width``."""
        left = self.builder.sub(width, ir.Constant(INT64, (vectors - 1) * self.count))
        kind = ir.VectorType(INT64, self.count)
        undefined = ir.Constant(kind, ir.Undefined)
        alone = self.builder.insert_element(undefined, left, ir.Constant(INT32, 0))
        limit = self.builder.shuffle_vector(alone, undefined, ir.Constant(ir.VectorType(INT32, self.count), None))
        return self.builder.icmp_signed("<", ir.Constant(kind, list(range(self.count))), limit)

    def load_masked(self, start, index, mask):
        pointer = self.pointer(start, index)
        kinds = [pointer.type, INT32, self.mask, self.vector]
        load = self._declare("llvm.masked.load", self.vector, kinds)
        zero = ir.Constant(self.vector, None)
        return self.builder.call(load, [pointer, ir.Constant(INT32, self.bytes), mask, zero])

    def store_masked(self, value, start, index, mask):
        pointer = self.pointer(start, index)
        kinds = [self.vector, pointer.type, INT32, self.mask]
        store = self._declare("llvm.masked.store", ir.VoidType(), kinds)
        self.builder.call(store, [value, pointer, ir.Constant(INT32, self.bytes), mask])

    def function(self, name, arguments):
        return self._declare(name, self.vector, [self.vector] * arguments, pointer=False)

    def _declare(self, name, result, arguments, pointer=True):
        suffix = f".v{self.count}f{8 * self.bytes}" + (".p0" if pointer else "")
        kind = ir.FunctionType(result, arguments)
        return cgutils.get_or_insert_function(self.builder.module, kind, name + suffix)


def _address(context, builder, kind, array, index):
    """Address of ``array[index]``, in a flat array of Numba type ``kind``."""
    return builder.gep(context.make_array(kind)(context, builder, array).data, [index])
