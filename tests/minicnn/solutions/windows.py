"""A correct back-end as a diligent student writes it: loops over windows, NumPy inside.

The bug zoo (``bug_zoo.py``) plants its bugs here, by replacing one piece of text.
"""
# ruff: noqa: RUF059 (some names are there for the bugs to use)

import numpy as np


def pair(value):
    return (value, value) if isinstance(value, int) else value


def conv2d_forward(x, w, b=None, stride=1, padding=((0, 0), (0, 0))):
    sh, sw = pair(stride)
    (top, bottom), (left, right) = padding
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    images, height, width, channels = padded.shape
    kh, kw, _, outputs = w.shape
    oh, ow = (height - kh) // sh + 1, (width - kw) // sw + 1
    y = np.zeros((images, oh, ow, outputs), x.dtype)
    for image in range(images):
        for i in range(oh):
            for j in range(ow):
                window = padded[image, i * sh:i * sh + kh, j * sw:j * sw + kw, :]
                for o in range(outputs):
                    y[image, i, j, o] = np.sum(window * w[:, :, :, o])
    if b is not None:
        y = y + b
    return y


def conv2d_backward(dy, x, w, stride=1, padding=((0, 0), (0, 0)), input_gradient=True):
    sh, sw = pair(stride)
    (top, bottom), (left, right) = padding
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    images, height, width, channels = x.shape
    kh, kw = w.shape[:2]
    dpadded = np.zeros_like(padded)
    dw = np.zeros_like(w)
    db = np.zeros(w.shape[3], w.dtype)
    for image in range(dy.shape[0]):
        for i in range(dy.shape[1]):
            for j in range(dy.shape[2]):
                rows, columns = slice(i * sh, i * sh + kh), slice(j * sw, j * sw + kw)
                for o in range(dy.shape[3]):
                    dpadded[image, rows, columns] += w[:, :, :, o] * dy[image, i, j, o]
                    dw[:, :, :, o] += padded[image, rows, columns] * dy[image, i, j, o]
                db += dy[image, i, j]
    dx = dpadded[:, top:top + height, left:left + width].copy() if input_gradient else None
    return dx, dw, db


def pool_windows(x_shape, pool_size, stride, padding):
    ph, pw = pair(pool_size)
    sh, sw = pair(pool_size if stride is None else stride)
    (top, bottom), (left, right) = padding
    oh = (x_shape[1] + top + bottom - ph) // sh + 1
    ow = (x_shape[2] + left + right - pw) // sw + 1
    return ph, pw, sh, sw, top, left, oh, ow


def max_pool2d_forward(x, pool_size=2, stride=None, padding=((0, 0), (0, 0))):
    ph, pw, sh, sw, top, left, oh, ow = pool_windows(x.shape, pool_size, stride, padding)
    padded = np.pad(x, ((0, 0), *padding, (0, 0)), constant_values=-np.inf)
    y = np.zeros((x.shape[0], oh, ow, x.shape[3]), x.dtype)
    argmax = np.zeros(y.shape, int)
    for image in range(x.shape[0]):
        for i in range(oh):
            for j in range(ow):
                for c in range(x.shape[3]):
                    window = padded[image, i * sh:i * sh + ph, j * sw:j * sw + pw, c]
                    y[image, i, j, c] = window.max()
                    argmax[image, i, j, c] = window.argmax()
    return y, argmax


def max_pool2d_backward(dy, argmax, x_shape, pool_size=2, stride=None, padding=((0, 0), (0, 0))):
    ph, pw, sh, sw, top, left, oh, ow = pool_windows(x_shape, pool_size, stride, padding)
    dx = np.zeros(x_shape, dy.dtype)
    for image in range(x_shape[0]):
        for i in range(oh):
            for j in range(ow):
                for c in range(x_shape[3]):
                    m, n = divmod(argmax[image, i, j, c], pw)
                    dx[image, i * sh + m - top, j * sw + n - left, c] += dy[image, i, j, c]
    return dx


def avg_pool2d_forward(x, pool_size=2, stride=None, padding=((0, 0), (0, 0))):
    ph, pw, sh, sw, top, left, oh, ow = pool_windows(x.shape, pool_size, stride, padding)
    padded = np.pad(x, ((0, 0), *padding, (0, 0)))
    inside = np.pad(np.ones(x.shape[1:3]), padding)
    y = np.zeros((x.shape[0], oh, ow, x.shape[3]), x.dtype)
    for i in range(oh):
        for j in range(ow):
            rows, columns = slice(i * sh, i * sh + ph), slice(j * sw, j * sw + pw)
            count = inside[rows, columns].sum()
            y[:, i, j, :] = padded[:, rows, columns, :].sum(axis=(1, 2)) / count
    return y


def avg_pool2d_backward(dy, x_shape, pool_size=2, stride=None, padding=((0, 0), (0, 0))):
    ph, pw, sh, sw, top, left, oh, ow = pool_windows(x_shape, pool_size, stride, padding)
    inside = np.pad(np.ones(x_shape[1:3]), padding)
    dpadded = np.zeros((x_shape[0], *inside.shape, x_shape[3]), dy.dtype)
    for i in range(oh):
        for j in range(ow):
            rows, columns = slice(i * sh, i * sh + ph), slice(j * sw, j * sw + pw)
            count = inside[rows, columns].sum()
            dpadded[:, rows, columns, :] += dy[:, i:i + 1, j:j + 1, :] / count
    return dpadded[:, top:top + x_shape[1], left:left + x_shape[2]].copy()


def dense_forward(x, w, b=None):
    y = x @ w
    if b is not None:
        y = y + b
    return y


