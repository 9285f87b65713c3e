"""A correct back-end in a third style: index arrays, gathered by fancy indexing and scattered by ``np.add.at``."""

import numpy as np


def places(x_shape, size, stride, padding):
    """Rows (OH*KH) and columns of every window element in the padded image, and (OH, OW)."""
    kh, kw = size
    oh = (x_shape[1] + sum(padding[0]) - kh) // stride[0] + 1
    ow = (x_shape[2] + sum(padding[1]) - kw) // stride[1] + 1
    i, j, m, k = np.meshgrid(np.arange(oh), np.arange(ow), np.arange(kh), np.arange(kw), indexing="ij")
    return (i * stride[0] + m).reshape(oh * ow, -1), (j * stride[1] + k).reshape(oh * ow, -1), (oh, ow)


def two(value):
    return (value,) * 2 if np.ndim(value) == 0 else tuple(value)


def pad(x, padding, value=0.0):
    return np.pad(x, ((0, 0), tuple(padding[0]), tuple(padding[1]), (0, 0)), constant_values=value)


def crop(padded, x_shape, padding):
    return padded[:, padding[0][0]:, padding[1][0]:][:, :x_shape[1], :x_shape[2]]


def conv2d_forward(x, w, b=None, stride=1, padding=((0, 0), (0, 0))):
    rows, columns, (oh, ow) = places(x.shape, w.shape[:2], two(stride), padding)
    patches = pad(x, padding)[:, rows, columns].reshape(len(x), oh * ow, -1)
    y = patches @ w.reshape(-1, w.shape[3])
    if b is not None:
        y += b
    return y.reshape(len(x), oh, ow, -1)


def conv2d_backward(dy, x, w, stride=1, padding=((0, 0), (0, 0)), input_gradient=True):
    rows, columns, (oh, ow) = places(x.shape, w.shape[:2], two(stride), padding)
    padded = pad(x, padding)
    patches = padded[:, rows, columns].reshape(len(x) * oh * ow, -1)
    flat = dy.reshape(-1, dy.shape[3])
    dw = (patches.T @ flat).reshape(w.shape)
    dx = None
    if input_gradient:
        dpatches = (flat @ w.reshape(-1, w.shape[3]).T).reshape(len(x), oh * ow, -1, x.shape[3])
        dpadded = np.zeros_like(padded)
        np.add.at(dpadded, (slice(None), rows, columns), dpatches)
        dx = crop(dpadded, x.shape, padding)
    return dx, dw, flat.sum(axis=0)


def max_pool2d_forward(x, pool_size=2, stride=None, padding=((0, 0), (0, 0))):
    size, stride = two(pool_size), two(pool_size if stride is None else stride)
    rows, columns, (oh, ow) = places(x.shape, size, stride, padding)
    patches = pad(x, padding, -np.inf)[:, rows, columns]
    argmax = patches.argmax(axis=2).astype(np.uint8)
    return patches.max(axis=2).reshape(len(x), oh, ow, -1), argmax.reshape(len(x), oh, ow, -1)


def max_pool2d_backward(dy, argmax, x_shape, pool_size=2, stride=None, padding=((0, 0), (0, 0))):
    size, stride = two(pool_size), two(pool_size if stride is None else stride)
    n, i, j, c = np.indices(dy.shape)
    m, k = np.unravel_index(argmax.astype(int), size)
    dx = np.zeros(x_shape, dy.dtype)
    np.add.at(dx, (n, i * stride[0] + m - padding[0][0], j * stride[1] + k - padding[1][0], c), dy)
    return dx


def avg_pool2d_forward(x, pool_size=2, stride=None, padding=((0, 0), (0, 0))):
    size, stride = two(pool_size), two(pool_size if stride is None else stride)
    rows, columns, (oh, ow) = places(x.shape, size, stride, padding)
    inside = pad(np.ones((1, *x.shape[1:3], 1)), padding)[0, rows, columns, 0]
    y = pad(x, padding)[:, rows, columns].sum(axis=2) / inside.sum(axis=1)[:, None]
    return y.reshape(len(x), oh, ow, -1)


def avg_pool2d_backward(dy, x_shape, pool_size=2, stride=None, padding=((0, 0), (0, 0))):
    size, stride = two(pool_size), two(pool_size if stride is None else stride)
    rows, columns, (oh, ow) = places(x_shape, size, stride, padding)
    inside = pad(np.ones((1, *x_shape[1:3], 1)), padding)
    counts = inside[0, rows, columns, 0].sum(axis=1)
    share = dy.reshape(len(dy), oh * ow, 1, -1) / counts[:, None, None]
    dpadded = np.zeros((len(dy), *inside.shape[1:3], dy.shape[3]), dy.dtype)
    np.add.at(dpadded, (slice(None), rows, columns), np.repeat(share, rows.shape[1], axis=2))
    return crop(dpadded, x_shape, padding)


def softmax_cross_entropy(logits, labels, sample_weight=None, label_smoothing=0.0):
    n, k = logits.shape
    weight = np.ones(n) if sample_weight is None else sample_weight
    loss, dlogits = 0.0, np.zeros_like(logits)
    for i in range(n):
        z = logits[i] - logits[i].max()
        log_p = z - np.log(np.exp(z).sum())
        q = np.full(k, label_smoothing / k)
        q[labels[i]] += 1 - label_smoothing
        loss -= weight[i] * (q @ log_p) / n
        dlogits[i] = weight[i] * (np.exp(log_p) - q) / n
    return np.array(loss), dlogits


def batch_norm_forward(x, gamma, beta, epsilon=1e-3):
    y = np.empty_like(x)
    mean, variance = np.empty_like(gamma), np.empty_like(gamma)
    for c in range(x.shape[-1]):
        values = x[..., c]
        mean[c], variance[c] = values.mean(), values.var()
        y[..., c] = gamma[c] * (values - mean[c]) / (variance[c] + epsilon) ** 0.5 + beta[c]
    return y, mean, variance


def batch_norm_backward(dy, x, gamma, mean, variance, epsilon=1e-3):
    dx = np.empty_like(x)
    dgamma, dbeta = np.empty_like(gamma), np.empty_like(gamma)
    for c in range(x.shape[-1]):
        std = (variance[c] + epsilon) ** 0.5
        xhat, g = (x[..., c] - mean[c]) / std, dy[..., c]
        dgamma[c], dbeta[c] = (g * xhat).sum(), g.sum()
        dx[..., c] = gamma[c] / std * (g - g.mean() - xhat * (g * xhat).mean())
    return dx, dgamma, dbeta
