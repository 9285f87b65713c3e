"""Mistakes in losses."""

from __future__ import annotations

import numpy as np

from minicnn.gradcheck.causes.activations import softmax
from minicnn.gradcheck.causes.engine import Cause


def weights(c):
    """The sample weights, ones if there are none."""
    first = c.logits if hasattr(c, "logits") else c.probabilities if hasattr(c, "probabilities") else c.predictions
    return np.ones(len(first)) if c.sample_weight is None else c.sample_weight


def target(c, smoothing=None, n_classes=None):
    """The distribution that is asked for: one-hot, smoothed."""
    scores = c.logits if hasattr(c, "logits") else c.probabilities
    k = scores.shape[1]
    s = c.label_smoothing if smoothing is None else smoothing
    return (1 - s) * np.eye(k)[c.labels] + s / (n_classes or k)


def gradient(c, p=None, q=None, weight=None, count=None):
    """``dlogits`` with some of its ingredients replaced."""
    p = softmax(c.logits) if p is None else p
    weight = weights(c) if weight is None else weight
    return (p - (target(c) if q is None else q)) * weight[:, None] / (count or len(c.logits))


def log_softmax(z, axis=1):
    """The logarithm of softmax."""
    z = z - z.max(axis=axis, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=axis, keepdims=True))


def value(c, q=None, weight=None, log_p=None, count=None):
    """The loss with some of its ingredients replaced."""
    weight = weights(c) if weight is None else weight
    log_p = log_softmax(c.logits) if log_p is None else log_p
    q = target(c) if q is None else q
    terms = np.where(q == 0, 0.0, q * log_p)
    return -np.sum(weight[:, None] * terms) / (count or len(c.labels))


def log_of_softmax(c):
    """``log(softmax(logits))`` taken literally, which underflows for large logits."""
    e = np.exp(c.logits - c.logits.max(axis=1, keepdims=True))
    return np.log(e / e.sum(axis=1, keepdims=True))


def unstable_p(c):
    """Softmax without subtracting the maximum."""
    e = np.exp(c.logits)
    return e / e.sum(axis=1, keepdims=True)


def squared(c, weight=None):
    """The weighted squares of a mean squared error."""
    return (c.predictions - c.targets) ** 2 * (weights(c) if weight is None else weight)[:, None]


_MEAN = "the loss is the mean over the batch"
_IGNORED_WEIGHT = "sample_weight is not used: it multiplies every sample's term"
_IGNORED_SMOOTHING = "label_smoothing is not used: the target is (1 - s) * onehot + s / K"
_SUM_OF_WEIGHTS = "divided by the sum of the weights: divide by the number of samples N"

