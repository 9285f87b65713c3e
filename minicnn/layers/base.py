"""What a layer is.

A layer knows three things: the shape it makes of a shape, its forward pass, and its backward pass. It keeps from the
forward pass what its backward pass needs, so one ``backward`` belongs to the latest ``forward``.

Shapes in ``build``, ``input_shape`` and ``output_shape`` leave out the batch axis, as in Keras: ``(28, 28, 1)``.
"""

from __future__ import annotations

import re

import numpy as np

from minicnn import initializers
from minicnn.operations import ACTIVATIONS


class RandomStream:
    """Seeds for what is random during training, as a function of *when*, so that no generator state must be saved.

    The seed for layer ``index`` depends on the model's seed and on ``step``, the number of optimizer steps taken. A
    run that is stopped and resumed at the same step goes on with the same numbers; and between two optimizer steps,
    repeated forward passes draw the same mask, which is what a gradient check by finite differences needs.
    """

    def __init__(self, seed=0, step=0):
        self.seed = seed
        self.step = step

    def seed_for(self, index):
        """An integer in [0, 2**63)."""
        words = np.random.SeedSequence([self.seed, self.step, index]).generate_state(1, np.uint64)
        return int(words[0] >> np.uint64(1))


class Layer:
    """Base class of all layers.

    Parameters
    ----------
    name : str, optional
        Defaults to the class name in lower case, numbered within a model (``conv2d``, ``conv2d_1``, ...).
    input_shape : tuple, optional
        Shape of one input, without the batch axis. The first layer of a model needs it (or an ``Input`` before it); on
        any other layer it is a claim that ``build`` checks.

    Attributes
    ----------
    parameters, gradients : dict of str to array
        What is trained (``w``, ``b``, ...) and its gradients, as views into the model's two flat vectors; the same
        arrays are ``layer.w``, ``layer.dw`` and so on.
    state : dict of str to array
        What is kept besides but not trained (running statistics).
    input_gradient : bool
        Whether ``backward`` computes ``dx``. The model sets it to False on its first layer, whose input is data.
    """

    def __init__(self, name=None, input_shape=None):
        self.name = name
        self.declared_input_shape = None if input_shape is None else shape_tuple("input_shape", input_shape)
        self.input_shape = None
        self.output_shape = None
        self.parameters, self.gradients, self.state = {}, {}, {}
        self.parameter_specs, self.state_specs = {}, {}
        self.input_gradient = True
        self.ops = None
        self.stream = RandomStream()
        self.index = 0

    # ---- what a subclass defines -------------------------------------------------------------------------------

    def compute_output_shape(self, input_shape):
        """The shape made of ``input_shape``; ``ValueError`` where the layer cannot take it. Changes nothing."""
        return input_shape

    def create_parameters(self, input_shape):
        """Declare parameters by ``self.add_parameter`` (and state by ``self.add_state``)."""

    def forward(self, x, training=False):
        """Compute the layer's output for a batch ``x``."""
        raise NotImplementedError

    def backward(self, dy):
        """Set ``self.gradients`` and return ``dx`` (None if ``input_gradient`` is False), from ``dy``."""
        raise NotImplementedError

    def multiply_adds(self):
        """Multiply-adds of one forward pass of one input: the number by which layers' work is compared."""
        return 0

    def get_config(self):
        """The constructor's arguments as JSON can hold them; ``type(layer)(**config)`` makes the same layer again."""
        shape = self.declared_input_shape
        return {"name": self.name, "input_shape": None if shape is None else list(shape)}

    # ---- what every layer shares -------------------------------------------------------------------------------

    def build(self, input_shape):
        """Fix the shapes and declare the parameters; ``ValueError`` where the layer cannot take ``input_shape``."""
        input_shape = shape_tuple("input_shape", input_shape)
        if self.declared_input_shape not in (None, input_shape):
            raise ValueError(f"declared input_shape {self.declared_input_shape}, but what arrives is {input_shape}")
        self.output_shape = self.compute_output_shape(input_shape)
        self.input_shape = input_shape
        self.parameter_specs, self.state_specs = {}, {}
        self.create_parameters(input_shape)

    def add_parameter(self, name, shape, initializer):
        """Declare a trained array; it gets its memory and its first values from ``minicnn.parameters.allocate``."""
        self.parameter_specs[name] = (tuple(shape), initializers.get(initializer))

    def add_state(self, name, shape, initializer):
        """Declare an array that is kept but not trained; it gets its memory as parameters do."""
        self.state_specs[name] = (tuple(shape), initializers.get(initializer))

    @property
    def gradient_places(self):
        """Where dw and db belong in the model's flat vector, for back-ends that can write them there at once."""
        return self.gradients["w"], self.gradients.get("b")

    def set_gradients(self, **values):
        """Copy gradients to their places in the model's flat vector, unless they have been written there or the layer
        has no such parameter.
        """
        for name, value in values.items():
            if name in self.gradients and value is not self.gradients[name]:
                self.ops.assign(self.gradients[name], value)

    @property
    def kind(self):
        """The layer's class name."""
        return type(self).__name__

    @property
    def default_name(self):
        """``MaxPooling2D`` becomes ``max_pooling2d``, ``Conv2D`` becomes ``conv2d``."""
        words = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", self.kind)
        return re.sub(r"([a-z])([A-Z])", r"\1_\2", words).lower()

    @property
    def parameter_count(self):
        """How many numbers are trained."""
        return sum(int(np.prod(shape)) for shape, _ in self.parameter_specs.values())

    def __repr__(self):
        shapes = f" {self.input_shape} -> {self.output_shape}" if self.output_shape is not None else ""
        return f"<{self.kind}{' ' + self.name if self.name else ''}{shapes}>"


def shape_tuple(name, shape):
    """A shape as a tuple of positive Python integers."""
    if isinstance(shape, (int, np.integer)) and not isinstance(shape, bool):
        shape = (shape,)
    if not isinstance(shape, (tuple, list)) or not shape:
        raise ValueError(f"{name}: expected a shape such as (28, 28, 1), got {shape!r}")
    for size in shape:
        if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1:
            raise ValueError(f"{name}: expected positive integers (without the batch axis), got {tuple(shape)!r}")
    return tuple(int(size) for size in shape)


def positive_integer(name, value):
    """``value`` as a Python integer of at least 1."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name}: expected a positive integer, got {value!r}")
    if value < 1:
        raise ValueError(f"{name}: expected a positive integer, got {value}")
    return int(value)


def integer_pair(name, value):
    """``3`` or ``(3, 5)`` as a pair ``(vertical, horizontal)`` of positive integers."""
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise ValueError(f"{name}: expected an integer or a pair (vertical, horizontal), got {value!r}")
        return positive_integer(name, value[0]), positive_integer(name, value[1])
    return (positive_integer(name, value),) * 2


def activation_name(value):
    """An activation's name; None means "linear"."""
    if value is None:
        return "linear"
    if value not in ACTIVATIONS:
        raise ValueError(f"activation: unknown name {value!r}; choose one of {', '.join(ACTIVATIONS)}")
    return value


def image_shape(layer, shape):
    """Check that ``shape`` is ``(H, W, C)``."""
    if len(shape) != 3:
        hint = ("; put the channel axis last, for example x[..., None] for grey images" if len(shape) == 2 else "")
        raise ValueError(f"{layer} expects images of shape (height, width, channels), got {shape}{hint}")
    return shape
