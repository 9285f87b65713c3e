"""Four convolutions, each one idea faster than the one before; the back-end's own kernel is the fifth.

All compute ``y = conv2d(x, w)`` for stride 1 without padding, on flat arrays of shape (N, H, W, C), (KH, KW, C, O) and
(N, OH, OW, O). Read them in order, then ``tiles.py`` and ``pixel_product.py``. Each runs on the simulator:

    NUMBA_ENABLE_CUDASIM=1 python -m kernels.cuda.ladder

On a device the same command times them. What limits a GPU is seldom arithmetic: one multiply-add needs two numbers, and
a multiprocessor does 128 of them in the time in which global memory delivers it about 10 numbers. The rungs are four
ways to use a number more than once.
"""

from __future__ import annotations

import functools
import sys
import time

import numpy as np

from . import arrays, conv2d, device
from .device import barrier, blocks_for, copy_vector, cuda, launch

uint32 = np.uint32


# ---- 1. One thread an output ----------------------------------------------------------------------------------

@functools.cache
def naive_kernel(T):
    """The formula, once in every thread: per multiply-add two loads from global memory (or the caches, with luck).

    Threads beside each other take channels beside each other. Then the 32 threads of a warp read the same element of x,
    which is one access, and 32 neighbours of w, which is one as well: accesses that fall into few lines of memory are
    served together ("coalesced").
    """
    zero = T(0)

    @cuda.jit
    def naive(x, w, y, height, width, channels, out_height, out_width, outputs, kernel_height, kernel_width):
        i = uint32(cuda.grid(1))
        if i >= y.size:
            return
        o = uint32(i % outputs)
        pixel = uint32(i // outputs)
        column = uint32(pixel % out_width)
        row = uint32(uint32(pixel // out_width) % out_height)
        image = uint32(pixel // uint32(out_height * out_width))
        total = zero
        for m in range(kernel_height):
            for n in range(kernel_width):
                source = uint32(((image * height + row + m) * width + column + n) * channels)
                weight = uint32((m * kernel_width + n) * channels)
                for c in range(channels):
                    total += x[uint32(source + c)] * w[uint32(uint32(weight + c) * outputs + o)]
        y[i] = total

    return naive


# ---- 2. A tile in shared memory ---------------------------------------------------------------------------------

#: Side of the tile: TILE x TILE threads compute TILE pixels x TILE channels.
TILE = 16


@functools.cache
def shared_tile_kernel(T):
    """As a matrix product, pixels x k times k x channels, with k = (m, n, c) in one.

    A block of 16 x 16 threads computes 16 pixels x 16 channels. For 16 k at a time each thread brings one element of
    either factor to shared memory; after the barrier every element serves 16 threads. Global memory is read 16 times
    less often. The second barrier keeps the fast threads from overwriting what the slow ones still read.
    """
    zero = T(0)
    ELEMENTS = TILE * TILE

    @cuda.jit
    def shared_tile(x, w, y, height, width, channels, out_height, out_width, outputs, kernel_width, depth, pixels):
        x_tile = cuda.shared.array(ELEMENTS, T)
        w_tile = cuda.shared.array(ELEMENTS, T)
        across, down = uint32(cuda.threadIdx.x), uint32(cuda.threadIdx.y)
        o = uint32(cuda.blockIdx.x * TILE + across)
        pixel = uint32(cuda.blockIdx.y * TILE + down)
        column = uint32(pixel % out_width)
        row = uint32(uint32(pixel // out_width) % out_height)
        image = uint32(pixel // uint32(out_height * out_width))
        total = zero
        for start in range(0, depth, TILE):
            k = uint32(start + across)
            x_tile[down * TILE + across] = zero
            if k < depth and pixel < pixels:
                c = uint32(k % channels)
                m = uint32(uint32(k // channels) // kernel_width)
                n = uint32(uint32(k // channels) % kernel_width)
                x_tile[down * TILE + across] = x[
                    uint32(uint32((image * height + row + m) * width + column + n) * channels + c)]
            k = uint32(start + down)
            w_tile[down * TILE + across] = w[uint32(k * outputs + o)] if k < depth and o < outputs else zero
            barrier()
            for k in range(TILE):
                total += x_tile[down * TILE + k] * w_tile[k * TILE + across]
            barrier()
        if pixel < pixels and o < outputs:
            y[uint32(pixel * outputs + o)] = total

    return shared_tile


# ---- 3. A tile in the registers of each thread --------------------------------------------------------------------

#: A block computes BM pixels x BN channels, BK of k at a time; a thread TM x TN of them.
BM, BN, BK, TM, TN = 64, 64, 8, 8, 4
BLOCK_THREADS = (BM // TM) * (BN // TN)


@functools.cache
def register_tile_kernel(T, vector=False):
    """Shared memory, too, is slower than the arithmetic: rung 2 makes two loads from it per multiply-add.

    Here a thread computes 8 x 4 outputs in registers. For one k it loads 8 + 4 numbers from shared memory and does 32
    multiply-adds. ``cuda.local.array`` means registers as long as every index is known when the loops are unrolled.

    ``vector`` makes it rung 4: four numbers with one instruction, from global memory and from shared memory. That takes
    multiples of four channels. It saves instructions rather than bytes: the arithmetic is so dense by now that the
    loads' own issue slots count. The tile of x is stored with k first for it, so that a thread's pixels are neighbours.
    """
    zero = T(0)
    X_ELEMENTS, W_ELEMENTS, OUTPUTS = BM * BK, BK * BN, TM * TN
    COLUMN_THREADS = BN // TN
    V = device.VECTOR_BYTES // np.dtype(T).itemsize
    STEP = V if vector else 1
    X_LOADS, W_LOADS = X_ELEMENTS // (BLOCK_THREADS * STEP), W_ELEMENTS // (BLOCK_THREADS * STEP)
    X_ACROSS, W_ACROSS = BK // STEP, BN // STEP

    @device.kernel("vector_loads" if vector else "register_tile")
    def register_tile(x, w, y, height, width, channels, out_height, out_width, outputs, kernel_width, depth, pixels):
        x_tile = cuda.shared.array(X_ELEMENTS, T)
        w_tile = cuda.shared.array(W_ELEMENTS, T)
        sums = cuda.local.array(OUTPUTS, T)
        x_part = cuda.local.array(TM, T)
        w_part = cuda.local.array(TN, T)
        four = cuda.local.array(V, T)
        thread = uint32(cuda.threadIdx.x)
        first_pixel, first_output = uint32(cuda.blockIdx.y * BM), uint32(cuda.blockIdx.x * BN)
        my_pixel = uint32(thread // COLUMN_THREADS * TM)
        my_output = uint32(thread % COLUMN_THREADS * TN)
        for i in range(OUTPUTS):
            sums[i] = zero
        for start in range(0, depth, BK):
            for load in range(X_LOADS):
                place = uint32(thread + load * BLOCK_THREADS)
                k, i = uint32(place % X_ACROSS * STEP), uint32(place // X_ACROSS)
                pixel = uint32(first_pixel + i)
                for v in range(STEP):
                    four[v] = zero
                if start + k < depth and pixel < pixels:
                    image = uint32(pixel // uint32(out_height * out_width))
                    row = uint32(uint32(pixel // out_width) % out_height)
                    tap = uint32(uint32(start + k) // channels)
                    source = uint32((image * height + row + tap // kernel_width) * width
                                    + pixel % out_width + tap % kernel_width)
                    source = uint32(source * channels + uint32(start + k) % channels)
                    if vector:
                        copy_vector(four, 0, x, source)
                    else:
                        four[0] = x[source]
                for v in range(STEP):
                    x_tile[(k + v) * BM + i] = four[v]
            for load in range(W_LOADS):
                place = uint32(thread + load * BLOCK_THREADS)
                o, k = uint32(place % W_ACROSS * STEP), uint32(place // W_ACROSS)
                for v in range(STEP):
                    four[v] = zero
                if start + k < depth and first_output + o < outputs:
                    source = uint32(uint32(start + k) * outputs + uint32(first_output + o))
                    if vector:
                        copy_vector(four, 0, w, source)
                    else:
                        four[0] = w[source]
                for v in range(STEP):
                    w_tile[k * BN + o + v] = four[v]
            barrier()
            for k in range(BK):
                if vector:
                    for i in range(0, TM, V):
                        copy_vector(x_part, i, x_tile, k * BM + my_pixel + i)
                    for j in range(0, TN, V):
                        copy_vector(w_part, j, w_tile, k * BN + my_output + j)
                else:
                    for i in range(TM):
                        x_part[i] = x_tile[k * BM + my_pixel + i]
                    for j in range(TN):
                        w_part[j] = w_tile[k * BN + my_output + j]
                for i in range(TM):
                    for j in range(TN):
                        sums[i * TN + j] += x_part[i] * w_part[j]
            barrier()
        for i in range(TM):
            for j in range(TN):
                pixel, o = uint32(first_pixel + my_pixel + i), uint32(first_output + my_output + j)
                if pixel < pixels and o < outputs:
                    y[uint32(pixel * outputs + o)] = sums[i * TN + j]

    return register_tile


# ---- calling them -----------------------------------------------------------------------------------------------

def _shapes(x, w):
    images, height, width, channels = x.shape
    kh, kw, _, outputs = w.shape
    y = arrays.empty((images, height - kh + 1, width - kw + 1, outputs), x.dtype)
    return y, (height, width, channels, y.shape[1], y.shape[2], outputs), kh, kw


def naive(x, w):
    """Rung 1: one thread an output."""
    y, shape, kh, kw = _shapes(x, w)
    launch(naive_kernel(x.dtype.type), blocks_for(y.size, 128), 128, x, w, y, *shape, kh, kw)
    return y


def shared_tile(x, w):
    """Rung 2: a tile in shared memory."""
    y, shape, kh, kw = _shapes(x, w)
    pixels, outputs = y.size // shape[-1], shape[-1]
    launch(shared_tile_kernel(x.dtype.type), (blocks_for(outputs, TILE), blocks_for(pixels, TILE)), (TILE, TILE),
           x, w, y, *shape, kw, kh * kw * shape[2], pixels)
    return y


def register_tile(x, w, vector=False):
    """Rung 3: a tile in the registers of each thread."""
    y, shape, kh, kw = _shapes(x, w)
    pixels, outputs = y.size // shape[-1], shape[-1]
    launch(register_tile_kernel(x.dtype.type, vector), (blocks_for(outputs, BN), blocks_for(pixels, BM)), BLOCK_THREADS,
           x, w, y, *shape, kw, kh * kw * shape[2], pixels)
    return y


def vector_loads(x, w):
    """Rung 4: 128 bits a load. Channels and outputs in multiples of 128 bits only."""
    width = device.VECTOR_BYTES // x.dtype.itemsize
    if w.shape[2] % width or w.shape[3] % width:
        raise ValueError(f"w: expected multiples of {width} channels and outputs, got shape {w.shape}")
    return register_tile(x, w, vector=True)


def pipelined(x, w):
    """Rung 5, the back-end's kernel: loads that run while the arithmetic does, groups of rows, split sums."""
    return conv2d.conv2d_forward(x, w)


#: Name, function and what it shows, from the lowest rung.
RUNGS = [
    ("one thread an output", naive, "the formula; two loads for a multiply-add"),
    ("shared-memory tile", shared_tile, "what the threads of a block share is fetched once"),
    ("register tile", register_tile, "what one thread uses again stays in its registers"),
    ("vector loads", vector_loads, "128 bits a load"),
    ("pipelined (the back-end)", pipelined, "loads run while the arithmetic does"),
]


def main():
    """Run all rungs on one shape, compare them, and time them on a device."""
    shape, outputs, repeats = ((2, 7, 7, 4), 8, 1) if device.SIMULATED else ((512, 13, 13, 32), 64, 50)
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape).astype(np.float32)
    w = rng.normal(size=(3, 3, shape[3], outputs)).astype(np.float32)
    from ..reference.conv2d import conv2d_forward as formula
    expected = formula(x[:1], w)
    device_x, device_w = arrays.asarray(x), arrays.asarray(w)
    operations = 2 * shape[0] * (shape[1] - 2) * (shape[2] - 2) * outputs * 9 * shape[3]
    for name, rung, _ in RUNGS:
        error = np.abs(arrays.to_numpy(rung(device_x, device_w))[:1] - expected).max()
        device.synchronize()
        start = time.perf_counter()
        for _ in range(repeats):
            rung(device_x, device_w)
        device.synchronize()
        seconds = (time.perf_counter() - start) / repeats
        speed = "on the simulator" if device.SIMULATED else f"{operations / seconds / 1e9:8.0f} GFLOP/s"
        print(f"{name:26} {speed}   largest error {error:.1e}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
