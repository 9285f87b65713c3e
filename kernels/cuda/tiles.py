"""The matrix product behind convolution and dense layers: shared-memory tiles, register tiles."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from .device import VECTOR_BYTES, cuda, device_function, load_vector, store_vector

uint32 = np.uint32


class Tile(NamedTuple):
    """Outputs of a block (BM x BN), of a thread (TM x TN), and the depth BK of a step."""

    BM: int
    BN: int
    BK: int
    TM: int
    TN: int

    @property
    def threads(self):
        return (self.BM // self.TM) * (self.BN // self.TN)


LARGE = Tile(128, 64, 8, 8, 8)
TALL = Tile(128, 32, 8, 8, 4)
MEDIUM = Tile(64, 64, 8, 8, 4)
SMALL = Tile(32, 32, 8, 4, 4)

#: Multiplications per load from shared memory decide how fast a tile is when the device is full of them.
SPEED = {LARGE: 1.0, TALL: 0.8, MEDIUM: 0.8, SMALL: 0.5}

#: Blocks that it takes to fill a large device.
BLOCKS_WANTED = 256

#: Sums are not split into shorter parts than this.
SHORTEST_SUM = 64


class Plan(NamedTuple):
    tile: Tile
    splits: int
    chunk: int
    blocks: tuple


def plan(rows, columns, depth, dtype):
    """The tile, and the number of parts that the sum over k is split into, for a product of this shape.

    They depend on the shape alone, never on the device: the same input gives the same bits everywhere.
    """
    best = None
    for tile in SPEED if dtype == np.float32 else (MEDIUM, SMALL):
        across, down = -(-rows // tile.BM), -(-columns // tile.BN)
        splits = max(1, min(BLOCKS_WANTED // (across * down), depth // SHORTEST_SUM))
        busy = min(1.0, across * down * splits / BLOCKS_WANTED)
        time = across * tile.BM * down * tile.BN / (SPEED[tile] * busy)
        if best is None or time < best[0]:
            best = time, tile, splits, (across, down)
    _, tile, splits, (across, down) = best
    chunk = -(-depth // (splits * tile.BK)) * tile.BK
    splits = -(-depth // chunk)
    return Plan(tile, splits, chunk, (across, down, splits))


@functools.cache
def multiply_step(T, tile, a_width, b_width, k):
    V = VECTOR_BYTES // np.dtype(T).itemsize
    TM, TN = tile.TM, tile.TN
    GM, GN = TM // V, TN // V
    AG, BG = tile.BM // GM, tile.BN // GN
    AK, BK = k * a_width, k * b_width

    @device_function
    def step(a_tile, b_tile, a_at, b_at, a, b, outputs):
        for g in range(GM):
            values = load_vector(a_tile, a_at + AK + g * AG)
            for v in range(V):
                a[g * V + v] = values[v]
        for g in range(GN):
            values = load_vector(b_tile, b_at + BK + g * BG)
            for v in range(V):
                b[g * V + v] = values[v]
        for i in range(TM):
            for j in range(TN):
                outputs[i * TN + j] += a[i] * b[j]

    return step


@functools.cache
def multiply(T, tile, a_width, b_width, count=None):
    count = tile.BK if count is None else count
    last = multiply_step(T, tile, a_width, b_width, count - 1)
    if count == 1:
        return last
    rest = multiply(T, tile, a_width, b_width, count - 1)

    @device_function
    def steps(a_tile, b_tile, a_at, b_at, a, b, outputs):
        rest(a_tile, b_tile, a_at, b_at, a, b, outputs)
        last(a_tile, b_tile, a_at, b_at, a, b, outputs)

    return steps


@functools.cache
def write_outputs(T, tile, vector):
    V = VECTOR_BYTES // np.dtype(T).itemsize
    TM, TN = tile.TM, tile.TN
    GM, GN = TM // V, TN // V
    ROW_GROUP, COLUMN_GROUP = tile.BM // GM, tile.BN // GN
    zero = T(0)

    @device_function
    def write(outputs, out, place, first_row, first_column, rows, columns, b, has_bias, relu):
        for gj in range(GN):
            for j in range(V):
                column = uint32(first_column + uint32(gj * COLUMN_GROUP + j))
                if has_bias and column < columns:
                    for i in range(TM):
                        outputs[i * TN + gj * V + j] += b[column]
        if relu:
            for i in range(TM * TN):
                if outputs[i] < zero:
                    outputs[i] = zero
        for gi in range(GM):
            for i in range(V):
                row = uint32(first_row + uint32(gi * ROW_GROUP + i))
                if row < rows:
                    for gj in range(GN):
                        column = uint32(first_column + uint32(gj * COLUMN_GROUP))
                        index = uint32(uint32(place + row) * columns + column)
                        at = (gi * V + i) * TN + gj * V
                        if vector:
                            if column < columns:
                                if V == 4:
                                    store_vector(out, index, (outputs[at], outputs[at + 1], outputs[at + 2],
                                                              outputs[at + 3]))
                                else:
                                    store_vector(out, index, (outputs[at], outputs[at + 1]))
                        else:
                            for j in range(V):
                                if uint32(column + uint32(j)) < columns:
                                    out[uint32(index + uint32(j))] = outputs[at + j]

    return write


@functools.cache
def add_parts(T):
    zero = T(0)

    @cuda.jit
    def add_parts(parts, b, out, splits, columns, has_bias, relu):
        i = uint32(cuda.grid(1))
        if i < out.size:
            value = parts[i]
            for s in range(uint32(1), splits):
                value += parts[uint32(s * uint32(out.size) + i)]
            if has_bias:
                value += b[uint32(i % columns)]
            if relu and value < zero:
                value = zero
            out[i] = value

    return add_parts
