"""A correct back-end in another style: strided views of all windows, contracted by einsum."""

import numpy as np
from numpy.lib.stride_tricks import as_strided, sliding_window_view


def pair(value):
    return tuple(value) if isinstance(value, (tuple, list)) else (value, value)


def windows(x, size, stride, padding, fill=0.0):
    """All windows (N, OH, OW, C, KH, KW) as a view, after padding."""
    padded = np.pad(x, [(0, 0), *padding, (0, 0)], constant_values=fill)
    return sliding_window_view(padded, size, axis=(1, 2))[:, ::stride[0], ::stride[1]]


def conv2d_forward(x, w, b=None, stride=1, padding=((0, 0), (0, 0))):
    y = np.einsum("nijcpq,pqco->nijo", windows(x, w.shape[:2], pair(stride), padding), w, optimize=True)
    return y if b is None else y + b


def conv2d_backward(dy, x, w, stride=1, padding=((0, 0), (0, 0)), input_gradient=True):
    stride = pair(stride)
    dw = np.einsum("nijcpq,nijo->pqco", windows(x, w.shape[:2], stride, padding), dy, optimize=True)
    return full_convolution(dy, x, w, stride, padding) if input_gradient else None, dw, np.einsum("nijo->o", dy)


def full_convolution(dy, x, w, stride, padding):
    """dx as a convolution of dy, zeros put between its pixels, with the kernel turned by 180 degrees."""
    kh, kw = w.shape[:2]
    (top, bottom), (left, right) = padding
    n, h, width, _ = x.shape
    spread = np.zeros((n, h + top + bottom - kh + 1, width + left + right - kw + 1, dy.shape[3]), dy.dtype)
    spread[:, ::stride[0], ::stride[1]][:, :dy.shape[1], :dy.shape[2]] = dy
    view = windows(spread, (kh, kw), (1, 1), ((kh - 1, kh - 1), (kw - 1, kw - 1)))
    dx = np.einsum("nijopq,pqco->nijc", view, w[::-1, ::-1], optimize=True)
    return dx[:, top:top + h, left:left + width]


def max_pool2d_forward(x, pool_size=2, stride=None, padding=((0, 0), (0, 0))):
    size, stride = pair(pool_size), pair(pool_size if stride is None else stride)
    view = windows(x, size, stride, padding, -np.inf)
    flat = view.reshape(*view.shape[:4], -1)
    argmax = flat.argmax(axis=-1)
    return np.take_along_axis(flat, argmax[..., None], -1)[..., 0], argmax


def max_pool2d_backward(dy, argmax, x_shape, pool_size=2, stride=None, padding=((0, 0), (0, 0))):
    size, stride = pair(pool_size), pair(pool_size if stride is None else stride)
    onehot = np.eye(size[0] * size[1], dtype=dy.dtype)[argmax] * dy[..., None]
    return fold(onehot.reshape(*dy.shape, *size), x_shape, stride, padding)


def avg_pool2d_forward(x, pool_size=2, stride=None, padding=((0, 0), (0, 0))):
    size, stride = pair(pool_size), pair(pool_size if stride is None else stride)
    view = windows(x, size, stride, padding, np.nan)
    return np.nanmean(view, axis=(-2, -1))


def avg_pool2d_backward(dy, x_shape, pool_size=2, stride=None, padding=((0, 0), (0, 0))):
    size, stride = pair(pool_size), pair(pool_size if stride is None else stride)
    inside = windows(np.ones((1, *x_shape[1:3], 1)), size, stride, padding)
    count = inside.sum(axis=(-2, -1))
    spread = np.broadcast_to((dy / count)[..., None, None], (*dy.shape, *size))
    return fold(spread, x_shape, stride, padding)


