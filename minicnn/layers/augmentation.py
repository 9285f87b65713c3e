"""Layers that show the network another version of each picture every time: flipped, shifted, cropped, turned.

A cat that looks the other way is still a cat: with these layers at the front of a model, few pictures teach more. They
act in training only; at inference a picture passes unchanged (``RandomCrop`` takes its centre).

Every one of them gathers pixels. With positions and weights that are drawn anew for each picture ``n``,

    y[n, i, j] = sum over taps of  weight[n, i, j] * x[n, row[n, i, j], column[n, i, j]]

where a flip, a shift and a crop have one tap of weight 1 and a rotation, which falls between pixels, has four. That is
linear in ``x``, so the backward pass sends ``weight * dy`` back to where each value came from (the adjoint).

The draw depends on the model's seed, the layer and the number of optimizer steps (``RandomStream``), so a run that was
stopped and resumed sees the same pictures as one that was not.
"""

from __future__ import annotations

import numpy as np

from minicnn.layers.base import Layer, image_shape, positive_integer

FILL_MODES = ("constant", "nearest", "reflect")


class RandomGather(Layer):
    """Base class: gathers the pixels that ``draw`` chooses."""

    def draw(self, rng, count):
        """A list of taps ``(rows, columns, weights)`` for ``count`` pictures, which broadcast to ``(N, OH, OW)``.

        Weights may be None, for 1.
        """
        raise NotImplementedError

    def inference_taps(self):
        """The taps outside training; None: every picture as it is."""

    def compute_output_shape(self, input_shape):
        return image_shape(self.kind, input_shape)

    def forward(self, x, training=False):
        self.taps, self.x_shape = self.inference_taps(), x.shape
        if training:
            self.taps = self.draw(np.random.default_rng(self.stream.seed_for(self.index)), x.shape[0])
        if self.taps is None:
            return x
        pixels = self.ops.to_numpy(x).reshape(-1, x.shape[3])
        y = None
        for rows, columns, weights in self.taps:
            tap = np.take(pixels, self._numbers(rows, columns), axis=0)
            if weights is not None:
                tap *= weights[..., None].astype(tap.dtype)
            y = tap if y is None else np.add(y, tap, out=y)
        return self.ops.asarray(y)

    def backward(self, dy):
        if self.taps is None:
            return dy
        dy = self.ops.to_numpy(dy)
        dx = np.zeros(self.x_shape, dy.dtype)
        pixels = dx.reshape(-1, self.x_shape[3])
        for rows, columns, weights in self.taps:  # add.at: a pixel that was taken twice gets both gradients
            sent = dy if weights is None else dy * weights[..., None].astype(dy.dtype)
            np.add.at(pixels, self._numbers(rows, columns), sent)
        return self.ops.asarray(dx)

    def _numbers(self, rows, columns):
        """Where the pixels ``(n, row, column)`` stand when all pixels of the batch are listed one after the other."""
        count, h, w, _ = self.x_shape
        return (np.arange(count)[:, None, None] * h + rows) * w + columns


class RandomFlip(RandomGather):
    """Mirror each picture with probability 1/2.

    Parameters
    ----------
    mode : {"horizontal", "vertical", "horizontal_and_vertical"}
        Left and right exchanged, up and down, or each of the two independently.
    """

    MODES = ("horizontal", "vertical", "horizontal_and_vertical")

    def __init__(self, mode="horizontal_and_vertical", name=None, input_shape=None):
        super().__init__(name, input_shape)
        if mode not in self.MODES:
            raise ValueError(f"mode: expected one of {', '.join(self.MODES)}, got {mode!r}")
        self.mode = mode

    def draw(self, rng, count):
        h, w, _ = self.input_shape
        flips = rng.integers(0, 2, (2, count, 1))
        rows, columns = np.arange(h), np.arange(w)
        if "vertical" in self.mode:
            rows = np.where(flips[0], rows[::-1], rows)[:, :, None]
        else:
            rows = rows[:, None]
        if "horizontal" in self.mode:
            columns = np.where(flips[1], columns[::-1], columns)[:, None, :]
        return [(rows, columns, None)]

    def get_config(self):
        return {**super().get_config(), "mode": self.mode}


class RandomTranslation(RandomGather):
    """Shift each picture by whole pixels, evenly drawn up to a share of its size in either direction.

    Parameters
    ----------
    height_factor, width_factor : float
        Largest shift as a share of height and width, in [0, 1].
    fill_mode : {"reflect", "nearest", "constant"}
        What enters from outside: the picture mirrored at its edge, the edge repeated, or zeros.
    """

    def __init__(self, height_factor, width_factor, fill_mode="reflect", name=None, input_shape=None):
        super().__init__(name, input_shape)
        self.height_factor = share("height_factor", height_factor)
        self.width_factor = share("width_factor", width_factor)
        self.fill_mode = fill_mode_name(fill_mode)

    def draw(self, rng, count):
        h, w, _ = self.input_shape
        largest = np.round([[self.height_factor * h], [self.width_factor * w]]).astype(int)
        down, right = rng.integers(-largest, largest, (2, count), endpoint=True)[..., None]
        rows, row_weights = place(np.arange(h) - down, h, self.fill_mode)
        columns, column_weights = place(np.arange(w) - right, w, self.fill_mode)
        return [(rows[:, :, None], columns[:, None, :], row_weights[:, :, None] * column_weights[:, None, :])]

    def get_config(self):
        return {**super().get_config(), "height_factor": self.height_factor, "width_factor": self.width_factor,
                "fill_mode": self.fill_mode}


