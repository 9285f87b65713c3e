"""Pictures of what ``minicnn.explain`` finds. ``minicnn.plots`` offers them too.

Each map is drawn over the picture it belongs to, pale grey, with its own scale: maps of two methods have no unit in
common.
"""

from __future__ import annotations

import numpy as np

from minicnn import explain
from minicnn.figures import BLUE, ORANGE, SIGNED, STRENGTH, figure_class, new_figure, show_image
from minicnn.layers import Conv2D

METHODS = ("saliency", "occlusion", "Grad-CAM")


def feature_maps(maps, columns=16, title=None):
    """The outputs of one or several layers for one picture, a row of small pictures for each layer.

    Parameters
    ----------
    maps : dict of str to array (1, H, W, O) or (H, W, O)
        From ``explain.feature_maps``; layers that make no images are left out.
    columns : int
        Channels shown of each layer: the strongest ones, in their own order.
    """
    maps = {name: array[0] if array.ndim == 4 else array for name, array in maps.items() if array.ndim >= 3}
    if not maps:
        raise ValueError("maps: none of the layers makes images")
    columns = min(columns, max(array.shape[2] for array in maps.values()))
    figure, axes = new_figure(0.72 * columns + 1.5, 0.9 * len(maps) + 0.5, len(maps), 1)
    for axis, (name, array) in zip(axes[:, 0], maps.items()):
        draw_channels(axis, array, columns)
        axis.set_ylabel(f"{name}\n{'x'.join(map(str, array.shape))}", rotation=0, ha="right", va="center", fontsize=9)
    figure.suptitle(title or "what each layer makes of the picture (dark is small, bright is large)", fontsize=11)
    return figure


def draw_channels(axis, array, columns):
    """The strongest channels of ``array (H, W, O)`` in a row, in their own order, on one scale, with their numbers."""
    strength = np.abs(array).mean(axis=(0, 1))
    chosen = np.sort(np.argsort(-strength, kind="stable")[:columns])
    draw_row(axis, [array[..., channel] for channel in chosen], chosen, columns, STRENGTH, min(array.min(), 0),
             array.max() or 1)


def draw_row(axis, pictures, labels, columns, colours, low, high):
    """Pictures of one size side by side with a small gap, as one image, with a label above each."""
    height, width = pictures[0].shape[:2]
    gap = 0.12
    for place, (picture, label) in enumerate(zip(pictures, labels)):
        left = place * (1 + gap)
        axis.imshow(picture, cmap=colours, vmin=low, vmax=high, extent=(left, left + 1, height / width, 0))
        axis.text(left + 0.5, -0.06, str(label), ha="center", va="bottom", fontsize=7)
    axis.set(xlim=(0, columns * (1 + gap) - gap), ylim=(height / width, 0), xticks=[], yticks=[])
    axis.spines[:].set_visible(False)
    axis.set_anchor("W")


def explanations(model, x, classes=None, names=None, patch=3, value=0.0):
    """One row a picture: the picture, saliency, occlusion and Grad-CAM for the class that the model predicts.

    Parameters
    ----------
    x : array (N, H, W, C)
    classes : int or array of int (N,), optional
        Whose score is explained, instead of the predicted class's.
    names : sequence of str, optional
        Names of the classes.
    patch, value : int, float
        For ``explain.occlusion``.
    """
    chosen = _chosen(model, x, classes)
    maps = all_maps(model, x, chosen, patch, value)
    figure, axes = new_figure(1.75 * 4 + 0.2, 1.75 * len(x) + 0.5, len(x), 4)
    for number, row in enumerate(axes):
        show_image(row[0], x[number])
        row[0].set_ylabel(f"score of {_name(names, chosen[number])}", fontsize=10)
        for axis, method in zip(row[1:], METHODS):
            draw_map(axis, x[number], maps[method][number], signed=method == "occlusion")
    for axis, title in zip(axes[0], ("picture", *METHODS)):
        axis.set_title(title, fontsize=11)
    return figure


