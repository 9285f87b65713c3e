"""Lesson 4: convolution. One small window of weights, the same for every place in the picture.

    y[n, i, j, o] = b[o] + sum over m, k, c of  x[n, i*SH + m - top, j*SW + k - left, c] * w[m, k, c, o]

where x counts as 0 outside the picture (that is what padding means), and

    OH = (H + top + bottom - KH) // SH + 1        OW = (W + left + right - KW) // SW + 1

Check your work with:  minicnn gradcheck conv2d.py

Begin with loops, and with stride 1 and no padding: the report tells for which cases you are right already.
"""

import numpy as np  # noqa: F401


def conv2d_forward(x, w, b=None, stride=1, padding=((0, 0), (0, 0))):
    """The formula above.

    x : (N, H, W, C), pictures with the channels last        w : (KH, KW, C, O)        b : (O,) or None
    stride : an integer, or a pair (SH, SW)        padding : ((top, bottom), (left, right))
    Returns y : (N, OH, OW, O)
    """
    raise NotImplementedError


def conv2d_backward(dy, x, w, stride=1, padding=((0, 0), (0, 0)), input_gradient=True):
    """Gradients of a loss, given dy, its gradient with respect to y.

    Each product x[...] * w[...] of the formula sends dy[n, i, j, o], times the other factor, to each of its two
    factors. So walk over all outputs (n, i, j, o) and over all m, k, c as in the forward pass, and collect:

        dx[n, i*SH + m - top, j*SW + k - left, c] += dy[n, i, j, o] * w[m, k, c, o]      (inside the picture only)
        dw[m, k, c, o]                            += dy[n, i, j, o] * x[n, i*SH + m - top, j*SW + k - left, c]
        db[o]                                     += dy[n, i, j, o]

    dy : (N, OH, OW, O)
    Returns dx : (N, H, W, C) (None if input_gradient is False), dw : (KH, KW, C, O), db : (O,)
    """
    raise NotImplementedError