class RandomCrop(RandomGather):
    """Cut a window of ``(height, width)`` out of each picture: anywhere in training, from the centre at inference."""

    def __init__(self, height, width, name=None, input_shape=None):
        super().__init__(name, input_shape)
        self.height, self.width = positive_integer("height", height), positive_integer("width", width)

    def compute_output_shape(self, input_shape):
        h, w, c = image_shape(self.kind, input_shape)
        if self.height > h or self.width > w:
            raise ValueError(f"RandomCrop cannot cut {self.height}x{self.width} out of pictures of {h}x{w}")
        return (self.height, self.width, c)

    def draw(self, rng, count):
        h, w, _ = self.input_shape
        free = [[h - self.height], [w - self.width]]
        top, left = rng.integers(0, free, (2, count), endpoint=True)[..., None]
        return [((top + np.arange(self.height))[:, :, None], (left + np.arange(self.width))[:, None, :], None)]

    def inference_taps(self):
        h, w, _ = self.input_shape
        rows = (h - self.height) // 2 + np.arange(self.height)
        columns = (w - self.width) // 2 + np.arange(self.width)
        return [(rows[:, None], columns, None)]

    def get_config(self):
        return {**super().get_config(), "height": self.height, "width": self.width}


class RandomRotation(RandomGather):
    """Turn each picture around its centre, by an angle evenly drawn from ``[-factor, factor]`` full turns (clockwise).

    The pixel ``(i, j)`` of the result is looked up where a turn back takes it: with ``u = i - (H-1)/2`` and
    ``v = j - (W-1)/2`` at row ``u cos a - v sin a``, column ``u sin a + v cos a`` from the centre, between the four
    pixels around that place (bilinear interpolation).

    Parameters
    ----------
    factor : float
        Largest angle as a share of a full turn, in [0, 1]; 10/360 for 10 degrees.
    fill_mode : {"reflect", "nearest", "constant"}
        As for ``RandomTranslation``.
    """

    def __init__(self, factor, fill_mode="reflect", name=None, input_shape=None):
        super().__init__(name, input_shape)
        self.factor = share("factor", factor)
        self.fill_mode = fill_mode_name(fill_mode)

    def draw(self, rng, count):
        h, w, _ = self.input_shape
        angle = 2 * np.pi * self.factor * rng.uniform(-1, 1, (count, 1, 1))
        u, v = np.arange(h)[:, None] - (h - 1) / 2, np.arange(w) - (w - 1) / 2
        row = u * np.cos(angle) - v * np.sin(angle) + (h - 1) / 2
        column = u * np.sin(angle) + v * np.cos(angle) + (w - 1) / 2
        rows = between(row, h, self.fill_mode)
        columns = between(column, w, self.fill_mode)
        return [(r, c, row_weight * column_weight) for r, row_weight in rows for c, column_weight in columns]

    def get_config(self):
        return {**super().get_config(), "factor": self.factor, "fill_mode": self.fill_mode}


def between(position, size, fill_mode):
    """The two pixels around each position that falls between them, with their weights: the nearer, the more."""
    first = np.floor(position)
    share_of_second = position - first
    first = first.astype(np.intp)
    pairs = []
    for index, weight in ((first, 1 - share_of_second), (first + 1, share_of_second)):
        inside, counts = place(index, size, fill_mode)
        pairs.append((inside, weight * counts))
    return pairs


def place(index, size, fill_mode):
    """Positions along an axis, some of them outside, brought inside; and the weight of each, 0 or 1."""
    if fill_mode == "reflect":  # ... 2 1 0 | 0 1 2 ... size-1 | size-1 ...
        index = index % (2 * size)
        return np.minimum(index, 2 * size - 1 - index), np.ones(index.shape)
    inside = np.clip(index, 0, size - 1)
    return inside, np.ones(index.shape) if fill_mode == "nearest" else (inside == index).astype(float)


def share(name, value):
    """A number in [0, 1]."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.floating)) or not 0.0 <= value <= 1.0:
        raise ValueError(f"{name}: expected a number in [0, 1], got {value!r}")
    return float(value)


def fill_mode_name(value):
    """One of ``FILL_MODES``."""
    if value not in FILL_MODES:
        raise ValueError(f"fill_mode: expected one of {', '.join(FILL_MODES)}, got {value!r}")
    return value
