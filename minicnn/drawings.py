"""Diagrams for explaining: grids of numbers, rows of images, curves, and the paths of optimizers. From ``plots``."""

from __future__ import annotations

import itertools

import numpy as np

from minicnn.figures import BLUE, COLOURS, ORANGE, SIGNED, SKY, new_figure, rgb, show_image, show_signed


def grids(arrays, windows=None, signs=None, size=0.52, title=None, decimals=2):
    """Arrays side by side as grids of numbers: a formula's factors and result.

    Parameters
    ----------
    arrays : dict of str to array (H, W)
        Title and numbers. Grey for what is nowhere negative, else blue for negative and red for positive numbers; NaN
        is an empty cell.
    windows : dict of str to list of (row, column, height, width), optional
        Frames around cells of the grid of that title.
    signs : list of str, optional
        What stands between two grids, such as "*" and "=".
    size : float
        Side of a cell in inches.
    decimals : int
        Places after the point, for numbers that are not whole.
    """
    arrays = {name: np.atleast_2d(np.asarray(values, float)) for name, values in arrays.items()}
    widths = [values.shape[1] for values in arrays.values()]
    height = max(values.shape[0] for values in arrays.values())
    gap = 0.9
    width = size * (sum(widths) + gap * (len(widths) - 1)) + 0.3
    figure, axes = new_figure(width, size * height + 0.75, 1, len(widths), gridspec_kw={"width_ratios": widths})
    figure.get_layout_engine().set(wspace=0, w_pad=size * gap / 2 / 1.6)
    for axis, (name, values) in zip(axes[0], arrays.items()):
        draw_numbers(axis, values, size, decimals)
        axis.set_title(name, fontsize=11)
        for row, column, rows, columns in (windows or {}).get(name, []):
            frame(axis, row, column, rows, columns)
    rows = [values.shape[0] for values in arrays.values()]
    for axis, sign, middle in zip(axes[0][1:], signs or [], (min(pair) / 2 - 0.5 for pair in itertools.pairwise(rows))):
        axis.text(-0.5 - gap / 2, middle, sign, ha="center", va="center", fontsize=15)
    if title:
        figure.suptitle(title, fontsize=12)
    return figure


def draw_numbers(axis, values, size=0.52, decimals=2):
    """Draw one grid of numbers."""
    finite = values[np.isfinite(values)]
    limit = float(np.abs(finite).max(initial=0)) or 1.0
    signed = bool((finite < 0).any())
    axis.imshow(np.ma.masked_invalid(values), cmap=SIGNED if signed else "gray_r", vmin=-limit if signed else 0,
                vmax=1.15 * limit if not signed else limit)
    axis.set(xticks=[], yticks=[])
    axis.set_anchor("N")
    axis.spines[:].set(visible=True, color="#999999")
    longest = max((len(_number(value, decimals)) for value in finite), default=1)
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            axis.text(column, row, _number(value, decimals), ha="center", va="center",
                      fontsize=min(11, 72 * size * 1.45 / max(longest, 3)),
                      color="white" if abs(value) / limit > 0.6 else "black")


def frame(axis, row, column, rows=1, columns=1, colour=ORANGE):
    """A frame around cells of a grid or image."""
    from matplotlib.patches import Rectangle

    axis.add_patch(Rectangle((column - 0.5, row - 0.5), columns, rows, fill=False, edgecolor=colour, linewidth=3,
                             clip_on=False, zorder=4))


