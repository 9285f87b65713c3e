"""Max-pooling and average-pooling on all cores. The formulas stand in ``reference/pool2d.py``.

All four kernels work on one row of the result at a time, so rows can be shared out among threads: a backward pass too
asks for each row of dx which windows cover it, instead of scattering every window's gradient.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from .. import NO_PADDING, checks
from . import threads, workspace
from .compiling import kernel


def max_pool2d_forward(x, pool_size=2, stride=None, padding=NO_PADDING):
    """``y`` and ``argmax``, as in ``reference.max_pool2d_forward``; argmax has the smallest type that holds it."""
    x, pool_size, stride, padding, shape = checks.pool2d_forward(x, pool_size, stride, padding)
    y = workspace.empty(shape, x.dtype)
    argmax = workspace.empty(shape, np.uint8 if pool_size[0] * pool_size[1] <= 256 else np.int64)
    threads.run(_max_forward, _max_forward_on_all, x.size, x, y, argmax, pool_size, stride, _before(padding))
    return y, argmax


def max_pool2d_backward(dy, argmax, x_shape, pool_size=2, stride=None, padding=NO_PADDING):
    """``dx``, as in ``reference.max_pool2d_backward``."""
    dy, x_shape, pool_size, stride, padding, argmax = checks.pool2d_backward(dy, x_shape, pool_size, stride, padding,
                                                                             argmax)
    if argmax.dtype != np.uint8:
        argmax = argmax.astype(np.int64, copy=False)
    dx = workspace.empty(x_shape, dy.dtype)
    threads.run(_max_backward, _max_backward_on_all, dx.size, dy, argmax, dx, pool_size, stride, _before(padding))
    return dx


def avg_pool2d_forward(x, pool_size=2, stride=None, padding=NO_PADDING):
    """``y``, as in ``reference.avg_pool2d_forward``."""
    x, pool_size, stride, padding, shape = checks.pool2d_forward(x, pool_size, stride, padding)
    y = workspace.empty(shape, x.dtype)
    threads.run(_avg_forward, _avg_forward_on_all, x.size, x, y, pool_size, stride, _before(padding))
    return y


def avg_pool2d_backward(dy, x_shape, pool_size=2, stride=None, padding=NO_PADDING):
    """``dx``, as in ``reference.avg_pool2d_backward``."""
    dy, x_shape, pool_size, stride, padding = checks.pool2d_backward(dy, x_shape, pool_size, stride, padding)
    dx = workspace.empty(x_shape, dy.dtype)
    threads.run(_avg_backward, _avg_backward_on_all, dx.size, dy, dx, pool_size, stride, _before(padding))
    return dx


def _before(padding):
    return padding[0][0], padding[1][0]


@njit(nogil=True)
def _range(index, stride, before, window, size):
    """The part of window ``index`` that lies inside the image: its first element and the one behind its last."""
    start = index * stride - before
    return max(0, -start), min(window, size - start)


@njit(nogil=True)
def _windows(pixel, stride, before, window, count):
    """The windows that cover a pixel: the first and the one behind the last."""
    first = (pixel + before - window) // stride + 1
    return max(0, first), min(count, (pixel + before) // stride + 1)


@kernel()
def _max_forward(worker, workers, x, y, argmax, pool_size, stride, before):
    images, oh, ow, channels = y.shape
    pw = pool_size[1]
    for row in range(images * oh * worker // workers, images * oh * (worker + 1) // workers):
        image, i = row // oh, row % oh
        m_first, m_last = _range(i, stride[0], before[0], pool_size[0], x.shape[1])
        for j in range(ow):
            n_first, n_last = _range(j, stride[1], before[1], pw, x.shape[2])
            largest, position = y[image, i, j], argmax[image, i, j]
            for m in range(m_first, m_last):
                for n in range(n_first, n_last):
                    pixel = x[image, i * stride[0] + m - before[0], j * stride[1] + n - before[1]]
                    if m == m_first and n == n_first:
                        for c in range(channels):
                            largest[c] = pixel[c]
                            position[c] = m * pw + n
                        continue
                    for c in range(channels):
                        # not <=, so that NaN wins; only NaN differs from itself, and what holds one keeps it
                        wins = not (pixel[c] <= largest[c]) and largest[c] == largest[c]
                        largest[c] = pixel[c] if wins else largest[c]
                        position[c] = m * pw + n if wins else position[c]


@kernel(parallel=True)
def _max_forward_on_all(workers, x, y, argmax, pool_size, stride, before):
    for worker in prange(workers):
        _max_forward(np.int64(worker), workers, x, y, argmax, pool_size, stride, before)


@kernel()
def _max_backward(worker, workers, dy, argmax, dx, pool_size, stride, before):
    images, height, width, channels = dx.shape
    _, oh, ow, _ = dy.shape
    pw = pool_size[1]
    covered = ow * stride[1] == width and before[1] == 0
    apart = stride[0] >= pool_size[0] and stride[1] == pw and covered  # then each pixel has one window
    for row in range(images * height * worker // workers, images * height * (worker + 1) // workers):
        image, r = row // height, row % height
        first, last = _windows(r, stride[0], before[0], pool_size[0], oh)
        if not apart or first >= last:
            for s in range(width):
                for c in range(channels):
                    dx[image, r, s, c] = 0
        for i in range(first, last):
            m = r + before[0] - i * stride[0]
            for j in range(ow):
                n_first, n_last = _range(j, stride[1], before[1], pw, width)
                gradient, position = dy[image, i, j], argmax[image, i, j]
                for n in range(n_first, n_last):
                    pixel = dx[image, r, j * stride[1] + n - before[1]]
                    if apart:
                        for c in range(channels):
                            pixel[c] = gradient[c] if position[c] == m * pw + n else dy.dtype.type(0)
                    else:
                        for c in range(channels):
                            pixel[c] += gradient[c] if position[c] == m * pw + n else dy.dtype.type(0)


@kernel(parallel=True)
def _max_backward_on_all(workers, dy, argmax, dx, pool_size, stride, before):
    for worker in prange(workers):
        _max_backward(np.int64(worker), workers, dy, argmax, dx, pool_size, stride, before)


@kernel()
def _avg_forward(worker, workers, x, y, pool_size, stride, before):
    images, oh, ow, channels = y.shape
    for row in range(images * oh * worker // workers, images * oh * (worker + 1) // workers):
        image, i = row // oh, row % oh
        m_first, m_last = _range(i, stride[0], before[0], pool_size[0], x.shape[1])
        for j in range(ow):
            n_first, n_last = _range(j, stride[1], before[1], pool_size[1], x.shape[2])
            mean = y[image, i, j]
            for c in range(channels):
                mean[c] = 0
            for m in range(m_first, m_last):
                for n in range(n_first, n_last):
                    pixel = x[image, i * stride[0] + m - before[0], j * stride[1] + n - before[1]]
                    for c in range(channels):
                        mean[c] += pixel[c]
            count = x.dtype.type((m_last - m_first) * (n_last - n_first))
            for c in range(channels):
                mean[c] /= count


@kernel(parallel=True)
def _avg_forward_on_all(workers, x, y, pool_size, stride, before):
    for worker in prange(workers):
        _avg_forward(np.int64(worker), workers, x, y, pool_size, stride, before)


@kernel()
def _avg_backward(worker, workers, dy, dx, pool_size, stride, before):
    images, height, width, channels = dx.shape
    _, oh, ow, _ = dy.shape
    for row in range(images * height * worker // workers, images * height * (worker + 1) // workers):
        image, r = row // height, row % height
        for s in range(width):
            for c in range(channels):
                dx[image, r, s, c] = 0
        first, last = _windows(r, stride[0], before[0], pool_size[0], oh)
        for i in range(first, last):
            m_first, m_last = _range(i, stride[0], before[0], pool_size[0], height)
            for j in range(ow):
                n_first, n_last = _range(j, stride[1], before[1], pool_size[1], width)
                gradient = dy[image, i, j]
                count = dy.dtype.type((m_last - m_first) * (n_last - n_first))
                for n in range(n_first, n_last):
                    pixel = dx[image, r, j * stride[1] + n - before[1]]
                    for c in range(channels):
                        pixel[c] += gradient[c] / count


@kernel(parallel=True)
def _avg_backward_on_all(workers, dy, dx, pool_size, stride, before):
    for worker in prange(workers):
        _avg_backward(np.int64(worker), workers, dy, dx, pool_size, stride, before)
