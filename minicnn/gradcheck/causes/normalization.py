"""Mistakes in batch normalization and dropout."""

from __future__ import annotations

import numpy as np

from minicnn.gradcheck.causes.engine import Cause


def axes(c):
    """Every axis but the last."""
    return tuple(range(c.x.ndim - 1))


def count(c):
    """M, the number of values of a channel."""
    return c.x.size // c.x.shape[-1]


def normalized(c, epsilon=None):
    """``xhat``."""
    return (c.x - c.mean) / np.sqrt(c.variance + (c.epsilon if epsilon is None else epsilon))


def variance_with(c, ddof):
    """The variance divided by ``M - ddof``."""
    return c.variance * count(c) / (count(c) - ddof)


def forward(c, mean=None, variance=None, root=None, gamma=None, beta=None):
    """``y`` with some of its ingredients replaced."""
    mean = c.mean if mean is None else mean
    variance = c.variance if variance is None else variance
    root = np.sqrt(variance + c.epsilon) if root is None else root
    return (c.gamma if gamma is None else gamma) * (c.x - mean) / root + (c.beta if beta is None else beta)


def input_gradient(c, through_mean=1, through_variance=1, m=None, dy=None, xhat=None, axis=None):
    """``dx`` with some of its paths or sums replaced."""
    dxhat = (c.dy if dy is None else dy) * c.gamma
    xhat = normalized(c) if xhat is None else xhat
    m = count(c) if m is None else m
    axis = axes(c) if axis is None else axis
    first = dxhat.sum(axis=axis, keepdims=True) / m * through_mean
    second = xhat * (dxhat * xhat).sum(axis=axis, keepdims=True) / m * through_variance
    return (dxhat - first - second) / np.sqrt(c.variance + c.epsilon)


_PER_CHANNEL = "the statistics are per channel, over the batch and all pixels: axis = every axis but the last"

_FORWARD = [
    Cause("gamma forgotten", "gamma is not used: y = gamma * xhat + beta", lambda c: forward(c, gamma=1)),
    Cause("beta forgotten", "beta is not added: y = gamma * xhat + beta", lambda c: forward(c, beta=0)),
    Cause("gamma and beta exchanged", "gamma and beta are exchanged: y = gamma * xhat + beta",
          lambda c: forward(c, gamma=c.beta, beta=c.gamma)),
    Cause("gamma of beta", "beta is multiplied with gamma as well: y = gamma * xhat + beta",
          lambda c: c.gamma * (normalized(c) + c.beta)),
    Cause("epsilon outside the root", "epsilon is added outside the root: sqrt(variance + epsilon)",
          lambda c: forward(c, root=np.sqrt(c.variance) + c.epsilon)),
    Cause("epsilon ignored", "epsilon is not used: sqrt(variance + epsilon)",
          lambda c: forward(c, root=np.sqrt(c.variance))),
    Cause("fixed epsilon", "epsilon is always 1e-3: use the argument",
          lambda c: forward(c, root=np.sqrt(c.variance + 1e-3))),
    Cause("fixed epsilon", "epsilon is always 1e-5: use the argument",
          lambda c: forward(c, root=np.sqrt(c.variance + 1e-5))),
    Cause("fixed epsilon", "epsilon is always 1e-8: use the argument",
          lambda c: forward(c, root=np.sqrt(c.variance + 1e-8))),
    Cause("root forgotten", "divided by the variance: divide by its root, sqrt(variance + epsilon)",
          lambda c: forward(c, root=c.variance + c.epsilon)),
    Cause("mean not subtracted", "the mean is not subtracted", lambda c: forward(c, mean=0)),
]

_GAMMA = [
    Cause("x for xhat", "x stands where xhat belongs: dgamma = sum(dy * xhat)",
          lambda c: (c.dy * c.x).sum(axis=axes(c))),
    Cause("x for xhat", "x - mean stands where xhat belongs: dgamma = sum(dy * xhat)",
          lambda c: (c.dy * (c.x - c.mean)).sum(axis=axes(c))),
    Cause("y for xhat", "y stands where xhat belongs: dgamma = sum(dy * xhat)",
          lambda c: (c.dy * c.y).sum(axis=axes(c))),
    Cause("gamma and beta exchanged", "this is dbeta: results come in the order dx, dgamma, dbeta",
          lambda c: c.dy.sum(axis=axes(c))),
    Cause("mean for sum", "a mean is taken: dgamma = sum(dy * xhat)", lambda c: c.truth / count(c)),
    Cause("summed over the batch only", f"not summed over all pixels: {_PER_CHANNEL}",
          lambda c: (c.dy * normalized(c)).sum(axis=0).reshape(-1, c.x.shape[-1])[0]),
    Cause("root forgotten", "divided by the variance: xhat has its root, sqrt(variance + epsilon)",
          lambda c: (c.dy * (c.x - c.mean) / (c.variance + c.epsilon)).sum(axis=axes(c))),
]

