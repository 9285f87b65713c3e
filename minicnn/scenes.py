"""The pictures that ``minicnn.animation`` is made of: one layer, one window, one frame after the other.

A scene has a large panel on either side, input and output of the pass, and between them what happens in the window.
``step(i, j, draw)`` moves the scene on to output pixel (i, j). Panels draw themselves: ``minicnn/canvas.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minicnn.canvas import Canvas, Panel, short
from minicnn.layers import Conv2D, MaxPooling2D

WIDTH, HEIGHT, LARGE, SMALL = 820, 410, 300, 138


@dataclass
class Window:
    """Size and step of the window, and the padding ``((top, bottom), (left, right))``."""

    size: tuple
    stride: tuple
    padding: tuple

    def rows_and_columns(self, i, j):
        """The window of output pixel (i, j), as slices of the padded input."""
        row, column = i * self.stride[0], j * self.stride[1]
        return slice(row, row + self.size[0]), slice(column, column + self.size[1])

    def padded(self, x):
        """``x (H, W)`` with its border; NaN marks padding."""
        return np.pad(x, self.padding, constant_values=np.nan)


class Scene:
    """Left panel, two small panels, right panel, and a line of text below; ``positions`` are the output's sizes."""

    def __init__(self, title, positions):
        self.title, self.positions = title, positions
        self.panels, self.caption, self.step = [], "", None

    def panel(self, place, values, title, limit=None, signed=None):
        """Add a panel: ``place`` is "left", "upper", "lower" or "right"."""
        middle = WIDTH // 2
        box = {"left": (20, 76, LARGE), "right": (WIDTH - 20 - LARGE, 76, LARGE),
               "upper": (middle - SMALL // 2, 76, SMALL), "lower": (middle - SMALL // 2, 238, SMALL)}[place]
        self.panels.append(Panel(box, values, title, limit, signed))
        return self.panels[-1]

    def frames(self, max_frames):
        """Draw; yields arrays (H, W, 3). All positions are worked through, but not all are shown if there are many."""
        canvas = Canvas(WIDTH, HEIGHT)
        canvas.text((WIDTH // 2, 24), self.title, 17)
        for panel in self.panels:
            panel.draw_title(canvas)
        places = list(np.ndindex(*self.positions))
        every = -(-len(places) // max_frames)
        for number, (i, j) in enumerate(places):
            draw = (number + 1) % every == 0 or number == len(places) - 1
            self.step(i, j, draw)
            if draw:
                frame = canvas.copy()
                for panel in self.panels:
                    panel.draw(frame)
                frame.text((WIDTH // 2, HEIGHT - 12), self.caption, 15)
                yield frame.array()


def cell(i, j):
    """One cell as slices."""
    return slice(i, i + 1), slice(j, j + 1)


def convolution(x, w, b, window, y=None, sums=None, words=None, title=None):
    """Forward. ``sums`` are the sums before the activation and ``y`` those behind it; without them this is one channel.

    Parameters
    ----------
    x : array (H, W)
    w : array (KH, KW)
    words : dict, optional
        Titles of the panels ("x", "w", "y"), ``how`` the sum is made, and the ``activation``.
    """
    words = {"x": "x", "w": "w", "y": "y", "how": "sum of window · w", "activation": None, **(words or {})}
    padded = window.padded(x)
    zeros = np.nan_to_num(padded)
    if sums is None:
        oh, ow = ((size - k) // s + 1 for size, k, s in zip(padded.shape, window.size, window.stride))
        sums = np.array([[(zeros[window.rows_and_columns(i, j)] * w).sum() + b for j in range(ow)] for i in range(oh)])
        y = sums
    scene = Scene(title or "convolution, forward: y[i, j] = sum of x[window] · w + b", y.shape)
    left = scene.panel("left", padded, words["x"])
    upper = scene.panel("upper", zeros[window.rows_and_columns(0, 0)], "window of x", left.limit, left.signed)
    scene.panel("lower", w, words["w"])
    right = scene.panel("right", y, words["y"])
    so_far = np.full(y.shape, np.nan)
    activation = words["activation"]

    def step(i, j, draw):
        so_far[i, j] = y[i, j]
        if draw:
            rows, columns = window.rows_and_columns(i, j)
            left.mark(rows, columns)
            upper.show(zeros[rows, columns])
            right.show(so_far)
            right.mark(*cell(i, j))
            text = f"{words['how']} = {short(sums[i, j])}"
            if b:
                text = f"{words['how']} + b = {short(sums[i, j] - b)} + {short(b)} = {short(sums[i, j])}"
            scene.caption = text + (f",  {activation} → {short(y[i, j])}" if activation else f"  = y[{i}, {j}]")

    scene.step = step
    return scene


def convolution_backward(dy, w, x_shape, window, shown=0, words=None, title=None):
    """Backward: every ``dy[i, j]`` adds ``sum over o of dy[i, j, o] * w[:, :, o]`` to its window of dx.

    ``dy (OH, OW, O)`` behind the activation's own backward pass, ``w (KH, KW, O)`` from the input channel shown.
    """
    words = {"dx": "dx so far", "dy": "dy", "w": "w", "how": "dx[window] += dy[i, j] · w", **(words or {})}
    (top, bottom), (left_pad, right_pad) = window.padding
    padded = np.zeros((x_shape[0] + top + bottom, x_shape[1] + left_pad + right_pad))
    inside = (slice(top, top + x_shape[0]), slice(left_pad, left_pad + x_shape[1]))
    stamps = np.einsum("ijo,mno->ijmn", dy, w)
    total = padded.copy()
    for i, j in np.ndindex(dy.shape[:2]):
        total[window.rows_and_columns(i, j)] += stamps[i, j]
    border = window.padded(np.zeros(x_shape))
    scene = Scene(title or "convolution, backward: every dy adds dy · w to its window of dx", dy.shape[:2])
    largest = float(np.abs(total[inside]).max()) or 1.0
    left = scene.panel("left", border, words["dx"], largest, True)
    upper = scene.panel("upper", stamps[0, 0], "dy · w", float(np.abs(stamps).max()) or 1.0, True)
    scene.panel("lower", w[..., shown], words["w"], signed=True)
    right = scene.panel("right", dy[..., shown], words["dy"], signed=True)

    def step(i, j, draw):
        rows, columns = window.rows_and_columns(i, j)
        padded[rows, columns] += stamps[i, j]
        if draw:
            left.show(padded + border)
            left.mark(rows, columns)
            upper.show(stamps[i, j])
            right.mark(*cell(i, j))
            scene.caption = (f"{words['how']},   dy[{i}, {j}] = {short(dy[i, j, shown])}")

    scene.step = step
    return scene


def pooling(x, y, window, argmax=None, words=None, title=None):
    """Forward: the largest number of the window (with ``argmax``, its place in the window), or the mean."""
    words = {"x": "x", "y": "y", **(words or {})}
    padded = window.padded(x)
    scene = Scene(title or f"{'max' if argmax is not None else 'average'}-pooling, forward", y.shape)
    left = scene.panel("left", padded, words["x"])
    upper = scene.panel("upper", padded[window.rows_and_columns(0, 0)], "window of x", left.limit, left.signed)
    right = scene.panel("right", y, words["y"], left.limit, left.signed)
    so_far = np.full(y.shape, np.nan)

    def step(i, j, draw):
        so_far[i, j] = y[i, j]
        if draw:
            rows, columns = window.rows_and_columns(i, j)
            left.mark(rows, columns)
            upper.show(padded[rows, columns])
            if argmax is not None:
                upper.mark(*cell(*divmod(int(argmax[i, j]), window.size[1])))
            right.show(so_far)
            right.mark(*cell(i, j))
            scene.caption = (f"{'largest' if argmax is not None else 'mean'} of the window = {short(y[i, j])}"
                                   f"  = y[{i}, {j}]")

    scene.step = step
    return scene


def pooling_backward(dy, x_shape, window, argmax=None, words=None, title=None):
    """Backward: dy goes to the pixel that was the largest, or in equal shares to all pixels of the window."""
    words = {"dx": "dx so far", "dy": "dy", **(words or {})}
    border = window.padded(np.zeros(x_shape))
    padded = np.zeros(border.shape)
    scene = Scene(title or f"{'max' if argmax is not None else 'average'}-pooling, backward", dy.shape)
    largest = float(np.abs(dy).max()) or 1.0
    left = scene.panel("left", border, words["dx"], largest, True)
    upper = scene.panel("upper", np.zeros(window.size), "its window gets", largest, True)
    right = scene.panel("right", dy, words["dy"], largest, True)

    def step(i, j, draw):
        rows, columns = window.rows_and_columns(i, j)
        share = np.zeros(window.size)
        if argmax is not None:
            share.flat[int(argmax[i, j])] = dy[i, j]
        else:
            inside = ~np.isnan(border[rows, columns])
            share = inside * dy[i, j] / inside.sum()
        padded[rows, columns] += share
        if draw:
            left.show(padded + border)
            left.mark(rows, columns)
            upper.show(share)
            right.mark(*cell(i, j))
            where = "the pixel that was the largest" if argmax is not None else "all pixels alike"
            scene.caption = (f"dy[{i}, {j}] = {short(dy[i, j])} goes to {where}")

    scene.step = step
    return scene


class LayerView:
    """What one layer of a model does to one picture: its input, output and gradients, and the channels to show."""

    def __init__(self, model, layer, picture, channel, input_channel, class_number):
        from minicnn import explain

        if picture.ndim != 3:
            raise ValueError(f"picture: expected shape (height, width, channels), got {picture.shape}")
        index = model.layers.index(layer)
        self.layer, self.index = layer, index
        self.conv = isinstance(layer, Conv2D)
        maps = list(explain.feature_maps(model, picture[None]).values())
        arrived = picture[None] if index == 0 else maps[index - 1]
        self.x, self.y = arrived[0].astype(float), maps[index][0].astype(float)
        self.class_number = int(maps[-1][0].argmax()) if class_number is None else class_number
        _, gradient = explain.score_gradient(model, picture[None], self.class_number, index + 1)
        self.dy = gradient[0].astype(float)
        self.window = Window(layer.kernel_size if self.conv else layer.pool_size, layer.strides,
                             layer.pads if self.conv else layer.window[2])
        self.channel = checked("channel", channel, self.y.shape[2], lambda: self.y.mean(axis=(0, 1)).argmax())
        if self.conv:
            self.w = np.array(model.ops.to_numpy(layer.w), float)
            self.b = np.zeros(self.y.shape[2]) if layer.b is None else np.array(model.ops.to_numpy(layer.b), float)
            self.input_channel = checked("input_channel", input_channel, self.x.shape[2], lambda: (
                np.abs(self.x).mean(axis=(0, 1)) * np.abs(self.w[..., self.channel]).sum(axis=(0, 1))).argmax())
        else:
            if input_channel not in (None, self.channel):
                raise ValueError(f"input_channel: pooling works on each channel by itself; leave it out or give "
                                 f"{self.channel} like channel")
            self.input_channel = self.channel

    def scene(self, name):
        """The scene of the forward or backward pass."""
        what = f"layer {self.index}, {self.layer.name}, {name}"
        if name == "backward":
            what += f": gradient of the score of class {self.class_number}"
        counted = {"x": self.x.shape[2], "y": self.y.shape[2]}
        words = {"x": of_channels("x", self.input_channel, counted["x"]),
                 "dx": of_channels("dx so far", self.input_channel, counted["x"]),
                 "y": of_channels("y", self.channel, counted["y"]),
                 "dy": of_channels("dy", self.channel, counted["y"])}
        if self.conv:
            return self._convolution(name, what, words)
        from kernels import reference
        x = self.x[None, :, :, self.channel:self.channel + 1].copy()
        arguments = (x, self.window.size, self.window.stride, self.window.padding)
        argmax = (reference.max_pool2d_forward(*arguments)[1][0, :, :, 0]
                  if isinstance(self.layer, MaxPooling2D) else None)
        if name == "forward":
            return pooling(x[0, :, :, 0], self.y[..., self.channel], self.window, argmax, words, what)
        return pooling_backward(self.dy[..., self.channel], x.shape[1:3], self.window, argmax, words, what)

    def _convolution(self, name, what, words):
        from kernels import im2col, reference
        c, o, activation = self.input_channel, self.channel, self.layer.activation
        channels, kernels = self.w.shape[2:]
        words["w"] = "w" if channels * kernels == 1 else f"w[:, :, {c}, {o}]"
        if name == "forward":
            sums = im2col.conv2d_forward(self.x[None].copy(), self.w[..., o:o + 1].copy(), self.b[o:o + 1].copy(),
                                         self.window.stride, self.window.padding)[0, :, :, 0]
            words["how"] = "sum of window · w" + (f" over {channels} channels" if channels > 1 else "")
            words["activation"] = None if activation == "linear" else activation
            return convolution(self.x[..., c], self.w[:, :, c, o], self.b[o], self.window, self.y[..., o], sums, words,
                               what)
        dy = self.dy
        if activation != "linear":
            dy = getattr(reference, f"{activation}_backward")(dy, self.y)
            words["dy"] = words["dy"].replace("dy", f"dy behind {activation}", 1)
        words["how"] = f"dx[window] += dy · w, summed over {kernels} channels" if kernels > 1 else (
            "dx[window] += dy[i, j] · w")
        return convolution_backward(dy, self.w[:, :, c, :], self.x.shape[:2], self.window, o, words, what)


def checked(name, number, count, default):
    """A channel's number, or the default's."""
    if number is None:
        return int(default())
    if isinstance(number, bool) or not isinstance(number, (int, np.integer)) or not 0 <= number < count:
        raise ValueError(f"{name}: expected a number from 0 to {count - 1}, got {number!r}")
    return int(number)


def of_channels(what, channel, count):
    """``x``, or ``x, channel 3 of 16``."""
    return what if count == 1 else f"{what}, channel {channel} of {count}"
