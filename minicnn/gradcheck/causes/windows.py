"""Sliding windows put in the wrong place: the mistakes that convolution and pooling share.

``Windows`` gathers and scatters windows whose first row and column are given freely, so that "the stride is ignored" or
"the padding is not subtracted" is one line: other starts.
"""

from __future__ import annotations

import numpy as np


class Windows:
    """Windows that start at ``rows`` and ``columns`` (which may lie outside the image)."""

    def __init__(self, c, rows, columns, window=None):
        self.shape = c.x.shape
        self.kh, self.kw = window or (c.kh, c.kw)
        self.rows = np.asarray(rows)[:, None] + np.arange(self.kh)
        self.columns = np.asarray(columns)[:, None] + np.arange(self.kw)

    @property
    def inside(self):
        """Which elements of the windows lie in the image: (OH, OW, KH, KW)."""
        rows = (self.rows >= 0) & (self.rows < self.shape[1])
        columns = (self.columns >= 0) & (self.columns < self.shape[2])
        return rows[:, None, :, None] & columns[None, :, None, :]

    def _index(self):
        rows = np.clip(self.rows, 0, self.shape[1] - 1)
        columns = np.clip(self.columns, 0, self.shape[2] - 1)
        return rows[:, None, :, None], columns[None, :, None, :]

    def gather(self, x, outside=0.0):
        """``x (N, H, W, C)`` as windows (N, OH, OW, KH, KW, C)."""
        rows, columns = self._index()
        return np.where(self.inside[..., None], x[:, rows, columns], outside)

    def scatter(self, values, add=True, position_first=False):
        """Windows added into an image; with ``add=False`` a later one overwrites an earlier one."""
        dx = np.zeros(self.shape)
        if add:
            rows, columns = np.broadcast_arrays(*self._index())
            np.add.at(dx, (slice(None), rows, columns), np.where(self.inside[..., None], values, 0))
            return dx
        oh, ow = len(self.rows), len(self.columns)
        order = list(np.ndindex(oh, ow, self.kh, self.kw))
        if position_first:
            order.sort(key=lambda place: place[2:] + place[:2])
        inside = self.inside
        for i, j, m, n in order:
            if inside[i, j, m, n]:
                dx[:, self.rows[i, m], self.columns[j, n]] = values[:, i, j, m, n]
        return dx


def right(c):
    """The windows as they should be."""
    return Windows(c, np.arange(c.oh) * c.sh - c.top, np.arange(c.ow) * c.sw - c.left)


def _starts(c, rows, columns):
    """Windows with these starts; a coordinate that is None starts where it should."""
    return Windows(c, np.arange(c.oh) * c.sh - c.top if rows is None else rows,
                   np.arange(c.ow) * c.sw - c.left if columns is None else columns)


#: Wrong places: key, what the author seems to do, and where rows and columns then start.
_WRONG_STARTS = (
    ("stride ignored", "the stride is not used: the window of output (i, j) starts at row i*SH - top and column "
     "j*SW - left", lambda c: np.arange(c.oh) - c.top, lambda c: np.arange(c.ow) - c.left),
    ("padding not subtracted", "off by the padding: row r of the image is row r + top of the padded image, and column "
                               "s is column s + left, so top and left must be taken into account when going from one "
                               "to the other",
     lambda c: np.arange(c.oh) * c.sh, lambda c: np.arange(c.ow) * c.sw),
    ("window as stride", "the windows move by their own size instead of by the stride",
     lambda c: np.arange(c.oh) * c.kh - c.top, lambda c: np.arange(c.ow) * c.kw - c.left),
    ("strides exchanged", "the two strides are exchanged: stride is (vertical, horizontal), so rows advance by "
                          "stride[0] "
     "and columns by stride[1]", lambda c: np.arange(c.oh) * c.sw - c.top, lambda c: np.arange(c.ow) * c.sh - c.left),
    ("bottom for top", "the padding is on the wrong side: the image starts after the top rows and left columns of "
     "padding, not after the bottom and right ones",
     lambda c: np.arange(c.oh) * c.sh - c.bottom, lambda c: np.arange(c.ow) * c.sw - c.right),
    ("paddings exchanged", "vertical and horizontal padding are exchanged: padding is ((top, bottom), (left, right))",
     lambda c: np.arange(c.oh) * c.sh - c.left, lambda c: np.arange(c.ow) * c.sw - c.top),
    ("off by one", "off by one: every window starts one pixel too late",
     lambda c: np.arange(c.oh) * c.sh - c.top + 1, lambda c: np.arange(c.ow) * c.sw - c.left + 1),
    ("off by one", "off by one: every window starts one pixel too early",
     lambda c: np.arange(c.oh) * c.sh - c.top - 1, lambda c: np.arange(c.ow) * c.sw - c.left - 1),
)

#: What each of these means when it happens in one direction only.
_ONE_DIRECTION = {
    "strides exchanged": ("one stride for both", "the {other} stride is used for the {these} too: rows advance by "
                          "stride[0], columns by stride[1]"),
    "paddings exchanged": ("one padding for both", "the {other} padding is used for the {these} too"),
}


def _misplaced():
    for key, text, rows, columns in _WRONG_STARTS:
        yield key, text, lambda c, rows=rows, columns=columns: _starts(c, rows(c), columns(c))
    for key, text, rows, columns in _WRONG_STARTS:
        for these, other in (("rows", "horizontal"), ("columns", "vertical")):
            name, sentence = _ONE_DIRECTION.get(key, (f"{key} ({these})", f"{text} (the {these} only)"))
            yield (name, sentence.format(these=these, other=other), lambda c, rows=rows if these == "rows" else None,
                   columns=columns if these == "columns" else None: _starts(c, rows and rows(c),
                                                                            columns and columns(c)))


#: ``(key, text, windows)`` for windows in the wrong place in both directions, in the rows only, in the columns only.
MISPLACED = tuple(_misplaced())
