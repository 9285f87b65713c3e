"""Lesson 3: softmax and cross-entropy, from scores to probabilities to one number that says how wrong they are.

    p[n, k] = exp(z[n, k]) / sum over l of exp(z[n, l])            softmax, row by row
    loss    = 1/N * sum over n of -log(p[n, labels[n]])            cross-entropy, a mean over the batch

Check your work with:  minicnn gradcheck softmax_cross_entropy.py
"""

import numpy as np  # noqa: F401


def softmax_forward(x):
    """Softmax over the last axis of an array of any shape.

    exp overflows for x above 709. Subtract each row's maximum first: it cancels in the quotient and changes nothing.
    """
    raise NotImplementedError


def softmax_cross_entropy(logits, labels, sample_weight=None, label_smoothing=0.0):
    """The loss above and its gradient with respect to the logits z.

    Take the logarithm of the quotient before any exponential can underflow:

        log p[n, k] = (z[n, k] - max) - log(sum over l of exp(z[n, l] - max))

    The gradient is as short as gradients get:

        dlogits[n, k] = (p[n, k] - q[n, k]) / N        with q[n, k] = 1 for the label, 0 for the other classes

    Two refinements, for when this works. Label smoothing s asks for a softer q, which stands in the loss as well:
    q = (1 - s) * onehot + s / K, and the loss of a sample is -sum over k of q[n, k] * log p[n, k]. A sample weight
    multiplies the sample's term in the loss and its row of the gradient (the division is by N all the same).

    logits : (N, K)        labels : (N,), integers 0 .. K-1        sample_weight : (N,) or None
    Returns loss : one number, dlogits : (N, K)
    """
    raise NotImplementedError
