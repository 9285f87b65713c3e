"""The matrix product whose rows are pixels: convolution forward, and its input gradient.

Forward, with an output pixel as row i, an output channel as column j, and k = (m, n, c), a place in the window:

    y[pixel, o] = sum_k x[image, row SH + m - top, column SW + n - left, c] w[m, n, c, o]

The kernels ``w (KH, KW, C, O)`` are the right factor as they lie in memory. The input gradient has the same form, with
``dy`` in the place of the image, the kernel flipped, C and O exchanged, and padding KH - 1 - top (the derivation stands
in ``kernels/reference/conv2d.py``); a stride of the forward pass becomes a *dilation*: rows between the rows of ``dy``
that hold nothing. A dense layer is the case of images of one pixel.

So one kernel serves all: it is made once for every combination of number type, tile and flags that occurs.
"""

from __future__ import annotations

import functools

import numpy as np

from .device import VECTOR_BYTES, barrier, copy_vector, cuda, kernel
from .tiles import multiply, write_outputs

uint32, int32 = np.uint32, np.int32

#: Elements between the rows of a shared tile that is written in columns: threads that write side by side would
#: otherwise all hit the same memory bank.
SKEW = 4

#: The row of a pixel that does not exist: above every image, whatever is added to it.
NOWHERE = -2**30


