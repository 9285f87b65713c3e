"""Gradient checks of layers, losses and whole models, on any back-end.

A layer or model is rebuilt on the back-end in question, wrapped so that kinks are noticed
(``minicnn.gradcheck.recorder``). In float64 every tensor of gradients is compared with finite differences:
at stratified
coordinates, and for models along one random direction as well, which involves every element at the price of two forward
passes. In float32 the steps that rounding asks for would cross a kink somewhere in almost every network; there the
gradients are compared with those of the same model in float64, computed by the im2col back-end.
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass

import numpy as np

from minicnn import layers, losses
from minicnn.backends import resolve_backend
from minicnn.gradcheck import numeric
from minicnn.gradcheck.cases import spaced
from minicnn.gradcheck.check import CheckResult, Row
from minicnn.gradcheck.recorder import recording
from minicnn.models import Sequential
from minicnn.operations import Operations

#: Step of the differences in a whole model: the loss is one number of size 1 made of thousands of sums, so its rounding
#: error matters more than the curvature.
MODEL_STEP = 1e-5


@dataclass
class _Settings:
    """How tensors are checked; ``seconds`` is the time for one tensor."""

    rng: np.random.Generator
    coordinates: int
    step: float = numeric.STEP["float64"]
    directions: bool = False
    seconds: float | None = None


def check_layer(layer, x, backend="im2col", training=True, dtype="float64", seed=0, coordinates=50):
    """Check a layer's ``dx`` and the gradients of its parameters.

    Parameters
    ----------
    layer : Layer
        A copy of it is checked, with parameters of its own: the initial ones, moved a little at random (a bias of zeros
        or a scale of ones hides mistakes).
    x : ndarray (N, ...) or tuple
        A batch of inputs, or its shape: then distinct numbers far from zero, in random order.
    backend : str, path or module
    training : bool
        Which forward pass is checked (dropout and batch normalization have two).
    dtype : {"float64", "float32"}
    seed : int
        Chooses parameters, inputs, ``dy`` and coordinates.
    coordinates : int
        Coordinates of each tensor; all, if it has no more.

    Returns
    -------
    CheckResult
        ``ok``, ``worst``, ``table()``, ``raise_if_wrong()``.
    """
    rng = np.random.default_rng([seed, 21])
    x = spaced(rng, x, np.float64) if isinstance(x, (tuple, list)) else np.asarray(x, np.float64)
    model, sides = _rebuild([layer], x.shape[1:], backend, dtype, seed)
    weights = [array + 0.3 * rng.random(array.shape) for array in model.get_weights()]
    dy = rng.standard_normal((len(x), *model.output_shape))
    start = time.perf_counter()
    model.set_weights(weights)
    dx = _backward(model, x, training, lambda y: dy)
    if dtype == "float64":
        def forward(value):
            sides.clear()
            return np.array(model.ops.to_numpy(model.forward(value, training))), list(sides)
        rows = _check_tensors(layer.kind, model, forward, x, dx, dy, _Settings(rng, coordinates))
    else:
        exact, _ = _rebuild([layer], x.shape[1:], "im2col", "float64", seed)
        exact.set_weights(weights)
        rows = _compare_tensors(layer.kind, model, exact, dx, _backward(exact, x, training, lambda y: dy), start)
    return CheckResult(rows)


def check_loss(loss, predictions, targets, sample_weight=None, backend="im2col", seed=0, coordinates=50):
    """Check, in float64, the gradient that a loss returns.

    Parameters
    ----------
    loss : Loss or str
        From ``minicnn.losses``, or its name.
    predictions : ndarray (N, K)
    targets : ndarray
        Labels ``(N,)``, or targets ``(N, K)``.
    sample_weight : ndarray (N,), optional

    Returns
    -------
    CheckResult
    """
    loss = copy.copy(losses.get(loss))
    loss.ops = ops = Operations(resolve_backend(backend))
    predictions = np.asarray(predictions, np.float64)
    weights = None if sample_weight is None else ops.asarray(np.asarray(sample_weight, np.float64))
    targets = ops.asarray(_numbers(targets, "float64"))

    def forward(value):
        return np.float64(float(loss(ops.asarray(value.copy()), targets, weights)[0])), None

    gradient = np.array(ops.to_numpy(loss(ops.asarray(predictions.copy()), targets, weights)[1]))
    settings = _Settings(np.random.default_rng([seed, 22]), coordinates)
    return CheckResult([_check_tensor(type(loss).__name__, "dpredictions", forward, predictions, gradient,
                                      np.float64(1.0), settings)])


def check_model(model, x, labels, loss=None, backend=None, training=True, dtype="float64", seed=0, coordinates=50,
                budget=None):
    """Check the gradients of a loss with respect to a model's input and every one of its parameters.

    Parameters
    ----------
    model : Sequential
        A copy with the same weights is checked; the model itself is not changed.
    x, labels : ndarray
        A small batch (2 to 4 examples are plenty), and its labels or targets.
    loss : Loss or str, optional
        By default the one that the model was compiled with, else cross-entropy from logits.
    backend : str, path or module, optional
        By default the model's own.
    training : bool
        Which forward pass is checked.
    coordinates : int
        Coordinates of each tensor; with 0 the random direction alone is checked.
    budget : float, optional
        Seconds for all of it; fewer coordinates are checked if they would take longer (at least 2 of each tensor, and
        its direction).

    Returns
    -------
    CheckResult
        A row for the input and for each parameter tensor.
    """
    x = np.asarray(x, np.float64)
    if not model.built:
        model.build(x.shape[1:])
    loss = losses.get(loss or model.loss or losses.SparseCategoricalCrossentropy())
    start = time.perf_counter()
    copied, sides = _twin(model, x, model.ops.backend if backend is None else backend, dtype, seed)
    losses.check_output(loss, copied)
    loss_of = _bound(loss, copied, labels)
    dx = _backward(copied, x, training, lambda y: loss_of(y)[1])
    if dtype == "float64":
        def forward(value):
            sides.clear()
            return np.float64(float(loss_of(copied.forward(value, training))[0])), list(sides)
        share = None if budget is None else budget / (1 + sum(len(layer.parameters) for layer in copied.layers))
        settings = _Settings(np.random.default_rng([seed, 23]), coordinates, MODEL_STEP, True, share)
        rows = _check_tensors(model.name, copied, forward, x, dx, np.float64(1.0), settings)
    else:
        exact, _ = _twin(model, x, "im2col", "float64", seed)
        exact_loss = _bound(loss, exact, labels)
        exact_dx = _backward(exact, x, training, lambda y: exact_loss(y)[1])
        rows = _compare_tensors(model.name, copied, exact, dx, exact_dx, start)
    return CheckResult(rows)


def _rebuild(stack, input_shape, backend, dtype, seed):
    """A model of copies of these layers, on a recording back-end, and the list it records in."""
    module, sides = recording(resolve_backend(backend))
    copies = [type(layer)(**layer.get_config()) for layer in stack]
    model = Sequential([layers.Input(tuple(input_shape)), *copies], backend=module, dtype=dtype, seed=seed)
    model.build()
    return model, sides


def _twin(model, x, backend, dtype, seed):
    """``_rebuild`` with the weights and the random stream of a model."""
    twin, sides = _rebuild(model.layers, x.shape[1:], backend, dtype, seed)
    twin.set_weights(model.get_weights())
    twin.stream.seed, twin.stream.step = model.stream.seed, model.stream.step
    return twin, sides


def _bound(loss, model, labels):
    """A copy of ``loss`` on the model's back-end, with the labels filled in."""
    loss = copy.copy(loss)
    loss.ops = model.ops
    labels = model.ops.asarray(_numbers(labels, model.dtype))
    return lambda y: loss(y, labels)


