"""Batch normalization and dropout: the two layers that behave differently in training and in use."""

from __future__ import annotations

import numpy as np

from .. import checks


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def batch_norm_forward(x, gamma, beta, epsilon=1e-3):
    """Give every channel mean 0 and variance 1 over the batch, then a scale and a shift that are learned.

    Algorithm 1 of Ioffe & Szegedy (2015). A channel is one index of the last axis; its M values are those of all
    images and all pixels (*not* per pixel: a convolution treats all pixels alike, and so does what follows it):

        mean     = 1/M sum x
        variance = 1/M sum (x - mean)^2        (biased: divided by M, not M - 1)
        xhat     = (x - mean) / sqrt(variance + epsilon)
        y        = gamma xhat + beta

    Parameters
    ----------
    x : ndarray (N, C) or (N, ..., C)
    gamma, beta : ndarray (C,)
        Scale and shift.
    epsilon : float
        Keeps the root away from 0; Keras' default.

    Returns
    -------
    y : ndarray, shape of ``x``
    mean, variance : ndarray (C,)
        Of this batch: for the backward pass, and for a layer's moving averages.

    Raises
    ------
    TypeError, ValueError
        For arguments of another type or shape, an empty batch, or a negative ``epsilon``.
    """
    x, epsilon, gamma, beta = checks.channels(x, epsilon, gamma=gamma, beta=beta)
    axes = tuple(range(x.ndim - 1))
    mean = np.mean(x, axis=axes)
    variance = np.mean((x - mean) ** 2, axis=axes)
    xhat = (x - mean) / np.sqrt(variance + epsilon)
    return gamma * xhat + beta, mean, variance


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def batch_norm_backward(dy, x, gamma, mean, variance, epsilon=1e-3):
    """Gradients through ``batch_norm_forward``, the batch's statistics included.

    One value of x reaches y by three paths: directly, through the variance and through the mean. With dxhat =
    dy gamma, and sums over the M values of the channel (Ioffe & Szegedy 2015, section 3):

        dvariance = sum dxhat (x - mean) (-1/2) (variance + epsilon)^(-3/2)
        dmean     = sum -dxhat / sqrt(variance + epsilon)  +  dvariance (-2/M) sum (x - mean)
        dx        = dxhat / sqrt(variance + epsilon)  +  dvariance 2 (x - mean) / M  +  dmean / M

    The second term of dmean is 0, since the deviations from a mean cancel; it is left in to show the path. Scale and
    shift are simple: ``dgamma = sum dy xhat`` and ``dbeta = sum dy``.

    Parameters
    ----------
    dy : ndarray, shape of ``x``
    x, gamma, epsilon
        As given to ``batch_norm_forward``.
    mean, variance : ndarray (C,)
        As returned by it.

    Returns
    -------
    dx : ndarray, shape of ``x``
    dgamma, dbeta : ndarray (C,)

    Raises
    ------
    TypeError, ValueError
        As ``batch_norm_forward``, and for a ``dy`` that has not the shape of ``x``.
    """
    x, epsilon, dy, gamma, mean, variance = checks.channels(
        x, epsilon, dy, gamma=gamma, mean=mean, variance=variance)
    axes = tuple(range(x.ndim - 1))
    count = x.size // x.shape[-1]
    deviation = x - mean
    root = np.sqrt(variance + epsilon)
    dxhat = dy * gamma
    dvariance = np.sum(dxhat * deviation, axis=axes) * -0.5 / root**3
    dmean = np.sum(-dxhat / root, axis=axes) + dvariance * -2 / count * np.sum(deviation, axis=axes)
    dx = dxhat / root + dvariance * 2 * deviation / count + dmean / count
    return dx, np.sum(dy * deviation / root, axis=axes), np.sum(dy, axis=axes)


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def batch_norm_inference_forward(x, gamma, beta, mean, variance, epsilon=1e-3):
    """Batch normalization in use: with mean and variance given, usually moving averages kept during training.

        y = gamma (x - mean) / sqrt(variance + epsilon) + beta

    Parameters
    ----------
    x : ndarray (N, C) or (N, ..., C)
    gamma, beta, mean, variance : ndarray (C,)
    epsilon : float

    Returns
    -------
    y : ndarray, shape of ``x``

    Raises
    ------
    TypeError, ValueError
        As ``batch_norm_forward``.
    """
    x, epsilon, gamma, beta, mean, variance = checks.channels(
        x, epsilon, gamma=gamma, beta=beta, mean=mean, variance=variance)
    return gamma * ((x - mean) / np.sqrt(variance + epsilon)) + beta


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def batch_norm_inference_backward(dy, x, gamma, mean, variance, epsilon=1e-3):
    """Gradients through ``batch_norm_inference_forward``: mean and variance are constants, one path is left.

        dx     = dy gamma / sqrt(variance + epsilon)
        dgamma = sum dy (x - mean) / sqrt(variance + epsilon)
        dbeta  = sum dy

    Saliency maps and the fine-tuning of a frozen layer need it.

    Parameters
    ----------
    dy : ndarray, shape of ``x``
    x, gamma, mean, variance, epsilon
        As given to ``batch_norm_inference_forward``.

    Returns
    -------
    dx : ndarray, shape of ``x``
    dgamma, dbeta : ndarray (C,)

    Raises
    ------
    TypeError, ValueError
        As ``batch_norm_forward``, and for a ``dy`` that has not the shape of ``x``.
    """
    x, epsilon, dy, gamma, mean, variance = checks.channels(
        x, epsilon, dy, gamma=gamma, mean=mean, variance=variance)
    axes = tuple(range(x.ndim - 1))
    root = np.sqrt(variance + epsilon)
    return dy * gamma / root, np.sum(dy * (x - mean) / root, axis=axes), np.sum(dy, axis=axes)


