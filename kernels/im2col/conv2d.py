"""Convolution as one matrix product.

Every output pixel is the inner product of a window of the image with every kernel. Write each window out as a row, and
the kernels as columns, and the whole convolution is a matrix product, which NumPy hands to BLAS:

    columns (N OH OW, KH KW C)  @  w (KH KW C, O)  =  y (N OH OW, O)

This is the trick called im2col (Chellapilla, Puri & Simard 2006). Its price is memory: a pixel occurs in up to KH KW
windows, so ``columns`` is up to KH KW times as large as the image. Large batches are therefore walked in slices.

The formulas and their derivations stand in ``kernels/reference/conv2d.py``.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .. import NO_PADDING, checks

#: The columns of one slice of the batch stay below this size (but one image is always taken whole).
COLUMN_BYTES = 8 * 2**20


@np.errstate(over="ignore", invalid="ignore")  # infinity and NaN go through without a warning
def conv2d_forward(x, w, b=None, stride=1, padding=NO_PADDING):
    """``y = columns(x) @ w + b``; arguments and result as in ``kernels.reference.conv2d_forward``."""
    x, w, b, stride, padding, y_shape = checks.conv2d_forward(x, w, b, stride, padding)
    matrix = w.reshape(-1, w.shape[-1])
    y = np.empty(y_shape, x.dtype)
    for part in batch_slices(y_shape, w):
        columns = im2col(pad(x[part], padding), w.shape[:2], stride)
        np.matmul(columns, matrix, out=y[part].reshape(-1, w.shape[-1]))
    if b is not None:
        y += b
    return y


@np.errstate(over="ignore", invalid="ignore")
def conv2d_backward(dy, x, w, stride=1, padding=NO_PADDING, input_gradient=True):
    """The two gradients of a matrix product; arguments and results as in ``kernels.reference.conv2d_backward``.

        dw = columns(x)^T @ dy,     dcolumns = dy @ w^T,     db = column sums of dy

    and dx is the transpose of im2col, often called col2im: every element of ``dcolumns`` is added to the pixel that it
    was copied from. Only the part of ``dcolumns`` that belongs to one kernel position (m, n) is made at a time,
    ``dy @ w[m, n]^T``: its elements belong to a grid of pixels that are a stride apart, hence all distinct. This is the
    reference's full convolution with the flipped kernel, summed in another order.
    """
    dy, x, w, stride, padding = checks.conv2d_backward(dy, x, w, stride, padding)
    kh, kw, channels, outputs = w.shape
    _, oh, ow, _ = dy.shape
    dx = np.empty_like(x) if input_gradient else None
    dw = np.zeros((kh * kw * channels, outputs), w.dtype)
    for part in batch_slices(dy.shape, w):
        padded = pad(x[part], padding)
        rows = dy[part].reshape(-1, outputs)
        dw += im2col(padded, (kh, kw), stride).T @ rows
        if input_gradient:
            dpadded = np.zeros_like(padded)
            for m in range(kh):
                for n in range(kw):
                    dpadded[grid(m, n, oh, ow, stride)] += (rows @ w[m, n].T).reshape(-1, oh, ow, channels)
            dx[part] = crop(dpadded, padding)
    return dx, dw.reshape(w.shape), column_sums(dy)


def im2col(x, window, stride):
    """Copy the windows of padded images ``x (N, H, W, C)`` into rows: ``(N OH OW, KH KW C)``.

    ``sliding_window_view`` makes all windows with no copy, as (N, OH, OW, C, KH, KW); the copy happens in ``reshape``.
    """
    windows = sliding_window_view(x, window, axis=(1, 2))[:, ::stride[0], ::stride[1]]
    return windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, window[0] * window[1] * x.shape[-1])


def grid(m, n, oh, ow, stride):
    """Index of the pixels that stand at position (m, n) of the OH x OW windows of padded images."""
    return (slice(None), slice(m, m + stride[0] * (oh - 1) + 1, stride[0]),
            slice(n, n + stride[1] * (ow - 1) + 1, stride[1]))


def pad(x, padding, value=0):
    """``x`` with a border of ``value`` around every image; ``x`` itself if there is none to add."""
    if padding == NO_PADDING:
        return x
    (top, bottom), (left, right) = padding
    images, height, width, channels = x.shape
    padded = np.full((images, top + height + bottom, left + width + right, channels), value, x.dtype)
    padded[:, top:top + height, left:left + width] = x
    return padded


def crop(padded, padding):
    """Take the border off again."""
    (top, bottom), (left, right) = padding
    return padded[:, top:padded.shape[1] - bottom, left:padded.shape[2] - right]


def batch_slices(y_shape, w):
    """Slices of the batch whose columns stay below ``COLUMN_BYTES``. They depend on the shapes alone."""
    images, oh, ow, outputs = y_shape
    step = max(1, COLUMN_BYTES // (oh * ow * (w.nbytes // outputs)))
    return [slice(start, start + step) for start in range(0, images, step)]


def column_sums(dy):
    """Sum over all axes but the last, as a product with a row of ones: BLAS sums faster than ``np.sum`` here."""
    rows = dy.reshape(-1, dy.shape[-1])
    return np.ones(len(rows), dy.dtype) @ rows
