"""What the matrix products of convolution and dense layers share: tiles.

Every pass is a product ``out[i, j] = sum_k a[i, k] b[k, j]`` whose left factor is never written out: its elements are
read from the image where they stand (an implicit matrix product: Chetlur et al. 2014, "cuDNN").

A block of threads computes BM x BN outputs. It walks k in steps of BK: together its threads bring BM x BK elements of
``a`` and BK x BN of ``b`` from global into shared memory; then each thread multiplies for its TM x TN outputs, which
stay in its registers until the end. So a number that was fetched from global memory is used BN (or BM) times, and one
that was fetched from shared memory TN (or TM) times. That is the whole art: the arithmetic units can do some fifty
operations in the time in which global memory delivers one number, and about four in that of shared memory.

A thread's rows are not TM neighbours but TM / V groups of V neighbours, spread evenly over the tile, V being what one
load of 128 bits brings; its columns likewise. Then the threads of a warp read side by side, and no two of them want
different words of the same memory bank.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from .device import VECTOR_BYTES, copy_vector, cuda, device_function

uint32 = np.uint32


class Tile(NamedTuple):
    """Outputs of a block (BM x BN), depth of a step (BK, a power of two), outputs of a thread (TM x TN)."""

    BM: int
    BN: int
    BK: int
    TM: int
    TN: int

    @property
    def threads(self):
        """Threads of a block."""
        return (self.BM // self.TM) * (self.BN // self.TN)


LARGE = Tile(128, 64, 8, 8, 8)
TALL = Tile(128, 32, 8, 8, 8)
MEDIUM = Tile(64, 64, 8, 8, 4)
SMALL = Tile(32, 32, 8, 4, 4)

#: How fast a tile is, relative to the first, on a device that is full of them. This and the two numbers below are
#: fitted to what was measured on an H200 as ``sweep.py`` does it.
SPEED = {LARGE: 1.0, TALL: 0.85, MEDIUM: 0.85, SMALL: 0.8}

#: Blocks that it takes to fill a large device.
BLOCKS_WANTED = 384

#: What it costs to add up the parts of a split sum, a second launch: as much as so many multiply-adds.
SPLITTING = 250e6

#: A sum over k is not split into parts shorter than this.
SHORTEST_SUM = 64


class Plan(NamedTuple):
    """How a product is done: ``splits`` partial sums of ``chunk`` terms each, on a grid of ``blocks``."""

    tile: Tile
    splits: int
    chunk: int
    blocks: tuple


@functools.cache
def plan(rows, columns, depth, T, narrow=False):
    """The plan for a product of ``rows`` x ``columns`` outputs, sums of ``depth`` terms.

    ``narrow``: only tiles that are not wider than the block has threads, for a left factor that is loaded element by
    element along its rows.

    A small product gives too few blocks to fill the device. Then the sum can be split, and ``add_parts`` adds up the
    parts: that is another launch, so it must save more. The plan depends on the shape alone, never on the device, so
    the same input gives the same bits everywhere.
    """
    def cost(plan):
        down, across, splits = plan.blocks
        busy = min(1.0, down * across * splits / BLOCKS_WANTED)
        outputs = down * plan.tile.BM * across * plan.tile.BN
        return outputs * depth / (SPEED[plan.tile] * busy) + (SPLITTING if splits > 1 else 0)

    candidates = (MEDIUM, SMALL) if T is np.float64 else SPEED  # 64 sums in float64 would fill all registers
    return min((split(rows, columns, depth, tile, blocks) for tile in candidates
                if not narrow or tile.threads >= tile.BM for blocks in (1, BLOCKS_WANTED)), key=cost)


def split(rows, columns, depth, tile, blocks):
    """The plan for a product with this tile, whose sums are split so that there are about so many blocks."""
    down, across = -(-rows // tile.BM), -(-columns // tile.BN)
    splits = max(1, min(blocks // (down * across), depth // SHORTEST_SUM))
    chunk = -(-depth // (splits * tile.BK)) * tile.BK
    splits = -(-depth // chunk)
    return Plan(tile, splits, chunk, (down, across, splits))


@functools.cache
def multiply(T, tile, a_width, b_width):
    """The innermost loops: ``multiply(a_tile, b_tile, a_at, b_at, a, b, outputs)`` on tiles in shared memory.

    ``a_tile`` holds BK rows of ``a_width`` elements, each row one k of BM rows of the left factor; ``b_tile`` likewise
    BN columns of the right one. ``a_at`` and ``b_at`` say where this thread's first elements stand; ``a`` and ``b`` are
    registers for the TM and TN numbers of the k at hand.
    """
    V = VECTOR_BYTES // np.dtype(T).itemsize
    TM, TN = tile.TM, tile.TN
    A_GROUPS, B_GROUPS = TM // V, TN // V
    A_GROUP, B_GROUP = tile.BM // A_GROUPS, tile.BN // B_GROUPS

    @device_function
    def outer_product(a_tile, b_tile, a_at, b_at, a, b, outputs):
        for group in range(A_GROUPS):
            copy_vector(a, group * V, a_tile, a_at + group * A_GROUP)
        for group in range(B_GROUPS):
            copy_vector(b, group * V, b_tile, b_at + group * B_GROUP)
        for i in range(TM):
            for j in range(TN):
                outputs[i * TN + j] += a[i] * b[j]

    # The loop over k, unrolled: 1, 2, 4, ... of them. Left as a loop, its counter and addresses cost a tenth.
    function, count = outer_product, 1
    while count < tile.BK:
        function, count = _twice(function, count * a_width, count * b_width), 2 * count
    return function


def _twice(function, a_step, b_step):
    @device_function
    def both(a_tile, b_tile, a_at, b_at, a, b, outputs):
        function(a_tile, b_tile, a_at, b_at, a, b, outputs)
        function(a_tile, b_tile, a_at + a_step, b_at + b_step, a, b, outputs)

    return both


@functools.cache
def write_outputs(T, tile, vector):
    """The end: bias and relu in the registers, then ``write_outputs(outputs, out, part, ...)`` to global memory.

    ``row`` and ``column`` are this thread's first output; ``part`` is the number of the partial sum.
    """
    V = VECTOR_BYTES // np.dtype(T).itemsize
    TM, TN = tile.TM, tile.TN
    ROW_GROUP, COLUMN_GROUP = tile.BM // (TM // V), tile.BN // (TN // V)
    zero = T(0)

    @device_function
    def write_outputs(outputs, out, part, row, column, rows, columns, b, has_bias, relu):
        if has_bias:
            for j in range(TN):
                this_column = uint32(column + j // V * COLUMN_GROUP + j % V)
                if this_column < columns:
                    bias = b[this_column]
                    for i in range(TM):
                        outputs[i * TN + j] += bias
        if relu:
            for i in range(TM * TN):
                if outputs[i] < zero:
                    outputs[i] = zero
        for i in range(TM):
            this_row = uint32(row + i // V * ROW_GROUP + i % V)
            if this_row < rows:
                for group in range(TN // V):
                    this_column = uint32(column + group * COLUMN_GROUP)
                    index = uint32(uint32(part * rows + this_row) * columns + this_column)
                    if vector:
                        if this_column < columns:
                            copy_vector(out, index, outputs, i * TN + group * V)
                    else:
                        for v in range(V):
                            if uint32(this_column + v) < columns:
                                out[uint32(index + v)] = outputs[i * TN + group * V + v]

    return write_outputs


@functools.cache
def add_parts(T):
    """One thread an output: the sum of its partial sums, always in the same order, then bias and relu."""
    zero = T(0)

    @cuda.jit
    def add_parts(parts, b, out, splits, columns, has_bias, relu):
        i = uint32(cuda.grid(1))
        if i < out.size:
            total = parts[i]
            for part in range(1, splits):
                total += parts[uint32(uint32(part * out.size) + i)]
            if has_bias:
                total += b[uint32(i % columns)]
            if relu and total < zero:
                total = zero
            out[i] = total

    return add_parts
