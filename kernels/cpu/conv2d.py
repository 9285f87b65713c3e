"""Two-dimensional convolution on all cores. The formulas stand in ``reference/conv2d.py``."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .. import NO_PADDING, checks
from . import simd, threads, workspace
from .convolution import (
    add_splits,
    convolve,
    convolve_on_all,
    correlate,
    correlate_on_all,
    spread,
    spread_on_all,
)
from .packing import pack, pack_transposed
from .plans import multiples, plan_of


def conv2d_forward(x, w, b=None, stride=1, padding=NO_PADDING):
    """``y[n, i, j, o] = b[o] + sum_mnc x[n, i SH + m - top, j SW + n - left, c] w[m, n, c, o]``.

    Parameters, results and errors as in ``reference.conv2d_forward``.
    """
    return _forward(*checks.conv2d_forward(x, w, b, stride, padding), relu=False)


def conv2d_relu_forward(x, w, b=None, stride=1, padding=NO_PADDING):
    """``relu(conv2d_forward(...))``; the tile takes the maximum with 0 just before it leaves its registers."""
    return _forward(*checks.conv2d_forward(x, w, b, stride, padding), relu=True)


def conv2d_backward(dy, x, w, stride=1, padding=NO_PADDING, input_gradient=True):
    """``dx`` (or None), ``dw`` and ``db``, as in ``reference.conv2d_backward``."""
    dy, x, w, stride, padding = checks.conv2d_backward(dy, x, w, stride, padding)
    return _backward(dy, None, x, w, stride, padding, input_gradient)


def conv2d_relu_backward(dy, y, x, w, stride=1, padding=NO_PADDING, input_gradient=True):
    """Gradients through ``conv2d_relu_forward``, from its result y: dy counts only where y is above 0.

    Both passes that read dy drop the rest as they read it, so the masked dy is never written to memory.
    """
    dy, x, w, stride, padding, y = checks.conv2d_backward(dy, x, w, stride, padding, y)
    return _backward(dy, y, x, w, stride, padding, input_gradient)


def _forward(x, w, b, stride, padding, shape, relu):
    y = workspace.empty(shape, x.dtype)
    lanes, outputs, workers = simd.lanes(x.dtype), shape[3], threads.get_num_threads()
    plan = plan_of(x.shape, w.shape[:2], outputs, stride, padding, shape[1:3], x.itemsize, workers)
    columns = _whole(outputs, lanes)
    packed = outputs != columns or (outputs > simd.PANEL * lanes and y.size >= 64 * outputs)
    weights = w.reshape(-1)
    if packed:
        weights = workspace.scratch("weights", (w.size // outputs * columns,), x.dtype)
        pack(w.reshape(-1), outputs, lanes, weights, workspace.scratch("sums", (columns,), x.dtype))
    bias = _zeros(columns, x.dtype) if b is None else b
    if len(bias) != columns:
        bias = np.zeros(columns, x.dtype)
        bias[:outputs] = b
    threads.run(convolve, convolve_on_all, y.size * len(plan.step), plan, len(x), x.reshape(-1),
                _padded_scratch(plan, x.dtype), weights, packed, bias, y.reshape(-1), outputs, lanes, relu)
    return y


def _backward(dy, y, x, w, stride, padding, input_gradient):
    dx = _input_gradient(dy, y, x.shape, w, stride, padding) if input_gradient else None
    return dx, *_weight_gradient(dy, y, x, w.shape, stride, padding)


def _input_gradient(dy, y, shape, w, stride, padding):
    dx = workspace.empty(shape, dy.dtype)
    kh, kw, channels, outputs = w.shape
    lanes, workers = simd.lanes(dy.dtype), threads.get_num_threads()
    plan = plan_of(shape, (kh, kw), outputs, stride, padding, dy.shape[1:3], dy.itemsize, workers)
    columns = _whole(channels, lanes)
    weights = workspace.scratch("weights", ((kh * kw * outputs + lanes) * columns,), dy.dtype)
    pack_transposed(w.reshape(-1), kh * kw, channels, outputs, lanes, weights)
    source_rows = plan.images * plan.out_height if plan.bands == 1 else plan.band + -(-kh // stride[0])
    masked = y is not None
    source = workspace.scratch("source", (workers, source_rows * plan.out_width * outputs if masked else 0), dy.dtype)
    threads.run(spread, spread_on_all, dy.size * kh * kw * channels, plan, len(dy), kh, kw, dy.reshape(-1),
                (y if masked else dy).reshape(-1), masked, source, weights, kh * kw * outputs * columns,
                _zeros(columns, dy.dtype), multiples(outputs, 1), dx.reshape(-1), outputs, lanes,
                _padded_scratch(plan, dy.dtype))
    return dx


def _weight_gradient(dy, y, x, shape, stride, padding):
    if x.shape[0] == 0:
        return np.zeros(shape, x.dtype), np.zeros(shape[3], x.dtype)
    kh, kw, channels, outputs = shape
    lanes, terms, pixels, masked = simd.lanes(x.dtype), kh * kw * channels, dy.size // outputs, y is not None
    plan = plan_of(x.shape, (kh, kw), outputs, stride, padding, dy.shape[1:3], x.itemsize, 8)
    splits = max(1, min(8, -(-x.shape[0] // plan.images) * plan.bands, pixels // 1024))
    block = -(-terms // max(1, 8 // splits))
    columns = _whole(outputs, lanes)
    dw, sums = workspace.empty(shape, x.dtype), np.zeros((splits + 1, columns), x.dtype)
    direct = splits == 1 and columns == outputs
    partial = dw if direct else workspace.scratch("partial", (splits, terms, columns), x.dtype)
    packed = workspace.scratch("packed", (threads.get_num_threads(), len(plan.row) * columns), x.dtype)
    threads.run(correlate, correlate_on_all, dw.size * pixels, plan, multiples(terms, columns), len(x), x.reshape(-1),
                dy.reshape(-1), (y if masked else dy).reshape(-1), masked, _padded_scratch(plan, x.dtype), packed,
                _zeros(columns, x.dtype), partial.reshape(-1), sums, splits, block, outputs, lanes)
    if direct:
        return dw, sums[0]
    db = np.empty(outputs, x.dtype)
    add_splits(partial, outputs, dw.reshape(-1), sums, db)
    return dw, db


def _padded_scratch(plan, dtype):
    """For every worker the part of a padded image that a unit takes, or of the padded dx that it makes."""
    rows = max(plan.block_height, plan.band * plan.row_step, plan.padded_height if plan.bands == 1 else 0)
    size = plan.images * rows * plan.padded_width * plan.channels if plan.padded else 0
    return workspace.scratch("padded", (threads.get_num_threads(), size), dtype)


def _whole(columns, lanes):
    """Columns, with those that fill the last vector up."""
    return -(-columns // lanes) * lanes


@lru_cache(64)
def _zeros(size, dtype):
    return np.zeros(size, dtype)  # never written to
