"""Two-dimensional convolution on all cores. The formulas stand in ``reference/conv2d.py``."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .. import NO_PADDING, checks
from . import simd, threads, workspace
from .convolution import add_splits, convolve, differentiate
from .plans import multiples, plan_of
from .product import panel_width
from .workspace import flat

#: Into how many shares the sums over a batch are cut, whatever the number of threads.
SHARES = 8


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
    plan, tables = plan_of(x.shape, w.shape[:2], outputs, stride, padding, shape[1:3], x.itemsize, workers)
    columns, terms = _whole(outputs, lanes), len(plan.step)
    # rows of w that are wider than a panel can be used as they are, but not as fast
    packs = outputs != columns or (outputs > simd.PANEL * lanes and y.size >= 512 * outputs)
    widest = min(columns, simd.PANEL * lanes)
    bias = _zeros(columns, x.dtype) if b is None else flat(b)
    if len(bias) != columns:
        bias = np.zeros(columns, x.dtype)
        bias[:outputs] = b
    threads.run(convolve, y.size * terms, *tables, len(x), flat(x),
                _padded_scratch("x", plan, x.dtype), flat(w), packs,
                workspace.scratch("weights", (workers, (terms + 1) * widest if packs else 0), x.dtype), bias,
                y.reshape(-1), outputs, lanes, relu)
    return y


def _backward(dy, y, x, w, stride, padding, input_gradient):
    if len(x) == 0:
        return np.empty_like(x) if input_gradient else None, np.zeros_like(w), np.zeros(w.shape[3], w.dtype)
    masked = y is not None
    flat_dy, flat_w = flat(dy), flat(w)
    flat_mask = flat(y) if masked else flat_dy
    geometry = w.shape[:2], w.shape[3], stride, padding, dy.shape[1:3], x.itemsize
    dx = workspace.empty(x.shape, x.dtype) if input_gradient else np.empty((0,) * 4, x.dtype)
    dw, partial, sums, correlation = _correlation(flat_dy, flat_mask, masked, x, w, geometry)
    threads.run(differentiate, w.size * (dy.size // w.shape[3]), input_gradient,
                *_spreading(flat_dy, flat_mask, masked, dx, x.shape, flat_w, geometry), *correlation)
    if partial is dw:
        return dx if input_gradient else None, dw, sums[0, :w.shape[3]]
    db = np.empty(w.shape[3], w.dtype)
    add_splits(partial, dw.reshape(-1), sums, db)
    return dx if input_gradient else None, dw, db


def _spreading(dy, mask, masked, dx, shape, w, geometry):
    """The arguments of ``convolution.spread_share``."""
    (kh, kw), outputs, stride = geometry[:3]
    lanes, workers = simd.lanes(dx.dtype), threads.get_num_threads()
    plan, tables = plan_of(shape, *geometry, workers)
    rows = plan.images * plan.out_height if plan.bands == 1 else plan.band + -(-kh // stride[0])
    dy_scratch = (workers, rows * plan.out_width * outputs if masked else 0)
    w_scratch = (workers, (kh * kw * outputs + lanes) * _whole(plan.channels, lanes))
    return (*tables, shape[0], kh, kw, dy, mask, masked, workspace.scratch("dy", dy_scratch, dx.dtype), w,
            workspace.scratch("weights", w_scratch, dx.dtype), _zeros(simd.PANEL * lanes, dx.dtype),
            multiples(outputs, 1), dx.reshape(-1), outputs, lanes, _padded_scratch("dx", plan, dx.dtype))


def _correlation(dy, mask, masked, x, w, geometry):
    """dw, its partial sums, those of db, and the arguments of ``convolution.correlate_share``."""
    outputs, lanes, terms = w.shape[3], simd.lanes(x.dtype), w.size // w.shape[3]
    plan, tables = plan_of(x.shape, *geometry, SHARES)
    splits = max(1, min(SHARES, -(-len(x) // plan.images) * plan.bands, dy.size // outputs // 1024))
    block = -(-terms // max(1, SHARES // splits))
    dw = workspace.empty(w.shape, w.dtype)
    partial = dw if splits == 1 else workspace.scratch("partial", (splits, w.size), w.dtype)
    sums = np.zeros((splits + 1, _whole(outputs, lanes)), w.dtype)
    dy_scratch = threads.get_num_threads(), len(plan.row) * min(_whole(outputs, lanes), simd.PANEL * lanes)
    return dw, partial, sums, (
        *tables, multiples(terms, outputs), len(x), flat(x), dy, mask, masked, _padded_scratch("x", plan, x.dtype),
        workspace.scratch("packed dy", dy_scratch, x.dtype), _zeros(simd.PANEL * lanes, x.dtype), partial.reshape(-1),
        sums, splits, block, outputs, lanes)


def _padded_scratch(name, plan, dtype):
    """For every worker the part of a padded image that a unit takes, or of the padded dx that it makes.

    The two must not share memory: one worker may still be at its dx while another is at dw already.
    """
    rows = max(plan.block_height, plan.band * plan.row_step, plan.padded_height if plan.bands == 1 else 0)
    size = plan.images * rows * plan.padded_width * plan.channels if plan.padded else 0
    return workspace.scratch(f"padded {name}", (threads.get_num_threads(), size), dtype)


def _whole(columns, lanes):
    """Columns, with those that fill the last panel up."""
    panel = simd.PANEL * lanes
    rest = columns % panel
    return columns - rest + (panel_width.py_func(rest, lanes) if rest else 0)


@lru_cache(64)
def _zeros(size, dtype):
    return np.zeros(size, dtype)  # never written to
