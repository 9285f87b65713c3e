"""Lanes that go different ways: masks, the bits of an integer, and picks.

A comparison of two tiles gives a mask, a tile of truth values: ``tile_where`` takes numbers from one of two tiles by
it, and ``bits_of`` makes an integer of it, whose bits a loop can take off one by one. Where there are four numbers to
choose from, a processor may have an instruction that lets every lane pick one: that is ``tile_add_picked``.

Intrinsics like those in ``simd.py``, which tells what a tile is.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from .simd import BITS, INT32, INT64, Model, Vector, address, elementwise


def _mask(tile):
    """The type of a mask for a tile."""
    return types.UniTuple(Vector(types.boolean, tile.dtype.count), len(tile))


@intrinsic
def tile_exceeds(typing, tile, other):
    """Where ``tile`` beats ``other`` in a search for the maximum: it is larger, or the first NaN."""
    mask = _mask(tile)

    @elementwise(mask, tile, other)
    def codegen(builder, model, a, b):
        # "not <=" is true of NaN too, and what holds a NaN already is not equal to itself and keeps it
        return builder.and_(builder.fcmp_unordered(">", a, b), builder.fcmp_ordered("==", b, b))

    return mask(tile, other), codegen


@intrinsic
def tile_above(typing, tile, other):
    """Where ``tile > other``; nowhere that one of them is NaN."""
    mask = _mask(tile)

    @elementwise(mask, tile, other)
    def codegen(builder, model, a, b):
        return builder.fcmp_ordered(">", a, b)

    return mask(tile, other), codegen


@intrinsic
def tile_has_nan(typing, tile):
    """Whether there is a NaN in a tile. (Two infinities that differ in sign make one on the way.)"""
    def codegen(context, builder, signature, args):
        vectors = [builder.extract_value(args[0], i) for i in range(len(tile))]
        while len(vectors) > 1:
            vectors = [builder.fadd(*pair) for pair in zip(vectors[::2], vectors[1::2])] + vectors[len(vectors) & ~1:]
        lanes = builder.fcmp_unordered("uno", vectors[0], vectors[0])
        bits = builder.bitcast(lanes, ir.IntType(lanes.type.count))
        return builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))

    return types.boolean(tile), codegen


@intrinsic
def tile_equals(typing, tile, number):
    """Where ``tile``, of integers, equals a number."""
    mask = _mask(tile)

    @elementwise(mask, tile)
    def codegen(builder, model, a, value):
        value = builder.trunc(value, a.type.element)
        return builder.icmp_signed("==", a, model.broadcast(value, a.type))

    return mask(tile, types.intp), codegen


@intrinsic
def tile_above_zero(typing, tile):
    """Where ``tile > 0``."""
    return _against_zero(tile, "fcmp_ordered", ">")


@intrinsic
def tile_not_zero(typing, tile):
    """Where ``tile`` is anything but 0, NaN included."""
    return _against_zero(tile, "fcmp_unordered", "!=")


def _against_zero(tile, compare, operator):
    mask = _mask(tile)

    @elementwise(mask, tile)
    def codegen(builder, model, a):
        return getattr(builder, compare)(operator, a, ir.Constant(a.type, None))

    return mask(tile), codegen


@intrinsic
def tile_where(typing, mask, tile, other):
    """``tile`` where ``mask``, else ``other``."""
    @elementwise(tile, mask, tile, other)
    def codegen(builder, model, which, a, b):
        return builder.select(which, a, b)

    return tile(mask, tile, other), codegen


@intrinsic
def tile_counters(typing, like):
    """A tile of integers, as wide as the numbers of ``like``, all of them 0."""
    tile = types.UniTuple(Vector(types.Integer.from_bitwidth(like.dtype.dtype.bitwidth), like.dtype.count), len(like))

    def codegen(context, builder, signature, args):
        model = Model(context, builder, tile)
        return model.pack([ir.Constant(model.vector, None)] * len(tile))

    return tile(like), codegen


@intrinsic
def tile_advance(typing, tile, mask, number):
    """``number`` where ``mask``, else ``tile``, in which no number is larger than that.

    Masks are as wide as numbers where they have no registers of their own, and then this takes two instructions.
    """
    @elementwise(tile, tile, mask)
    def codegen(builder, model, a, which, value):
        value = builder.trunc(value, a.type.element)
        advanced = builder.select(which, model.broadcast(value), ir.Constant(model.vector, None))
        return builder.select(builder.icmp_signed(">", advanced, a), advanced, a)

    return tile(tile, mask, types.intp), codegen


@intrinsic
def tile_narrow(typing, tile, array):
    """A tile of whole numbers, be they integers or not, in the array's type of integers, which is not wider."""
    narrow = types.UniTuple(Vector(array.dtype, tile.dtype.count), len(tile))
    whole = isinstance(tile.dtype.dtype, types.Integer)

    @elementwise(narrow, tile)
    def codegen(builder, model, a, _):
        a = a if whole else builder.fptosi(a, ir.VectorType(INT32, model.count))
        return a if a.type == model.vector else builder.trunc(a, model.vector)

    return narrow(tile, array), codegen


