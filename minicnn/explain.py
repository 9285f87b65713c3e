"""What a network looks at: feature maps, saliency, occlusion, Grad-CAM, and which pictures it finds alike.

Every function takes a built model and images ``x (N, H, W, C)`` as the model is fed with, and leaves the model's
weights and gradients as they were. A *score* here is a logit: the number for a class before softmax (a softmax at the
model's end is left out while these functions run, because probabilities near 1 hardly change whatever one does).
Pictures of the results are in ``minicnn.plots``. Whether a network has learned anything worth explaining is asked by
``minicnn.controls``.
"""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np

from minicnn.layers import Conv2D


def feature_maps(model, x):
    """The output of every layer: ``{layer name: array (N, ...)}``, in the layers' order.

    They are those of inference: dropout does nothing, batch normalization uses its running statistics.
    """
    maps = {}
    y = model.as_batch(x)
    for layer in model.layers:
        y = layer.forward(y, False)
        maps[layer.name] = np.array(model.ops.to_numpy(y))
    return maps


def saliency(model, x, classes=None):
    """How the score of a class changes with each pixel: ``dscore / dx``, shape ``(N, H, W, C)``.

    One backward pass that begins with 1 at the class's logit and 0 at the others. Source: K. Simonyan, A. Vedaldi and
    A. Zisserman, ICLR workshop 2014 (they show the absolute value, the largest over the channels).

    Parameters
    ----------
    classes : int or array of int (N,), optional
        Which class's score; by default the one that the model predicts.
    """
    return score_gradient(model, x, classes, 0)[1]


def occlusion(model, x, classes=None, patch=3, stride=1, value=0.0):
    """How much the score of a class falls when a patch of the picture is covered, shape ``(N, H, W)``.

    A square of ``patch`` pixels filled with ``value`` is moved over the picture by ``stride``, and at the border so
    that every pixel is covered at some time. A pixel's number is the mean, over the patches that cover it, of (score
    of the whole picture - score of the covered one): large where the network needs what it sees. Source: M. Zeiler and
    R. Fergus, ECCV 2014, section 4.2.

    Parameters
    ----------
    classes : int or array of int (N,), optional
        Which class's score; by default the one that the model predicts.
    patch, stride : int
        Side of the square, and its step. A step beyond ``patch`` would leave pixels out and is refused.
    value : float
        What the patch is painted with: the colour that means "nothing there" (0 for ink on paper).
    """
    x = np.asarray(x, model.dtype)
    images, height, width, _ = x.shape
    if not 1 <= patch <= min(height, width):
        raise ValueError(f"patch: expected 1 to {min(height, width)}, the smaller side of the pictures, got {patch}")
    if not 1 <= stride <= patch:
        raise ValueError(f"stride: expected 1 to {patch}, the side of the patch, got {stride}")
    places = [(i, j) for i in _starts(height, patch, stride) for j in _starts(width, patch, stride)]
    total, count = np.zeros((images, height, width)), np.zeros((height, width))
    with _logits_of(model):
        scores = model.predict(x)
        classes, rows = _classes(model, classes, scores), np.arange(images)
        for i, j in places:
            covered = x.copy()
            covered[:, i:i + patch, j:j + patch] = value
            fall = scores[rows, classes] - model.predict(covered)[rows, classes]
            total[:, i:i + patch, j:j + patch] += fall[:, None, None]
            count[i:i + patch, j:j + patch] += 1
    return total / count


def grad_cam(model, x, classes=None, layer=None):
    """Where a layer's features speak for a class, shape ``(N, OH, OW)`` of that layer's output ``A (N, OH, OW, O)``.

        alpha[n, o] = mean over i, j of dscore[n] / dA[n, i, j, o]
        map[n, i, j] = relu(sum over o of alpha[n, o] * A[n, i, j, o])

    Source: R. Selvaraju et al., ICCV 2017, equations 1 and 2.

    Parameters
    ----------
    classes : int or array of int (N,), optional
        Which class's score; by default the one that the model predicts.
    layer : str or Layer, optional
        A layer that makes images; by default the last convolution.
    """
    layer = find_layer(model, layer, default=lambda layers: [each for each in layers if isinstance(each, Conv2D)])
    if len(layer.output_shape) != 3:
        raise ValueError(f"layer: Grad-CAM needs a layer that makes images, but {layer.name!r} makes "
                         f"{layer.output_shape}; take one before the Flatten")
    features, gradient = score_gradient(model, x, classes, model.layers.index(layer) + 1)
    alpha = gradient.mean(axis=(1, 2), keepdims=True)
    return np.maximum((alpha * features).sum(axis=3), 0)


