"""Batch normalization and dropout on the device. The formulas stand in ``kernels/reference/normalization.py``.

Statistics of a channel are sums over a column of the (M, C) matrix of all pixels. The rows are cut into chunks by the
shape alone; a block takes 32 channels of a chunk, so that a warp reads 128 bytes side by side, and a second kernel
merges the chunks as a tree. Mean and variance come from one pass: each thread keeps (count, mean, sum of squared
deviations) of what it has seen (Welford 1962), and two such triples are merged exactly (Chan, Golub & LeVeque 1979),
which has none of the cancellation of ``mean(x^2) - mean(x)^2``.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from . import arrays
from .checks import checks
from .device import barrier, blocks_for, cuda, device_function, launch
from .reductions import LANES, tree_sum

uint32, uint64 = np.uint32, np.uint64

THREADS = 128

#: Rows that a block walks at a time: its LANES x STRANDS threads take one element each.
STRANDS = 4

#: Rows of a chunk for each of its strands, at least.
SHORTEST_STRAND = 16

#: Chunks that the rows are cut into, at most.
CHUNKS = 256


def batch_norm_forward(x, gamma, beta, epsilon=1e-3):
    """``y, mean, variance``: every channel to mean 0 and variance 1 over the batch, then scale and shift."""
    x, epsilon, gamma, beta = checks.channels(x, epsilon, gamma=gamma, beta=beta)
    T, channels = x.dtype.type, x.shape[-1]
    rows = x.size // channels
    chunks, chunk = _chunks(rows)
    means, deviations = (arrays.empty((chunks, channels), T) for _ in range(2))
    launch(chunk_statistics(T), (chunks, blocks_for(channels, LANES)), (LANES, STRANDS), x, means, deviations, rows,
           channels, chunk)
    mean, variance = (arrays.empty((channels,), T) for _ in range(2))
    launch(merge_statistics(T), channels, LANES, means, deviations, mean, variance, rows, channels, chunk, chunks)
    return _normalize(x, gamma, beta, mean, variance, epsilon), mean, variance


def batch_norm_inference_forward(x, gamma, beta, mean, variance, epsilon=1e-3):
    """``y = gamma (x - mean) / sqrt(variance + epsilon) + beta`` with statistics that are given."""
    x, epsilon, gamma, beta, mean, variance = checks.channels(
        x, epsilon, gamma=gamma, beta=beta, mean=mean, variance=variance)
    return _normalize(x, gamma, beta, mean, variance, epsilon)


def batch_norm_backward(dy, x, gamma, mean, variance, epsilon=1e-3):
    """``dx, dgamma, dbeta`` through ``batch_norm_forward``.

    The reference's three paths, collected (Ioffe & Szegedy 2015, section 3, with sum (x - mean) = 0):

        dx = gamma / root * (dy - dbeta / M - xhat dgamma / M),     root = sqrt(variance + epsilon)
    """
    x, epsilon, dy, gamma, mean, variance = checks.channels(x, epsilon, dy, gamma=gamma, mean=mean, variance=variance)
    return _backward(dy, x, gamma, mean, variance, epsilon, True)


def batch_norm_inference_backward(dy, x, gamma, mean, variance, epsilon=1e-3):
    """``dx, dgamma, dbeta`` through ``batch_norm_inference_forward``: ``dx = dy gamma / sqrt(variance + epsilon)``."""
    x, epsilon, dy, gamma, mean, variance = checks.channels(x, epsilon, dy, gamma=gamma, mean=mean, variance=variance)
    return _backward(dy, x, gamma, mean, variance, epsilon, False)


def dropout_forward(x, rate, seed):
    """``y, mask``: the same elements as in ``kernels.reference.dropout_forward``, whatever the grid."""
    x, rate, seed = checks.dropout_forward(x, rate, seed)
    T = x.dtype.type
    y, mask = arrays.empty(x.shape, T), arrays.empty(x.shape, np.bool_)
    # z / 2^24 >= rate, for the integer z in the upper 24 bits: compared as integers, which needs no float64
    threshold = math.ceil(rate * 2**24)
    launch(dropout_kernel(T), blocks_for(x.size, THREADS), THREADS, x, y, mask, np.uint64(seed), np.uint64(threshold),
           T(1 / (1 - rate)))
    return y, mask


def dropout_backward(dy, mask, rate):
    """``dx = dy mask / (1 - rate)``."""
    dy, mask, rate = checks.dropout_backward(dy, mask, rate)
    T = dy.dtype.type
    dx = arrays.empty(dy.shape, T)
    launch(mask_kernel(T), blocks_for(dy.size, THREADS), THREADS, dy, mask, dx, T(1 / (1 - rate)))
    return dx


def _chunks(rows):
    """Number of chunks and their length, a multiple of ``STRANDS``; by the shape alone."""
    chunk = STRANDS * max(SHORTEST_STRAND, -(-rows // (CHUNKS * STRANDS)))
    return -(-rows // chunk), chunk


def _normalize(x, gamma, beta, mean, variance, epsilon):
    y = arrays.empty(x.shape, x.dtype)
    T = x.dtype.type
    launch(normalize_kernel(), blocks_for(x.size, THREADS), THREADS, x, gamma, beta, mean, variance, y, x.shape[-1],
           T(epsilon))
    return y


def _backward(dy, x, gamma, mean, variance, epsilon, batch_statistics):
    T, channels = x.dtype.type, x.shape[-1]
    rows = x.size // channels
    chunks, chunk = _chunks(rows)
    parts_1, parts_2 = (arrays.empty((chunks, channels), T) for _ in range(2))
    launch(chunk_gradients(T), (chunks, blocks_for(channels, LANES)), (LANES, STRANDS), dy, x, mean, parts_1, parts_2,
           rows, channels, chunk)
    dgamma, dbeta = (arrays.empty((channels,), T) for _ in range(2))
    launch(merge_gradients(T), channels, LANES, parts_1, parts_2, variance, dgamma, dbeta, channels, chunks,
           T(epsilon))
    dx = arrays.empty(x.shape, T)
    launch(input_gradient_kernel(), blocks_for(x.size, THREADS), THREADS, dy, x, gamma, mean, variance, dgamma, dbeta,
           dx, channels, T(epsilon), T(1 / rows if batch_statistics else 0))
    return dx, dgamma, dbeta


# ---- kernels: statistics ------------------------------------------------------------------------------------------

@device_function
def merge(count_a, mean_a, squares_a, count_b, mean_b, squares_b):
    """Mean and sum of squared deviations of two sets together (Chan et al.); the counts are not both 0."""
    count = count_a + count_b
    share = count_b / count
    delta = mean_b - mean_a
    return mean_a + delta * share, squares_a + squares_b + delta * delta * count_a * share


@functools.cache
def chunk_statistics(T):
    """Mean and squared deviations of every channel over one chunk of rows."""
    zero, one = T(0), T(1)
    SHARED = LANES * STRANDS

    @cuda.jit
    def chunk_statistics(x, means, deviations, rows, channels, chunk):
        shared_count = cuda.shared.array(SHARED, T)
        shared_mean = cuda.shared.array(SHARED, T)
        shared_squares = cuda.shared.array(SHARED, T)
        lane, strand = uint32(cuda.threadIdx.x), uint32(cuda.threadIdx.y)
        channel = uint32(cuda.blockIdx.y * LANES + lane)
        start = uint32(cuda.blockIdx.x * chunk)
        count, mean, squares = zero, zero, zero
        if channel < channels:
            for row in range(start + strand, min(uint32(start + chunk), rows), STRANDS):
                value = x[uint32(row * channels + channel)]
                count += one
                delta = value - mean
                mean += delta / count
                squares += delta * (value - mean)
        place = strand * LANES + lane
        shared_count[place] = count
        shared_mean[place] = mean
        shared_squares[place] = squares
        barrier()
        if strand == 0 and channel < channels:
            for other in range(1, STRANDS):
                place = other * LANES + lane
                if shared_count[place] > zero:
                    mean, squares = merge(count, mean, squares, shared_count[place], shared_mean[place],
                                          shared_squares[place])
                    count += shared_count[place]
            means[uint32(cuda.blockIdx.x * channels + channel)] = mean
            deviations[uint32(cuda.blockIdx.x * channels + channel)] = squares
    return chunk_statistics


@functools.cache
def merge_statistics(T):
    """One block a channel: the chunks' means and squared deviations to those of all rows, as a tree."""
    zero = T(0)

    @cuda.jit
    def merge_statistics(means, deviations, mean_out, variance_out, rows, channels, chunk, chunks):
        shared_count = cuda.shared.array(LANES, T)
        shared_mean = cuda.shared.array(LANES, T)
        shared_squares = cuda.shared.array(LANES, T)
        lane = uint32(cuda.threadIdx.x)
        channel = uint32(cuda.blockIdx.x)
        count, mean, squares = zero, zero, zero
        for i in range(lane, chunks, LANES):
            size = T(min(chunk, uint32(rows - uint32(i * chunk))))
            place = uint32(i * channels + channel)
            mean, squares = merge(count, mean, squares, size, means[place], deviations[place])
            count += size
        shared_count[lane] = count
        shared_mean[lane] = mean
        shared_squares[lane] = squares
        barrier()
        step = LANES // 2
        while step > 0:
            if lane < step and shared_count[lane + step] > zero:
                mean, squares = merge(shared_count[lane], shared_mean[lane], shared_squares[lane],
                                      shared_count[lane + step], shared_mean[lane + step], shared_squares[lane + step])
                shared_count[lane] += shared_count[lane + step]
                shared_mean[lane] = mean
                shared_squares[lane] = squares
            barrier()
            step //= 2
        if lane == 0:
            mean_out[channel] = shared_mean[0]
            variance_out[channel] = shared_squares[0] / shared_count[0]
    return merge_statistics


