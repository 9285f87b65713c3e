"""Lesson 5: pooling. Of each window of the picture, keep the largest number, or the mean.

    y[n, i, j, c] = max (or mean) over m, k of  x[n, i*SH + m - top, j*SW + k - left, c]

channel by channel. Padding takes part in neither: for the maximum it counts as minus infinity, for the mean it is not
counted. The stride is the window itself unless another is given (None means that).

Check your work with:  minicnn gradcheck pooling.py
"""

import numpy as np  # noqa: F401


def max_pool2d_forward(x, pool_size=2, stride=None, padding=((0, 0), (0, 0))):
    """The largest number of each window, and where in the window it stood.

    x : (N, H, W, C)        pool_size, stride : an integer or a pair        padding : ((top, bottom), (left, right))
    Returns y : (N, OH, OW, C), and argmax : integers (N, OH, OW, C), the position m * PW + k in the window.
    If several numbers are equally large, the first one in row order counts.
    """
    raise NotImplementedError


def max_pool2d_backward(dy, argmax, x_shape, pool_size=2, stride=None, padding=((0, 0), (0, 0))):
    """Gradient of a loss with respect to x: each dy[n, i, j, c] goes to the one pixel that was the maximum.

    m, k = divmod(argmax[n, i, j, c], PW) is its place in the window. Where windows overlap, a pixel may win several
    times: add up.

    dy, argmax : (N, OH, OW, C)        x_shape : the tuple (N, H, W, C)
    Returns dx : (N, H, W, C)
    """
    raise NotImplementedError


def avg_pool2d_forward(x, pool_size=2, stride=None, padding=((0, 0), (0, 0))):
    """The mean of each window: the sum of its pixels inside the picture, divided by their number.

    Returns y : (N, OH, OW, C)
    """
    raise NotImplementedError


def avg_pool2d_backward(dy, x_shape, pool_size=2, stride=None, padding=((0, 0), (0, 0))):
    """Gradient of a loss with respect to x: each dy is shared equally among the pixels that its mean was taken of.

    Returns dx : (N, H, W, C)
    """
    raise NotImplementedError
