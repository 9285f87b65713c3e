"""Where in an array the errors lie: coordinates in words, and a picture in characters."""

from __future__ import annotations

import numpy as np

#: Names of the axes by number of dimensions, singular and plural. ``dw`` of a convolution has its own.
_AXES = {
    1: (("element", "elements"),),
    2: (("row", "rows"), ("column", "columns")),
    4: (("image", "images"), ("row", "rows"), ("column", "columns"), ("channel", "channels")),
}
_KERNEL_AXES = (("kernel row", "kernel rows"), ("kernel column", "kernel columns"), ("input channel", "input channels"),
                ("output channel", "output channels"))
_LONGEST = 24


def axis_names(result, ndim):
    """``((singular, plural), ...)`` for the axes of a result."""
    if result in ("dw", "w") and ndim == 4:
        return _KERNEL_AXES
    if result in ("db", "dgamma", "dbeta", "mean", "variance"):
        return (("channel", "channels"),)
    return _AXES.get(ndim, tuple((f"axis {axis}", f"axis {axis}") for axis in range(ndim)))


def coordinate(result, index):
    """``dx[0, 1, 2, 3] (image 0, row 1, column 2, channel 3)``."""
    if not index:
        return result
    names = axis_names(result, len(index))
    words = ", ".join(f"{name} {place}" for (name, _), place in zip(names, index, strict=True))
    return f"{result}[{', '.join(map(str, index))}] ({words})"


def describe(result, wrong):
    """One sentence on a boolean array that says where ``result`` is wrong."""
    if wrong.ndim == 0:
        return ""
    count = int(np.count_nonzero(wrong))
    if wrong.size == 1:
        return f"the only element of {result} is wrong"
    if count == wrong.size:
        return f"all {count} elements of {result} are wrong"
    text = f"{count} of {wrong.size} elements of {result} {'is' if count == 1 else 'are'} wrong"
    limits = []
    for axis, (one, many) in enumerate(axis_names(result, wrong.ndim)):
        length = wrong.shape[axis]
        hit = np.flatnonzero(wrong.any(axis=tuple(other for other in range(wrong.ndim) if other != axis)))
        if length > 1 and len(hit) < length:
            limits.append(_some(one, many, hit, length))
    if not limits and _is_border(wrong):
        return f"{text}: only those at the border"
    return text + (": only " + ", ".join(limits) if limits else "")


def _some(one, many, hit, length):
    if len(hit) == 1:
        place = hit[0]
        which = {0: f"the first {one}", length - 1: f"the last {one}"}.get(place, f"{one} {place}")
        return which
    if len(hit) > 6:
        return f"{len(hit)} of {length} {many}"
    return f"{many} {', '.join(map(str, hit[:-1]))} and {hit[-1]}"


def _is_border(wrong):
    if wrong.ndim != 4 or min(wrong.shape[1:3]) < 3:
        return False
    return not wrong[:, 1:-1, 1:-1].any() and wrong.any()


def error_map(result, error):
    """Errors as rows of numbers, the largest over all images and channels: what ``plots`` draws."""
    if error.size == 1:
        return None
    if error.ndim == 4:
        return error.max(axis=(2, 3) if axis_names(result, 4) is _KERNEL_AXES else (0, 3)).tolist()
    return error.reshape(-1, error.shape[-1]).tolist()


def picture(result, wrong):
    """Lines of text: ``#`` where an element is wrong (for any image and channel), ``.`` where all are right."""
    if wrong.ndim == 0 or wrong.size == 1:
        return []
    names = axis_names(result, wrong.ndim)
    if wrong.ndim == 4:
        plane = (0, 1) if names is _KERNEL_AXES else (1, 2)
    elif wrong.ndim == 1:
        wrong, plane, names = wrong[None, :], (0, 1), (("", ""), names[0])
    else:
        wrong = wrong.reshape(-1, wrong.shape[-1])
        plane = (0, 1)
        names = names if len(names) == 2 else (("row", "rows of the last axis"), ("element", "last axis"))
    others = tuple(axis for axis in range(wrong.ndim) if axis not in plane)
    flat = wrong.any(axis=others) if others else wrong
    lines = [_header(names[plane[0]][1], names[plane[1]][1])]
    for row in flat[:_LONGEST]:
        cells = " ".join("#" if cell else "." for cell in row[:_LONGEST])
        lines.append(f"  {cells}{' ...' if len(row) > _LONGEST else ''}")
    if len(flat) > _LONGEST:
        lines.append("  ...")
    for axis in others:
        if wrong.shape[axis] > 1:
            rest = tuple(other for other in range(wrong.ndim) if other != axis)
            marks = " ".join("#" if hit else "." for hit in wrong.any(axis=rest)[:_LONGEST])
            lines.append(f"{names[axis][1]}: {marks}")
    return lines


def _header(down, across):
    return f"# wrong, . right; {down} down, {across} across:" if down else f"# wrong, . right; {across} across:"
