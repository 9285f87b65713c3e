"""Sequential: a stack of layers that can be trained.

The steps of training stand bare, as in the second program of document 1:

    logits = model.forward(x, training=True)
    loss, dlogits = loss_fn(logits, labels)
    model.backward(dlogits)
    model.optimizer.step()

``fit`` (in ``minicnn/training.py``) does nothing else, batch after batch.
"""

from __future__ import annotations

from math import prod

import numpy as np

from minicnn import fusing, inputs, losses, optimizers, parameters, saving, shapes, training
from minicnn.backends import resolve_backend
from minicnn.layers import Input, Layer
from minicnn.layers.base import RandomStream, shape_tuple
from minicnn.operations import Operations


class Sequential:
    """A stack of layers, each fed with the output of the one before.

    Parameters
    ----------
    layers : list, optional
        Layers, the first of which may be an ``Input``.
    name : str
        Shown in the summary.
    backend : str, path or module
        Where the arithmetic is done: a name from ``kernels.BACKENDS``, a module, or the path of a Python file with
        functions of one's own (the missing ones are taken from im2col).
    dtype : str
        "float32", or "float64" for gradient checks.
    seed : int
        Decides the initial weights, the order of the examples and the dropout masks.

    Attributes
    ----------
    parameters, gradients : array
        One flat vector each; the layers' arrays are views into them.
    step : int
        Optimizer steps taken since ``compile``.
    class_names, preprocessing : list of str and dict, optional
        What the outputs mean and how a picture becomes an input (``Dataset`` has both); ``save`` keeps them.
    """

    def __init__(self, layers=None, name="sequential", backend=None, dtype="float32", seed=0):
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
            raise ValueError(f"seed: expected an integer of at least 0, got {seed!r}")
        self.name = name
        self.ops = Operations(resolve_backend() if backend is None else resolve_backend(backend))
        self.dtype = parameters.check_dtype(dtype)
        self.stream = RandomStream(int(seed))
        self.layers = []
        self.input_shape = None
        self.parameters = self.gradients = self._y_shape = None  # the shape is that of the latest forward pass
        self.optimizer = self.loss = None
        self.metrics = ()
        self.stop_training = False
        self.class_names = self.preprocessing = None
        self._kept = {}
        for layer in layers or []:
            self.add(layer)

    seed = property(lambda self: self.stream.seed)

    @property
    def step(self):
        return self.stream.step

    @step.setter
    def step(self, value):
        self.stream.step = value

    # ---- building ----------------------------------------------------------------------------------------------

    def add(self, layer):
        """Put a layer on top. Its shapes are checked at ``build``, which ``compile``, ``summary`` and ``fit`` call."""
        if isinstance(layer, Input):
            if self.layers or self.input_shape is not None:
                raise ValueError("add: an Input can only be the first entry of a model")
            self.input_shape = layer.shape
            return
        if not isinstance(layer, Layer):
            kind = f"the class {layer.__name__}; call it: {layer.__name__}(...)" if isinstance(layer, type) else (
                f"{type(layer).__name__}")
            raise TypeError(f"add: expected a layer from minicnn.layers, got {kind}")
        if any(layer is other for other in self.layers) or layer.ops is not None:
            raise ValueError(f"add: layer {layer.name!r} is part of a model already; make a new one")
        taken = {other.name for other in self.layers}
        if layer.name is None:
            base, count = layer.default_name, 0
            layer.name = base
            while layer.name in taken:
                count += 1
                layer.name = f"{base}_{count}"
        elif layer.name in taken:
            raise ValueError(f"add: there is a layer named {layer.name!r} already; choose another name")
        if self.built:  # the flat vector will be made anew, a little longer: keep the numbers that it holds
            self._kept = self.named_weights()
        self.layers.append(layer)
        self.parameters = self.gradients = self._y_shape = None

    @property
    def built(self):
        """Whether the parameters exist."""
        return self.parameters is not None

    @property
    def shapes_known(self):
        """Whether an input shape was given, by ``Input``, ``input_shape=`` or ``build``."""
        return self.input_shape is not None or bool(self.layers and self.layers[0].declared_input_shape)

    @property
    def output_shape(self):
        """Shape of one output, without the batch axis."""
        return self.layers[-1].output_shape

    def build(self, input_shape=None):
        """Check all shapes, then make the parameters. Nothing is changed when a shape does not fit.

        Parameters
        ----------
        input_shape : tuple, optional
            Shape of one input, when neither an ``Input`` nor the first layer gives it.
        """
        if not self.layers:
            raise ValueError("build: the model has no layers; add some first")
        given = self.input_shape or self.layers[0].declared_input_shape
        if input_shape is not None:
            input_shape = shape_tuple("input_shape", input_shape)
            if given not in (None, input_shape):
                raise ValueError(f"build: the model takes inputs of shape {given}, got input_shape {input_shape}")
        elif given is None:
            raise ValueError("build: the shape of the inputs is not known; begin the model with Input((height, width, "
                             "channels)) or give its first layer input_shape=(height, width, channels)")
        input_shape = given or input_shape
        arriving = [input_shape, *shapes.infer(self.layers, input_shape)]
        for index, (layer, shape) in enumerate(zip(self.layers, arriving)):
            layer.build(shape)
            layer.index, layer.stream, layer.input_gradient = index, self.stream, True
        self.input_shape = input_shape
        self.parameters, self.gradients = parameters.allocate(self.layers, self.ops, self.dtype, self.seed)
        for name, array in self._kept.items():
            self.ops.assign(self.named_weights()[name], array)
        self._kept = {}
        # No one asks for the gradient of the data: the backward pass ends at the first layer that has parameters.
        self._first = next((i for i, layer in enumerate(self.layers) if layer.parameters), 0)
        self.layers[self._first].input_gradient = False
        self._steps = fusing.steps(self.layers)  # the layers, some of them in pairs
        self._y_shape = None
        self._finish_compile()

    def compile(self, optimizer="adam", loss="sparse_categorical_crossentropy", metrics=None):
        """Choose how the model is trained.

        Parameters
        ----------
        optimizer : str or Optimizer
            "sgd", "adam", or an object from ``minicnn.optimizers``.
        loss : str or Loss
            An object from ``minicnn.losses``, or its name.
        metrics : list of str, optional
            ``["accuracy"]`` or nothing.
        """
        optimizer, loss = optimizers.get(optimizer), losses.get(loss)
        metrics = tuple(metrics or ())
        for metric in metrics:
            if metric != "accuracy":
                raise ValueError(f"metrics: unknown name {metric!r}; the one there is: 'accuracy'")
        if metrics and loss.name != "sparse_categorical_crossentropy":
            raise ValueError(f"metrics: 'accuracy' needs class labels, which the loss {loss.name} does not take")
        if not self.built and self.shapes_known:
            self.build()
        losses.check_output(loss, self)
        if optimizer.model not in (None, self):
            raise ValueError("optimizer: this object already belongs to another model; make a new one")
        self.optimizer, self.loss, self.metrics = optimizer, loss, metrics
        self._finish_compile()

    def _finish_compile(self):
        if self.optimizer is not None and self.built:
            self.loss.ops = self.ops
            self.optimizer.bind(self)

    def summary(self, print_fn=print):
        """Print a table: layer, output shape, parameters, multiply-adds of one forward pass of one input."""
        if not self.built:
            self.build()
        rows = [("layer", "output shape", "parameters", "multiply-adds")]
        rows += [(f"{layer.name} ({layer.kind})", str(layer.output_shape), f"{layer.parameter_count:,}",
                  f"{layer.multiply_adds():,}") for layer in self.layers]
        total = ("total", "", f"{self.parameters.shape[0]:,}",
                 f"{sum(layer.multiply_adds() for layer in self.layers):,}")
        widths = [max(len(row[i]) for row in [*rows, total]) for i in range(4)]
        line = "-" * (sum(widths) + 6)

        def text(row):
            return f"{row[0]:{widths[0]}}  {row[1]:{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]:>{widths[3]}}"

        title = f"{self.name}: input {self.input_shape}, {self.dtype}, back-end {self.ops.name}"
        print_fn("\n".join([title, line, text(rows[0]), line, *map(text, rows[1:]), line, text(total)]))

    # ---- the two passes ----------------------------------------------------------------------------------------

    def forward(self, x, training=False):
        """The output of the last layer for a batch ``x (N, ...)``, as the back-end's array."""
        x = self.as_batch(x)
        for step in self._steps:
            x = step.forward(x, training)
        self._y_shape = tuple(x.shape)
        return x

    def backward(self, dy, input_gradient=False):
        """Set ``self.gradients`` from ``dy``, the gradient of the latest ``forward``'s result.

        Returns the gradient of the input if ``input_gradient`` is True, else None.
        """
        if self._y_shape is None:
            raise RuntimeError("backward: call forward first; a backward pass belongs to the forward pass before it")
        if tuple(dy.shape) != self._y_shape:
            raise ValueError(f"dy: expected the shape of the model's output {self._y_shape}, got {tuple(dy.shape)}")
        dy = self._in_own_type(dy) if isinstance(dy, np.ndarray) else dy
        first = self.layers[self._first]
        first.input_gradient = input_gradient
        try:
            for step in reversed(self._steps):
                if input_gradient or step.index >= self._first:
                    dy = step.backward(dy)
        finally:
            first.input_gradient = False
        return dy if input_gradient else None

    def as_batch(self, x):
        """A batch as the layers take it: checked, in the model's type, where the back-end wants it."""
        if not isinstance(x, np.ndarray) and hasattr(x, "shape") and hasattr(x, "dtype"):  # on the device already
            shapes.check_batch(self, x)
            return x
        return self._in_own_type(inputs.images(self, x, finite=False))

    def _in_own_type(self, x):
        # not ``self.dtype``, a name, which NumPy would have to look up in every step
        return self.ops.asarray(x.astype(self.parameters.dtype, copy=False))

    # ---- training and use --------------------------------------------------------------------------------------

    def fit(self, x, y=None, batch_size=32, epochs=1, verbose="auto", callbacks=None, validation_data=None,
            shuffle=True, class_weight=None, sample_weight=None, initial_epoch=0, steps_per_epoch=None):
        """Train; see ``minicnn.training.fit``."""
        return training.fit(self, x, y, batch_size=batch_size, epochs=epochs, verbose=verbose, callbacks=callbacks,
                            validation_data=validation_data, shuffle=shuffle, class_weight=class_weight,
                            sample_weight=sample_weight, initial_epoch=initial_epoch, steps_per_epoch=steps_per_epoch)

    def train_on_batch(self, x, y, sample_weight=None, class_weight=None):
        """One step on one batch; returns the loss, or ``[loss, accuracy]`` when compiled with that metric."""
        self._check_compiled("train_on_batch")
        batch = training.checked_batch(self, x, y, sample_weight, class_weight)
        loss, correct = training.train_step(self, *batch)
        return self._results(float(loss), float(correct) / len(batch[0]))

    def evaluate(self, x, y=None, batch_size=128, sample_weight=None, return_dict=False):
        """Mean loss (and accuracy, if compiled with it) over a data set, without training.

        Returns the loss, ``[loss, accuracy]``, or with ``return_dict`` a dict of both.
        """
        self._check_compiled("evaluate")
        logs = training.evaluate(self, x, y, batch_size, sample_weight)
        return logs if return_dict else self._results(logs["loss"], logs.get("accuracy"))

    def predict(self, x, batch_size=128):
        """The model's output for every row of ``x``, as one NumPy array."""
        x = inputs.images(self, x)
        training.check_batch_size(batch_size)
        outputs = [self.predict_on_batch(x[start:start + batch_size]) for start in range(0, len(x), batch_size)]
        return np.concatenate(outputs)

    def predict_on_batch(self, x):
        """The model's output for one batch, as a NumPy array."""
        return np.array(self.ops.to_numpy(self.forward(x, training=False)))

    def _check_compiled(self, what):
        if self.optimizer is None:
            raise RuntimeError(f"{what}: call compile first, to choose an optimizer and a loss")

    def _results(self, loss, accuracy):
        return [loss, accuracy] if "accuracy" in self.metrics else loss

    # ---- weights -----------------------------------------------------------------------------------------------

    def named_weights(self):
        """``{"conv2d/w": array, ...}``: every layer's parameters, then its state, in the layers' order (Keras')."""
        if not self.built:
            self.build()
        return {f"{layer.name}/{name}": array for layer in self.layers
                for name, array in {**layer.parameters, **layer.state}.items()}

    def get_weights(self):
        """Copies of all weights as NumPy arrays, in the order of ``named_weights``."""
        return [np.array(self.ops.to_numpy(array)) for array in self.named_weights().values()]

    def set_weights(self, weights):
        """Take over a list like that of ``get_weights``. Nothing is changed when a number or shape does not fit."""
        places = self.named_weights()
        weights = [np.asarray(array) for array in weights]
        if len(weights) != len(places):
            raise ValueError(f"weights: expected {len(places)} arrays ({', '.join(places)}), got {len(weights)}")
        for (name, place), array in zip(places.items(), weights):
            if array.shape != tuple(place.shape):
                raise ValueError(f"weights: expected shape {tuple(place.shape)} for {name}, got {array.shape}")
            if array.dtype.kind not in "fiu":
                raise TypeError(f"weights: expected numbers for {name}, got dtype {array.dtype}")
        for place, array in zip(places.values(), weights):
            self.ops.assign(place, self.ops.asarray(array.astype(self.dtype)))

    def save(self, path, progress=None):
        """Write the whole model to one ``.npz`` file; ``minicnn.load_model`` reads it. See ``saving.save_model``."""
        saving.save_model(self, path, progress)

    def save_weights(self, path):
        """Write the weights alone to an ``.npz`` file."""
        saving.save_weights(self, path)

    def load_weights(self, path):
        """Take over the weights from a file of ``save_weights`` or ``save``; nothing is changed if they do not fit."""
        saving.load_weights(self, path)

    def count_params(self):
        """How many numbers are trained."""
        if not self.built:
            self.build()
        return prod(self.parameters.shape)

    def get_config(self):
        """Name, input shape and layers as JSON can hold them; ``from_config`` makes the same architecture again."""
        return {"name": self.name, "dtype": self.dtype, "seed": self.seed,
                "input_shape": None if self.input_shape is None else list(self.input_shape),
                "layers": [{"class": layer.kind, "config": layer.get_config()} for layer in self.layers]}

    @classmethod
    def from_config(cls, config, backend=None):
        """A new, untrained model from ``get_config``'s description."""
        from minicnn.layers import LAYERS
        stack = [] if config["input_shape"] is None else [Input(tuple(config["input_shape"]))]
        for entry in config["layers"]:
            if entry["class"] not in LAYERS:
                raise ValueError(f"config: unknown layer class {entry['class']!r}; known are {', '.join(LAYERS)}")
            stack.append(LAYERS[entry["class"]](**entry["config"]))
        return cls(stack, name=config["name"], backend=backend, dtype=config["dtype"], seed=config["seed"])
