"""What all pictures share: a figure without pyplot, one set of colours, and how an image is drawn.

Figures are made without pyplot: nothing is registered anywhere, no window opens, no display is needed. A notebook shows
a figure that is a cell's last value, ``save`` writes it to a file. Colours are those of M. Okabe and K. Ito, which
colour-blind readers can tell apart, and the maps "cividis" (strength) and "RdBu_r" (sign; blue is negative).
"""

from __future__ import annotations

import io

import numpy as np

BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY)
SIGNED, STRENGTH = "RdBu_r", "cividis"


def new_figure(width, height, rows=1, columns=1, **options):
    """A figure of that size in inches with a grid of axes ``(rows, columns)``; returns figure and axes array."""
    figure = figure_class()(figsize=(width, height), layout="constrained")
    axes = np.array(figure.subplots(rows, columns, squeeze=False, **options))
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def figure_class():
    """matplotlib's ``Figure`` with a canvas to draw on and a PNG form for notebooks; matplotlib is imported here."""
    global _figure_class
    if _figure_class is None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        class Picture(Figure):
            """A figure that a notebook shows without pyplot."""

            def __init__(self, *arguments, **options):
                super().__init__(*arguments, **options)
                FigureCanvasAgg(self)

            def _repr_png_(self):
                buffer = io.BytesIO()
                self.savefig(buffer, format="png", dpi=100, bbox_inches="tight", pad_inches=0.08)
                return buffer.getvalue()

        _figure_class = Picture
    return _figure_class


_figure_class = None


def save(figure, path):
    """Write a figure to a PNG (or by its ending: SVG, PDF) file."""
    figure.savefig(path, dpi=130)


def show_image(axis, image):
    """Draw one image ``(H, W, C)`` in [0, 1]: ink black on white for grey ones, as it was written; colours as such."""
    image = np.asarray(image)
    if image.shape[2] == 1:
        axis.imshow(image[..., 0], cmap="gray_r", vmin=0, vmax=1)
    else:
        axis.imshow(np.clip(image, 0, 1))
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set(visible=True, color="#bbbbbb", linewidth=0.8)


def show_signed(axis, values, limit=None):
    """Draw ``values (H, W)``: blue is negative, red positive, white zero. Returns the drawn image, for a colour bar."""
    limit = limit or float(np.abs(values).max()) or 1.0
    axis.set(xticks=[], yticks=[])
    return axis.imshow(values, cmap=SIGNED, vmin=-limit, vmax=limit)


def rgb(colour):
    """``"#0072B2"`` as three numbers in [0, 1]."""
    return np.array([int(colour[i:i + 2], 16) for i in (1, 3, 5)]) / 255
