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
    pack,
    pack_flipped,
)
from .plans import forward_plan, input_plan


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
    lanes, outputs = simd.lanes(x.dtype), shape[3]
    plan = forward_plan(x.shape, w.shape[:2], outputs, stride, padding, shape[1:3], threads.get_num_threads(),
                        x.itemsize)
    if outputs % lanes == 0 and (outputs <= simd.PANEL * lanes or y.size < 64 * outputs):
        packed, weights = False, w.reshape(-1)
    else:
        packed, weights = True, workspace.empty((w.size // outputs * _padded(outputs, lanes),), x.dtype)
        pack(w.reshape(-1), outputs, lanes, weights)
    _convolve(plan, x, None, weights, packed, _bias(b, outputs, lanes, x.dtype), y, lanes, relu)
    return y


def _backward(dy, y, x, w, stride, padding, input_gradient):
    dx = _input_gradient(dy, y, x.shape, w, stride, padding) if input_gradient else None
    return dx, *_weight_gradient(dy, y, x, w.shape, stride, padding)


def _input_gradient(dy, y, shape, w, stride, padding):
    dx = workspace.empty(shape, dy.dtype)
    lanes = simd.lanes(dy.dtype)
    plan = input_plan(shape, w.shape[:2], w.shape[3], stride, padding, dy.shape[1:3], threads.get_num_threads(),
                      dy.itemsize, y is not None)
    weights = workspace.empty((int(plan.phases[-1, 4]) * _padded(shape[3], lanes),), dy.dtype)
    pack_flipped(w, stride, (padding[0][0], padding[1][0]), shape[1:3], lanes, weights)
    _convolve(plan, dy, y, weights, True, _bias(None, shape[3], lanes, dy.dtype), dx, lanes, False)
    return dx


def _convolve(plan, x, mask, weights, packed, bias, y, lanes, relu):
    work = y.size * len(plan.step) // len(plan.phases)
    arguments = (plan, x.shape[0], x.reshape(-1), (x if mask is None else mask).reshape(-1), mask is not None,
                 _scratch(plan, x.dtype), weights, packed, bias, y.reshape(-1), y.shape[3], lanes, relu)
    threads.run(convolve, convolve_on_all, work, *arguments)


def _weight_gradient(dy, y, x, shape, stride, padding):
    if x.shape[0] == 0:
        return np.zeros(shape, x.dtype), np.zeros(shape[3], x.dtype)
    lanes, outputs, terms = simd.lanes(x.dtype), shape[3], shape[0] * shape[1] * shape[2]
    plan = forward_plan(x.shape, shape[:2], outputs, stride, padding, dy.shape[1:3], 8, x.itemsize)
    pixels = dy.size // outputs
    units = -(-x.shape[0] // plan.images) * plan.bands
    splits = max(1, min(8, units, pixels // 1024))
    block = -(-terms // max(1, 8 // splits))
    columns = _padded(outputs, lanes)
    dw, db = workspace.empty(shape, x.dtype), np.empty(outputs, x.dtype)
    direct = splits == 1 and columns == outputs
    partial = dw.reshape(1, terms, outputs) if direct else workspace.empty((splits, terms, columns), x.dtype)
    partial_db = db.reshape(1, -1) if direct else np.zeros((splits, outputs), x.dtype)
    workers = threads.get_num_threads()
    unit_pixels = plan.images * min(plan.band, dy.shape[1]) * dy.shape[2]
    arguments = (plan, _taps(terms, columns), x.shape[0], x.reshape(-1), dy.reshape(-1),
                 (dy if y is None else y).reshape(-1), y is not None, _scratch(plan, x.dtype),
                 workspace.empty((workers, unit_pixels * columns), x.dtype), _bias(None, columns, lanes, x.dtype),
                 partial.reshape(-1), partial_db, splits, block, outputs, lanes)
    threads.run(correlate, correlate_on_all, dw.size * pixels, *arguments)
    if not direct:
        add_splits(partial, outputs, dw.reshape(-1), partial_db, db)
    return dw, db


def _scratch(plan, dtype):
    size = plan.images * plan.block_height * plan.block_width * plan.channels if plan.padded else 0
    return workspace.empty((threads.get_num_threads(), size), dtype)


@lru_cache(64)
def _taps(terms, columns):
    return np.arange(terms) * columns


def _bias(b, outputs, lanes, dtype):
    padded = _padded(outputs, lanes)
    if b is not None and outputs == padded:
        return b
    bias = np.zeros(padded, dtype)
    if b is not None:
        bias[:outputs] = b
    return bias


def _padded(columns, lanes):
    return -(-columns // lanes) * lanes
