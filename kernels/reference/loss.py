"""Losses: one number that says how wrong a batch of predictions is, and its gradient.

All of them are means over the batch, so the size of a gradient does not depend on the batch size. With
``sample_weight`` the loss is ``sum_i weight_i l_i / N``, Keras' ``sum_over_batch_size``: N is the number of samples,
not the sum of the weights. (PyTorch's class weights divide by that sum. To get it, scale the weights to mean 1.)
"""

from __future__ import annotations

import numpy as np

from .. import checks


@np.errstate(over="ignore", invalid="ignore")
def softmax_cross_entropy(logits, labels, sample_weight=None, label_smoothing=0.0):
    """Cross-entropy between the labels and the softmax of the logits.

    With p = softmax(logits), the loss of one sample is minus the logarithm of the probability given to its label:

        l = -log p_label

    It is computed from the logits and not from p, by writing the logarithm of the quotient out:

        log p_k = (z_k - max z) - log sum_l exp(z_l - max z)

    Here no exponential overflows and the sum is at least 1, so its logarithm is finite, while log(softmax(z)) is minus
    infinity as soon as p underflows (logits 0 and 800, say). This is the log-sum-exp trick.

    The gradient is as short as gradients get. From d log p_label / d z_k = [k = label] - p_k follows

        dlogits = (p - onehot(label)) / N

    **Label smoothing** s (Szegedy et al. 2016) asks for the distribution q = (1 - s) onehot(label) + s / K over the K
    classes instead of onehot(label):

        l = -sum_k q_k log p_k = (1 - s) (-log p_label) + s / K sum_k (-log p_k),    dlogits = (p - q) / N

    Parameters
    ----------
    logits : ndarray (N, K)
        Scores before the softmax. (A network that already ends in softmax would have it applied twice.)
    labels : ndarray of integers (N,)
        Class numbers 0 .. K - 1.
    sample_weight : ndarray (N,), optional
        Factor of every sample's loss; of the type of ``logits``.
    label_smoothing : float
        s, in [0, 1).

    Returns
    -------
    loss : float
    dlogits : ndarray (N, K)

    Raises
    ------
    TypeError, ValueError
        For other types and shapes, an empty batch, or a label out of range.
    """
    logits, labels, sample_weight, smoothing = checks.softmax_cross_entropy(
        logits, labels, sample_weight, label_smoothing)
    samples, classes = logits.shape
    shifted = logits - np.max(logits, axis=1, keepdims=True)
    log_p = shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))

    rows = np.arange(samples)
    losses = -log_p[rows, labels]
    dlogits = np.exp(log_p)
    dlogits[rows, labels] -= 1 - smoothing
    if smoothing > 0:  # written as a case of its own, since 0 * log 0 is not 0
        losses = (1 - smoothing) * losses - smoothing / classes * np.sum(log_p, axis=1)
        dlogits -= smoothing / classes
    if sample_weight is not None:
        losses = sample_weight * losses
        dlogits *= sample_weight[:, np.newaxis]
    dlogits /= samples
    return float(np.sum(losses) / samples), dlogits


@np.errstate(over="ignore", invalid="ignore")
def cross_entropy(probabilities, labels, sample_weight=None, label_smoothing=0.0):
    """Cross-entropy between the labels and probabilities, for a network that itself ends in softmax.

    With q as in ``softmax_cross_entropy``, and p the probabilities as they are given:

        l = -sum_k q_k log p_k,    dprobabilities_k = -q_k / (p_k N)

    Prefer ``softmax_cross_entropy``: a probability that has underflowed to 0 no longer tells how wrong it was. To stay
    finite, the logarithm is taken of ``max(p_k, tiny)`` with the smallest normal number of the type (1e-38 in float32),
    and below ``tiny`` the derivative is accordingly 0. (Keras cuts at 1e-7, and with that the gradients of its worst
    mistakes.) The rows are not brought to the sum 1 again.

    Parameters
    ----------
    probabilities : ndarray (N, K)
        Each row a distribution, as softmax makes it.
    labels, sample_weight, label_smoothing
        As for ``softmax_cross_entropy``.

    Returns
    -------
    loss : float
    dprobabilities : ndarray (N, K)

    Raises
    ------
    TypeError, ValueError
        As ``softmax_cross_entropy``.
    """
    p, labels, sample_weight, smoothing = checks.cross_entropy(probabilities, labels, sample_weight, label_smoothing)
    samples, classes = p.shape
    q = np.full_like(p, smoothing / classes)
    q[np.arange(samples), labels] += 1 - smoothing

    tiny = np.finfo(p.dtype).tiny
    clipped = np.maximum(p, tiny)
    losses = -np.sum(q * np.log(clipped), axis=1)
    dprobabilities = np.where(p < tiny, np.zeros_like(p), -q / clipped)
    if sample_weight is not None:
        losses = sample_weight * losses
        dprobabilities *= sample_weight[:, np.newaxis]
    dprobabilities /= samples
    return float(np.sum(losses) / samples), dprobabilities


@np.errstate(over="ignore", invalid="ignore")
def mean_squared_error(predictions, targets, sample_weight=None):
    """Mean of the squared differences, over the K outputs of a sample and over the batch.

        l_i = 1 / K sum_k (predictions_ik - targets_ik)^2,      loss = 1 / N sum_i weight_i l_i

        dpredictions_ik = 2 weight_i (predictions_ik - targets_ik) / (N K)

    Parameters
    ----------
    predictions, targets : ndarray (N, K)
    sample_weight : ndarray (N,), optional

    Returns
    -------
    loss : float
    dpredictions : ndarray (N, K)

    Raises
    ------
    TypeError, ValueError
        For other types and shapes, or an empty batch.
    """
    predictions, targets, sample_weight = checks.mean_squared_error(predictions, targets, sample_weight)
    samples, outputs = predictions.shape
    difference = predictions - targets
    losses = np.sum(difference * difference, axis=1) / outputs
    dpredictions = 2 * difference / (samples * outputs)
    if sample_weight is not None:
        losses = sample_weight * losses
        dpredictions *= sample_weight[:, np.newaxis]
    return float(np.sum(losses) / samples), dpredictions
