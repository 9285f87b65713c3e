"""Mistakes in max-pooling and average-pooling."""

from __future__ import annotations

import numpy as np

from minicnn.gradcheck.causes.engine import Cause, WouldRaise
from minicnn.gradcheck.causes.windows import MISPLACED, right


def flat(c, windows=None, outside=-np.inf):
    """The windows with their positions in one axis: (N, OH, OW, C, PH*PW)."""
    gathered = (windows or right(c)).gather(c.x, outside)
    return np.moveaxis(gathered, 5, 3).reshape(*gathered.shape[:3], c.c, -1)


def last_winner(c):
    """``argmax`` when the last of equal pixels wins."""
    values = flat(c)
    return values.shape[-1] - 1 - np.argmax(values[..., ::-1], axis=-1)


def route(c, position, windows=None, **scatter):
    """``dx`` when every dy goes to ``position`` (m * PW + n) of its window."""
    one_hot = position[..., None] == np.arange(c.kh * c.kw)
    return send(c, one_hot * 1.0, windows, **scatter)


def send(c, weights, windows=None, **scatter):
    """``dx`` when every dy is multiplied with the weights (..., PH*PW) of its window's positions."""
    shares = (c.dy[..., None] * weights).reshape(*c.dy.shape, c.kh, c.kw)
    return (windows or right(c)).scatter(np.moveaxis(shares, 3, 5), **scatter)


def every_tie(c, shared):
    """``dx`` when all pixels that equal the maximum get the gradient, in full or divided among them."""
    ties = (flat(c) == c.y[..., None]) * 1.0
    return send(c, ties / ties.sum(axis=-1, keepdims=True) if shared else ties)


def route_to(c, m, n, windows=None):
    """``dx`` when dy goes to row m and column n of its window, inside or not, as NumPy's indexing does it."""
    windows = windows or right(c)
    dx = np.zeros(c.x.shape)
    image, i, j, channel = np.indices(c.dy.shape)
    try:
        np.add.at(dx, (image, windows.rows[i, 0] + m, windows.columns[j, 0] + n, channel), c.dy)
    except IndexError:
        raise WouldRaise from None
    return dx


def columns_first(c):
    """``argmax`` when the window is searched and counted column by column."""
    values = flat(c).reshape(*c.argmax.shape, c.kh, c.kw).swapaxes(-1, -2)
    return values.reshape(*c.argmax.shape, -1).argmax(axis=-1)


def image_index(c, per_image):
    """``argmax`` as an index into the whole image."""
    m, n = np.divmod(c.argmax, c.kw)
    row = np.arange(c.oh)[:, None, None] * c.sh - c.top + m
    column = np.arange(c.ow)[:, None] * c.sw - c.left + n
    index = row * c.width + column
    return index if per_image else index * c.c + np.arange(c.c)


def inside_index(c):
    """``argmax`` counted among the pixels inside the image only."""
    inside = right(c).inside.reshape(c.oh, c.ow, 1, -1)
    before = np.cumsum(inside, axis=-1) - 1
    return np.take_along_axis(np.broadcast_to(before, (*c.argmax.shape, c.kh * c.kw)), c.argmax[..., None], -1)[..., 0]


def mean(c, windows=None, count=None):
    """The windows' mean, padding not counted unless ``count`` says what to divide by."""
    windows = windows or right(c)
    total = windows.gather(c.x).sum(axis=(3, 4))
    return total / (windows.inside.sum(axis=(2, 3))[:, :, None] if count is None else count)


def share(c, windows=None, count=None, **scatter):
    """``dx`` of average-pooling, divided by the pixels inside unless ``count`` says otherwise."""
    number = right(c).inside.sum(axis=(2, 3))[:, :, None] if count is None else count
    return send(c, np.broadcast_to((1.0 / number * np.ones((c.oh, c.ow, 1)))[..., None],
                                   (c.n, c.oh, c.ow, c.c, c.kh * c.kw)), windows, **scatter)


_OVERWRITES = ("where windows overlap, the last one overwrites the others: use += instead of = (with index arrays, "
               "np.add.at)")
