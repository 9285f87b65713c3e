"""Pictures of training and of speed. Each function returns a matplotlib ``Figure``, shown by a notebook or ``save``d.

What all pictures share, their colours above all, is in ``minicnn/figures.py``; pictures of what a network sees are
drawn in ``minicnn/sheets.py``, diagrams in ``minicnn/drawings.py``, moving pictures in ``minicnn/animation.py``. All of
them can be had from here.
"""

from __future__ import annotations

import numpy as np

from minicnn.animation import animate_convolution, animate_window
from minicnn.drawings import bars, blocks, curves, grids, images, paths
from minicnn.figures import BLUE, COLOURS, ORANGE, SIGNED, VERMILION, new_figure, rgb, save, show_image
from minicnn.sheets import explanation_sheet, explanations, feature_maps, neighbours

__all__ = ["BLUE", "ORANGE", "animate_convolution", "animate_window", "bars", "blocks", "confusion_matrix", "curves",
           "explanation_sheet", "explanations", "feature_maps", "filters", "grids", "images", "learning_curves",
           "memory_lines", "mistakes", "neighbours", "new_figure", "paths", "roofline", "save", "show_image"]


def learning_curves(history):
    """Loss and accuracy over the epochs, for training and validation.

    Parameters
    ----------
    history : History or dict
        What ``fit`` returned, or its ``.history``.
    """
    history = getattr(history, "history", history)
    names = [name for name in ("loss", "accuracy") if name in history]
    figure, axes = new_figure(4.6 * len(names), 3.4, 1, len(names))
    for axis, name in zip(axes[0], names):
        epochs = np.arange(1, len(history[name]) + 1)
        axis.plot(epochs, history[name], color=BLUE, label="training", linewidth=1.8)
        if f"val_{name}" in history:
            axis.plot(epochs, history[f"val_{name}"], color=VERMILION, label="test", linewidth=1.8, linestyle="--")
        axis.set(xlabel="epoch", title=name)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.25)
        axis.legend(frameon=False)
    axes[0][0].set_yscale("log")
    axes[0][0].set_title("loss (logarithmic)")
    return figure


def confusion_matrix(matrix, names=None):
    """The confusion matrix of ``minicnn.metrics.confusion_matrix`` with its counts; mistakes stand out in orange."""
    matrix = np.asarray(matrix)
    count = len(matrix)
    names = [str(name) for name in (range(count) if names is None else names)]
    size = 2.0 + 0.42 * count
    figure, axes = new_figure(size, size)
    axis = axes[0, 0]
    axis.spines[:].set_visible(False)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    colours = np.ones((count, count, 3))
    right, wrong = rgb(BLUE), rgb(ORANGE)
    for t, p in np.ndindex(count, count):
        strength = shares[t, p] if t == p else min(1.0, 8 * shares[t, p])  # a mistake of 1 in 8 is as strong as can be
        colours[t, p] = 1 - strength * (1 - (right if t == p else wrong))
    axis.imshow(colours)
    for t, p in np.ndindex(count, count):
        if matrix[t, p]:
            axis.text(p, t, matrix[t, p], ha="center", va="center", fontsize=9,
                      color="white" if t == p and shares[t, p] > 0.5 else "black")
    axis.set(xticks=range(count), yticks=range(count), xlabel="predicted", ylabel="true",
             title=f"{np.trace(matrix)} of {matrix.sum()} right ({np.trace(matrix) / max(matrix.sum(), 1):.1%})")
    axis.set_xticklabels(names, rotation=90 if max(map(len, names)) > 2 else 0)
    axis.set_yticklabels(names)
    axis.tick_params(length=0)
    return figure


