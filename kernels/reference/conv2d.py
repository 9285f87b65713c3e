"""Two-dimensional convolution as loops.

The formula of document 2, section 3.1.1, for one image, one channel, one kernel and stride 1:

    y[i, j] = sum_m sum_n x[i + m, j + n] w[m, n] + b

(mathematicians call it a cross-correlation: the kernel is not flipped). Four steps make it the layer in use:

* batch: every image by itself, with the same kernel;
* channels: an input pixel has C numbers, an output pixel O; ``w`` has one kernel for each pair of them, and the sum
  also runs over the C input channels;
* stride: the window moves by (SH, SW) instead of 1, so output pixel (i, j) starts at input pixel (i SH, j SW);
* padding: a border of zeros around the image. Row r of the padded image is row r - top of the image, and what falls
  on the border is a zero that adds nothing, so the loops skip it.

    y[image, i, j, o] = b[o] + sum_m sum_n sum_c x[image, i SH + m - top, j SW + n - left, c] w[m, n, c, o]
"""

from __future__ import annotations

import numpy as np

from .. import NO_PADDING, checks


@np.errstate(over="ignore", invalid="ignore")  # infinity and NaN go through without a warning
def conv2d_forward(x, w, b=None, stride=1, padding=NO_PADDING):
    """Convolve a batch of images with O kernels.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
        Images, float32 or float64.
    w : ndarray (KH, KW, C, O)
        Kernels, of the type of ``x``.
    b : ndarray (O,), optional
        Bias of each output channel.
    stride : int or (int, int)
        Step of the window, vertical and horizontal.
    padding : ((top, bottom), (left, right))
        Zeros around every image.

    Returns
    -------
    y : ndarray (N, OH, OW, O)
        ``OH = (H + top + bottom - KH) // SH + 1``, and OW alike.

    Raises
    ------
    TypeError, ValueError
        For arguments of another type or shape, or a kernel larger than the padded image.
    """
    x, w, b, (sh, sw), ((top, _), (left, _)), y_shape = checks.conv2d_forward(x, w, b, stride, padding)
    _, height, width, channels = x.shape
    kh, kw = w.shape[:2]
    y = np.zeros(y_shape, x.dtype)
    for image, i, j in np.ndindex(y_shape[:3]):
        for m in range(kh):
            for n in range(kw):
                row, column = i * sh + m - top, j * sw + n - left
                if 0 <= row < height and 0 <= column < width:
                    for c in range(channels):
                        y[image, i, j] += x[image, row, column, c] * w[m, n, c]
        if b is not None:
            y[image, i, j] += b
    return y


@np.errstate(over="ignore", invalid="ignore")
def conv2d_backward(dy, x, w, stride=1, padding=NO_PADDING, input_gradient=True):
    """Gradients of a loss L with respect to input, kernels and bias of ``conv2d_forward``.

    ``dy`` is dL/dy. Every product ``x[...] w[...]`` in an output pixel sends ``dy`` of that pixel, times the other
    factor, to each of its two factors. What remains is to collect, for one element, all the products it occurs in.

    **dx: a full convolution of dy with the flipped kernel.** Input row r occurs in output row i, with kernel row m,
    when ``i SH + m - top = r``. So for each m there is at most one i, namely ``(r + top - m) / SH``:

        dx[image, r, s, c] = sum_m sum_n sum_o dy[image, (r + top - m) / SH, (s + left - n) / SW, o] w[m, n, c, o]

    over those m, n for which both quotients are whole and lie inside y. Take stride 1 and count the kernel's rows
    from its end, m' = KH - 1 - m: the row of dy is then ``r + m' - (KH - 1 - top)``. That is the forward formula with
    dy as the image, the kernel flipped in both directions, its input and output channels exchanged, and KH - 1 - top
    rows of padding: without padding in the forward pass the flipped kernel visits every place where it touches dy at
    all, which is called a full convolution. A stride above 1 asks for whole quotients: the same full convolution, over
    a dy with SH - 1 rows and SW - 1 columns of zeros put between its pixels.

    **dw: a correlation of x with dy.** Kernel element (m, n) meets, at output pixel (i, j), the input pixel
    (i SH + m - top, j SW + n - left), once in every image:

        dw[m, n, c, o] = sum_image sum_i sum_j x[image, i SH + m - top, j SW + n - left, c] dy[image, i, j, o]

    which is the forward formula again, with dy in the place of the kernel (at stride 1; otherwise its pixels are SH
    and SW apart) and summed over the batch.

    **db: a sum.** ``b[o]`` is added to every pixel of channel o: ``db[o] = sum_image sum_i sum_j dy[image, i, j, o]``.

    Parameters
    ----------
    dy : ndarray (N, OH, OW, O)
        Gradient of the loss with respect to ``y``.
    x, w, stride, padding
        As given to ``conv2d_forward``.
    input_gradient : bool
        False leaves out ``dx`` (a first layer needs none).

    Returns
    -------
    dx : ndarray (N, H, W, C) or None
    dw : ndarray (KH, KW, C, O)
    db : ndarray (O,)

    Raises
    ------
    TypeError, ValueError
        As ``conv2d_forward``, and for a ``dy`` that has not the shape of ``y``.
    """
    dy, x, w, (sh, sw), ((top, _), (left, _)) = checks.conv2d_backward(dy, x, w, stride, padding)
    _, height, width, channels = x.shape
    kh, kw = w.shape[:2]
    images, oh, ow, outputs = dy.shape

    dx = None
    if input_gradient:
        dx = np.zeros_like(x)
        for image, row, column in np.ndindex(images, height, width):
            for m in range(kh):
                for n in range(kw):
                    i, rest_i = divmod(row + top - m, sh)
                    j, rest_j = divmod(column + left - n, sw)
                    if rest_i == 0 and rest_j == 0 and 0 <= i < oh and 0 <= j < ow:
                        for o in range(outputs):
                            dx[image, row, column] += dy[image, i, j, o] * w[m, n, :, o]

    dw = np.zeros_like(w)
    db = np.zeros(outputs, w.dtype)
    for image, i, j in np.ndindex(images, oh, ow):
        for m in range(kh):
            for n in range(kw):
                row, column = i * sh + m - top, j * sw + n - left
                if 0 <= row < height and 0 <= column < width:
                    for c in range(channels):
                        dw[m, n, c] += x[image, row, column, c] * dy[image, i, j]
        db += dy[image, i, j]
    return dx, dw, db
