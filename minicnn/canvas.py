"""Drawing with Pillow, for pictures that are made by the hundred: text, and grids of numbers in colour.

matplotlib takes a tenth of a second for a frame of an animation, this a few thousandths. Colours and font are
matplotlib's, so that moving and still pictures look alike.
"""

from __future__ import annotations

import functools

import numpy as np

from minicnn.figures import ORANGE, SIGNED, rgb

BORDER = (245, 236, 214)  # no number: padding, and what is not computed yet; neither grey nor blue nor red
EDGE = (150, 150, 150)
LEVELS = 28  # shades from zero to the largest number: few, for small files
SMALLEST_CELL = 26  # pixels; numbers are printed in cells of this size or more


class Canvas:
    """A white picture to draw on."""

    def __init__(self, width, height, image=None):
        from PIL import Image, ImageDraw

        self.image = image or Image.new("RGB", (width, height), "white")
        self.draw = ImageDraw.Draw(self.image)

    def copy(self):
        """A canvas with the same picture."""
        return Canvas(0, 0, self.image.copy())

    def array(self):
        """The picture as an array (H, W, 3) of uint8."""
        return np.array(self.image)

    def text(self, middle, text, size, colour="black"):
        """Write one line of text around a point."""
        self.draw.text(middle, text, fill=colour, font=font(size), anchor="mm")


class Panel:
    """A grid of numbers: colours, the numbers where there is room, and a frame around some cells.

    Parameters
    ----------
    box : (left, top, side)
        The square that it fills, its longer side at least.
    values : array (rows, columns)
        What it shows first; they set the colours' range unless ``limit`` is given. NaN is drawn as background.
    signed : bool, optional
        Blue for negative and red for positive numbers, instead of grey; by default if there is a negative one.
    """

    def __init__(self, box, values, title, limit=None, signed=None):
        self.values = np.asarray(values, float)
        finite = self.values[np.isfinite(self.values)]
        self.limit = limit or float(np.abs(finite).max(initial=0)) or 1.0
        self.signed = bool((finite < 0).any()) if signed is None else signed
        self.title, self.marked = title, None
        left, top, side = box
        rows, columns = self.values.shape
        cell = side / max(rows, columns)
        self.cell = int(cell) if cell >= 2 else cell  # whole pixels, unless there are more cells than pixels
        self.width, self.height = round(columns * self.cell), round(rows * self.cell)
        self.left, self.top = left + (side - self.width) // 2, top

    def show(self, values):
        """New numbers."""
        self.values = np.asarray(values, float)

    def mark(self, rows, columns):
        """Put the frame around these cells (slices)."""
        self.marked = rows, columns

    def draw_title(self, canvas):
        """Write the title above the grid."""
        canvas.text((self.left + self.width // 2, self.top - 13), self.title, 14)

    def draw(self, canvas):
        """Draw the grid as it is now."""
        from PIL import Image

        colours = Image.fromarray(self.colours()).resize((self.width, self.height), Image.Resampling.NEAREST)
        canvas.image.paste(colours, (self.left, self.top))
        canvas.draw.rectangle((self.left - 1, self.top - 1, self.left + self.width, self.top + self.height),
                              outline=EDGE)
        if self.cell >= SMALLEST_CELL:
            size = min(15, int(self.cell * 0.34))
            for (row, column), value in np.ndenumerate(self.values):
                if not np.isnan(value):
                    middle = self.left + (column + 0.5) * self.cell, self.top + (row + 0.5) * self.cell
                    dark = abs(value) / self.limit > 0.55
                    canvas.text(middle, short(value), size, "white" if dark else "black")
        if self.marked is not None:
            rows, columns = self.marked
            left, top = (round(start + place * self.cell) for start, place in
                         ((self.left, columns.start), (self.top, rows.start)))
            right, bottom = (round(start + place * self.cell) for start, place in
                             ((self.left, columns.stop), (self.top, rows.stop)))
            canvas.draw.rectangle((left - 2, top - 2, right + 1, bottom + 1), outline=ORANGE, width=4)

    def colours(self):
        """The numbers as an array (rows, columns, 3) of uint8."""
        scaled = np.clip(np.nan_to_num(self.values) / self.limit, -1 if self.signed else 0, 1)
        steps = np.round(scaled * LEVELS).astype(int)
        table = shades(self.signed)
        return np.where(np.isnan(self.values)[..., None], np.uint8(BORDER), table[steps + LEVELS * self.signed])


@functools.cache
def shades(signed):
    """Colours of the steps -LEVELS .. LEVELS, or 0 .. LEVELS, as an array (steps, 3) of uint8."""
    import matplotlib

    steps = np.linspace(0, 1, 2 * LEVELS + 1 if signed else LEVELS + 1)
    return np.round(255 * matplotlib.colormaps[SIGNED if signed else "gray_r"](steps)[:, :3]).astype(np.uint8)


@functools.cache
def palette():
    """Every colour that a canvas is painted with, as an array (colours, 3) of uint8."""
    others = np.array([BORDER, EDGE, 255 * rgb(ORANGE)])
    return np.unique(np.concatenate([shades(True), shades(False), np.round(others).astype(np.uint8)]), axis=0)


@functools.cache
def font(size):
    """DejaVu Sans, which comes with matplotlib."""
    from pathlib import Path

    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)


def short(value):
    """A number in at most five characters or so, with two places after the point."""
    value = value if abs(value) >= 0.005 else 0.0
    if np.isfinite(value) and value == int(value) and abs(value) < 1000:
        return str(int(value))
    return f"{value:.2f}" if abs(value) < 9.995 else f"{value:.1f}" if abs(value) < 99.95 else f"{value:.3g}"