def all_maps(model, x, classes, patch=3, value=0.0):
    """``{"saliency": (N, H, W), "occlusion": ..., "Grad-CAM": ...}``; saliency as its absolute value, the largest
    over the channels."""
    return {"saliency": np.abs(explain.saliency(model, x, classes)).max(axis=3),
            "occlusion": explain.occlusion(model, x, classes, patch=patch, value=value),
            "Grad-CAM": explain.grad_cam(model, x, classes)}


def draw_map(axis, image, values, signed=False):
    """A map in colours with the outline of a grey picture on it, or laid over a colour picture.

    A map of fewer pixels than the picture is stretched over it.
    """
    height, width, channels = image.shape
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    limit = float(np.abs(values).max()) or 1.0
    low = -limit if signed else 0
    smooth = "bilinear" if values.shape != (height, width) else "nearest"
    grey = image.mean(axis=2)
    if channels != 1:
        axis.imshow(grey, cmap="gray", vmin=0, vmax=1, extent=extent)
    axis.imshow(values, cmap=SIGNED if signed else STRENGTH, vmin=low, vmax=limit, extent=extent, interpolation=smooth,
                alpha=1 if channels == 1 else 0.65)
    if channels == 1 and grey.max() > grey.min():
        framed = np.pad(grey, 1, constant_values=grey.min())  # so that the outline closes at the border
        axis.contour(range(-1, width + 1), range(-1, height + 1), framed,
                     levels=[0.6 * grey.min() + 0.4 * grey.max()], colors="black" if signed else "white",
                     linewidths=1.5)
    axis.set(xticks=[], yticks=[], xlim=extent[:2], ylim=extent[2:])
    axis.spines[:].set_visible(False)


def neighbours(x, gallery, indices, distances, labels=None, names=None):
    """One row for each picture of ``x``: the picture, and those of ``gallery`` that the network finds most like it.

    Parameters
    ----------
    indices, distances : array (N, count)
        From ``explain.nearest_neighbours``.
    labels : (array (N,), array), optional
        True classes of ``x`` and of ``gallery``; neighbours of another class get an orange frame.
    """
    count = indices.shape[1]
    figure, axes = new_figure(1.15 * (count + 1) + 0.4, 1.35 * len(x) + 0.4, len(x), count + 1)
    for number, row in enumerate(axes):
        show_image(row[0], x[number])
        row[0].spines[:].set_visible(True)
        row[0].spines[:].set_color(BLUE)
        row[0].spines[:].set_linewidth(3)
        if labels is not None:
            row[0].set_title(_name(names, labels[0][number]), fontsize=9)
        for axis, index, distance in zip(row[1:], indices[number], distances[number]):
            show_image(axis, gallery[index])
            text = f"{distance:.3g}"
            axis.spines[:].set_visible(False)
            if labels is not None:
                text = f"{_name(names, labels[1][index])}  ({text})"
                if labels[1][index] != labels[0][number]:
                    axis.spines[:].set_visible(True)
                    axis.spines[:].set_color(ORANGE)
                    axis.spines[:].set_linewidth(3)
            axis.set_title(text, fontsize=9)
    figure.suptitle("picture (blue frame) and its nearest neighbours in feature space, with their distance",
                    fontsize=11)
    return figure


