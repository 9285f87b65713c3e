"""Lesson 6: batch normalization. Give every channel mean 0 and variance 1 over the batch, then a scale and a shift.

    mean     = 1/M * sum of x                              a channel's M values: all images, all pixels
    variance = 1/M * sum of (x - mean)**2
    xhat     = (x - mean) / sqrt(variance + epsilon)
    y        = gamma * xhat + beta

Check your work with:  minicnn gradcheck batch_normalization.py
"""

import numpy as np  # noqa: F401


def batch_norm_forward(x, gamma, beta, epsilon=1e-3):
    """The formulas above.

    x : (N, ..., C), for example (N, C) or (N, H, W, C)        gamma, beta : (C,)
    Returns y : the shape of x, mean : (C,), variance : (C,)
    """
    raise NotImplementedError


def batch_norm_backward(dy, x, gamma, mean, variance, epsilon=1e-3):
    """Gradients of a loss, given dy, its gradient with respect to y.

        dgamma = sum of dy * xhat        dbeta = sum of dy        (over everything but the channel)

    For dx, mind that x reaches y by three paths: directly, through the mean and through the variance. Follow each with
    the chain rule, with dxhat = dy * gamma. What remains when all is collected is

        dx = (dxhat - 1/M * sum of dxhat - xhat * 1/M * sum of (dxhat * xhat)) / sqrt(variance + epsilon)

    but try to find it yourself: the report names a path that you forget.

    mean, variance : (C,), as batch_norm_forward returned them
    Returns dx : the shape of x, dgamma : (C,), dbeta : (C,)
    """
    raise NotImplementedError
