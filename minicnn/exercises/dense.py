"""Lesson 1: the dense layer. Every output looks at every input.

    y[n, o] = b[o] + sum over i of x[n, i] * w[i, o]

Check your work with:  minicnn gradcheck dense.py
"""

import numpy as np  # noqa: F401


def dense_forward(x, w, b=None):
    """The formula above.

    x : (N, I), a batch of N rows        w : (I, O)        b : (O,), or None for a layer without bias
    Returns y : (N, O)
    """
    raise NotImplementedError


def dense_backward(dy, x, w, input_gradient=True):
    """Gradients of a loss, given dy, its gradient with respect to y.

    Each product x[n, i] * w[i, o] sends dy[n, o], times the other factor, to each of its two factors:

        dx[n, i] = sum over o of dy[n, o] * w[i, o]
        dw[i, o] = sum over n of x[n, i] * dy[n, o]
        db[o]    = sum over n of dy[n, o]

    dy : (N, O)
    Returns dx : (N, I) (None if input_gradient is False: a first layer needs none), dw : (I, O), db : (O,)

    Hint: each of the three is one matrix product or one sum; let the shapes tell you what is transposed.
    """
    raise NotImplementedError