def explanation_sheet(model, picture, class_number=None, names=None, patch=3, value=0.0, title=None):
    """Everything about one picture on one sheet: probabilities, saliency, occlusion, Grad-CAM, filters, feature maps.

    Parameters
    ----------
    picture : array (H, W, C)
        As the model is fed with.
    class_number : int, optional
        Whose score is explained; by default the class that the model predicts.
    names : sequence of str, optional
        Names of the classes.
    patch, value : int, float
        For ``explain.occlusion``.
    """
    x = np.asarray(picture)[None]
    probabilities = class_probabilities(model, x)[0]
    chosen = _chosen(model, x, class_number)
    maps = all_maps(model, x, chosen, patch, value)
    layers = {name: array for name, array in explain.feature_maps(model, x).items() if array.ndim == 4}
    columns = 14
    figure = figure_class()(figsize=(11, 4.6 + 0.85 * len(layers)), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=(2.6, 1.3 + 0.85 * len(layers)))
    row = top.subplots(1, 5, width_ratios=(1, 1.15, 1, 1, 1))
    show_image(row[0], x[0])
    row[0].set_title("picture", fontsize=11)
    draw_probabilities(row[1], probabilities, names, chosen[0])
    for axis, method in zip(row[2:], METHODS):
        draw_map(axis, x[0], maps[method][0], signed=method == "occlusion")
        axis.set_title(method, fontsize=11)
        axis.set_xlabel(_HOW_TO_READ[method], fontsize=8.5)
    first = next((layer for layer in model.layers if isinstance(layer, Conv2D)), None)
    w = np.array(model.ops.to_numpy(first.w))
    rows = bottom.subplots(1 + len(layers), 1)
    number = f"the first {columns} of {w.shape[3]}" if w.shape[3] > columns else f"the {w.shape[3]}"
    limit = float(np.abs(w).max()) or 1.0
    colour = w.shape[2] == 3
    kernels = [0.5 + 0.5 * w[..., o] / limit if colour else w[..., o].mean(axis=2) for o in range(w.shape[3])]
    draw_row(rows[0], kernels[:columns], range(columns), columns, SIGNED, -limit, limit)
    rows[0].set_ylabel(f"{first.name}\nfilters", rotation=0, ha="right", va="center", fontsize=8)
    rows[0].set_title(f"{number} filters of {first.name}" + (
        ", in colour" if colour else ": blue is negative, red positive"), fontsize=10, pad=14)
    for axis, (name, array) in zip(rows[1:], layers.items()):
        draw_channels(axis, array[0], columns)
        shape = "x".join(map(str, array.shape[1:]))
        axis.set_ylabel(f"{name}\n{shape}", rotation=0, ha="right", va="center", fontsize=8)
    rows[1].set_title("feature maps, the strongest channels of each layer: dark is small, bright is large", fontsize=10,
                      pad=14)
    figure.suptitle(title or f"{model.name}: the score of class {_name(names, chosen[0])}", fontsize=13)
    return figure


_HOW_TO_READ = {
    "saliency": "bright: a small change of\nthis pixel changes the score most",
    "occlusion": "red: the score falls when this\nis covered; blue: it rises",
    "Grad-CAM": "bright: features of the last\nconvolution speak for the class",
}


def draw_probabilities(axis, probabilities, names=None, chosen=None):
    """The most probable classes (up to ten) as bars; the chosen one in blue."""
    order = np.argsort(-probabilities, kind="stable")[:10]
    shown = np.sort(order) if len(probabilities) <= 10 else order
    axis.barh(range(len(shown)), probabilities[shown],
              color=[BLUE if each == chosen else "#bbbbbb" for each in shown])
    axis.set(yticks=range(len(shown)), xlim=(0, 1.25), xticks=[])
    axis.set_yticklabels([_name(names, each) for each in shown])
    axis.invert_yaxis()
    axis.spines[["top", "right", "bottom"]].set_visible(False)
    axis.tick_params(left=False, labelsize=9)
    for place, each in enumerate(shown):
        if probabilities[each] >= 0.005:
            axis.text(probabilities[each] + 0.02, place, f"{probabilities[each]:.0%}", va="center", fontsize=8.5)
    axis.set_box_aspect(1)
    axis.set_title("probability", fontsize=11)


def class_probabilities(model, x):
    """Softmax of the model's output, unless it ends in one."""
    from kernels.reference import softmax_forward
    from minicnn.losses import ends_in_softmax

    output = model.predict(x)
    return output if ends_in_softmax(model) else softmax_forward(output)


def _chosen(model, x, classes):
    return np.broadcast_to(model.predict(x).argmax(axis=1) if classes is None else classes, len(x))


def _name(names, number):
    return str(number if names is None else names[number])