@functools.cache
def chunk_gradients(T):
    """Sums of ``dy (x - mean)`` and ``dy`` of every channel over one chunk of rows."""
    zero = T(0)
    SHARED = LANES * STRANDS

    @cuda.jit
    def chunk_gradients(dy, x, mean, parts_1, parts_2, rows, channels, chunk):
        shared_1 = cuda.shared.array(SHARED, T)
        shared_2 = cuda.shared.array(SHARED, T)
        lane, strand = uint32(cuda.threadIdx.x), uint32(cuda.threadIdx.y)
        channel = uint32(cuda.blockIdx.y * LANES + lane)
        start = uint32(cuda.blockIdx.x * chunk)
        sum_1, sum_2 = zero, zero
        if channel < channels:
            for row in range(start + strand, min(uint32(start + chunk), rows), STRANDS):
                place = uint32(row * channels + channel)
                sum_1 += dy[place] * (x[place] - mean[channel])
                sum_2 += dy[place]
        shared_1[strand * LANES + lane] = sum_1
        shared_2[strand * LANES + lane] = sum_2
        barrier()
        if strand == 0 and channel < channels:
            for other in range(1, STRANDS):
                sum_1 += shared_1[other * LANES + lane]
                sum_2 += shared_2[other * LANES + lane]
            parts_1[uint32(cuda.blockIdx.x * channels + channel)] = sum_1
            parts_2[uint32(cuda.blockIdx.x * channels + channel)] = sum_2
    return chunk_gradients