def _numbers(targets, dtype):
    targets = np.asarray(targets)
    return targets.astype(dtype if targets.dtype.kind == "f" else np.int64)


def _backward(model, x, training, dy_of):
    """Forward, then backward: sets the model's gradients and returns ``dx`` as a NumPy array."""
    dy = dy_of(model.forward(x, training))
    return np.array(model.ops.to_numpy(model.backward(dy, input_gradient=True)))


def _tensors(model):
    """``(name, place, shape)`` of every parameter tensor in the flat vector."""
    start = 0
    for layer in model.layers:
        for name, (shape, _) in layer.parameter_specs.items():
            stop = start + int(np.prod(shape))
            yield f"{layer.name} d{name}" if len(model.layers) > 1 else f"d{name}", slice(start, stop), shape
            start = stop


def _check_tensors(name, model, forward, x, dx, dy, settings):
    """A row for the input and for each parameter tensor of a model whose backward pass has just run."""
    gradients = np.array(model.ops.to_numpy(model.gradients))
    parameters = np.array(model.ops.to_numpy(model.parameters))
    rows = [_check_tensor(name, "dx", forward, x, dx, dy, settings)]
    for tensor, place, shape in _tensors(model):
        def perturbed(value, place=place):
            vector = parameters.copy()
            vector[place] = value.reshape(-1)
            model.ops.assign(model.parameters, model.ops.asarray(vector))
            return forward(x)

        rows.append(_check_tensor(name, tensor, perturbed, parameters[place].reshape(shape),
                                  gradients[place].reshape(shape), dy, settings))
        model.ops.assign(model.parameters, model.ops.asarray(parameters))
    return rows


