from __future__ import annotations

import functools

import numpy as np

from .device import VECTOR_BYTES, barrier, cuda, load_vector
from .tiles import multiply, write_outputs

uint32, int32 = np.uint32, np.int32


@functools.cache
def pixel_product(T, tile, vector_in, vector_out, dilated, backward, masked):
    BM, BN, BK, TM, TN = tile
    W = VECTOR_BYTES // np.dtype(T).itemsize
    VA = W if vector_in else 1
    VB = W if (vector_in if backward else vector_out) else 1
    THREADS = tile.threads
    A_LOADS = BM * BK // (VA * THREADS)
    B_LOADS = BN * BK // (VB * THREADS)
    A_STEP = THREADS * VA // BK
    B_STEP = THREADS * VB // (BK if backward else BN)
    A_WIDTH = BM + 4
    B_WIDTH = BN + (4 if backward else 0)
    A_TILE, B_TILE = BK * A_WIDTH, BK * B_WIDTH
    A_BOTH, B_BOTH, OUTPUTS, A_NEXT, B_NEXT = 2 * A_TILE, 2 * B_TILE, TM * TN, A_LOADS * VA, B_LOADS * VB
    COLUMN_THREADS = BN // TN
    zero = T(0)
    multiply_tiles = multiply(T, tile, A_WIDTH, B_WIDTH)
    write = write_outputs(T, tile, vector_out)

    @cuda.jit
    def kernel(x, y, w, b, out, height, width, channels, out_height, out_width, columns, kernel_width, taps,
               stride_v, stride_h, top, left, dilation_v, dilation_h, rows, chunk, has_bias, relu):
        a_tile = cuda.shared.array(A_BOTH, T)
        b_tile = cuda.shared.array(B_BOTH, T)
        outputs = cuda.local.array(OUTPUTS, T)
        a_next = cuda.local.array(A_NEXT, T)
        b_next = cuda.local.array(B_NEXT, T)
        a = cuda.local.array(TM, T)
        c = cuda.local.array(TN, T)
        image = cuda.local.array(A_LOADS, int32)
        first_row = cuda.local.array(A_LOADS, int32)
        first_column = cuda.local.array(A_LOADS, int32)

        t = uint32(cuda.threadIdx.x)
        m0 = uint32(cuda.blockIdx.x * BM)
        n0 = uint32(cuda.blockIdx.y * BN)
        k0 = uint32(cuda.blockIdx.z * chunk)
        k_stop = min(uint32(k0 + chunk), uint32(taps * channels))

        a_k = uint32(t % uint32(BK // VA) * uint32(VA))
        a_row = uint32(t // uint32(BK // VA))
        for l in range(A_LOADS):
            i = uint32(m0 + a_row + uint32(l * A_STEP))
            image[l] = int32(0)
            first_row[l] = int32(-2**30)
            first_column[l] = int32(0)
            if i < rows:
                pixel = uint32(i % uint32(out_height * out_width))
                image[l] = int32(uint32(i // uint32(out_height * out_width)) * uint32(height * width))
                first_row[l] = int32(uint32(pixel // out_width) * stride_v) - int32(top)
                first_column[l] = int32(uint32(pixel % out_width) * stride_h) - int32(left)
        k = uint32(k0 + a_k)
        tap = uint32(k // channels)
        channel = uint32(k % channels)
        step_taps = uint32(uint32(BK) // channels)
        step_channels = uint32(uint32(BK) % channels)
        kernel_row = uint32(tap // kernel_width)
        kernel_column = uint32(tap % kernel_width)

        if backward:
            b_k = a_k
            b_column = a_row
        else:
            b_k = uint32(t // uint32(BN // VB))
            b_column = uint32(t % uint32(BN // VB) * uint32(VB))

        for i in range(TM * TN):
            outputs[i] = zero
        my_row = uint32(t // uint32(COLUMN_THREADS) * uint32(W))
        my_column = uint32(t % uint32(COLUMN_THREADS) * uint32(W))

        a_stage = uint32(0)
        b_stage = uint32(0)
        first = True
        while True:
            if k0 < k_stop:
                for l in range(A_LOADS):
                    r = int32(first_row[l] + int32(kernel_row))
                    s = int32(first_column[l] + int32(kernel_column))
                    inside = k < k_stop and r >= int32(0) and s >= int32(0)
                    if dilated:
                        inside = inside and uint32(r) % dilation_v == uint32(0) and uint32(s) % dilation_h == uint32(0)
                        r = int32(uint32(r) // dilation_v)
                        s = int32(uint32(s) // dilation_h)
                    inside = inside and r < int32(height) and s < int32(width)
                    if inside:
                        index = uint32(uint32(image[l] + r * int32(width) + s) * channels + channel)
                        if vector_in:
                            values = load_vector(x, index)
                            for v in range(VA):
                                a_next[l * VA + v] = values[v]
                            if masked:
                                signs = load_vector(y, index)
                                for v in range(VA):
                                    if not signs[v] > zero:
                                        a_next[l * VA + v] = zero
                        else:
                            value = x[index]
                            if masked and not y[index] > zero:
                                value = zero
                            a_next[l] = value
                    else:
                        for v in range(VA):
                            a_next[l * VA + v] = zero
                for l in range(B_LOADS):
                    if backward:
                        j = uint32(n0 + b_column + uint32(l * B_STEP))
                        kk = k
                        index = uint32(uint32((taps - uint32(1) - tap) * columns + j) * channels + channel)
                    else:
                        j = uint32(n0 + b_column)
                        kk = uint32(k0 + b_k + uint32(l * B_STEP))
                        index = uint32(kk * columns + j)
                    if kk < k_stop and j < columns:
                        if VB > 1:
                            values = load_vector(w, index)
                            for v in range(VB):
                                b_next[l * VB + v] = values[v]
                        else:
                            b_next[l] = w[index]
                    else:
                        for v in range(VB):
                            b_next[l * VB + v] = zero
                k = uint32(k + uint32(BK))
                channel = uint32(channel + step_channels)
                tap = uint32(tap + step_taps)
                kernel_column = uint32(kernel_column + step_taps)
                if channel >= channels:
                    channel = uint32(channel - channels)
                    tap = uint32(tap + uint32(1))
                    kernel_column = uint32(kernel_column + uint32(1))
                while kernel_column >= kernel_width:
                    kernel_column = uint32(kernel_column - kernel_width)
                    kernel_row = uint32(kernel_row + uint32(1))
            if not first:
                multiply_tiles(a_tile, b_tile, a_stage + my_row, b_stage + my_column, a, c, outputs)
                a_stage = uint32(A_TILE) - a_stage
                b_stage = uint32(B_TILE) - b_stage
            if k0 >= k_stop:
                break
            for l in range(A_LOADS):
                for v in range(VA):
                    a_tile[a_stage + (a_k + v) * A_WIDTH + a_row + l * A_STEP] = a_next[l * VA + v]
            for l in range(B_LOADS):
                if backward:
                    for v in range(VB):
                        b_tile[b_stage + (b_k + v) * B_WIDTH + b_column + l * B_STEP] = b_next[l * VB + v]
                else:
                    at = b_stage + (b_k + l * B_STEP) * B_WIDTH + b_column
                    for v in range(VB):
                        b_tile[at + v] = b_next[l * VB + v]
            barrier()
            first = False
            k0 = uint32(k0 + uint32(BK))

        place = uint32(cuda.blockIdx.z * rows)
        write(outputs, out, place, m0 + my_row, n0 + my_column, rows, columns, b, has_bias, relu)

    return kernel