def score_gradient(model, x, classes=None, start=0):
    """What arrives at layer number ``start``, and the gradient of a class's score with respect to it.

    The steps of ``saliency`` (start 0: the picture itself) and of ``grad_cam``. Returns two arrays ``(N, ...)``.
    """
    with _logits_of(model):
        y = model.as_batch(x)
        for layer in model.layers[:start]:
            y = layer.forward(y, False)
        arriving = np.array(model.ops.to_numpy(y))
        for layer in model.layers[start:]:
            y = layer.forward(y, False)
        scores = model.ops.to_numpy(y)
        dy = np.zeros(scores.shape, model.dtype)
        dy[np.arange(len(dy)), _classes(model, classes, scores)] = 1
        dy = model.ops.asarray(dy)
        for layer in reversed(model.layers[start:]):
            dy = layer.backward(dy)
        return arriving, np.array(model.ops.to_numpy(dy))


def features(model, x, layer=None, batch_size=128):
    """The output of one layer as rows ``(N, size)``; by default of the one before the last, what the network knows of
    a picture just before it decides."""
    layer = find_layer(model, layer, default=lambda layers: layers[:-1])
    last = model.layers.index(layer) + 1
    rows = []
    for start in range(0, len(x), batch_size):
        y = model.as_batch(x[start:start + batch_size])
        for each in model.layers[:last]:
            y = each.forward(y, False)
        rows.append(np.array(model.ops.to_numpy(y)).reshape(len(y), -1))
    return np.concatenate(rows)


def nearest_neighbours(model, x, gallery, count=5, layer=None):
    """Which pictures of ``gallery`` the network finds most like each of ``x``: ``indices, distances (N, count)``.

    Alike means: a small Euclidean distance between the two rows of ``features``. The nearest comes first.
    """
    if not 1 <= count <= len(gallery):
        raise ValueError(f"count: expected 1 to {len(gallery)}, the number of pictures in gallery, got {count}")
    mine, theirs = (np.asarray(features(model, part, layer), np.float64) for part in (x, gallery))
    distances = np.stack([np.sqrt(((theirs - row) ** 2).sum(axis=1)) for row in mine])
    indices = np.argsort(distances, axis=1, kind="stable")[:, :count]
    return indices, np.take_along_axis(distances, indices, axis=1)


def find_layer(model, layer, default):
    """A layer of the model by name, number or itself; with None the last of ``default(model.layers)``."""
    if not model.built:
        model.build()
    names = [each.name for each in model.layers]
    if layer is None:
        candidates = default(model.layers)
        if not candidates:
            raise ValueError(f"layer: the model has none of the kind that is needed; it has {', '.join(names)}")
        return candidates[-1]
    if isinstance(layer, int) and not isinstance(layer, bool):
        if not -len(names) <= layer < len(names):
            raise ValueError(f"layer: expected a number from 0 to {len(names) - 1}, got {layer}")
        return model.layers[layer]
    for each in model.layers:
        if layer is each or layer == each.name:
            return each
    raise ValueError(f"layer: the model has no layer {layer!r}; it has {', '.join(names)}")


def _classes(model, classes, scores):
    """One class number for each row of ``scores``."""
    if scores.ndim != 2:
        raise ValueError(f"model: expected one row of class scores for each picture, but it ends in {scores.shape[1:]}")
    if classes is None:
        return scores.argmax(axis=1)
    classes = np.asarray(classes)
    if classes.dtype.kind not in "iu" or classes.shape not in ((), (len(scores),)):
        raise ValueError(f"classes: expected a class number or {len(scores)} of them, got {classes!r}")
    if classes.size and not 0 <= classes.min() <= classes.max() < scores.shape[1]:
        raise ValueError(f"classes: expected numbers from 0 to {scores.shape[1] - 1}, got {classes!r}")
    return np.broadcast_to(classes, len(scores))


def _starts(size, patch, stride):
    """Where a patch begins along one axis; the last one ends at the border."""
    return sorted({*range(0, size - patch + 1, stride), size - patch})


@contextmanager
def _logits_of(model):
    """Inside, the model's last softmax is left out and every layer computes dx; afterwards all is as it was."""
    if not model.built:
        model.build()
    last = model.layers[-1]
    activation = getattr(last, "activation", None)
    asked = [layer.input_gradient for layer in model.layers]
    gradients = np.array(model.ops.to_numpy(model.gradients))
    try:
        if activation == "softmax":
            last.activation = "linear"
        for layer in model.layers:
            layer.input_gradient = True
        yield
    finally:
        if activation == "softmax":
            last.activation = activation
        for layer, value in zip(model.layers, asked):
            layer.input_gradient = value
        model.ops.assign(model.gradients, model.ops.asarray(gradients))