CAUSES = {
    ("softmax_cross_entropy", "loss"): [
        Cause("sum for mean", f"the samples' losses are summed: {_MEAN}, divide by N", lambda c: value(c, count=1)),
        Cause("divided by classes", f"the sum is divided by N*K: {_MEAN}, divide by N",
              lambda c: value(c, count=c.logits.size)),
        Cause("sum of weights", _SUM_OF_WEIGHTS, lambda c: value(c, count=weights(c).sum())),
        Cause("weights ignored", _IGNORED_WEIGHT, lambda c: value(c, weight=np.ones(len(c.labels)))),
        Cause("smoothing ignored", _IGNORED_SMOOTHING, lambda c: value(c, q=target(c, 0.0))),
        Cause("smoothing ignored", f"{_IGNORED_SMOOTHING}; and {_IGNORED_WEIGHT}",
              lambda c: value(c, q=target(c, 0.0), weight=np.ones(len(c.labels)))),
        Cause("smoothing over the others", "label smoothing is spread over K - 1 classes: it is s / K for every class, "
              "the right one included", lambda c: value(c, q=smoothing_elsewhere(c))),
        Cause("other logarithm", "the logarithm is to base 2: np.log is the natural one",
              lambda c: value(c) / np.log(2)),
        Cause("other logarithm", "the logarithm is to base 10: np.log is the natural one",
              lambda c: value(c) / np.log(10)),
        Cause("not stable", "log(softmax) is minus infinity once softmax underflows to 0: compute log_p = z - max - "
              "log(sum(exp(z - max))) from the logits", lambda c: -np.sum(weights(c)[:, None] * np.where(
                  target(c) == 0, 0.0, target(c) * log_of_softmax(c))) / len(c.labels)),
        Cause("not stable", "log(softmax) is minus infinity once softmax underflows to 0 (and 0 times that is NaN): "
                            "compute log_p = z - max - log(sum(exp(z - max))) from the logits",
              lambda c: -np.sum(weights(c)[:, None] * target(c) * log_of_softmax(c)) / len(c.labels)),
        Cause("not stable", "exp overflows for large logits: subtract the row's maximum first",
              lambda c: value(c, log_p=np.log(unstable_p(c)))),
        Cause("not stable", "exp overflows for large logits: subtract the row's maximum first",
              lambda c: value(c, log_p=c.logits - np.log(np.exp(c.logits).sum(axis=1, keepdims=True)))),
        Cause("wrong axis", "softmax is taken over the batch: it is over the classes, axis 1",
              lambda c: value(c, log_p=log_softmax(c.logits, 0))),
    ],
    ("softmax_cross_entropy", "dlogits"): [
        Cause("mean forgotten", "the batch mean is forgotten: divide by N, as the loss does",
              lambda c: gradient(c, count=1)),
        Cause("mean twice", "the batch mean is taken twice: divide by N once",
              lambda c: gradient(c, count=len(c.labels) ** 2)),
        Cause("divided by classes", "divided by N*K: divide by N", lambda c: gradient(c, count=c.logits.size)),
        Cause("divided by classes", "divided by K, the number of classes: divide by N, the number of samples",
              lambda c: gradient(c, count=c.logits.shape[1])),
        Cause("label not subtracted", "the one-hot label is not subtracted: dlogits = (p - onehot) / N",
              lambda c: gradient(c, q=0.0)),
        Cause("label not subtracted", "p is missing: dlogits = (p - onehot) / N", lambda c: gradient(c, p=0.0)),
        Cause("logits for probabilities", "the logits stand where p = softmax(logits) belongs",
              lambda c: gradient(c, p=c.logits)),
        Cause("sum of weights", _SUM_OF_WEIGHTS, lambda c: gradient(c, count=weights(c).sum())),
        Cause("weights ignored", _IGNORED_WEIGHT, lambda c: gradient(c, weight=np.ones(len(c.labels)))),
        Cause("smoothing ignored", _IGNORED_SMOOTHING, lambda c: gradient(c, q=target(c, 0.0))),
        Cause("smoothing ignored", f"{_IGNORED_SMOOTHING}; and {_IGNORED_WEIGHT}",
              lambda c: gradient(c, q=target(c, 0.0), weight=np.ones(len(c.labels)))),
        Cause("smoothing over the others", "label smoothing is spread over K - 1 classes: it is s / K for every class, "
              "the right one included", lambda c: gradient(c, q=smoothing_elsewhere(c))),
        Cause("not stable", "exp overflows for large logits: subtract the row's maximum first",
              lambda c: gradient(c, p=unstable_p(c))),
        Cause("wrong axis", "softmax is taken over the batch: it is over the classes, axis 1",
              lambda c: gradient(c, p=softmax(c.logits, 0))),
        Cause("softmax twice", "softmax is applied twice", lambda c: gradient(c, p=softmax(softmax(c.logits)))),
    ],
    ("mean_squared_error", "loss"): [
        Cause("sum for mean", "the squares are summed: divide by N*K", lambda c: squared(c).sum()),
        Cause("mean over the batch only", "the sum is divided by N only: it is a mean over the K outputs too",
              lambda c: squared(c).sum() / len(c.targets)),
        Cause("mean over outputs only", "the sum is divided by K only: it is a mean over the N samples too",
              lambda c: squared(c).sum() / c.targets.shape[1]),
        Cause("half", "half the mean squared error: there is no factor 1/2 in the contract's formula",
              lambda c: squared(c).mean() / 2),
        Cause("weights ignored", _IGNORED_WEIGHT, lambda c: squared(c, np.ones(len(c.targets))).mean()),
        Cause("sum of weights", _SUM_OF_WEIGHTS,
              lambda c: squared(c).sum() / weights(c).sum() / c.targets.shape[1]),
        Cause("root", "this is the root of the mean squared error", lambda c: np.sqrt(squared(c).mean())),
        Cause("absolute value", "this is the mean absolute error: square the differences",
              lambda c: np.mean(np.abs(c.predictions - c.targets) * weights(c)[:, None])),
    ],
    ("mean_squared_error", "dpredictions"): [
        Cause("factor missing", "the factor 2 is missing: the derivative of d**2 is 2 d", lambda c: c.truth / 2),
        Cause("mean over the batch only", "divided by N only: the loss is a mean over the K outputs too",
              lambda c: c.truth * c.targets.shape[1]),
        Cause("mean over outputs only", "divided by K only: the loss is a mean over the N samples too",
              lambda c: c.truth * len(c.targets)),
        Cause("mean forgotten", "the mean is forgotten: divide by N*K, as the loss does",
              lambda c: c.truth * c.targets.size),
        Cause("mean over the batch only", "the factor 2 is missing, and it is divided by N only (N*K is right)",
              lambda c: c.truth * c.targets.shape[1] / 2),
        Cause("mean forgotten", "the mean is forgotten (divide by N*K), and so is the factor 2",
              lambda c: c.truth * c.targets.size / 2),
        Cause("weights ignored", _IGNORED_WEIGHT, lambda c: 2 * (c.predictions - c.targets) / c.targets.size),
        Cause("sum of weights", _SUM_OF_WEIGHTS, lambda c: c.truth * len(c.targets) / weights(c).sum()),
    ],
    ("cross_entropy", "loss"): [
        Cause("sum for mean", f"the samples' losses are summed: {_MEAN}, divide by N",
              lambda c: c.truth * len(c.labels)),
        Cause("weights ignored", _IGNORED_WEIGHT,
              lambda c: value(c, weight=np.ones(len(c.labels)), log_p=np.log(c.probabilities))),
        Cause("smoothing ignored", _IGNORED_SMOOTHING,
              lambda c: value(c, q=target(c, 0.0), log_p=np.log(c.probabilities))),
        Cause("softmax twice", "softmax is applied again: the probabilities are given",
              lambda c: value(c, log_p=log_softmax(c.probabilities))),
    ],
    ("cross_entropy", "dprobabilities"): [
        Cause("mean forgotten", "the batch mean is forgotten: divide by N, as the loss does",
              lambda c: c.truth * len(c.labels)),
        Cause("mean twice", "the batch mean is taken twice: divide by N once", lambda c: c.truth / len(c.labels)),
        Cause("gradient of the logits", "this is (p - q) / N, the gradient for the logits: with respect to p itself "
                                        "it is "
              "-q / p / N", lambda c: (c.probabilities - target(c)) * weights(c)[:, None] / len(c.labels)),
        Cause("weights ignored", _IGNORED_WEIGHT, lambda c: -target(c) / c.probabilities / len(c.labels)),
        Cause("smoothing ignored", _IGNORED_SMOOTHING,
              lambda c: -target(c, 0.0) / c.probabilities * weights(c)[:, None] / len(c.labels)),
    ],
}


def smoothing_elsewhere(c):
    """Smoothing spread over the wrong classes only."""
    k, s = c.logits.shape[1], c.label_smoothing
    one_hot = np.eye(k)[c.labels]
    return (1 - s) * one_hot + s / (k - 1) * (1 - one_hot)
