"""Mistakes in convolutions."""

from __future__ import annotations

import numpy as np

from minicnn.gradcheck.causes.engine import Cause
from minicnn.gradcheck.causes.windows import MISPLACED, right


def forward(c, windows=None, w=None, b=None, columns=None):
    """``y`` with some of its ingredients replaced."""
    gathered = (windows or right(c)).gather(c.x) if columns is None else columns
    y = np.einsum("nijpqc,pqco->nijo", gathered, c.w if w is None else w)
    bias = c.b if b is None else b
    return y if bias is None else y + bias


def input_gradient(c, windows=None, w=None, **scatter):
    """``dx`` with some of its ingredients replaced."""
    shares = np.einsum("nijo,pqco->nijpqc", c.dy, c.w if w is None else w)
    return (windows or right(c)).scatter(shares, **scatter)


def kernel_gradient(c, windows=None, x=None, dy=None):
    """``dw`` with some of its ingredients replaced."""
    gathered = (windows or right(c)).gather(c.x if x is None else x)
    return np.einsum("nijpqc,nijo->pqco", gathered, c.dy if dy is None else dy)


def channels_exchanged(w):
    """The kernel's numbers as they stand when input and output channels are exchanged."""
    return w.swapaxes(2, 3).reshape(w.shape)


def transposed(w):
    """The kernel's numbers as they stand when rows and columns are exchanged."""
    return w.swapaxes(0, 1).reshape(w.shape)


def overwritten(c, position_first):
    """``dx`` when a later window overwrites an earlier one instead of adding to it."""
    return input_gradient(c, add=False, position_first=position_first)


def without_last(c, axis):
    """``y`` when a loop over one of its axes ends one step too early."""
    last = np.arange(c.truth.shape[axis]) == c.truth.shape[axis] - 1
    bias = 0.0 if c.b is None else c.b
    return np.where(last.reshape([-1 if place == axis else 1 for place in range(4)]), bias, c.truth)


def padded_with_edge(c):
    """``y`` when the border repeats the edge pixels."""
    gathered = right(c).gather(c.x)
    clipped = np.where(right(c).inside[..., None], gathered, c.x[:, right(c)._index()[0], right(c)._index()[1]])
    return forward(c, columns=clipped)


def one_axis_flipped(axis):
    """The kernel turned in one direction only."""
    return lambda c: input_gradient(c, w=np.flip(c.w, axis))


def bias_axes(axes):
    """``db`` summed over other axes than images, rows and columns."""
    return lambda c: c.dy.sum(axis=axes)


_UNFLIPPED = ("the kernel is not flipped (or flipped once too often): as a full convolution of dy, dx takes the kernel "
              "turned by 180 degrees, w[::-1, ::-1]; if instead every dy[i, j] is spread over its window, dx[window] "
              "+= w * dy[i, j], the kernel stays as it is")
_EXCHANGED = "input and output channels of the kernel are exchanged: w is (KH, KW, C, O)"
_SUMMED = "db sums dy over images, rows and columns, dy.sum(axis=(0, 1, 2)): one number for each output channel"
_OVERWRITES = ("where windows overlap, the last one overwrites the others: use += instead of = (with index arrays, "
               "np.add.at, since dx[index] += ... counts a repeated index once)")