_COUNT = "divide by the number of the window's pixels inside the image; padding is not counted"

CAUSES = {
    ("max_pool2d_forward", "y"): [
        Cause("padded with zero", "the padding is zero: it must be minus infinity (-np.inf), so that it never wins, "
              "not even against negative pixels", lambda c: flat(c, outside=0.0).max(axis=-1)),
        Cause("minimum", "this is the minimum of the window, not the maximum",
              lambda c: flat(c, outside=np.inf).min(-1)),
        Cause("mean", "this is the mean of the window (average-pooling), not the maximum", mean),
        Cause("largest in size", "the largest absolute value is taken, not the maximum",
              lambda c: np.abs(flat(c, outside=0.0)).max(axis=-1)),
        *(Cause(key, text, lambda c, place=place: flat(c, place(c)).max(axis=-1)) for key, text, place in MISPLACED),
        Cause("across channels", "the maximum is taken over the channels too: each channel is pooled by itself",
              lambda c: np.broadcast_to(c.truth.max(axis=3, keepdims=True), c.truth.shape)),
        Cause("first image for all", "every image of the batch gets the result of the first one",
              lambda c: np.broadcast_to(c.truth[:1], c.truth.shape)),
    ],
    ("max_pool2d_forward", "argmax"): [
        Cause("last tie wins", "on a tie the last of the equal pixels is taken: the first one in row order wins "
              "(compare with >, not >=)", last_winner),
        Cause("index in the image", "argmax is an index into the image: it must be the position inside the window, "
              "m * PW + n", lambda c: image_index(c, True)),
        Cause("index in the image", "argmax is an index into the image: it must be the position inside the window, "
              "m * PW + n", lambda c: image_index(c, False)),
        Cause("columns first", "the position is counted column by column: it is m * PW + n, row by row",
              lambda c: c.argmax % c.kw * c.kh + c.argmax // c.kw),
        Cause("columns first", "the window is searched column by column: search row by row, and count m * PW + n",
              columns_first),
        Cause("height for width", "the position is m * PH + n: it must be m * PW + n, with the window's width",
              lambda c: c.argmax // c.kw * c.kh + c.argmax % c.kw),
        Cause("padding skipped", "the position is counted among the pixels inside the image only: padding counts as "
              "positions of the window", inside_index),
        Cause("padded with zero", "the padding is zero: it must be minus infinity (-np.inf), so that it never wins",
              lambda c: flat(c, outside=0.0).argmax(axis=-1)),
        Cause("minimum", "this is the position of the minimum", lambda c: flat(c, outside=np.inf).argmin(axis=-1)),
        *(Cause(key, text, lambda c, place=place: flat(c, place(c)).argmax(axis=-1)) for key, text, place in MISPLACED),
    ],
    ("max_pool2d_backward", "dx"): [
        Cause("every tie", "every pixel that equals the maximum gets the gradient: on a tie the first one alone gets "
                           "it (argmax says which)", lambda c: every_tie(c, False)),
        Cause("every tie", "on a tie the gradient is divided among the equal pixels: the first one alone gets it "
              "(argmax says which)", lambda c: every_tie(c, True)),
        Cause("last tie wins", "on a tie the last of the equal pixels gets the gradient: the first one does (argmax "
              "says which)", lambda c: route(c, last_winner(c))),
        *(Cause(key, f"the gradient goes to the wrong window: {text}", lambda c, place=place: route(c, c.argmax,
                place(c))) for key, text, place in MISPLACED),
        *(Cause(key, f"the gradient goes to the wrong window: {text}", lambda c, place=place: route_to(
            c, c.argmax // c.kw, c.argmax % c.kw, place(c))) for key, text, place in MISPLACED),
        Cause("overwrites", _OVERWRITES, lambda c: route_overwriting(c, False)),
        Cause("overwrites", _OVERWRITES, lambda c: route_overwriting(c, True)),
        Cause("all positions", "every pixel of the window gets the gradient: only the winner (argmax) does",
              lambda c: send(c, np.ones((*c.dy.shape, c.kh * c.kw)))),
        Cause("spread evenly", "the gradient is shared among the window's pixels (average-pooling): the winner "
                               "(argmax) gets all of it", share),
        Cause("first position", "argmax is not used: the gradient always goes to the window's first pixel",
              lambda c: route(c, np.zeros_like(c.argmax))),
        Cause("wrong position in the window", "row and column of argmax are exchanged: m, n = divmod(argmax, PW)",
              lambda c: route_to(c, c.argmax % c.kw, c.argmax // c.kw)),
        Cause("wrong position in the window", "argmax is divided by the window's height: m, n = divmod(argmax, PW), "
                                              "with its "
                                              "width", lambda c: route_to(c, c.argmax // c.kh, c.argmax % c.kh)),
        Cause("wrong position in the window", "argmax is read column by column: m, n = divmod(argmax, PW)",
              lambda c: route_to(c, c.argmax % c.kh, c.argmax // c.kh)),
    ],
    ("avg_pool2d_forward", "y"): [
        Cause("padding counted", f"the padding is counted in the mean: {_COUNT}",
              lambda c: mean(c, count=c.kh * c.kw)),
        Cause("not divided", f"this is the sum of the window, not the mean: {_COUNT}", lambda c: mean(c, count=1)),
        Cause("divided by the wrong number", f"the sum is divided by PH*PH: {_COUNT}",
              lambda c: mean(c, count=c.kh**2)),
        Cause("divided by the wrong number", f"the sum is divided by PW*PW: {_COUNT}",
              lambda c: mean(c, count=c.kw**2)),
        Cause("divided by the wrong number", f"the sum is divided by SH*SW, the strides: {_COUNT}",
              lambda c: mean(c, count=c.sh * c.sw)),
        Cause("maximum", "this is the maximum of the window, not the mean", lambda c: flat(c).max(axis=-1)),
        *(Cause(key, text, lambda c, place=place: mean(c, place(c))) for key, text, place in MISPLACED),
        Cause("across channels", "the mean is taken over the channels too: each channel is pooled by itself",
              lambda c: np.broadcast_to(c.truth.mean(axis=3, keepdims=True), c.truth.shape)),
    ],
    ("avg_pool2d_backward", "dx"): [
        Cause("padding counted", f"dy is divided by the whole window, padding included: {_COUNT}",
              lambda c: share(c, count=c.kh * c.kw)),
        Cause("not divided", f"every pixel gets the whole dy: {_COUNT}", lambda c: share(c, count=1)),
        Cause("divided by the wrong number", f"dy is divided by PH*PH: {_COUNT}", lambda c: share(c, count=c.kh**2)),
        Cause("divided by the wrong number", f"dy is divided by PW*PW: {_COUNT}", lambda c: share(c, count=c.kw**2)),
        Cause("divided by the wrong number", f"dy is divided by SH*SW, the strides: {_COUNT}",
              lambda c: share(c, count=c.sh * c.sw)),
        Cause("first position", "the window's first pixel gets all of dy: each of its pixels gets an equal share",
              lambda c: route(c, np.zeros((c.n, c.oh, c.ow, c.c), int))),
        *(Cause(key, f"the gradient goes to the wrong window: {text}", lambda c, place=place: share(c, place(c)))
          for key, text, place in MISPLACED),
        Cause("overwrites", _OVERWRITES, lambda c: share(c, add=False)),
        Cause("overwrites", _OVERWRITES, lambda c: share(c, add=False, position_first=True)),
    ],
}


def route_overwriting(c, position_first):
    """``dx`` when a winner that wins in several windows keeps the last gradient only."""
    dx = np.zeros(c.x.shape)
    places = list(np.ndindex(c.dy.shape))
    if position_first:
        places.sort(key=lambda place: (int(c.argmax[place]), *place))
    for image, i, j, channel in places:
        m, n = divmod(int(c.argmax[image, i, j, channel]), c.kw)
        dx[image, i * c.sh - c.top + m, j * c.sw - c.left + n, channel] = c.dy[image, i, j, channel]
    return dx
