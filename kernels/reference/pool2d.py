"""Max-pooling and average-pooling as loops.

Document 2, section 3.1.2, writes max-pooling as

    y[i, j] = max_m max_n x[i + m, j + n]

and thereby leaves out the stride: taken literally the window moves by one pixel, and nothing gets smaller. The layer
that is meant, and that its program uses, moves the window by its own size. As for the convolution, output pixel
(i, j) of every image and every channel looks at

    x[image, i SH + m - top, j SW + n - left, c],   m = 0 .. PH - 1,   n = 0 .. PW - 1,

with stride (SH, SW), by default the window (PH, PW) itself, and padding around the image. Padding takes part in
neither operation: for the maximum it counts as minus infinity and never wins, for the mean it is not counted. It must
be smaller than the window, so that every window sees a pixel of the image.
"""

from __future__ import annotations

import numpy as np

from .. import NO_PADDING, checks


def max_pool2d_forward(x, pool_size=2, stride=None, padding=NO_PADDING):
    """The largest pixel of every window, channel by channel.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
    pool_size : int or (int, int)
        Height and width of the window.
    stride : int or (int, int), optional
        Step of the window; by default ``pool_size``.
    padding : ((top, bottom), (left, right))
        Smaller than the window on every side.

    Returns
    -------
    y : ndarray (N, OH, OW, C)
        On a tie the first of the equal pixels wins, in row-major order; the first NaN wins over every number.
    argmax : ndarray of integers (N, OH, OW, C)
        Where in its window the maximum stood: ``m * PW + n``. The backward pass needs nothing else.

    Raises
    ------
    TypeError, ValueError
        For arguments of another type or shape, a window larger than the padded image, or padding as large as the
        window.
    """
    x, (ph, pw), (sh, sw), ((top, _), (left, _)), y_shape = checks.pool2d_forward(x, pool_size, stride, padding)
    _, height, width, _ = x.shape
    y = np.empty(y_shape, x.dtype)
    argmax = np.empty(y_shape, np.intp)
    for image, i, j, c in np.ndindex(y_shape):
        largest = None
        for m in range(ph):
            for n in range(pw):
                row, column = i * sh + m - top, j * sw + n - left
                if 0 <= row < height and 0 <= column < width:
                    pixel = x[image, row, column, c]
                    # only NaN differs from itself: the first one wins over every number, and stays
                    if largest is None or pixel > largest or (pixel != pixel and largest == largest):
                        largest, position = pixel, m * pw + n
        y[image, i, j, c] = largest
        argmax[image, i, j, c] = position
    return y, argmax


@np.errstate(over="ignore", invalid="ignore")
def max_pool2d_backward(dy, argmax, x_shape, pool_size=2, stride=None, padding=NO_PADDING):
    """Route every ``dy`` to the pixel that was its window's maximum.

    ``y = x[winner]`` near the given input, so the derivative is 1 for the winner and 0 for the other pixels of the
    window. Where windows overlap, a pixel that wins in several gets the sum; a pixel that no window covers gets 0.
    (At a tie the maximum has no derivative; the first winner gets all of it, as a choice.)

    Parameters
    ----------
    dy : ndarray (N, OH, OW, C)
        Gradient of the loss with respect to ``y``.
    argmax : ndarray of integers (N, OH, OW, C)
        From ``max_pool2d_forward``.
    x_shape : tuple
        (N, H, W, C).
    pool_size, stride, padding
        As given to ``max_pool2d_forward``.

    Returns
    -------
    dx : ndarray (N, H, W, C)

    Raises
    ------
    TypeError, ValueError
        As the forward pass, for a ``dy`` that has not the shape of ``y``, or an ``argmax`` from elsewhere.
    """
    dy, x_shape, (_, pw), (sh, sw), ((top, _), (left, _)), argmax = checks.pool2d_backward(
        dy, x_shape, pool_size, stride, padding, argmax)
    _, height, width, _ = x_shape
    dx = np.zeros(x_shape, dy.dtype)
    for image, i, j, c in np.ndindex(dy.shape):
        m, n = divmod(int(argmax[image, i, j, c]), pw)
        row, column = i * sh + m - top, j * sw + n - left
        if 0 <= row < height and 0 <= column < width:  # true for every argmax of the forward pass
            dx[image, row, column, c] += dy[image, i, j, c]
    return dx


@np.errstate(over="ignore", invalid="ignore")
def avg_pool2d_forward(x, pool_size=2, stride=None, padding=NO_PADDING):
    """The mean of every window's pixels, channel by channel; padding is not counted.

    Parameters
    ----------
    x, pool_size, stride, padding
        As for ``max_pool2d_forward``.

    Returns
    -------
    y : ndarray (N, OH, OW, C)
        ``y = (sum of the window's pixels inside the image) / (their number)``.

    Raises
    ------
    TypeError, ValueError
        As ``max_pool2d_forward``.
    """
    x, pool_size, stride, padding, y_shape = checks.pool2d_forward(x, pool_size, stride, padding)
    y = np.zeros(y_shape, x.dtype)
    for i, j in np.ndindex(y_shape[1:3]):
        pixels = _pixels_inside(i, j, x.shape, pool_size, stride, padding)
        for image in range(len(x)):
            for row, column in pixels:
                y[image, i, j] += x[image, row, column]
            y[image, i, j] /= len(pixels)
    return y


@np.errstate(over="ignore", invalid="ignore")
def avg_pool2d_backward(dy, x_shape, pool_size=2, stride=None, padding=NO_PADDING):
    """Share every ``dy`` equally among the pixels of its window.

    Each of the window's pixels inside the image enters ``y`` with the factor 1 / (their number), so each gets ``dy``
    times that factor, from every window that covers it.

    Parameters
    ----------
    dy : ndarray (N, OH, OW, C)
        Gradient of the loss with respect to ``y``.
    x_shape : tuple
        (N, H, W, C).
    pool_size, stride, padding
        As given to ``avg_pool2d_forward``.

    Returns
    -------
    dx : ndarray (N, H, W, C)

    Raises
    ------
    TypeError, ValueError
        As the forward pass, and for a ``dy`` that has not the shape of ``y``.
    """
    dy, x_shape, pool_size, stride, padding = checks.pool2d_backward(dy, x_shape, pool_size, stride, padding)
    dx = np.zeros(x_shape, dy.dtype)
    for i, j in np.ndindex(dy.shape[1:3]):
        pixels = _pixels_inside(i, j, x_shape, pool_size, stride, padding)
        for image in range(len(dy)):
            for row, column in pixels:
                dx[image, row, column] += dy[image, i, j] / len(pixels)
    return dx


def _pixels_inside(i, j, x_shape, pool_size, stride, padding):
    """Row and column of the pixels that the window of output pixel (i, j) sees, padding left out."""
    _, height, width, _ = x_shape
    pixels = []
    for m in range(pool_size[0]):
        for n in range(pool_size[1]):
            row, column = i * stride[0] + m - padding[0][0], j * stride[1] + n - padding[1][0]
            if 0 <= row < height and 0 <= column < width:
                pixels.append((row, column))
    return pixels
