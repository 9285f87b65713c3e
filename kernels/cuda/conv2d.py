"""Convolution on the device: three products, each one kernel (and one more where its sums are split).

What happens in the kernels stands in ``pixel_product.py`` and ``weight_product.py``; here their arguments are put
together. The formulas and their derivations stand in ``kernels/reference/conv2d.py``. ``dense.py`` uses the three
functions below for images of one pixel.
"""

from __future__ import annotations

import numpy as np

from .. import NO_PADDING
from . import arrays, tiles
from .checks import checks
from .device import VECTOR_BYTES, blocks_for, launch
from .pixel_product import pixel_product
from .weight_product import weight_product

#: Threads of a block that adds up partial sums.
THREADS = 128


def conv2d_forward(x, w, b=None, stride=1, padding=NO_PADDING):
    """Convolve a batch of images; arguments and result as in ``kernels.reference.conv2d_forward``."""
    return forward(*checks.conv2d_forward(x, w, b, stride, padding), relu=False)


def conv2d_relu_forward(x, w, b=None, stride=1, padding=NO_PADDING):
    """``relu(conv2d_forward(...))``: the relu costs nothing while the result is in registers."""
    return forward(*checks.conv2d_forward(x, w, b, stride, padding), relu=True)


def conv2d_backward(dy, x, w, stride=1, padding=NO_PADDING, input_gradient=True):
    """``dx`` (or None), ``dw``, ``db``; arguments and results as in ``kernels.reference.conv2d_backward``."""
    return backward(*checks.conv2d_backward(dy, x, w, stride, padding), None, input_gradient)


def conv2d_relu_backward(dy, y, x, w, stride=1, padding=NO_PADDING, input_gradient=True):
    """The same through ``conv2d_relu_forward``, whose result is ``y``: ``dy`` counts as 0 unless ``y`` is above 0."""
    return backward(*checks.conv2d_backward(dy, x, w, stride, padding, y), input_gradient)


# ---- the three products, on arguments that are checked -----------------------------------------------------------

def forward(x, w, b, stride, padding, y_shape, relu):
    """``y``, with bias (unless None) and relu (if wanted)."""
    _, height, width, channels = x.shape
    kh, kw, _, outputs = w.shape
    y = arrays.empty(y_shape, x.dtype)
    _pixel_product(x, None, w, b, y, (height, width, channels), (*y_shape[1:3], outputs), (kw, kh * kw), stride,
                   (padding[0][0], padding[1][0]), (1, 1), False, relu)
    return y


def backward(dy, x, w, stride, padding, y, input_gradient):
    """``dx`` (or None), ``dw``, ``db``; through a relu if ``y`` is given."""
    dx = input_gradient_product(dy, y, x.shape, w, stride, padding) if input_gradient else None
    return dx, *weight_gradients(dy, y, x, w.shape, stride, padding)


def input_gradient_product(dy, y, x_shape, w, stride, padding):
    """``dx``: the same product over ``dy``, with the stride as dilation and the kernel flipped."""
    kh, kw, channels, outputs = w.shape
    dx = arrays.empty(x_shape, dy.dtype)
    _pixel_product(dy, y, w, None, dx, (*dy.shape[1:3], outputs), (*x_shape[1:3], channels), (kw, kh * kw), (1, 1),
                   (kh - 1 - padding[0][0], kw - 1 - padding[1][0]), stride, True, False)
    return dx


def weight_gradients(dy, y, x, w_shape, stride, padding):
    """``dw`` and ``db``, two parts of one vector."""
    T = x.dtype.type
    kh, kw, channels, outputs = w_shape
    weights, pixels = kh * kw * channels, dy.size // outputs
    if pixels == 0:
        gradients = arrays.zeros(((weights + 1) * outputs,), T)
    else:
        gradients = arrays.empty(((weights + 1) * outputs,), T)
        vector_in = _fills_vectors(channels, x)
        vector_out = _fills_vectors(outputs, dy, dy if y is None else y)
        plan = tiles.plan(weights + 1, outputs, pixels, T, narrow=not vector_in)
        parts = gradients if plan.splits == 1 else arrays.empty((plan.splits * gradients.size,), T)
        launch(weight_product(T, plan.tile, vector_in, vector_out, y is not None), plan.blocks, plan.tile.threads,
               x, dy, dy if y is None else y, parts, *x.shape[1:], *dy.shape[1:], kw, weights, *stride,
               np.int32(padding[0][0]), np.int32(padding[1][0]), pixels, plan.chunk)
        if plan.splits > 1:
            launch(tiles.add_parts(T), blocks_for(gradients.size, THREADS), THREADS, parts, parts, gradients,
                   plan.splits, outputs, False, False)
    return gradients[:weights * outputs].reshape(w_shape), gradients[weights * outputs:]


def _pixel_product(x, y, w, b, out, x_shape, out_shape, kernel, stride, padding, dilation, backward, relu):
    """Launch ``pixel_product``: ``x`` (masked by ``y``, unless None) and ``w`` to ``out``; shapes without the batch."""
    if out.size == 0:
        return
    T = x.dtype.type
    channels, columns = x_shape[2], out_shape[2]
    rows = out.size // columns
    vector_in = _fills_vectors(channels, x, x if y is None else y, w if backward else x)
    vector_out = _fills_vectors(columns, out if backward else w)
    plan = tiles.plan(rows, columns, kernel[1] * channels, T)
    parts = out if plan.splits == 1 else arrays.empty((plan.splits * out.size,), T)
    has_bias, whole = b is not None, plan.splits == 1
    bias = b if has_bias else out  # a kernel's argument cannot be None
    launch(pixel_product(T, plan.tile, vector_in, vector_out, dilation != (1, 1), backward, y is not None),
           plan.blocks, plan.tile.threads, x, x if y is None else y, w, bias, parts, *x_shape, *out_shape, *kernel,
           *stride, np.int32(padding[0]), np.int32(padding[1]), *dilation, rows, plan.chunk, has_bias and whole,
           relu and whole)
    if not whole:
        launch(tiles.add_parts(T), blocks_for(out.size, THREADS), THREADS, parts, bias, out, plan.splits, columns,
               has_bias, relu)


def _fills_vectors(channels, *operands):
    """Whether every pixel of the operands begins where 128 bits can be read."""
    return (channels * operands[0].dtype.itemsize % VECTOR_BYTES == 0
            and all(operand.is_aligned for operand in operands))