def _check_tensor(name, tensor, forward, x, gradient, dy, settings):
    start = time.perf_counter()
    row = Row(name, tensor, "wrong")
    if gradient.shape != x.shape:
        row.detail = f"{name}, {tensor}: has shape {gradient.shape}, expected {x.shape}"
        return row
    if not np.isfinite(gradient).all():
        row.detail = f"{name}, {tensor}: contains NaN or infinity"
        return row
    indices = numeric.choose_coordinates(x.shape, settings.coordinates, settings.rng)[:settings.coordinates]
    deadline = None if settings.seconds is None else start + settings.seconds
    found = numeric.numeric_gradient(forward, x, dy, indices, settings.step, gradient, deadline=deadline)
    errors = found.errors(gradient)
    row.error, row.coordinates, row.kinks = float(errors.max(initial=0.0)), found.checked, found.skipped
    along = _direction(forward, x, gradient, dy, settings) if settings.directions else None
    row.seconds = time.perf_counter() - start
    if not found.checked and along is None:
        row.detail = f"{name}, {tensor}: every coordinate tried lies at a kink, so nothing could be checked"
        return row
    row.verdict = numeric.verdict(max(row.error, along or 0.0))
    if row.verdict != "good" and numeric.verdict(row.error) == "good":
        row.detail = f"{name}, {tensor}: wrong by {along:.1e} along a random direction, right at the coordinates tried"
    elif row.verdict != "good":
        worst = int(np.argmax(errors))
        index = tuple(int(place) for place in np.unravel_index(int(found.indices[worst]), x.shape))
        row.place = f"{tensor}[{', '.join(map(str, index))}]"
        row.detail = (f"{name}, {row.place}: the backward pass gives {float(gradient[index]):.9g}, finite differences "
                      f"give {found.values[worst]:.9g}")
    row.error = max(row.error, along or 0.0)
    return row


def _direction(forward, x, gradient, dy, settings):
    """Relative error of the derivative along a random direction; None if every direction tried crosses a kink."""
    step = settings.step
    for _ in range(4):
        direction = settings.rng.choice([-1.0, 1.0], x.shape)
        value, kink = numeric.directional_difference(forward, x, dy, direction, step)
        if not kink:
            claimed = float(np.sum(gradient * direction))
            length = float(np.sqrt(np.square(gradient).sum()))
            return abs(value - claimed) / max(abs(claimed), abs(value), 0.1 * length, 1e-3)
        step = step / 4
    return None


def _compare_tensors(name, model, exact, dx, exact_dx, start):
    """Rows for a float32 model against its float64 twin, whose backward passes have just run."""
    gradients, answers = (np.array(one.ops.to_numpy(one.gradients)) for one in (model, exact))
    pairs = [("dx", dx, exact_dx)] + [(tensor, gradients[place], answers[place]) for tensor, place,
                                      _ in _tensors(model)]
    rows = []
    for tensor, given, answer in pairs:
        floor = max(numeric.FLOOR["float32"], 1e-3 / max(np.abs(answer).max(initial=0.0), 1e-3))
        error = float(numeric.relative_error(given, answer, floor).max(initial=0.0))
        rows.append(Row(name, tensor, numeric.verdict(error, "float32", numeric.GOOD_EXACT), reference=error))
        if rows[-1].verdict != "good":
            rows[-1].detail = f"{name}, {tensor}: differs from the same model in float64 by {error:.1e}"
    for row in rows:
        row.seconds = (time.perf_counter() - start) / len(rows)
    return rows
