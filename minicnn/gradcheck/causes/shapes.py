"""Wrong shapes that tell what happened."""

from __future__ import annotations

_PADDED = "this is the shape of the padded image: cut the padding off, dx = padded[:, top:top + H, left:left + W]"
_SIZE = "the output has OH = (H + top + bottom - KH) // SH + 1 rows, and OW columns alike"

#: By (function, result): key, sentence, and the shape that the mistake would give.
SHAPES = {
    ("conv2d_forward", "y"): (
        ("stride forgotten in the output size", f"the stride is not used: {_SIZE}",
         lambda c: (c.n, c.h + c.top + c.bottom - c.kh + 1, c.width + c.left + c.right - c.kw + 1, c.w.shape[3])),
        ("padding forgotten in the output size", f"the padding is not used: {_SIZE}",
         lambda c: (c.n, (c.h - c.kh) // c.sh + 1, (c.width - c.kw) // c.sw + 1, c.w.shape[3])),
        ("off by one in the output size", f"the + 1 is missing: {_SIZE}",
         lambda c: (c.n, c.oh - 1, c.ow - 1, c.w.shape[3])),
        ("square output size", f"OH is used for both axes: {_SIZE}", lambda c: (c.n, c.oh, c.oh, c.w.shape[3])),
        ("channels first", "the channels come first: they are the last axis, (N, OH, OW, O)",
         lambda c: (c.n, c.w.shape[3], c.oh, c.ow)),
    ),
    ("conv2d_backward", "dx"): (
        ("padding not cut off", _PADDED,
         lambda c: (c.n, c.h + c.top + c.bottom, c.width + c.left + c.right, c.x.shape[3])),
    ),
    ("conv2d_backward", "dw"): (
        ("not summed over the batch", "dw must be summed over the images of the batch",
         lambda c: (c.n, *c.w.shape)),
    ),
    ("conv2d_backward", "db"): (
        ("bias summed over the wrong axes", "dy is summed over the batch only: db = dy.sum(axis=(0, 1, 2))",
         lambda c: c.dy.shape[1:]),
        ("bias summed over the wrong axes", "dy is summed over rows and columns only: db = dy.sum(axis=(0, 1, 2))",
         lambda c: (c.n, c.dy.shape[3])),
        ("bias summed over the wrong axes", "dy is summed over everything: db = dy.sum(axis=(0, 1, 2))", lambda c: ()),
        ("bias summed over the wrong axes", "dy is summed over the wrong axes: db = dy.sum(axis=(0, 1, 2))",
         lambda c: (c.n,)),
    ),
    ("max_pool2d_backward", "dx"): (
        ("padding not cut off", _PADDED,
         lambda c: (c.n, c.h + c.top + c.bottom, c.width + c.left + c.right, c.c)),
    ),
    ("dense_backward", "dw"): (
        ("transposed", "dw is transposed: dw = x.T @ dy, which is (I, O) like w", lambda c: c.w.shape[::-1]),
    ),
    ("dense_backward", "db"): (
        ("bias summed over the wrong axes", "dy is summed over axis 1: db sums over the batch, dy.sum(axis=0)",
         lambda c: c.dy.shape[:1]),
        ("bias summed over the wrong axes", "dy is not summed: db = dy.sum(axis=0)", lambda c: c.dy.shape),
        ("kept dimensions", "the summed axis is kept: leave keepdims out, db = dy.sum(axis=0)",
         lambda c: (1, c.dy.shape[1])),
    ),
    ("softmax_cross_entropy", "loss"): (
        ("not averaged", "this is one loss for each sample: the loss is their mean, one number",
         lambda c: c.labels.shape),
    ),
    ("mean_squared_error", "loss"): (
        ("not averaged", "this is one loss for each sample: the loss is their mean, one number",
         lambda c: c.targets.shape[:1]),
        ("not averaged", "these are the squares: the loss is their mean, one number", lambda c: c.targets.shape),
    ),
    ("batch_norm_forward", "mean"): (
        ("statistics per pixel", "the mean is taken per pixel: it is per channel, over every axis but the last",
         lambda c: c.x.shape[1:]),
    ),
    ("batch_norm_forward", "variance"): (
        ("statistics per pixel", "the variance is taken per pixel: it is per channel, over every axis but the last",
         lambda c: c.x.shape[1:]),
    ),
    ("batch_norm_backward", "dgamma"): (
        ("summed over the batch only", "summed over the batch only: sum over every axis but the last",
         lambda c: c.x.shape[1:]),
    ),
    ("batch_norm_backward", "dbeta"): (
        ("summed over the batch only", "summed over the batch only: sum over every axis but the last",
         lambda c: c.x.shape[1:]),
    ),
}
SHAPES["avg_pool2d_backward", "dx"] = SHAPES["max_pool2d_backward", "dx"]
SHAPES["max_pool2d_forward", "y"] = SHAPES["avg_pool2d_forward", "y"] = (
    ("stride forgotten in the output size", f"the stride is not used: {_SIZE}",
     lambda c: (c.n, c.h + c.top + c.bottom - c.kh + 1, c.width + c.left + c.right - c.kw + 1, c.c)),
    ("padding forgotten in the output size", f"the padding is not used: {_SIZE}",
     lambda c: (c.n, (c.h - c.kh) // c.sh + 1, (c.width - c.kw) // c.sw + 1, c.c)),
    ("square output size", f"OH is used for both axes: {_SIZE}", lambda c: (c.n, c.oh, c.oh, c.c)),
)


def explain(function, result, wrong):
    """``(key, sentence)`` if one mistake predicts every wrong shape; ``wrong`` is a list of (view, shape)."""
    for key, text, predict in SHAPES.get((function, result), ()):
        if all(predict(view) == shape for view, shape in wrong):
            return key, text
    return None
