from __future__ import annotations

import numpy as np

from .. import NO_PADDING
from . import arrays, tiles
from .checks import checks
from .device import blocks_for, launch
from .pixel_product import pixel_product
from .weight_product import weight_product


def conv2d_forward(x, w, b=None, stride=1, padding=NO_PADDING):
    """Convolve a batch of images; arguments and result as in ``kernels.reference.conv2d_forward``."""
    x, w, b, stride, padding, y_shape = checks.conv2d_forward(x, w, b, stride, padding)
    return forward(x, w, b, stride, padding, y_shape, relu=False)


def conv2d_relu_forward(x, w, b=None, stride=1, padding=NO_PADDING):
    """``relu(conv2d_forward(...))`` in one pass."""
    x, w, b, stride, padding, y_shape = checks.conv2d_forward(x, w, b, stride, padding)
    return forward(x, w, b, stride, padding, y_shape, relu=True)


def conv2d_backward(dy, x, w, stride=1, padding=NO_PADDING, input_gradient=True):
    """Gradients; arguments and results as in ``kernels.reference.conv2d_backward``."""
    dy, x, w, stride, padding = checks.conv2d_backward(dy, x, w, stride, padding)
    return backward(dy, None, x, w, stride, padding, input_gradient)


def conv2d_relu_backward(dy, y, x, w, stride=1, padding=NO_PADDING, input_gradient=True):
    """The same through ``conv2d_relu_forward``, whose result is ``y``."""
    dy, x, w, stride, padding, y = checks.conv2d_backward(dy, x, w, stride, padding, y)
    return backward(dy, y, x, w, stride, padding, input_gradient)


def forward(x, w, b, stride, padding, y_shape, relu):
    _, height, width, channels = x.shape
    kh, kw, _, outputs = w.shape
    geometry = (height, width, channels, y_shape[1], y_shape[2], outputs, kw, kh * kw, *stride,
                padding[0][0], padding[1][0], 1, 1)
    y = arrays.empty(y_shape, x.dtype)
    _pixel_product(x, x, w, b, y, geometry, False, False, relu)
    return y


def backward(dy, y, x, w, stride, padding, input_gradient):
    dx = None
    _, height, width, channels = x.shape
    kh, kw, _, outputs = w.shape
    _, oh, ow, _ = dy.shape
    if input_gradient:
        dx = arrays.empty(x.shape, x.dtype)
        geometry = (oh, ow, outputs, height, width, channels, kw, kh * kw, 1, 1,
                    kh - 1 - padding[0][0], kw - 1 - padding[1][0], *stride)
        _pixel_product(dy, y or dy, w, None, dx, geometry, True, y is not None, False)
    dw, db = _weight_product(x, dy, y, w.shape, stride, padding)
    return dx, dw, db


def _pixel_product(x, y, w, b, out, geometry, backward, masked, relu):
    dtype = x.dtype
    width = 16 // dtype.itemsize
    _, _, channels, _, _, columns, _, taps, *_ = geometry
    dilated = geometry[-2:] != (1, 1)
    rows = out.size // columns
    if rows == 0:
        return
    vector_in = channels % width == 0 and x.is_aligned and y.is_aligned and (w.is_aligned or not backward)
    vector_out = columns % width == 0 and (w.is_aligned or backward)
    tile, splits, chunk, blocks = tiles.plan(rows, columns, taps * channels, dtype.type)
    kernel = pixel_product(dtype.type, tile, vector_in, vector_out, dilated, backward, masked)
    alone = splits == 1
    target = out if alone else arrays.empty((splits * out.size,), dtype)
    has_bias = b is not None
    bias = b if has_bias else w
    geometry = [np.int32(g) if i in (10, 11) else g for i, g in enumerate(geometry)]
    launch(kernel, blocks, tile.threads, x, y, w, bias, target, *geometry, rows, chunk, alone and has_bias,
           alone and relu)
    if not alone:
        launch(tiles.add_parts(dtype.type), blocks_for(out.size, 128), 128, target, bias, out, splits, columns,
               has_bias, relu)


def _weight_product(x, dy, y, w_shape, stride, padding):
    dtype = x.dtype
    width = 16 // dtype.itemsize
    kh, kw, channels, columns = w_shape
    images, height, image_width, _ = x.shape
    _, oh, ow, _ = dy.shape
    weights = kh * kw * channels
    pixels = images * oh * ow
    gradients = arrays.empty(((weights + 1) * columns,), dtype)
    if pixels == 0:
        gradients = arrays.zeros(gradients.shape, dtype)
    else:
        vector_in = channels % width == 0 and x.is_aligned
        vector_out = columns % width == 0 and dy.is_aligned and (y is None or y.is_aligned)
        tile, splits, chunk, blocks = tiles.plan(weights + 1, columns, pixels, dtype.type,
                                                 narrow=not vector_in)
        kernel = weight_product(dtype.type, tile, vector_in, vector_out, y is not None)
        target = gradients if splits == 1 else arrays.empty((splits * gradients.size,), dtype)
        launch(kernel, blocks, tile.threads, x, dy, dy if y is None else y, target, height, image_width, channels,
               oh, ow, columns, kw, weights, *stride, np.int32(padding[0][0]), np.int32(padding[1][0]), pixels, chunk)
        if splits > 1:
            launch(tiles.add_parts(dtype.type), blocks_for(gradients.size, 128), 128, target, target, gradients,
                   splits, columns, False, False)
    return gradients[:weights * columns].reshape(w_shape), gradients[weights * columns:]
