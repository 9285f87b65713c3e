"""Weights from and to PyTorch and Keras, as NumPy arrays in their layouts. Neither needs to be installed.

| array | MiniCNN and Keras | PyTorch |
| --- | --- | --- |
| convolution | ``(KH, KW, C, O)`` | ``(O, C, KH, KW)`` |
| dense | ``(I, O)``, ``y = x w + b`` | ``(O, I)``, ``y = x w^T + b`` |
| bias, gamma, beta, running statistics | ``(O,)`` | ``(O,)`` |

One difference is easily missed. After ``Flatten`` MiniCNN and Keras list an image's numbers channel by channel at each
pixel, (H, W, C); PyTorch lists whole channels, (C, H, W). So the rows of the first dense layer stand in another order,
and a mere transpose gives a network that runs and knows nothing.

The models themselves are built on both sides by hand; layers are matched in their order. Beware of defaults: batch
normalization has epsilon 1e-3 here and in Keras, 1e-5 in PyTorch.
"""

from __future__ import annotations

import numpy as np

from minicnn.layers import BatchNormalization, Conv2D, Dense, Flatten

_TORCH = {"w": "weight", "b": "bias", "gamma": "weight", "beta": "bias", "running_mean": "running_mean",
          "running_variance": "running_var"}


def from_torch(model, state):
    """Take over the weights of a PyTorch network with the same layers.

    Parameters
    ----------
    model : Sequential
        With the layers of the PyTorch network, in the same order.
    state : dict or list
        ``torch_model.state_dict()``, or its arrays in order. Counters (``num_batches_tracked``) are passed over.

    Raises
    ------
    ValueError
        When a number or shape does not fit; the model is unchanged then.
    """
    if hasattr(state, "items"):
        state = [array for name, array in state.items() if not name.endswith("num_batches_tracked")]
    arrays = [_numpy(array) for array in state]
    places = list(_places(model))
    if len(arrays) != len(places):
        raise ValueError(f"state: expected {len(places)} arrays ({', '.join(name for name, *_ in places)}), got "
                         f"{len(arrays)}")
    converted = []
    for array, (name, place, image_shape) in zip(arrays, places):
        expected = _to_torch(np.empty(place.shape, np.int8), image_shape).shape
        if array.shape != expected:
            raise ValueError(f"state: expected shape {expected} for {name}, in PyTorch's layout, got {array.shape}")
        converted.append(_from_torch(array, image_shape))
    model.set_weights(converted)


def to_torch(model, names=None, gradients=False):
    """The weights in PyTorch's layouts.

    Parameters
    ----------
    model : Sequential
    names : iterable of str, optional
        The keys of the result, such as ``torch_model.state_dict()`` (counters are passed over). By default
        ``"conv2d.weight"`` and so on, after MiniCNN's layers.
    gradients : bool
        The gradients of the latest backward pass instead, of what is trained.

    Returns
    -------
    dict of str to numpy.ndarray
        ``torch_model.load_state_dict({k: torch.from_numpy(v) for k, v in result.items()}, strict=False)`` takes it.
    """
    arrays = {}
    for name, place, image_shape in _places(model, gradients):
        layer, _, own = name.rpartition("/")
        array = np.array(model.ops.to_numpy(place))
        arrays[f"{layer}.{_TORCH[own]}"] = np.ascontiguousarray(_to_torch(array, image_shape))
    if names is None:
        return arrays
    names = [name for name in names if not name.endswith("num_batches_tracked")]
    if len(names) != len(arrays):
        raise ValueError(f"names: expected {len(arrays)} names ({', '.join(arrays)}), got {len(names)}")
    return dict(zip(names, arrays.values()))


def from_keras(model, weights):
    """Take over ``keras_model.get_weights()`` of a Keras network with the same layers: the layouts are the same."""
    model.set_weights([_numpy(array) for array in weights])


def to_keras(model, gradients=False):
    """The weights for ``keras_model.set_weights``; with ``gradients``, those of the latest backward pass instead."""
    return [np.array(model.ops.to_numpy(place)) for _, place, _ in _places(model, gradients)]


def _places(model, gradients=False):
    """``"layer/name", array, image shape`` of every weight; the last is None unless its order is that of a Flatten."""
    if not model.built:
        model.build()
    image_shape = None
    for layer in model.layers:
        if isinstance(layer, Flatten):
            image_shape = layer.input_shape if len(layer.input_shape) == 3 else image_shape
        arrays = layer.gradients if gradients else {**layer.parameters, **layer.state}
        if arrays and not isinstance(layer, (Conv2D, Dense, BatchNormalization)):
            raise ValueError(f"convert: the layouts of layer {layer.name!r} ({layer.kind}) in other libraries are not "
                             "known")
        for name, array in arrays.items():
            order = image_shape if isinstance(layer, BatchNormalization) or name == "w" else None
            yield f"{layer.name}/{name}", array, order
        if isinstance(layer, Dense):
            image_shape = None


def _to_torch(array, image_shape):
    if array.ndim == 4:
        return array.transpose(3, 2, 0, 1)
    if image_shape is not None:  # rows (H, W, C) to (C, H, W)
        array = np.moveaxis(array.reshape(*image_shape, *array.shape[1:]), 2, 0).reshape(array.shape)
    return array.T


def _from_torch(array, image_shape):
    if array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    array = array.T
    if image_shape is not None:
        h, w, c = image_shape
        array = np.moveaxis(array.reshape(c, h, w, *array.shape[1:]), 0, 2).reshape(array.shape)
    return array


def _numpy(array):
    """A NumPy array from a tensor or array."""
    return np.asarray(array.detach().cpu() if hasattr(array, "detach") else array)