def images(pictures, columns=None, size=1.5, signed=(), title=None):
    """Pictures in rows under their titles.

    Parameters
    ----------
    pictures : dict of str to array (H, W) or (H, W, C), or list of such pairs
        Title and picture in [0, 1], unless the title is in ``signed``.
    signed : collection of str, or True for all
        Pictures of any numbers: blue is negative, red positive, each on its own scale.
    """
    pictures = list(pictures.items() if isinstance(pictures, dict) else pictures)
    columns = columns or len(pictures)
    rows = -(-len(pictures) // columns)
    figure, axes = new_figure(size * columns + 0.2, (size + 0.3) * rows + (0.4 if title else 0), rows, columns)
    for axis in axes.flat[len(pictures):]:
        axis.set_axis_off()
    for axis, (name, picture) in zip(axes.flat, pictures):
        picture = np.asarray(picture, float)
        if signed is True or name in signed:
            show_signed(axis, picture if picture.ndim == 2 else picture[..., 0])
        else:
            show_image(axis, picture[..., None] if picture.ndim == 2 else picture)
        axis.spines[:].set(visible=True, color="#bbbbbb", linewidth=0.8)
        axis.set_title(name, fontsize=10)
    if title:
        figure.suptitle(title, fontsize=12)
    return figure


def curves(lines, x=None, xlabel="", ylabel="", title=None, xscale="linear", yscale="linear", marks=None, width=6.2,
           height=3.6, axis=None, **options):
    """Curves with their names in a legend.

    Parameters
    ----------
    lines : dict of str to array, or to (x, y)
        Each has a colour and a line style of its own, so that colour alone tells nothing.
    x : array, optional
        For lines given without an x of their own; by default 0, 1, 2, ...
    marks : str, optional
        A marker for the points, such as "o".
    axis : matplotlib axes, optional
        Where to draw, instead of on a new figure.
    **options
        For ``axis.set``, such as ``ylim=(0, 1)``.
    """
    figure = None
    if axis is None:
        figure, axes = new_figure(width, height)
        axis = axes[0, 0]
    styles = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
    for number, (name, line) in enumerate(lines.items()):
        xs, ys = line if isinstance(line, tuple) else (np.arange(len(line)) if x is None else x, line)
        axis.plot(xs, ys, label=name, color=COLOURS[number % len(COLOURS)], linestyle=styles[number % len(styles)],
                  linewidth=2, marker=marks, markersize=5)
    axis.set(xlabel=xlabel, ylabel=ylabel, xscale=xscale, yscale=yscale, **options)
    for direction in (axis.xaxis, axis.yaxis):
        plain_ticks(direction)
    if title:
        axis.set_title(title, fontsize=12)
    axis.grid(alpha=0.25)
    if len(lines) > 3 and figure is not None:  # so many names would lie upon the lines
        axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    elif len(lines) > 1:
        axis.legend(framealpha=0.85, edgecolor="none")
    return figure or axis.figure


def plain_ticks(direction):
    """0.1, 0.2, 0.5 instead of powers of ten, on a logarithmic axis of less than three decades."""
    from matplotlib.ticker import LogLocator, NullFormatter

    low, high = sorted(direction.get_view_interval())
    if direction.get_scale() == "log" and low > 0 and high / low < 1000:
        direction.set_major_locator(LogLocator(subs=(1, 2, 5)))
        direction.set_major_formatter("{x:g}")
        direction.set_minor_formatter(NullFormatter())


def paths(height, tracks, low, high, minimum=None, title=None):
    """A surface of two parameters as contour lines, and the ways that optimizers take on it.

    Parameters
    ----------
    height : function
        ``height(a, b)`` for arrays of both parameters.
    tracks : dict of str to array (steps, 2)
        The points that each optimizer visits, from its start.
    low, high : (a, b)
        Corners of what is shown.
    minimum : (a, b), optional
        Marked by a star.
    """
    figure, axes = new_figure(3.3 * len(tracks) + 0.3, 3.5, 1, len(tracks), sharex=True, sharey=True)
    a, b = np.meshgrid(np.linspace(low[0], high[0], 120), np.linspace(low[1], high[1], 120))
    values = height(a, b)
    levels = np.quantile(values, np.linspace(0, 1, 18)**1.5)
    for number, (axis, (name, track)) in enumerate(zip(axes[0], tracks.items())):
        axis.contour(a, b, values, levels=np.unique(levels), colors="#999999", linewidths=0.7)
        track = np.asarray(track)
        axis.plot(*track.T, color=COLOURS[number], marker="o", markersize=3, linewidth=1.3)
        axis.plot(*track[0], marker="s", color="black", markersize=6)
        if minimum is not None:
            axis.plot(*minimum, marker="*", color=ORANGE, markersize=14, markeredgecolor="black")
        axis.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
        axis.set_title(name, fontsize=11)
    if title:
        figure.suptitle(title, fontsize=12)
    return figure


def bars(values, title=None, xlabel="", width=6.2, label="{:.3g}", highlight=()):
    """Named numbers as horizontal bars, each with its number; those in ``highlight`` are orange."""
    figure, axes = new_figure(width, 0.36 * len(values) + 0.9)
    axis = axes[0, 0]
    names, numbers = list(values), np.array(list(values.values()), float)
    axis.barh(names, numbers, color=[ORANGE if name in highlight else BLUE for name in names], height=0.7)
    axis.invert_yaxis()
    axis.set(xlabel=xlabel, xlim=(min(0, 1.15 * numbers.min()), 1.18 * max(numbers.max(), 0)))
    for place, number in enumerate(numbers):
        axis.text(max(number, 0), place, " " + label.format(number), va="center", fontsize=10)
    axis.tick_params(left=False)
    if title:
        axis.set_title(title, fontsize=12)
    return figure


def _number(value, decimals):
    value = round(float(value), decimals) + 0.0
    return str(int(value)) if value == int(value) and abs(value) < 1e6 else f"{value:.{decimals}f}"


def blocks(shape, block, labels=None, size=0.5, title=None, chosen=None):
    """A grid of GPU threads, one a cell: blocks in two colours, thread numbers in the cells, block numbers beside.

    Parameters
    ----------
    shape : (rows, columns)
        Cells that there is work for; threads beyond them are drawn grey.
    block : (rows, columns)
        Threads of a block.
    labels : function, optional
        ``labels(row, column)`` gives the text of a cell; by default the thread's place in its block.
    chosen : list of (row, column, rows, columns), optional
        Cells to frame.
    """
    grid = [-(-total // part) for total, part in zip(shape, block)]
    rows, columns = grid[0] * block[0], grid[1] * block[1]
    colours = np.full((rows, columns, 3), rgb("#eeeeee"))
    for row, column in np.ndindex(*shape):
        dark = (row // block[0] + column // block[1]) % 2
        colours[row, column] = 1 - (0.35 if dark else 0.18) * (1 - rgb(BLUE if dark else SKY))
    figure, axes = new_figure(size * columns + 0.8, size * rows + 0.9)
    axis = axes[0, 0]
    axis.imshow(colours)
    for row, column in np.ndindex(rows, columns):
        text = labels(row, column) if labels else f"{row % block[0]},{column % block[1]}"
        inside = row < shape[0] and column < shape[1]
        axis.text(column, row, text, ha="center", va="center", fontsize=8, color="black" if inside else "#999999")
    axis.hlines(np.arange(rows) - 0.5, -0.5, columns - 0.5, colors="white", linewidth=1)
    axis.vlines(np.arange(columns) - 0.5, -0.5, rows - 0.5, colors="white", linewidth=1)
    for row in range(grid[0] + 1):
        axis.axhline(row * block[0] - 0.5, color="black", linewidth=1.5)
    for column in range(grid[1] + 1):
        axis.axvline(column * block[1] - 0.5, color="black", linewidth=1.5)
    axis.set(xticks=[(place + 0.5) * block[1] - 0.5 for place in range(grid[1])],
             yticks=[(place + 0.5) * block[0] - 0.5 for place in range(grid[0])])
    axis.set_xticklabels([f"block {place}" for place in range(grid[1])])
    axis.set_yticklabels([f"block {place}" if grid[0] > 1 else "" for place in range(grid[0])])
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    for place in chosen or []:
        frame(axis, *place)
    if title:
        axis.set_title(title, fontsize=12)
    return figure