@functools.cache
def pixel_product(T, tile, vector_in, vector_out, dilated, backward, masked):
    """Make the kernel.

    Parameters
    ----------
    T : type
        ``numpy.float32`` or ``numpy.float64``.
    tile : Tile
    vector_in, vector_out : bool
        Whether the channels of ``x`` and the columns of ``out`` come in multiples of 128 bits.
    dilated : bool
        Whether there is a dilation.
    backward : bool
        Whether ``w`` is to be flipped, and its channels exchanged.
    masked : bool
        Whether ``x`` counts as 0 where ``y`` is not above 0 (the gradient through a relu whose output is ``y``).
    """
    BM, BN, BK, TM, TN = tile
    V = VECTOR_BYTES // np.dtype(T).itemsize
    A_VECTOR = V if vector_in else 1
    B_VECTOR = V if (vector_in if backward else vector_out) else 1
    # Each thread loads A_LOADS times A_VECTOR neighbours along k, A_STEP rows apart; the right factor likewise, along
    # its columns forward and along k backward: always along what is contiguous in memory.
    A_LOADS, A_STEP = BM * BK // (A_VECTOR * tile.threads), A_VECTOR * tile.threads // BK
    B_LOADS, B_STEP = BN * BK // (B_VECTOR * tile.threads), B_VECTOR * tile.threads // (BK if backward else BN)
    A_ACROSS, B_ACROSS = BK // A_VECTOR, (BK if backward else BN) // B_VECTOR
    A_WIDTH, B_WIDTH = BM + SKEW, BN + (SKEW if backward else 0)
    A_TILE, B_TILE = BK * A_WIDTH, BK * B_WIDTH
    A_TILES, B_TILES, OUTPUTS, A_NEXT, B_NEXT = 2 * A_TILE, 2 * B_TILE, TM * TN, A_LOADS * A_VECTOR, B_LOADS * B_VECTOR
    COLUMN_THREADS = BN // TN
    zero = T(0)
    name = (f"pixel_product_{BM}x{BN}_in{A_VECTOR}_out{V if vector_out else 1}{'_backward' * backward}"
            f"{'_dilated' * dilated}{'_masked' * masked}")
    multiply_tiles, write = multiply(T, tile, A_WIDTH, B_WIDTH), write_outputs(T, tile, vector_out)

    @kernel(name)
    def pixel_product(x, y, w, b, out, height, width, channels, out_height, out_width, columns, kernel_width, taps,
                      stride_v, stride_h, top, left, dilation_v, dilation_h, rows, chunk, has_bias, relu):
        a_tile = cuda.shared.array(A_TILES, T)  # two of each: one is written while the other is read
        b_tile = cuda.shared.array(B_TILES, T)
        outputs = cuda.local.array(OUTPUTS, T)
        a = cuda.local.array(TM, T)
        b_row = cuda.local.array(TN, T)
        a_next = cuda.local.array(A_NEXT, T)
        b_next = cuda.local.array(B_NEXT, T)
        mask = cuda.local.array(V, T)
        image = cuda.local.array(A_LOADS, int32)
        window_row = cuda.local.array(A_LOADS, int32)
        window_column = cuda.local.array(A_LOADS, int32)

        thread = uint32(cuda.threadIdx.x)
        block_row = uint32(cuda.blockIdx.x * BM)
        block_column = uint32(cuda.blockIdx.y * BN)
        k0 = uint32(cuda.blockIdx.z * chunk)
        k_stop = min(uint32(k0 + chunk), uint32(taps * channels))

        # The pixels that this thread loads, as rows of the left factor: where their windows begin.
        a_k = uint32(thread % A_ACROSS * A_VECTOR)
        a_row = uint32(thread // A_ACROSS)
        for load in range(A_LOADS):
            i = uint32(block_row + a_row + load * A_STEP)
            image[load], window_row[load], window_column[load] = 0, NOWHERE, 0
            if i < rows:
                pixel = uint32(i % uint32(out_height * out_width))
                image[load] = int32(uint32(i // uint32(out_height * out_width)) * uint32(height * width))
                window_row[load] = int32(uint32(pixel // out_width) * stride_v) - top
                window_column[load] = int32(uint32(pixel % out_width) * stride_h) - left
        # Its k = (m, n, channel), an odometer that is set forward by BK at every step.
        channel = uint32(uint32(k0 + a_k) % channels)
        m = uint32(uint32(uint32(k0 + a_k) // channels) // kernel_width)
        n = uint32(uint32(uint32(k0 + a_k) // channels) % kernel_width)
        channel_step, tap_step = uint32(uint32(BK) % channels), uint32(uint32(BK) // channels)

        b_across = uint32(thread % B_ACROSS * B_VECTOR)
        b_down = uint32(thread // B_ACROSS)

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
                    row = window_row[load] + int32(m)
                    column = window_column[load] + int32(n)
                    inside = uint32(k0 + a_k) < k_stop and row >= 0 and column >= 0
                    if dilated:
                        inside = inside and uint32(row) % dilation_v == 0 and uint32(column) % dilation_h == 0
                        row = int32(uint32(row) // dilation_v)
                        column = int32(uint32(column) // dilation_h)
                    for v in range(A_VECTOR):
                        a_next[load * A_VECTOR + v] = zero
                    if inside and row < int32(height) and column < int32(width):
                        index = uint32(uint32(image[load] + row * int32(width) + column) * channels + channel)
                        if vector_in:
                            copy_vector(a_next, load * A_VECTOR, x, index)
                            if masked:
                                copy_vector(mask, 0, y, index)
                        else:
                            a_next[load] = x[index]
                            if masked:
                                mask[0] = y[index]
                        if masked:
                            for v in range(A_VECTOR):
                                if not mask[v] > zero:
                                    a_next[load * A_VECTOR + v] = zero
                for load in range(B_LOADS):
                    if backward:
                        k = uint32(k0 + b_across)
                        j = uint32(block_column + b_down + load * B_STEP)
                        tap = uint32(taps - uint32(1) - uint32(m * kernel_width + n))
                        index = uint32(uint32(tap * columns + j) * channels + channel)
                    else:
                        k = uint32(k0 + b_down + load * B_STEP)
                        j = uint32(block_column + b_across)
                        index = uint32(k * columns + j)
                    for v in range(B_VECTOR):
                        b_next[load * B_VECTOR + v] = zero
                    if k < k_stop and j < columns:
                        if B_VECTOR > 1:
                            copy_vector(b_next, load * B_VECTOR, w, index)
                        else:
                            b_next[load] = w[index]
                channel = uint32(channel + channel_step)
                n = uint32(n + tap_step)
                if channel >= channels:
                    channel = uint32(channel - channels)
                    n = uint32(n + uint32(1))
                while n >= kernel_width:
                    n = uint32(n - kernel_width)
                    m = uint32(m + uint32(1))

            # 2. Meanwhile multiply what the step before has brought into shared memory.
            if not first:
                multiply_tiles(a_tile, b_tile, a_stage + my_row, b_stage + my_column, a, b_row, outputs)
                a_stage, b_stage = uint32(A_TILE - a_stage), uint32(B_TILE - b_stage)
            if k0 >= k_stop:
                break

            # 3. Registers to the other shared tile. It was last read before the barrier of the step before.
            for load in range(A_LOADS):
                for v in range(A_VECTOR):
                    a_tile[a_stage + (a_k + v) * A_WIDTH + a_row + load * A_STEP] = a_next[load * A_VECTOR + v]
            for load in range(B_LOADS):
                if backward:
                    for v in range(B_VECTOR):
                        place = b_stage + (b_across + v) * B_WIDTH + b_down + load * B_STEP
                        b_tile[place] = b_next[load * B_VECTOR + v]
                elif B_VECTOR > 1:
                    copy_vector(b_tile, b_stage + (b_down + load * B_STEP) * B_WIDTH + b_across, b_next,
                                load * B_VECTOR)
                else:
                    b_tile[b_stage + (b_down + load * B_STEP) * B_WIDTH + b_across] = b_next[load]
            barrier()
            first = False
            k0 = uint32(k0 + uint32(BK))

        write(outputs, out, uint32(cuda.blockIdx.z), block_row + my_row, block_column + my_column, rows, columns, b,
              has_bias, relu)

    return pixel_product
