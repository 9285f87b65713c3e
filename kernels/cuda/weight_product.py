from __future__ import annotations

import functools

import numpy as np

from .device import VECTOR_BYTES, barrier, cuda, load_vector
from .tiles import multiply, write_outputs

uint32, int32 = np.uint32, np.int32


@functools.cache
def weight_product(T, tile, vector_in, vector_out, masked):
    BM, BN, BK, TM, TN = tile
    W = VECTOR_BYTES // np.dtype(T).itemsize
    VA = W if vector_in else 1
    VB = W if vector_out else 1
    THREADS = tile.threads
    A_LOADS, A_STEP = BM * BK // (VA * THREADS), THREADS * VA // BM
    B_LOADS, B_STEP = BN * BK // (VB * THREADS), THREADS * VB // BN
    A_TILE, B_TILE = BK * BM, BK * BN
    A_BOTH, B_BOTH, OUTPUTS, A_NEXT, B_NEXT = 2 * A_TILE, 2 * B_TILE, TM * TN, A_LOADS * VA, B_LOADS * VB
    COLUMN_THREADS = BN // TN
    zero, one = T(0), T(1)
    multiply_tiles = multiply(T, tile, BM, BN)
    write = write_outputs(T, tile, vector_out)

    @cuda.jit
    def kernel(x, dy, y, out, height, width, channels, out_height, out_width, columns, kernel_width, weights,
               stride_v, stride_h, top, left, pixels, chunk):
        a_tile = cuda.shared.array(A_BOTH, T)
        b_tile = cuda.shared.array(B_BOTH, T)
        outputs = cuda.local.array(OUTPUTS, T)
        a_next = cuda.local.array(A_NEXT, T)
        b_next = cuda.local.array(B_NEXT, T)
        a = cuda.local.array(TM, T)
        b = cuda.local.array(TN, T)
        image = cuda.local.array(A_LOADS, uint32)
        row = cuda.local.array(A_LOADS, uint32)
        column = cuda.local.array(A_LOADS, uint32)

        t = uint32(cuda.threadIdx.x)
        m0 = uint32(cuda.blockIdx.x * BM)
        n0 = uint32(cuda.blockIdx.y * BN)
        k0 = uint32(cuda.blockIdx.z * chunk)
        k_stop = min(uint32(k0 + chunk), uint32(pixels))
        rows = uint32(weights + uint32(1))

        a_i = uint32(t % uint32(BM // VA) * uint32(VA))
        a_k = uint32(t // uint32(BM // VA))
        b_j = uint32(t % uint32(BN // VB) * uint32(VB))
        b_k = uint32(t // uint32(BN // VB))

        weight = uint32(m0 + a_i)
        channel = uint32(weight % channels)
        tap = uint32(weight // channels)
        row_shift = int32(uint32(tap // kernel_width)) - int32(top)
        column_shift = int32(uint32(tap % kernel_width)) - int32(left)

        for l in range(A_LOADS):
            k = uint32(k0 + a_k + uint32(l * A_STEP))
            image[l] = uint32(k // uint32(out_height * out_width))
            row[l] = uint32(k % uint32(out_height * out_width)) // out_width
            column[l] = uint32(k % out_width)
        image_step = uint32(uint32(BK) // uint32(out_height * out_width))
        row_step = uint32(uint32(uint32(BK) % uint32(out_height * out_width)) // out_width)
        column_step = uint32(uint32(BK) % out_width)

        for i in range(OUTPUTS):
            outputs[i] = zero
        my_row = uint32(t // uint32(COLUMN_THREADS) * uint32(W))
        my_column = uint32(t % uint32(COLUMN_THREADS) * uint32(W))

        a_stage = uint32(0)
        b_stage = uint32(0)
        first = True
        while True:
            if k0 < k_stop:
                for l in range(A_LOADS):
                    for v in range(VA):
                        a_next[l * VA + v] = zero
                    if uint32(k0 + a_k + uint32(l * A_STEP)) < k_stop:
                        if weight < weights:
                            r = int32(uint32(row[l] * stride_v)) + row_shift
                            s = int32(uint32(column[l] * stride_h)) + column_shift
                            if r >= int32(0) and r < int32(height) and s >= int32(0) and s < int32(width):
                                pixel = uint32(uint32(image[l] * height + uint32(r)) * width + uint32(s))
                                index = uint32(pixel * channels + channel)
                                if vector_in:
                                    values = load_vector(x, index)
                                    for v in range(VA):
                                        a_next[l * VA + v] = values[v]
                                else:
                                    a_next[l] = x[index]
                        elif weight == weights:
                            a_next[l * VA] = one
                    image[l] = uint32(image[l] + image_step)
                    row[l] = uint32(row[l] + row_step)
                    column[l] = uint32(column[l] + column_step)
                    if column[l] >= out_width:
                        column[l] = uint32(column[l] - out_width)
                        row[l] = uint32(row[l] + uint32(1))
                    if row[l] >= out_height:
                        row[l] = uint32(row[l] - out_height)
                        image[l] = uint32(image[l] + uint32(1))
                for l in range(B_LOADS):
                    j = uint32(n0 + b_j)
                    k = uint32(k0 + b_k + uint32(l * B_STEP))
                    for v in range(VB):
                        b_next[l * VB + v] = zero
                    if k < k_stop and j < columns:
                        index = uint32(k * columns + j)
                        if vector_out:
                            values = load_vector(dy, index)
                            for v in range(VB):
                                b_next[l * VB + v] = values[v]
                            if masked:
                                signs = load_vector(y, index)
                                for v in range(VB):
                                    if not signs[v] > zero:
                                        b_next[l * VB + v] = zero
                        else:
                            value = dy[index]
                            if masked and not y[index] > zero:
                                value = zero
                            b_next[l] = value
            if not first:
                multiply_tiles(a_tile, b_tile, a_stage + my_row, b_stage + my_column, a, b, outputs)
                a_stage = uint32(A_TILE) - a_stage
                b_stage = uint32(B_TILE) - b_stage
            if k0 >= k_stop:
                break
            for l in range(A_LOADS):
                at = a_stage + (a_k + l * A_STEP) * BM + a_i
                for v in range(VA):
                    a_tile[at + v] = a_next[l * VA + v]
            for l in range(B_LOADS):
                at = b_stage + (b_k + l * B_STEP) * BN + b_j
                for v in range(VB):
                    b_tile[at + v] = b_next[l * VB + v]
            barrier()
            first = False
            k0 = uint32(k0 + uint32(BK))

        place = uint32(cuda.blockIdx.z * rows)
        write(outputs, out, place, m0 + my_row, n0 + my_column, rows, columns, out, False, False)

    return kernel
