"""Padding words and output sizes, shared by the convolution and pooling layers."""

from __future__ import annotations

import numpy as np

PADDING_WORDS = ("valid", "same")


def check_padding(padding):
    """Check a layer's ``padding`` argument and return it in a form that JSON can hold.

    "valid" (none), "same" (the output has ``ceil(size / stride)`` pixels; an odd pixel goes bottom or right, as in
    TensorFlow), an integer (on all four sides), a pair ``(vertical, horizontal)``, or the full
    ``((top, bottom), (left, right))``.
    """
    if isinstance(padding, str):
        if padding not in PADDING_WORDS:
            raise ValueError(f"padding: unknown word {padding!r}; choose one of {', '.join(PADDING_WORDS)}, an "
                             "integer, a pair (vertical, horizontal), or ((top, bottom), (left, right))")
        return padding
    if _is_size(padding):
        padding = (padding, padding)
    if isinstance(padding, (tuple, list)) and len(padding) == 2:
        sides = [(side, side) if _is_size(side) else side for side in padding]
        if all(isinstance(side, (tuple, list)) and len(side) == 2 and all(map(_is_size, side)) for side in sides):
            if min(min(side) for side in sides) < 0:
                raise ValueError(f"padding: expected sizes of at least 0, got {padding!r}")
            return tuple(tuple(int(size) for size in side) for side in sides)
    raise ValueError(f"padding: expected 'valid', 'same', an integer, a pair (vertical, horizontal), or "
                     f"((top, bottom), (left, right)), got {padding!r}")


def explicit_padding(padding, size, window, stride):
    """``((top, bottom), (left, right))`` for an image of ``size`` (H, W), as the kernels take it."""
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding == "same":
        return tuple(_same(*axis) for axis in zip(size, window, stride))
    return padding


def output_size(layer, size, window, stride, padding):
    """``(OH, OW)``; a ``ValueError`` if the window does not fit the padded image once."""
    pads = explicit_padding(padding, size, window, stride)
    padded = tuple(s + sum(p) for s, p in zip(size, pads))
    if window[0] > padded[0] or window[1] > padded[1]:
        with_padding = "" if padding == "valid" else f" ({padded[0]}x{padded[1]} with its padding)"
        raise ValueError(f"{layer} looks through a window of {window[0]}x{window[1]}, which is larger than its input "
                         f"of {size[0]}x{size[1]} pixels{with_padding}; use fewer or smaller windows before it, "
                         "padding='same', or larger images")
    return tuple((p - w) // s + 1 for p, w, s in zip(padded, window, stride))


def kernel_argument(pair):
    """A pair as the kernels take it: a plain integer where both are equal, which every student's back-end knows."""
    return pair[0] if pair[0] == pair[1] else pair


def _same(size, window, stride):
    outputs = -(-size // stride)
    total = max((outputs - 1) * stride + window - size, 0)
    return total // 2, total - total // 2


def _is_size(value):
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