def filters(w, columns=8, title=None):
    """The kernels of a convolution, one picture each, averaged over input channels unless there are 1 or 3.

    Parameters
    ----------
    w : array (KH, KW, C, O)
        For C = 3 the kernels are shown in colour; else blue is negative, red positive, white zero.
    columns : int
        Pictures in a row.
    """
    w = np.asarray(w)
    kh, kw, channels, count = w.shape
    columns = min(columns, count)
    rows = -(-count // columns)
    figure, axes = new_figure(0.9 * columns + 0.6, 0.9 * rows + 0.7, rows, columns)
    limit = float(np.abs(w).max()) or 1.0
    for index, axis in enumerate(axes.flat):
        axis.set_axis_off()
        if index < count:
            kernel = w[..., index]
            if channels == 3:
                axis.imshow(0.5 + 0.5 * kernel / limit)
            else:
                shown = axis.imshow(kernel.mean(axis=2), cmap=SIGNED, vmin=-limit, vmax=limit)
    if channels != 3:
        figure.colorbar(shown, ax=axes, shrink=0.8, fraction=0.05, pad=0.03)
    mean = "" if channels in (1, 3) else f", mean over {channels} input channels"
    figure.suptitle(title or f"{count} learned filters of {kh}x{kw}{mean}", fontsize=11)
    return figure


def mistakes(images, labels, probabilities, names=None, columns=6):
    """Pictures with their true class, the predicted class and how sure the network was of each.

    Parameters
    ----------
    images : array (N, H, W, C)
        In [0, 1], grey (C = 1) or colour (C = 3).
    labels : array of int (N,)
        True classes.
    probabilities : array (N, K)
        Softmax of the logits.
    """
    images, labels, probabilities = np.asarray(images), np.asarray(labels), np.asarray(probabilities)
    names = [str(name) for name in (range(probabilities.shape[1]) if names is None else names)]
    count = len(images)
    columns = max(1, min(columns, count))
    rows = max(1, -(-count // columns))
    figure, axes = new_figure(1.7 * columns, 1.95 * rows + 0.5, rows, columns)
    for index, axis in enumerate(axes.flat):
        axis.set_axis_off()
        if index < count:
            show_image(axis, images[index])
            guess = int(probabilities[index].argmax())
            axis.set_title(f"{names[guess]} ({probabilities[index, guess]:.0%})\ntrue {names[labels[index]]} "
                           f"({probabilities[index, labels[index]]:.0%})", fontsize=9)
    figure.suptitle("worst mistakes: predicted and true class, with their probabilities" if count else "no mistakes")
    return figure



def memory_lines(layouts, count, per_line=16, size=0.2, title=None):
    """Memory as it lies, one line of it a row: which numbers a program reads, and what is fetched along with them.

    Parameters
    ----------
    layouts : dict of str to collection of int
        For each panel its title and the addresses that are read, counted in numbers.
    count : int
        Numbers in memory.
    per_line : int
        Numbers that memory delivers together.
    size : float
        Side of a cell in inches.
    """
    from matplotlib.patches import Patch

    rows = -(-count // per_line)
    nothing, fetched, read = rgb("#e6e6e6"), 1 - 0.55 * (1 - rgb(ORANGE)), rgb(BLUE)
    figure, axes = new_figure((size * per_line + 0.7) * len(layouts) + 0.3, size * rows + 1.2, 1, len(layouts))
    for axis, (name, addresses) in zip(axes[0], layouts.items()):
        addresses = np.unique(np.asarray(list(addresses), int))
        if addresses.size and not 0 <= addresses[0] <= addresses[-1] < count:
            raise ValueError(f"layouts[{name!r}]: expected addresses from 0 to {count - 1}, got {addresses[0]} to "
                             f"{addresses[-1]}")
        colours = np.empty((rows, per_line, 3))
        colours[:] = nothing
        colours[addresses // per_line] = fetched
        colours[addresses // per_line, addresses % per_line] = read
        colours.reshape(-1, 3)[count:] = 1
        axis.imshow(colours)
        axis.hlines(np.arange(1, rows) - 0.5, -0.5, per_line - 0.5, colors="white", linewidth=1.5)
        axis.vlines(np.arange(1, per_line) - 0.5, -0.5, rows - 0.5, colors="white", linewidth=0.4)
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
        axis.set_title(name, fontsize=11)
    kinds = ((read, "read"), (fetched, "fetched with it, not needed"), (nothing, "not fetched"))
    figure.legend(handles=[Patch(color=colour, label=label) for colour, label in kinds], loc="outside lower center",
                  ncols=3, frameon=False, fontsize=10)
    if title:
        figure.suptitle(title, fontsize=12)
    return figure


def roofline(points, peak, bandwidths):
    """Speed over intensity, under the limits of a machine: arithmetic (the flat roof) and memory (the slopes).

    Parameters
    ----------
    points : dict of str to (intensity, speed)
        Operations per byte, and billions of operations per second.
    peak : float
        The most that the arithmetic can do, in billions of operations per second.
    bandwidths : dict of str to float
        Billions of bytes per second that each kind of memory delivers, the slowest first.
    """
    figure, axes = new_figure(8.2, 4.6)
    axis = axes[0, 0]
    intensities, speeds = np.array(list(points.values()), float).T
    low, high = intensities.min() / 2, max(intensities.max(), peak / min(bandwidths.values())) * 3
    for number, (name, bandwidth) in enumerate(bandwidths.items()):
        ridge = peak / bandwidth
        style = "--" if number else "-"
        axis.plot([min(low, ridge / 2), ridge], [min(low, ridge / 2) * bandwidth, peak], color="black", linewidth=2,
                  linestyle=style, label=f"{name}: {bandwidth:.0f} GB/s")
    ridges = [peak / bandwidth for bandwidth in bandwidths.values()]
    axis.plot([min(ridges), max(ridges)], [peak, peak], color="black", linewidth=2, linestyle="--")
    axis.plot([max(ridges), high], [peak, peak], color="black", linewidth=2)
    axis.annotate(f"arithmetic: {peak:.0f} GFLOP/s", (high, peak), xytext=(0, 9), textcoords="offset points",
                  ha="right", fontsize=10)
    for (name, (intensity, speed)), colour, marker in zip(points.items(), COLOURS, "osD^vP"):
        axis.plot(intensity, speed, marker=marker, linestyle="", markersize=10, color=colour, label=name,
                  markeredgecolor="white")
    axis.set(xscale="log", yscale="log", xlim=(low, high), ylim=(speeds.min() / 3, max(peak, speeds.max()) * 2.5),
             xlabel="intensity: operations per byte", ylabel="billion operations per second")
    for direction in (axis.xaxis, axis.yaxis):
        direction.set_major_formatter("{x:g}")
    axis.grid(alpha=0.25)
    axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