@intrinsic
def bits_of(typing, mask):
    """The lanes of a mask of one vector as the bits of an integer, the first lane the lowest."""
    def codegen(context, builder, signature, args):
        lanes = builder.extract_value(args[0], 0)
        return builder.zext(builder.bitcast(lanes, ir.IntType(lanes.type.count)), INT64)

    return types.int64(mask), codegen


@intrinsic
def lowest_bit(typing, bits):
    """The number of the lowest bit that is set."""
    def codegen(context, builder, signature, args):
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), codegen


@intrinsic
def tile_interleave(typing, tile):
    """A tile of four vectors with their numbers in turn: the first of each, then the second of each, and so on."""
    def codegen(context, builder, signature, args):
        model = Model(context, builder, tile)
        lanes, half = model.count, model.count // 2
        orders = [[first + lane // 2 + lane % 2 * lanes for lane in range(lanes)] for first in (0, half)]
        orders = [ir.Constant(ir.VectorType(INT32, lanes), order) for order in orders]

        def in_turn(some, others):
            return [builder.shuffle_vector(*pair, order) for pair in zip(some, others) for order in orders]

        a, b, c, d = ([builder.extract_value(args[0], i)] for i in range(4))
        return model.pack(in_turn(in_turn(a, c), in_turn(b, d)))

    return tile(tile), codegen


@intrinsic
def tile_add_picked(typing, tile, four, rows, at, factors, which, panel):
    """``tile[r, l] += factors[panel + l] * four[rows[r] + at + which[panel + l]]``, with ``which`` below 4.

    Only for processors with such an instruction (``simd.PICKS``).
    """
    def codegen(context, builder, signature, args):
        acc, four_array, offsets, at_value, factors_array, which_array, panel_value = args
        places = types.UniTuple(Vector(which.dtype, tile.dtype.count), len(tile) // len(rows))
        model, narrow, vectors = Model(context, builder, tile), Model(context, builder, places), len(places)
        start = address(context, builder, factors, factors_array, panel_value)
        scales = [model.load(start, v) for v in range(vectors)]
        start = address(context, builder, which, which_array, panel_value)
        choices = [_choice(model, narrow.load(start, v)) for v in range(vectors)]
        start = address(context, builder, four, four_array, at_value)
        multiply_add, sums = model.function("llvm.fmuladd", 3), []
        quartet = ir.VectorType(model.vector.element, 4)
        repeated = ir.Constant(ir.VectorType(INT32, model.count), [lane % 4 for lane in range(model.count)])
        for r in range(len(rows)):
            place = builder.gep(start, [builder.extract_value(offsets, r)])
            numbers = builder.load(builder.bitcast(place, quartet.as_pointer()), align=model.bytes)
            numbers = builder.shuffle_vector(numbers, ir.Constant(quartet, ir.Undefined), repeated)
            for v in range(vectors):
                picked = _pick(model, numbers, choices[v])
                sums.append(builder.call(multiply_add, [picked, scales[v], builder.extract_value(acc, len(sums))]))
        return model.pack(sums)

    return tile(tile, four, rows, types.intp, factors, which, types.intp), codegen


def _choice(model, which):
    """The second argument of ``_pick``, from a vector of small integers."""
    builder, bits = model.builder, 8 * model.bytes
    wide = builder.zext(which, ir.VectorType(ir.IntType(bits), model.count))
    if bits == 32 or BITS == 512:
        return wide
    # no such instruction for these numbers: it picks both halves of each, 2 i and 2 i + 1
    one, shift = (ir.Constant(wide.type, [number] * model.count) for number in (1, 32))
    first = builder.shl(wide, one)
    both = builder.or_(first, builder.shl(builder.or_(first, one), shift))
    return builder.bitcast(both, ir.VectorType(INT32, 2 * model.count))


def _pick(model, numbers, choice):
    """In each lane that of four numbers, which repeat from lane to lane, that is chosen."""
    builder, single, double = model.builder, ir.FloatType(), ir.DoubleType()
    name, kind = {
        (512, 4): ("llvm.x86.avx512.vpermilvar.ps.512", single), (256, 4): ("llvm.x86.avx.vpermilvar.ps.256", single),
        (512, 8): ("llvm.x86.avx512.permvar.df.512", double), (256, 8): ("llvm.x86.avx2.permps", single),
    }[BITS, model.bytes]
    vector = ir.VectorType(kind, choice.type.count)
    pick = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector, choice.type]), name)
    return builder.bitcast(builder.call(pick, [builder.bitcast(numbers, vector), choice]), model.vector)