_BETA = [
    Cause("mean for sum", "a mean is taken: dbeta = sum(dy)", lambda c: c.truth / count(c)),
    Cause("gamma and beta exchanged", "this is dgamma: results come in the order dx, dgamma, dbeta",
          lambda c: (c.dy * normalized(c)).sum(axis=axes(c))),
    Cause("times gamma", "dy is multiplied with gamma: dbeta = sum(dy)", lambda c: c.truth * c.gamma),
]

CAUSES = {
    ("batch_norm_forward", "y"): [
        *_FORWARD,
        Cause("unbiased variance", "the variance is divided by M - 1: batch normalization divides by M (np.var's "
                                   "default)",
              lambda c: forward(c, variance=variance_with(c, 1))),
        Cause("statistics per pixel", f"mean and variance are taken per pixel, over the batch only: {_PER_CHANNEL}",
              lambda c: forward(c, mean=c.x.mean(axis=0), variance=c.x.var(axis=0))),
        Cause("statistics over everything", f"mean and variance are taken over all channels together: {_PER_CHANNEL}",
              lambda c: forward(c, mean=c.x.mean(), variance=c.x.var())),
        Cause("statistics per image", f"mean and variance are taken for each image: {_PER_CHANNEL}",
              lambda c: forward(c, mean=c.x.mean(axis=axes(c)[1:], keepdims=True),
                                variance=c.x.var(axis=axes(c)[1:], keepdims=True)) if c.x.ndim > 2 else c.truth),
        Cause("mean of squares", "the mean of x**2 stands where the variance belongs: subtract mean**2",
              lambda c: forward(c, variance=c.variance + c.mean**2)),
    ],
    ("batch_norm_forward", "mean"): [
        Cause("statistics over everything", f"the mean is over all channels together: {_PER_CHANNEL}",
              lambda c: np.full_like(c.mean, c.x.mean())),
    ],
    ("batch_norm_forward", "variance"): [
        Cause("unbiased variance", "divided by M - 1: batch normalization divides by M (np.var's default)",
              lambda c: variance_with(c, 1)),
        Cause("standard deviation", "this is the standard deviation: return the variance",
              lambda c: np.sqrt(c.variance)),
        Cause("standard deviation", "this is sqrt(variance + epsilon): return the variance",
              lambda c: np.sqrt(c.variance + c.epsilon)),
        Cause("epsilon included", "epsilon is already added: return the variance itself",
              lambda c: c.variance + c.epsilon),
        Cause("mean of squares", "this is the mean of x**2: subtract mean**2", lambda c: c.variance + c.mean**2),
        Cause("statistics over everything", f"the variance is over all channels together: {_PER_CHANNEL}",
              lambda c: np.full_like(c.mean, c.x.var())),
    ],
    ("batch_norm_backward", "dx"): [
        Cause("statistics taken as constants", "mean and variance are treated as constants: they depend on x, so two "
              "more paths lead to dx", lambda c: input_gradient(c, 0, 0)),
        Cause("path through the variance forgotten", "the path through the variance is missing (or counted wrongly): "
                                                     "the variance depends on x "
                                                     "too", lambda c: input_gradient(c, 1, 0)),
        Cause("path through the mean forgotten", "the path through the mean is missing: the mean depends on x too",
              lambda c: input_gradient(c, 0, 1)),
        Cause("sums not divided", "the two sums are not divided by M, the number of values of a channel",
              lambda c: input_gradient(c, m=1)),
        Cause("divided by the batch only", "the sums are divided by the batch size N: divide by M = N * (pixels)",
              lambda c: input_gradient(c, m=len(c.x))),
        Cause("gamma forgotten", "gamma is not used: dxhat = dy * gamma", lambda c: c.truth / c.gamma),
        Cause("variance path not divided", "the path through the variance has a wrong factor (2 too much)",
              lambda c: input_gradient(c, 1, 2)),
        Cause("variance path not divided", "the path through the variance has a wrong factor (half of it)",
              lambda c: input_gradient(c, 1, 0.5)),
        Cause("variance path sign", "the path through the variance has the wrong sign",
              lambda c: input_gradient(c, 1, -1)),
        Cause("mean path sign", "the path through the mean has the wrong sign", lambda c: input_gradient(c, -1, 1)),
        Cause("root forgotten", "divided by the variance: divide by its root, sqrt(variance + epsilon)",
              lambda c: c.truth / np.sqrt(c.variance + c.epsilon)),
        Cause("root forgotten", "the division by sqrt(variance + epsilon) is missing",
              lambda c: c.truth * np.sqrt(c.variance + c.epsilon)),
        Cause("x for xhat", "x - mean stands where xhat belongs", lambda c: input_gradient(c, xhat=c.x - c.mean)),
        Cause("fixed epsilon", "epsilon is always 1e-3 (or not used): use the argument",
              lambda c: other_epsilon(c, 1e-3)),
        Cause("fixed epsilon", "epsilon is always 1e-5: use the argument", lambda c: other_epsilon(c, 1e-5)),
        Cause("epsilon ignored", "epsilon is not used: sqrt(variance + epsilon)", lambda c: other_epsilon(c, 0.0)),
        Cause("statistics per pixel", f"the sums run over the batch only: {_PER_CHANNEL}",
              lambda c: input_gradient(c, axis=0, m=len(c.x))),
    ],
    ("batch_norm_backward", "dgamma"): _GAMMA,
    ("batch_norm_backward", "dbeta"): _BETA,
    ("batch_norm_inference_forward", "y"): [
        *_FORWARD,
        Cause("batch statistics", "the batch's own mean and variance are used: in inference use those given",
              lambda c: forward(c, mean=c.x.mean(axis=axes(c)), variance=c.x.var(axis=axes(c)))),
        Cause("standard deviation", "the variance is taken for the standard deviation",
              lambda c: forward(c, root=c.variance)),
    ],
    ("batch_norm_inference_backward", "dx"): [
        Cause("training's gradient", "the statistics are constants in inference: dx = dy * gamma / sqrt(variance + "
                                     "epsilon)",
              input_gradient),
        Cause("gamma forgotten", "gamma is not used: dx = dy * gamma / sqrt(variance + epsilon)",
              lambda c: c.truth / c.gamma),
        Cause("root forgotten", "the division by sqrt(variance + epsilon) is missing", lambda c: c.dy * c.gamma),
        Cause("root forgotten", "divided by the variance: divide by its root, sqrt(variance + epsilon)",
              lambda c: c.dy * c.gamma / (c.variance + c.epsilon)),
        Cause("fixed epsilon", "epsilon is always 1e-3: use the argument",
              lambda c: c.dy * c.gamma / np.sqrt(c.variance + 1e-3)),
        Cause("epsilon ignored", "epsilon is not used: sqrt(variance + epsilon)",
              lambda c: c.dy * c.gamma / np.sqrt(c.variance)),
    ],
    ("batch_norm_inference_backward", "dgamma"): _GAMMA,
    ("batch_norm_inference_backward", "dbeta"): _BETA,
    ("dropout_forward", "y"): [
        Cause("not scaled", "what is kept is not scaled up: y = x * mask / (1 - rate)", lambda c: c.x * c.mask),
        Cause("scaled by the rate", "what is kept is divided by rate: y = x * mask / (1 - rate)",
              lambda c: c.x * c.mask / c.rate if c.rate else None),
        Cause("scaled down", "what is kept is multiplied with 1 - rate: divide by it",
              lambda c: c.x * c.mask * (1 - c.rate)),
        Cause("mask reversed", "the mask is the wrong way round: an element is kept with probability 1 - rate",
              lambda c: c.x * ~c.mask / (1 - c.rate)),
        Cause("nothing dropped", "nothing is dropped: y = x * mask / (1 - rate)", lambda c: c.x),
    ],
    ("dropout_forward", "mask"): [
        Cause("mask reversed", "the mask is the wrong way round: it is True where the element is kept",
              lambda c: ~c.mask),
    ],
    ("dropout_backward", "dx"): [
        Cause("not scaled", "the factor is missing: dx = dy * mask / (1 - rate)", lambda c: c.dy * c.mask),
        Cause("scaled by the rate", "divided by rate: dx = dy * mask / (1 - rate)",
              lambda c: c.dy * c.mask / c.rate if c.rate else None),
        Cause("scaled down", "multiplied with 1 - rate: divide by it", lambda c: c.dy * c.mask * (1 - c.rate)),
        Cause("mask forgotten", "the mask is not used: dx = dy * mask / (1 - rate)", lambda c: c.dy / (1 - c.rate)),
        Cause("mask forgotten", "nothing happens here: dx = dy * mask / (1 - rate)", lambda c: c.dy),
        Cause("mask reversed", "the mask is the wrong way round: the gradient passes where mask is True",
              lambda c: c.dy * ~c.mask / (1 - c.rate)),
    ],
}


def other_epsilon(c, epsilon):
    """``dx`` of ``batch_norm_backward`` computed with another epsilon."""
    root = np.sqrt(c.variance + epsilon)
    xhat, dxhat, m = (c.x - c.mean) / root, c.dy * c.gamma, count(c)
    return (dxhat - dxhat.sum(axis=axes(c)) / m - xhat * (dxhat * xhat).sum(axis=axes(c)) / m) / root