def dense_backward(dy, x, w, input_gradient=True):
    dx = dy @ w.T if input_gradient else None
    dw = x.T @ dy
    db = dy.sum(axis=0)
    return dx, dw, db


def relu_forward(x):
    return np.where(x > 0, x, 0.0)


def relu_backward(dy, y):
    return dy * (y > 0)


def leaky_relu_forward(x, negative_slope=0.2):
    y = x.copy()
    y[x < 0] *= negative_slope
    return y


def leaky_relu_backward(dy, y, negative_slope=0.2):
    dx = dy.copy()
    dx[y <= 0] *= negative_slope
    return dx


def sigmoid_forward(x):
    y = np.zeros_like(x)
    positive = x >= 0
    y[positive] = 1 / (1 + np.exp(-x[positive]))
    y[~positive] = np.exp(x[~positive]) / (1 + np.exp(x[~positive]))
    return y


def sigmoid_backward(dy, y):
    return dy * y * (1 - y)


def tanh_forward(x):
    return np.tanh(x)


def tanh_backward(dy, y):
    return dy * (1 - y ** 2)


def softmax_forward(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def softmax_backward(dy, y):
    return y * (dy - (dy * y).sum(axis=-1, keepdims=True))


def softmax_cross_entropy(logits, labels, sample_weight=None, label_smoothing=0.0):
    n, k = logits.shape
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    onehot = np.zeros((n, k))
    onehot[np.arange(n), labels] = 1
    target = (1 - label_smoothing) * onehot + label_smoothing / k
    weight = np.ones(n) if sample_weight is None else sample_weight
    loss = -np.sum(weight[:, None] * target * log_p) / n
    dlogits = weight[:, None] * (np.exp(log_p) - target) / n
    return loss, dlogits


def cross_entropy(probabilities, labels, sample_weight=None, label_smoothing=0.0):
    n, k = probabilities.shape
    p = np.clip(probabilities, 1e-7, 1 - 1e-7)
    target = (1 - label_smoothing) * np.eye(k)[labels] + label_smoothing / k
    weight = np.ones(n) if sample_weight is None else sample_weight
    loss = -np.sum(weight[:, None] * target * np.log(p)) / n
    dprobabilities = -weight[:, None] * target / p / n
    return loss, dprobabilities


def mean_squared_error(predictions, targets, sample_weight=None):
    difference = predictions - targets
    weight = np.ones(len(targets)) if sample_weight is None else sample_weight
    loss = np.mean(weight[:, None] * difference ** 2)
    return loss, 2 * weight[:, None] * difference / difference.size


def batch_norm_forward(x, gamma, beta, epsilon=1e-3):
    axes = tuple(range(x.ndim - 1))
    mean = x.mean(axis=axes)
    variance = x.var(axis=axes)
    xhat = (x - mean) / np.sqrt(variance + epsilon)
    return gamma * xhat + beta, mean, variance


def batch_norm_backward(dy, x, gamma, mean, variance, epsilon=1e-3):
    axes = tuple(range(x.ndim - 1))
    m = x.size // x.shape[-1]
    std = np.sqrt(variance + epsilon)
    xhat = (x - mean) / std
    dxhat = dy * gamma
    dvariance = np.sum(dxhat * (x - mean), axis=axes) * -0.5 * std ** -3
    dmean = -np.sum(dxhat, axis=axes) / std
    dx = dxhat / std + dvariance * 2 * (x - mean) / m + dmean / m
    dgamma = np.sum(dy * xhat, axis=axes)
    dbeta = np.sum(dy, axis=axes)
    return dx, dgamma, dbeta


def batch_norm_inference_forward(x, gamma, beta, mean, variance, epsilon=1e-3):
    return gamma * (x - mean) / np.sqrt(variance + epsilon) + beta


def batch_norm_inference_backward(dy, x, gamma, mean, variance, epsilon=1e-3):
    axes = tuple(range(x.ndim - 1))
    std = np.sqrt(variance + epsilon)
    dx = dy * gamma / std
    return dx, np.sum(dy * (x - mean) / std, axis=axes), np.sum(dy, axis=axes)


def dropout_forward(x, rate, seed):
    mask = np.zeros(x.size, bool)
    wrap = 2 ** 64
    for i in range(x.size):
        z = (seed + (i + 1) * 0x9E3779B97F4A7C15) % wrap
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % wrap
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % wrap
        z = z ^ (z >> 31)
        mask[i] = (z >> 40) / 2 ** 24 >= rate
    mask = mask.reshape(x.shape)
    return np.where(mask, x, 0) / (1 - rate), mask


def dropout_backward(dy, mask, rate):
    return dy * mask / (1 - rate)


def sgd_step(parameters, gradients, velocity, learning_rate, momentum=0.0, nesterov=False, weight_decay=0.0):
    parameters *= 1 - learning_rate * weight_decay
    velocity *= momentum
    velocity -= learning_rate * gradients
    if nesterov:
        parameters += momentum * velocity - learning_rate * gradients
    else:
        parameters += velocity


def adam_step(parameters, gradients, first_moment, second_moment, step, learning_rate=0.001, beta_1=0.9, beta_2=0.999,
              epsilon=1e-7, weight_decay=0.0):
    parameters *= 1 - learning_rate * weight_decay
    first_moment += (1 - beta_1) * (gradients - first_moment)
    second_moment += (1 - beta_2) * (gradients ** 2 - second_moment)
    mhat = first_moment / (1 - beta_1 ** step)
    vhat = second_moment / (1 - beta_2 ** step)
    parameters -= learning_rate * mhat / (np.sqrt(vhat) + epsilon)


def clip_by_global_norm(gradients, max_norm):
    norm = np.sqrt(np.sum(gradients ** 2))
    if norm > max_norm:
        gradients *= max_norm / norm
    return norm