@np.errstate(over="ignore", invalid="ignore")
def dropout_forward(x, rate, seed):
    """Set a random part of the elements to 0 and scale up the others (Srivastava et al. 2014).

        y = x mask / (1 - rate)

    Each element is kept with probability 1 - rate; the factor 1 / (1 - rate) keeps the expected value, so that in use
    the layer does nothing at all ("inverted" dropout).

    The mask must not depend on the back-end or on the number of threads, so no generator with a state is used: the
    random number of element i is the i-th output of splitmix64 (Steele, Lea & Flood 2014), which can be had directly.
    In unsigned 64-bit arithmetic, with overflow wrapping around:

        z = seed + (i + 1) 0x9E3779B97F4A7C15
        z = (z xor (z >> 30)) 0xBF58476D1CE4E5B9
        z = (z xor (z >> 27)) 0x94D049BB133111EB
        z = z xor (z >> 31)

    Its upper 24 bits are a number in [0, 1), and the element is kept when that is at least ``rate``.

    Parameters
    ----------
    x : ndarray
        Of any shape; i counts its elements in row-major order.
    rate : float
        Probability of being dropped, in [0, 1).
    seed : int
        In [0, 2**63). A new one for every step, else the same elements are dropped again.

    Returns
    -------
    y : ndarray, shape of ``x``
        A dropped element is 0 whatever it was, NaN and infinity included.
    mask : ndarray of bool, shape of ``x``
        True where the element was kept.

    Raises
    ------
    TypeError, ValueError
        For another type, or a rate or seed out of range.
    """
    x, rate, seed = checks.dropout_forward(x, rate, seed)
    z = np.arange(1, x.size + 1, dtype=np.uint64)
    z *= np.uint64(0x9E3779B97F4A7C15)
    z += np.uint64(seed)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    mask = ((z >> np.uint64(40)) * 2.0**-24 >= rate).reshape(x.shape)
    return _masked(x, mask, rate), mask


@np.errstate(over="ignore", invalid="ignore")
def dropout_backward(dy, mask, rate):
    """``dx = dy mask / (1 - rate)``: the forward pass was a multiplication with mask / (1 - rate), so is this one.

    Parameters
    ----------
    dy : ndarray
    mask : ndarray of bool, shape of ``dy``
        From ``dropout_forward``.
    rate : float
        As given to ``dropout_forward``.

    Returns
    -------
    dx : ndarray, shape of ``dy``

    Raises
    ------
    TypeError, ValueError
        For another type, a mask of another shape, or a rate out of range.
    """
    dy, mask, rate = checks.dropout_backward(dy, mask, rate)
    return _masked(dy, mask, rate)


def _masked(values, mask, rate):
    scale = values.dtype.type(1.0 / (1.0 - rate))
    return np.where(mask, values * scale, np.zeros_like(values))