def fold(values, x_shape, stride, padding):
    """Add windows (N, OH, OW, C, KH, KW) into images: one strided view for each window position."""
    n, h, w, c = x_shape
    (top, bottom), (left, right) = padding
    padded = np.zeros((n, h + top + bottom, w + left + right, c), values.dtype)
    _, oh, ow, _, kh, kw = values.shape
    s0, s1, s2, s3 = padded.strides
    for m in range(kh):
        for k in range(kw):
            view = as_strided(padded[:, m:, k:], (n, oh, ow, c), (s0, s1 * stride[0], s2 * stride[1], s3))
            view += values[..., m, k]
    return padded[:, top:top + h, left:left + w]


def dense_forward(x, w, b=None):
    return np.einsum("ni,io->no", x, w) + (0 if b is None else b)


def dense_backward(dy, x, w, input_gradient=True):
    return np.einsum("no,io->ni", dy, w) if input_gradient else None, np.einsum("ni,no->io", x, dy), dy.sum(0)


def relu_forward(x):
    return (x + np.abs(x)) / 2


def relu_backward(dy, y):
    return np.heaviside(y, 0.0) * dy


def leaky_relu_forward(x, negative_slope=0.2):
    return np.maximum(x, negative_slope * x)


def leaky_relu_backward(dy, y, negative_slope=0.2):
    return np.where(y > 0, 1.0, negative_slope) * dy


def sigmoid_forward(x):
    return 0.5 * (1 + np.tanh(0.5 * x))


def sigmoid_backward(dy, y):
    return (y - y * y) * dy


def tanh_forward(x):
    return -np.expm1(-2 * np.abs(x)) / (1 + np.exp(-2 * np.abs(x))) * np.sign(x)


def tanh_backward(dy, y):
    return dy * (1 + y) * (1 - y)


def softmax_forward(x):
    return np.exp(x - np.logaddexp.reduce(x, axis=-1, keepdims=True))


def softmax_backward(dy, y):
    jacobian = np.einsum("...i,ij->...ij", y, np.eye(y.shape[-1])) - np.einsum("...i,...j->...ij", y, y)
    return np.einsum("...ij,...j->...i", jacobian, dy)


def softmax_cross_entropy(logits, labels, sample_weight=None, label_smoothing=0.0):
    n, k = logits.shape
    log_p = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    losses = -(1 - label_smoothing) * log_p[np.arange(n), labels] - label_smoothing * log_p.mean(axis=1)
    gradient = np.exp(log_p) - label_smoothing / k
    gradient[np.arange(n), labels] -= 1 - label_smoothing
    if sample_weight is not None:
        losses, gradient = losses * sample_weight, gradient * sample_weight[:, None]
    return losses.mean(), gradient / n


def mean_squared_error(predictions, targets, sample_weight=None):
    weight = 1.0 if sample_weight is None else sample_weight[:, None]
    difference = predictions - targets
    return np.average(weight * difference * difference), (weight + weight) * difference / predictions.size


def batch_norm_forward(x, gamma, beta, epsilon=1e-3):
    rows = x.reshape(-1, x.shape[-1])
    mean = rows.mean(0)
    variance = (rows * rows).mean(0) - mean * mean
    scale = gamma / np.sqrt(variance + epsilon)
    return x * scale + (beta - mean * scale), mean, variance


def batch_norm_backward(dy, x, gamma, mean, variance, epsilon=1e-3):
    shape, c = x.shape, x.shape[-1]
    x, dy = x.reshape(-1, c), dy.reshape(-1, c)
    xhat = (x - mean) / np.sqrt(variance + epsilon)
    dgamma, dbeta = np.einsum("mc,mc->c", dy, xhat), dy.sum(0)
    dx = gamma / np.sqrt(variance + epsilon) / len(x) * (len(x) * dy - dbeta - xhat * dgamma)
    return dx.reshape(shape), dgamma, dbeta


def dropout_backward(dy, mask, rate):
    dx = np.zeros_like(dy)
    dx[mask] = dy[mask] / (1 - rate)
    return dx
