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
    """Of the processor that Numba compiles for: bits in a vector register, the number of such registers, and whether
    an instruction lets every lane pick one of four numbers."""
    listed = config.CPU_FEATURES
    if listed is None:
        features = {name for name, present in llvm.get_host_cpu_features().items() if present}
    else:
        features = {name[1:] for name in listed.split(",") if name.startswith("+")}
    if "avx512f" in features:
        return 512, 32, True
    if "avx2" in features or "avx" in features:
        return 256, 16, "avx2" in features
    if llvm.get_process_triple().startswith(("aarch64", "arm64")):
        return 128, 32, False
    return 128, 16, False


BITS, REGISTERS, PICKS = _host()

#: Vectors side by side in the widest tile, and for each width the rows of the tile that goes with it: as many as the
#: registers (for the tile, a row of w, and a number of x) and the addresses of the rows of x allow.
PANEL = 4 if REGISTERS == 32 else 2
ROWS = {1: 8, 2: 8, 4: 6} if REGISTERS == 32 else {1: 8, 2: 6}


def lanes(dtype):
    """Numbers of this NumPy type in one vector."""
    return BITS // 8 // dtype.itemsize


class Vector(types.Type):
    """Numba's view of a vector: ``count`` numbers of a type, by default as many as a register holds."""

    def __init__(self, dtype, count=None):
        self.dtype = dtype
        self.count = count or BITS // dtype.bitwidth
        super().__init__(name=f"Vector({dtype}, {self.count})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, vector):
        number = ir.IntType(1) if vector.dtype == types.boolean else manager.lookup(vector.dtype).get_value_type()
        super().__init__(manager, vector, ir.VectorType(number, vector.count))


@intrinsic
def whole(typing, array):
    """How many numbers of the array's type a vector has: a constant, where ``lanes`` is a number handed from Python.

    A load or store of so many needs no test whether a part is meant.
    """
    def codegen(context, builder, signature, args):
        return ir.Constant(INT64, Vector(array.dtype).count)

    return types.intp(array), codegen


@intrinsic(prefer_literal=True)
def tile_of(typing, bias, at, rows, vectors):
    """A tile whose rows are all ``bias[at : at + vectors * lanes]``."""
    tile = types.UniTuple(Vector(bias.dtype), rows.literal_value * vectors.literal_value)

    def codegen(context, builder, signature, args):
        model = Model(context, builder, tile)
        start = address(context, builder, bias, args[0], args[1])
        row = [model.load(start, v) for v in range(vectors.literal_value)]
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
            values.append(builder.add(base, builder.load(address(context, builder, table, array, index))))
        return context.make_tuple(builder, result, values)

    return result(table, types.intp, types.intp, types.intp, rows), codegen


@intrinsic
def offsets_beside(typing, table, base, first, near):
    """One offset for each of ``near``: ``base + table[first + near[0]], base + table[first + near[1]], ...``."""
    def codegen(context, builder, signature, args):
        array, base, first, near_values = args
        places = [builder.add(first, builder.extract_value(near_values, i)) for i in range(len(near))]
        values = [builder.add(base, builder.load(address(context, builder, table, array, at))) for at in places]
        return context.make_tuple(builder, near, values)

    return near(table, types.intp, types.intp, near), codegen


@intrinsic(prefer_literal=True)
def spaced(typing, start, step, count, rows):
    """``rows`` offsets ``start, start + step, ...``, of which only ``count`` differ: the last of these repeats."""
    result = types.UniTuple(types.intp, rows.literal_value)

    def codegen(context, builder, signature, args):
        return context.make_tuple(builder, result, _spaced(builder, *args[:3], rows.literal_value))

    return result(types.intp, types.intp, types.intp, rows), codegen


def _spaced(builder, start, step, count, rows):
    values = [start]
    for r in range(1, rows):
        within = builder.icmp_signed("<", ir.Constant(INT64, r), count)
        values.append(builder.select(within, builder.add(values[-1], step), values[-1]))
    return values


@intrinsic
def shifted(typing, rows, by):
    """Every offset plus ``by``."""
    def codegen(context, builder, signature, args):
        values = [builder.add(builder.extract_value(args[0], r), args[1]) for r in range(len(rows))]
        return context.make_tuple(builder, rows, values)

    return rows(rows, types.intp), codegen


@intrinsic
def tile_add_outer(typing, tile, x, rows, step, k, w, at):
    """``tile[r, :] += x[rows[r] + step[k]] * w[at : at + vectors * lanes]`` for every row r."""
    def codegen(context, builder, signature, args):
        acc, x_array, offset, step_array, k_value, w_array, at_value = args
        step_value = builder.load(address(context, builder, step, step_array, k_value))
        model = Model(context, builder, tile)
        count, vectors = len(rows), len(tile) // len(rows)
        w_start = address(context, builder, w, w_array, at_value)
        weights = [model.load(w_start, v) for v in range(vectors)]
        # fmuladd, not fma: where there is no such instruction the latter becomes a call of a library
        multiply_add = model.function("llvm.fmuladd", 3)
        start = context.make_array(x)(context, builder, x_array).data
        sums = []
        for r in range(count):
            # where a row starts does not depend on k, so loops over k keep these addresses in registers
            row = builder.gep(start, [builder.extract_value(offset, r)])
            factor = model.broadcast(builder.load(builder.gep(row, [step_value])))
            for v in range(vectors):
                sums.append(builder.call(multiply_add, [factor, weights[v], builder.extract_value(acc, len(sums))]))
        return model.pack(sums)

    return tile(tile, x, rows, step, types.intp, w, types.intp), codegen


@intrinsic
def tile_add_scaled(typing, tile, factors, i, x, at):
    """``tile += factors[i] * x[at :][: vectors * lanes]``, for a tile of one row."""
    def codegen(context, builder, signature, args):
        model = Model(context, builder, tile)
        factor = builder.load(address(context, builder, factors, args[1], args[2]))
        multiply_add, vector = model.function("llvm.fmuladd", 3), model.broadcast(factor)
        start = address(context, builder, x, args[3], args[4])
        return model.pack([builder.call(multiply_add, [vector, model.load(start, v), builder.extract_value(args[0], v)])
                           for v in range(len(tile))])

    return tile(tile, factors, types.intp, x, types.intp), codegen


@intrinsic
def tile_add_products(typing, tile, x, rows, x_step, w, columns, w_step, k):
    """``tile[r, c] += x[rows[r] + x_step[k] :][:lanes] * w[columns[c] + w_step[k] :][:lanes]``, lane by lane."""
    def codegen(context, builder, signature, args):
        acc, x_array, x_rows, x_steps, w_array, w_rows, w_steps, k_value = args
        model = Model(context, builder, tile)
        multiply_add = model.function("llvm.fmuladd", 3)

        # where a row starts does not depend on k: see tile_add_outer
        def vectors(kind, array, offsets, count, steps, steps_kind):
            step = builder.load(address(context, builder, steps_kind, steps, k_value))
            start = context.make_array(kind)(context, builder, array).data
            starts = [builder.gep(start, [builder.extract_value(offsets, i)]) for i in range(count)]
            return [model.load(builder.gep(start, [step]), 0) for start in starts]

        factors = vectors(w, w_array, w_rows, len(columns), w_steps, w_step)
        sums = []
        for number in vectors(x, x_array, x_rows, len(rows), x_steps, x_step):
            for factor in factors:
                sums.append(builder.call(multiply_add, [number, factor, builder.extract_value(acc, len(sums))]))
        return model.pack(sums)

    return tile(tile, x, rows, x_step, w, columns, w_step, types.intp), codegen


@intrinsic
def tile_store_sums(typing, tile, y, rows):
    """``y[rows[r] + c] = sum_l tile[r, c][l]``: every vector becomes one number.

    In rounds: two vectors become one that holds the sums of pairs, first those of the one, then those of the other.
    After as many rounds as it takes, a vector holds one sum of each of as many vectors as it has lanes.
    """
    def codegen(context, builder, signature, args):
        model = Model(context, builder, tile)
        vectors = [builder.extract_value(args[0], i) for i in range(len(tile))]
        even, odd = (ir.Constant(ir.VectorType(INT32, model.count), [2 * lane + first for lane in range(model.count)])
                     for first in (0, 1))
        for _ in range(model.count.bit_length() - 1):
            vectors += vectors[-1:] * (len(vectors) % 2)
            vectors = [builder.fadd(builder.shuffle_vector(*pair, even), builder.shuffle_vector(*pair, odd))
                       for pair in zip(vectors[::2], vectors[1::2])]
        columns = len(tile) // len(rows)
        for i in range(len(tile)):
            total = builder.extract_element(vectors[i // model.count], ir.Constant(INT32, i % model.count))
            start = address(context, builder, y, args[1], builder.extract_value(args[2], i // columns))
            builder.store(total, builder.gep(start, [ir.Constant(INT64, i % columns)]))
        return context.get_dummy_value()

    return types.void(tile, y, rows), codegen


@intrinsic(prefer_literal=True)
def tile_row(typing, tile, row, vectors):
    """Row ``row`` of a tile, as a tile of one row."""
    count = vectors.literal_value
    result, first = types.UniTuple(tile.dtype, count), row.literal_value * count

    def codegen(context, builder, signature, args):
        return context.make_tuple(builder, result, [builder.extract_value(args[0], first + v) for v in range(count)])

    return result(tile, row, vectors), codegen


def elementwise(result, *tiles):
    """Decorator of a function on LLVM vectors: the same for every vector of the tiles."""
    def decorate(function):
        def codegen(context, builder, signature, args):
            model = Model(context, builder, result)
            vectors = [[builder.extract_value(arg, i) for arg in args[:len(tiles)]] for i in range(len(result))]
            return model.pack([function(builder, model, *values, *args[len(tiles):]) for values in vectors])

        return codegen

    return decorate


@intrinsic
def tile_zeros(typing, array):
    """A tile of one vector of zeros of the array's type."""
    tile = types.UniTuple(Vector(array.dtype), 1)

    def codegen(context, builder, signature, args):
        model = Model(context, builder, tile)
        return model.pack([ir.Constant(model.vector, None)])

    return tile(array), codegen


@intrinsic
def tile_plus(typing, tile, other):
    """``tile + other``."""
    add = "add" if isinstance(tile.dtype.dtype, types.Integer) else "fadd"

    @elementwise(tile, tile, other)
    def codegen(builder, model, a, b):
        return getattr(builder, add)(a, b)

    return tile(tile, other), codegen


@intrinsic
def tile_times(typing, tile, number):
    """``tile * number``."""
    @elementwise(tile, tile)
    def codegen(builder, model, a, factor):
        return builder.fmul(a, model.broadcast(factor))

    return tile(tile, tile.dtype.dtype), codegen


@intrinsic
def tile_relu(typing, tile):
    """``max(tile, 0)``, NaN staying NaN."""
    @elementwise(tile, tile)
    def codegen(builder, model, a):
        zero = ir.Constant(model.vector, None)
        return builder.select(builder.fcmp_ordered("<", a, zero), zero, a)

    return tile(tile), codegen


@intrinsic
def tile_positive(typing, tile, signs):
    """``tile`` where ``signs > 0``, else 0: what relu lets through of a gradient."""
    @elementwise(tile, tile, signs)
    def codegen(builder, model, a, sign):
        zero = ir.Constant(model.vector, None)
        return builder.select(builder.fcmp_ordered(">", sign, zero), a, zero)

    return tile(tile, signs), codegen


@intrinsic
def tile_all(typing, array, number, like):
    """A tile of numbers of the array's type, as many as ``like`` has, all of them ``number``, an integer."""
    tile = types.UniTuple(Vector(array.dtype, like.dtype.count), len(like))

    def codegen(context, builder, signature, args):
        model = Model(context, builder, tile)
        value = context.cast(builder, args[1], types.intp, array.dtype)
        return model.pack([model.broadcast(value)] * len(tile))

    return tile(array, types.intp, like), codegen


@intrinsic(prefer_literal=True)
def spaced_square(typing, array, start, step, count):
    """``spaced`` offsets for as many rows as a vector of the array's type has lanes."""
    rows = Vector(array.dtype).count
    result = types.UniTuple(types.intp, rows)

    def codegen(context, builder, signature, args):
        return context.make_tuple(builder, result, _spaced(builder, *args[1:], rows))

    return result(array, types.intp, types.intp, types.intp), codegen


@intrinsic(prefer_literal=True)
def tile_load(typing, y, rows, width, vectors):
    """A tile whose row r is ``y[rows[r] : rows[r] + width]``; lanes behind width are 0.

    Of several vectors, width must fill the first half.
    """
    return _tile_load(y, rows, vectors, vectors.literal_value, Vector(y.dtype))


@intrinsic
def tile_load_like(typing, y, rows, width, like):
    """``tile_load`` of numbers of another type, but as many as ``like`` has in a row."""
    return _tile_load(y, rows, like, len(like) // len(rows), Vector(y.dtype, like.dtype.count))


def _tile_load(y, rows, vectors, count, vector):
    tile = types.UniTuple(vector, len(rows) * count)

    def codegen(context, builder, signature, args):
        model = Model(context, builder, tile)
        starts = [address(context, builder, y, args[0], builder.extract_value(args[1], r)) for r in range(len(rows))]
        places = [(start, v) for start in starts for v in range(count)]
        full = builder.icmp_signed("==", args[2], ir.Constant(INT64, count * model.count))
        # masked loads and stores are slow on some processors, so they are kept for the panels that need them
        with builder.if_else(full) as (whole, ragged):
            with whole:
                loaded = [model.load(*place) for place in places]
                whole_block = builder.block
            with ragged:
                masks = model.masks(args[2], count)
                masked = [model.load_masked(start, v, masks[v]) if v in masks else model.load(start, v)
                          for start, v in places]
                ragged_block = builder.block
        values = []
        for pair in zip(loaded, masked):
            value = builder.phi(model.vector)
            value.add_incoming(pair[0], whole_block)
            value.add_incoming(pair[1], ragged_block)
            values.append(value)
        return model.pack(values)

    return tile(y, rows, types.intp, vectors), codegen


@intrinsic
def tile_transpose(typing, tile):
    """A square tile, one vector wide and as high, with its rows as columns.

    In rounds of exchanges: of 1x1 blocks within 2x2 blocks, then 2x2 within 4x4, and so on.
    """
    def codegen(context, builder, signature, args):
        model = Model(context, builder, tile)
        rows = [builder.extract_value(args[0], r) for r in range(len(tile))]
        size = 1
        while size < len(rows):
            for low in (r for r in range(len(rows)) if not r & size):
                high = low + size
                upper = [lane if not lane & size else lane - size + len(rows) for lane in range(len(rows))]
                lower = [lane + size if not lane & size else lane + len(rows) for lane in range(len(rows))]
                pair = rows[low], rows[high]
                for row, lane in ((low, upper), (high, lower)):
                    order = ir.Constant(ir.VectorType(INT32, len(rows)), lane)
                    rows[row] = builder.shuffle_vector(*pair, order)
            size *= 2
        return model.pack(rows)

    return tile(tile), codegen


@intrinsic
def tile_store(typing, tile, y, rows, width):
    """``y[rows[r] : rows[r] + width] = tile[r, :width]`` for every row r; width as in ``tile_load``."""
    def codegen(context, builder, signature, args):
        model = Model(context, builder, tile)
        vectors = len(tile) // len(rows)
        full = builder.icmp_signed("==", args[3], ir.Constant(INT64, vectors * model.count))
        starts = [address(context, builder, y, args[1], builder.extract_value(args[2], r)) for r in range(len(rows))]
        values = [builder.extract_value(args[0], i) for i in range(len(tile))]
        with builder.if_else(full) as (whole, ragged):  # as in tile_load
            with whole:
                for i, value in enumerate(values):
                    model.store(value, starts[i // vectors], i % vectors)
            with ragged:
                masks = model.masks(args[3], vectors)
                for i, value in enumerate(values):
                    v = i % vectors
                    if v in masks:
                        model.store_masked(value, starts[i // vectors], v, masks[v])
                    else:
                        model.store(value, starts[i // vectors], v)
        return context.get_dummy_value()

    return types.void(tile, y, rows, types.intp), codegen


class Model:
    """LLVM's side of a tile: how its vectors are made, loaded and stored."""

    def __init__(self, context, builder, tile):
        self.context, self.builder, self.tile = context, builder, tile
        self.vector = context.get_value_type(tile.dtype)
        self.count = tile.dtype.count
        self.bytes = 1 if tile.dtype.dtype == types.boolean else tile.dtype.dtype.bitwidth // 8
        self.mask = ir.VectorType(ir.IntType(1), self.count)

    def pack(self, vectors):
        return self.context.make_tuple(self.builder, self.tile, vectors)

    def pointer(self, start, index):
        start = self.builder.gep(start, [ir.Constant(INT64, index * self.count)])
        return self.builder.bitcast(start, self.vector.as_pointer())

    def load(self, start, index):
        return self.builder.load(self.pointer(start, index), align=self.bytes)

    def store(self, value, start, index):
        self.builder.store(value, self.pointer(start, index), align=self.bytes)

    def broadcast(self, number, kind=None):
        kind = kind or self.vector
        undefined = ir.Constant(kind, ir.Undefined)
        alone = self.builder.insert_element(undefined, number, ir.Constant(INT32, 0))
        return self.builder.shuffle_vector(alone, undefined, ir.Constant(ir.VectorType(INT32, kind.count), None))

    def masks(self, width, vectors):
        """Of so many vectors, those that ``width`` may end in or before, each with the lanes that lie below it."""
        lane = ir.Constant(ir.VectorType(INT32, self.count), list(range(self.count)))
        found = {}
        for v in range(vectors // 2, vectors):
            left = self.builder.trunc(self.builder.sub(width, ir.Constant(INT64, v * self.count)), INT32)
            found[v] = self.builder.icmp_signed("<", lane, self.broadcast(left, lane.type))
        return found

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
        return self._declare(name, self.vector, [self.vector] * arguments, pointer="")

    def _declare(self, name, result, arguments, pointer=".p0"):
        letter = "i" if isinstance(self.vector.element, ir.IntType) else "f"
        suffix = f".v{self.count}{letter}{8 * self.bytes}{pointer}"
        return cgutils.get_or_insert_function(self.builder.module, ir.FunctionType(result, arguments), name + suffix)


def address(context, builder, kind, array, index):
    """Address of ``array[index]``, in a flat array of Numba type ``kind``."""
    return builder.gep(context.make_array(kind)(context, builder, array).data, [index])