@functools.cache
def merge_gradients(T):
    """One block a channel: ``dgamma = sum dy (x - mean) / root`` and ``dbeta = sum dy`` from the chunks' sums."""
    zero = T(0)

    @cuda.jit
    def merge_gradients(parts_1, parts_2, variance, dgamma, dbeta, channels, chunks, epsilon):
        shared = cuda.shared.array(LANES, T)
        lane = uint32(cuda.threadIdx.x)
        channel = uint32(cuda.blockIdx.x)
        sum_1, sum_2 = zero, zero
        for i in range(lane, chunks, LANES):
            sum_1 += parts_1[uint32(i * channels + channel)]
            sum_2 += parts_2[uint32(i * channels + channel)]
        sum_1 = tree_sum(shared, lane, sum_1)
        sum_2 = tree_sum(shared, lane, sum_2)
        if lane == 0:
            dgamma[channel] = sum_1 / math.sqrt(variance[channel] + epsilon)
            dbeta[channel] = sum_2
    return merge_gradients


# ---- kernels: one thread an element -------------------------------------------------------------------------------

@functools.cache
def normalize_kernel():
    """``y = gamma ((x - mean) / sqrt(variance + epsilon)) + beta``."""
    @cuda.jit
    def normalize(x, gamma, beta, mean, variance, y, channels, epsilon):
        i = uint32(cuda.grid(1))
        if i < y.size:
            channel = uint32(i % channels)
            y[i] = gamma[channel] * ((x[i] - mean[channel]) / math.sqrt(variance[channel] + epsilon)) + beta[channel]
    return normalize


@functools.cache
def input_gradient_kernel():
    """``dx = gamma / root (dy - share (dbeta + xhat dgamma))``; share is 1 / M, or 0 where statistics are constants."""
    @cuda.jit
    def input_gradient(dy, x, gamma, mean, variance, dgamma, dbeta, dx, channels, epsilon, share):
        i = uint32(cuda.grid(1))
        if i < dx.size:
            channel = uint32(i % channels)
            root = math.sqrt(variance[channel] + epsilon)
            xhat = (x[i] - mean[channel]) / root
            dx[i] = gamma[channel] / root * (dy[i] - share * (dbeta[channel] + xhat * dgamma[channel]))
    return input_gradient


@functools.cache
def dropout_kernel(T):
    """Element i is kept when the upper 24 bits of the i-th output of splitmix64 reach ``threshold``."""
    zero = T(0)
    GOLDEN, MIX_1, MIX_2 = uint64(0x9E3779B97F4A7C15), uint64(0xBF58476D1CE4E5B9), uint64(0x94D049BB133111EB)
    S30, S27, S31, S40 = uint64(30), uint64(27), uint64(31), uint64(40)

    @cuda.jit
    def dropout(x, y, mask, seed, threshold, scale):
        i = uint32(cuda.grid(1))
        if i < y.size:
            z = uint64(seed + (uint64(i) + uint64(1)) * GOLDEN)
            z = uint64((z ^ (z >> S30)) * MIX_1)
            z = uint64((z ^ (z >> S27)) * MIX_2)
            z = uint64(z ^ (z >> S31))
            keep = z >> S40 >= threshold
            mask[i] = keep
            y[i] = x[i] * scale if keep else zero
    return dropout


@functools.cache
def mask_kernel(T):
    """``dx = dy scale`` where the mask is set, else 0."""
    zero = T(0)

    @cuda.jit
    def masked(dy, mask, dx, scale):
        i = uint32(cuda.grid(1))
        if i < dx.size:
            dx[i] = dy[i] * scale if mask[i] else zero
    return masked
