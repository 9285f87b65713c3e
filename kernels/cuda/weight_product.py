"""The matrix product whose sums run over pixels: the gradients of kernels and bias.

Row i is a place in the window, i = (m, n, c), column j an output channel, and k an output pixel of the batch:

    dw[m, n, c, o] = sum_pixels x[image, row SH + m - top, column SW + n - left, c] dy[pixel, o]
    db[o]          = sum_pixels 1 dy[pixel, o]

A bias is a weight whose input is always one. So db is one more row of the same product, i = KH KW C, whose left factor
is 1: it costs no pass of its own over ``dy``. ``out`` holds dw and, behind it, db.

There are few outputs and many pixels, so the sum is nearly always split among blocks (``tiles.plan``).
"""

from __future__ import annotations

import functools

import numpy as np

from .device import VECTOR_BYTES, barrier, copy_vector, cuda, kernel
from .tiles import multiply, write_outputs

uint32, int32 = np.uint32, np.int32


@functools.cache
def weight_product(T, tile, vector_in, vector_out, masked):
    """Make the kernel; the flags are those of ``pixel_product``, where ``masked`` concerns ``dy``."""
    BM, BN, BK, TM, TN = tile
    V = VECTOR_BYTES // np.dtype(T).itemsize
    A_VECTOR, B_VECTOR = V if vector_in else 1, V if vector_out else 1
    A_LOADS, A_STEP = BM * BK // (A_VECTOR * tile.threads), A_VECTOR * tile.threads // BM
    B_LOADS, B_STEP = BN * BK // (B_VECTOR * tile.threads), B_VECTOR * tile.threads // BN
    A_ACROSS, B_ACROSS = BM // A_VECTOR, BN // B_VECTOR
    assert max(A_ACROSS, B_ACROSS) <= tile.threads, "the threads of the block do not reach across the tile"
    A_TILE, B_TILE = BK * BM, BK * BN
    A_TILES, B_TILES, OUTPUTS, A_NEXT, B_NEXT = 2 * A_TILE, 2 * B_TILE, TM * TN, A_LOADS * A_VECTOR, B_LOADS * B_VECTOR
    COLUMN_THREADS = BN // TN
    zero, one = T(0), T(1)
    name = f"weight_product_{BM}x{BN}_in{A_VECTOR}_out{B_VECTOR}{'_masked' * masked}"
    multiply_tiles, write = multiply(T, tile, BM, BN), write_outputs(T, tile, vector_out)

    @kernel(name)
    def weight_product(x, dy, y, out, height, width, channels, out_height, out_width, columns, kernel_width, weights,
                       stride_v, stride_h, top, left, pixels, chunk):
        a_tile = cuda.shared.array(A_TILES, T)
        b_tile = cuda.shared.array(B_TILES, T)
        outputs = cuda.local.array(OUTPUTS, T)
        a = cuda.local.array(TM, T)
        b = cuda.local.array(TN, T)
        a_next = cuda.local.array(A_NEXT, T)
        b_next = cuda.local.array(B_NEXT, T)
        mask = cuda.local.array(V, T)
        image = cuda.local.array(A_LOADS, uint32)
        pixel_row = cuda.local.array(A_LOADS, uint32)
        pixel_column = cuda.local.array(A_LOADS, uint32)

        thread = uint32(cuda.threadIdx.x)
        block_row = uint32(cuda.blockIdx.x * BM)
        block_column = uint32(cuda.blockIdx.y * BN)
        k0 = uint32(cuda.blockIdx.z * chunk)
        k_stop = min(uint32(k0 + chunk), uint32(pixels))

        # The place in the window that this thread loads, as a row of the left factor ...
        a_across = uint32(thread % A_ACROSS * A_VECTOR)
        a_down = uint32(thread // A_ACROSS)
        weight = uint32(block_row + a_across)
        channel = uint32(weight % channels)
        row_shift = int32(uint32(uint32(weight // channels) // kernel_width)) - top
        column_shift = int32(uint32(uint32(weight // channels) % kernel_width)) - left
        # ... and its pixels k = (image, row, column), odometers that are set forward by BK at every step.
        out_pixels = uint32(out_height * out_width)
        for load in range(A_LOADS):
            k = uint32(k0 + a_down + load * A_STEP)
            image[load] = uint32(k // out_pixels)
            pixel_row[load] = uint32(uint32(k % out_pixels) // out_width)
            pixel_column[load] = uint32(k % out_width)
        image_step = uint32(uint32(BK) // out_pixels)
        row_step = uint32(uint32(uint32(BK) % out_pixels) // out_width)
        column_step = uint32(uint32(BK) % out_width)

        b_across = uint32(thread % B_ACROSS * B_VECTOR)
        b_down = uint32(thread // B_ACROSS)
        j = uint32(block_column + b_across)

        my_row = uint32(thread // COLUMN_THREADS * V)
        my_column = uint32(thread % COLUMN_THREADS * V)
        for i in range(OUTPUTS):
            outputs[i] = zero

        a_stage, b_stage = uint32(0), uint32(0)
        first = True
        while True:
            # 1. Start the loads of the next step from global memory into registers.
            if k0 < k_stop:
                for load in range(A_LOADS):
                    for v in range(A_VECTOR):
                        a_next[load * A_VECTOR + v] = zero
                    row = int32(uint32(pixel_row[load] * stride_v)) + row_shift
                    column = int32(uint32(pixel_column[load] * stride_h)) + column_shift
                    if uint32(k0 + a_down + load * A_STEP) < k_stop:
                        if weight == weights:
                            a_next[load * A_VECTOR] = one
                        elif (weight < weights and row >= 0 and row < int32(height)
                              and column >= 0 and column < int32(width)):
                            pixel = uint32(uint32(uint32(image[load] * height) + uint32(row)) * width + uint32(column))
                            index = uint32(pixel * channels + channel)
                            if vector_in:
                                copy_vector(a_next, load * A_VECTOR, x, index)
                            else:
                                a_next[load] = x[index]
                    image[load] += image_step
                    pixel_row[load] += row_step
                    pixel_column[load] += column_step
                    if pixel_column[load] >= out_width:
                        pixel_column[load] -= out_width
                        pixel_row[load] += uint32(1)
                    if pixel_row[load] >= out_height:
                        pixel_row[load] -= out_height
                        image[load] += uint32(1)
                for load in range(B_LOADS):
                    for v in range(B_VECTOR):
                        b_next[load * B_VECTOR + v] = zero
                    k = uint32(k0 + b_down + load * B_STEP)
                    if k < k_stop and j < columns:
                        index = uint32(k * columns + j)
                        if vector_out:
                            copy_vector(b_next, load * B_VECTOR, dy, index)
                            if masked:
                                copy_vector(mask, 0, y, index)
                        else:
                            b_next[load] = dy[index]
                            if masked:
                                mask[0] = y[index]
                        if masked:
                            for v in range(B_VECTOR):
                                if not mask[v] > zero:
                                    b_next[load * B_VECTOR + v] = zero

            # 2. Meanwhile multiply what the step before has brought into shared memory.
            if not first:
                multiply_tiles(a_tile, b_tile, a_stage + my_row, b_stage + my_column, a, b, outputs)
                a_stage, b_stage = uint32(A_TILE - a_stage), uint32(B_TILE - b_stage)
            if k0 >= k_stop:
                break

            # 3. Registers to the other shared tile. It was last read before the barrier of the step before.
            for load in range(A_LOADS):
                place = a_stage + (a_down + load * A_STEP) * BM + a_across
                if vector_in:
                    copy_vector(a_tile, place, a_next, load * A_VECTOR)
                else:
                    a_tile[place] = a_next[load]
            for load in range(B_LOADS):
                place = b_stage + (b_down + load * B_STEP) * BN + b_across
                if vector_out:
                    copy_vector(b_tile, place, b_next, load * B_VECTOR)
                else:
                    b_tile[place] = b_next[load]
            barrier()
            first = False
            k0 = uint32(k0 + uint32(BK))

        write(outputs, out, uint32(cuda.blockIdx.z), block_row + my_row, block_column + my_column,
              uint32(weights + uint32(1)), columns, out, False, False)

    return weight_product
