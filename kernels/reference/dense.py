"""The dense (fully connected) layer as loops.

Document 2, section 3.1.3, writes it for one input vector, with an activation behind it:

    y = sigma(W x + b)

Here the activation is an operation of its own (``activations.py``). The inputs of a batch are rows, so the matrix
stands on the right and has shape (I, O), the transpose of the document's W:

    y[image, o] = b[o] + sum_i x[image, i] w[i, o]

It is a convolution whose kernel is as large as the image, which is why its backward pass has the same three parts.
"""

from __future__ import annotations

import numpy as np

from .. import checks


@np.errstate(over="ignore", invalid="ignore")  # infinity and NaN go through without a warning
def dense_forward(x, w, b=None):
    """Multiply every row with a matrix and add the bias.

    Parameters
    ----------
    x : ndarray (N, I)
    w : ndarray (I, O)
    b : ndarray (O,), optional

    Returns
    -------
    y : ndarray (N, O)

    Raises
    ------
    TypeError, ValueError
        For arguments of another type or shape.
    """
    x, w, b = checks.dense_forward(x, w, b)
    y = np.zeros((x.shape[0], w.shape[1]), x.dtype)
    for image in range(x.shape[0]):
        for i in range(x.shape[1]):
            y[image] += x[image, i] * w[i]
        if b is not None:
            y[image] += b
    return y


@np.errstate(over="ignore", invalid="ignore")
def dense_backward(dy, x, w, input_gradient=True):
    """Gradients of a loss with respect to input, matrix and bias of ``dense_forward``.

    Every product ``x[image, i] w[i, o]`` sends ``dy[image, o]``, times the other factor, to each of its two factors:

        dx[image, i] = sum_o dy[image, o] w[i, o]           (dy times the transposed matrix)
        dw[i, o]     = sum_image x[image, i] dy[image, o]   (the transposed input times dy)
        db[o]        = sum_image dy[image, o]

    Parameters
    ----------
    dy : ndarray (N, O)
        Gradient of the loss with respect to ``y``.
    x, w
        As given to ``dense_forward``.
    input_gradient : bool
        False leaves out ``dx`` (a first layer needs none).

    Returns
    -------
    dx : ndarray (N, I) or None
    dw : ndarray (I, O)
    db : ndarray (O,)

    Raises
    ------
    TypeError, ValueError
        As ``dense_forward``, and for a ``dy`` that has not the shape of ``y``.
    """
    dy, x, w = checks.dense_backward(dy, x, w)
    images, outputs = dy.shape

    dx = None
    if input_gradient:
        dx = np.zeros_like(x)
        for image in range(images):
            for o in range(outputs):
                dx[image] += dy[image, o] * w[:, o]

    dw = np.zeros_like(w)
    db = np.zeros(outputs, w.dtype)
    for image in range(images):
        for i in range(x.shape[1]):
            dw[i] += x[image, i] * dy[image]
        db += dy[image]
    return dx, dw, db
