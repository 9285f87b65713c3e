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


#: Wrong places: key, what the author seems to do, and the windows that result.
MISPLACED = (
    ("stride ignored", "the stride is not used: the window of output (i, j) must start at row i*SH - top and column "
     "j*SW - left, not at i - top, j - left",
     lambda c: Windows(c, np.arange(c.oh) - c.top, np.arange(c.ow) - c.left)),
    ("strides exchanged", "the two strides are exchanged: stride is (vertical, horizontal), so rows advance by "
     "stride[0] and columns by stride[1]",
     lambda c: Windows(c, np.arange(c.oh) * c.sw - c.top, np.arange(c.ow) * c.sh - c.left)),
    ("one stride for both", "the vertical stride is used for the columns too: columns advance by stride[1]",
     lambda c: Windows(c, np.arange(c.oh) * c.sh - c.top, np.arange(c.ow) * c.sh - c.left)),
    ("one stride for both", "the horizontal stride is used for the rows too: rows advance by stride[0]",
     lambda c: Windows(c, np.arange(c.oh) * c.sw - c.top, np.arange(c.ow) * c.sw - c.left)),
    ("window as stride", "the windows are moved by their own size instead of by the stride",
     lambda c: Windows(c, np.arange(c.oh) * c.kh - c.top, np.arange(c.ow) * c.kw - c.left)),
    ("padding not subtracted", "off by the padding: row r of the image is row r + top of the padded image (and column "
     "s is column s + left), so top and left must be taken into account when going from one to the other",
     lambda c: Windows(c, np.arange(c.oh) * c.sh, np.arange(c.ow) * c.sw)),
    ("bottom for top", "the padding is on the wrong side: the image starts after the top rows and left columns of "
     "padding, not after the bottom and right ones",
     lambda c: Windows(c, np.arange(c.oh) * c.sh - c.bottom, np.arange(c.ow) * c.sw - c.right)),
    ("paddings exchanged", "vertical and horizontal padding are exchanged: padding is ((top, bottom), (left, right))",
     lambda c: Windows(c, np.arange(c.oh) * c.sh - c.left, np.arange(c.ow) * c.sw - c.top)),
    ("one padding for both", "the vertical padding is used for the columns too",
     lambda c: Windows(c, np.arange(c.oh) * c.sh - c.top, np.arange(c.ow) * c.sw - c.top)),
    ("one padding for both", "the horizontal padding is used for the rows too",
     lambda c: Windows(c, np.arange(c.oh) * c.sh - c.left, np.arange(c.ow) * c.sw - c.left)),
    ("rows only", "the padding of the rows (top) is forgotten, that of the columns is right",
     lambda c: Windows(c, np.arange(c.oh) * c.sh, np.arange(c.ow) * c.sw - c.left)),
    ("columns only", "the padding of the columns (left) is forgotten, that of the rows is right",
     lambda c: Windows(c, np.arange(c.oh) * c.sh - c.top, np.arange(c.ow) * c.sw)),
    ("off by one", "off by one: every window starts one row and one column too late",
     lambda c: Windows(c, np.arange(c.oh) * c.sh - c.top + 1, np.arange(c.ow) * c.sw - c.left + 1)),
    ("off by one", "off by one: every window starts one row and one column too early",
     lambda c: Windows(c, np.arange(c.oh) * c.sh - c.top - 1, np.arange(c.ow) * c.sw - c.left - 1)),
)