CAUSES = {
    ("conv2d_forward", "y"): [
        Cause("kernel flipped", "the kernel is flipped (the mathematicians' convolution): y[i, j] sums x[i+m, j+n] "
              "w[m, n], with the kernel as it is", lambda c: forward(c, w=c.w[::-1, ::-1])),
        Cause("kernel transposed", "rows and columns of the kernel are exchanged: w[m, n] belongs to x[i+m, j+n]",
              lambda c: forward(c, w=transposed(c.w))),
        Cause("bias forgotten", "the bias is not added", lambda c: forward(c, b=np.zeros(c.w.shape[3]))),
        Cause("bias twice", "the bias is added more than once for an output pixel", lambda c: forward(c, b=2 * c.b)),
        Cause("bias in the loop", "the bias is added once for each element of the window; add it once, after the sum",
              lambda c: forward(c, b=c.kh * c.kw * c.b)),
        Cause("bias in the loop", "the bias is added once for each input channel; add it once, after the sum",
              lambda c: forward(c, b=c.c * c.b)),
        Cause("bias in the loop", "the bias is added once for each product; add it once, after the sum",
              lambda c: forward(c, b=c.kh * c.kw * c.c * c.b)),
        *(Cause(key, text, lambda c, place=place: forward(c, place(c))) for key, text, place in MISPLACED),
        Cause("padded with the edge", "the border repeats the image's edge: the padding must be zeros",
              padded_with_edge),
        Cause("first channel only", "only the first input channel is used: the sum also runs over all C channels",
              lambda c: forward(c, columns=right(c).gather(c.x) * (np.arange(c.c) == 0))),
        Cause("last channel only", "only the last input channel counts: add up over the channels (+=, not =)",
              lambda c: forward(c, columns=right(c).gather(c.x) * (np.arange(c.c) == c.c - 1))),
        Cause("last kernel row only", "only the last position of the window counts: add up over the window (+=, not =)",
              lambda c: forward(c, columns=right(c).gather(c.x) * _last_position(c))),
        Cause("channels exchanged", _EXCHANGED, lambda c: forward(c, w=channels_exchanged(c.w))),
        *(Cause("last one left out", f"the last of the {many} is never computed (it holds the bias alone): a loop ends "
                                     "one step too early", lambda c, axis=axis: without_last(c, axis))
          for axis, many in enumerate(("images", "rows", "columns", "output channels"))),
        Cause("first image for all", "every image of the batch gets the result of the first one",
              lambda c: np.broadcast_to(c.truth[:1], c.truth.shape)),
    ],
    ("conv2d_backward", "dx"): [
        Cause("kernel not flipped", _UNFLIPPED, lambda c: input_gradient(c, w=c.w[::-1, ::-1])),
        Cause("kernel flipped in one direction", "the kernel is flipped in one direction only: turn it by 180 degrees, "
              "w[::-1, ::-1]", one_axis_flipped(0)),
        Cause("kernel flipped in one direction", "the kernel is flipped in one direction only: turn it by 180 degrees, "
              "w[::-1, ::-1]", one_axis_flipped(1)),
        Cause("kernel transposed", "rows and columns of the kernel are exchanged: w[m, n] joins dy[i, j] with "
              "x[i+m, j+n]", lambda c: input_gradient(c, w=transposed(c.w))),
        Cause("kernel transposed", "rows and columns of the kernel are exchanged, and it is not flipped",
              lambda c: input_gradient(c, w=transposed(c.w)[::-1, ::-1])),
        *(Cause(key, text, lambda c, place=place: input_gradient(c, place(c))) for key, text, place in MISPLACED),
        Cause("overwrites", _OVERWRITES, lambda c: overwritten(c, False)),
        Cause("overwrites", _OVERWRITES, lambda c: overwritten(c, True)),
        Cause("channels exchanged", _EXCHANGED, lambda c: input_gradient(c, w=channels_exchanged(c.w))),
        Cause("first output channel only", "only the first output channel sends its gradient back: sum over all O",
              lambda c: input_gradient(c, w=c.w * (np.arange(c.w.shape[3]) == 0))),
        Cause("last output channel only", "only the last output channel counts: add up over the channels (+=, not =)",
              lambda c: input_gradient(c, w=c.w * (np.arange(c.w.shape[3]) == c.w.shape[3] - 1))),
    ],
    ("conv2d_backward", "dw"): [
        Cause("kernel flipped", "dw comes out flipped: dw[m, n] sums x[i+m, j+n] dy[i, j], with nothing turned",
              lambda c: c.truth[::-1, ::-1]),
        Cause("kernel transposed", "rows and columns of dw are exchanged", lambda c: transposed(c.truth)),
        *(Cause(key, text, lambda c, place=place: kernel_gradient(c, place(c))) for key, text, place in MISPLACED),
        Cause("channels exchanged", "input and output channels of dw are exchanged: dw is (KH, KW, C, O), like w",
              lambda c: channels_exchanged(c.truth)),
        Cause("first image only", "only the first image counts: dw sums over the whole batch",
              lambda c: kernel_gradient(c, dy=c.dy * (np.arange(c.n) == 0)[:, None, None, None])),
        Cause("last image only", "only the last image counts: dw sums over the whole batch (+=, not =)",
              lambda c: kernel_gradient(c, dy=c.dy * (np.arange(c.n) == c.n - 1)[:, None, None, None])),
        Cause("x summed over channels", "dw is the same for every input channel: x is summed over its channels first",
              lambda c: kernel_gradient(c, x=np.broadcast_to(c.x.sum(axis=3, keepdims=True), c.x.shape))),
    ],
    ("conv2d_backward", "db"): [
        *(Cause("bias summed over the wrong axes", f"dy is summed over axes {axes}: {_SUMMED}", bias_axes(axes))
          for axes in ((1, 2, 3), (0, 2, 3), (0, 1, 3))),
        Cause("first image only", f"only the first image counts: {_SUMMED}", lambda c: c.dy[0].sum(axis=(0, 1))),
        Cause("last image only", f"only the last image counts (+=, not =): {_SUMMED}",
              lambda c: c.dy[-1].sum(axis=(0, 1))),
        Cause("sum of the input", "x or y is summed instead of dy", lambda c: c.y.sum(axis=(0, 1, 2))),
        Cause("sum over everything", f"every channel gets the sum over all channels: {_SUMMED}",
              lambda c: np.full(c.dy.shape[3], c.dy.sum())),
    ],
}


def _last_position(c):
    mask = np.zeros((c.kh, c.kw, 1))
    mask[-1, -1] = 1
    return mask
