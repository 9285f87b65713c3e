"""What there is to check: one entry for each operation of the contract.

An operation is a forward function and its backward function, or a loss (one function that returns value and gradient),
or an optimizer's step. The entry says what the results are called, which gradient belongs to which input, in which
inputs the operation is linear (there the adjoint identity holds), and where its kinks are. Argument names and defaults
are read from ``kernels.CONTRACT``.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

import kernels
from kernels import reference
from minicnn.gradcheck import cases


@dataclass(frozen=True)
class Operation:
    """One operation of the contract; ``gradients`` and ``inputs`` correspond."""

    name: str
    forward: str
    cases: Callable
    results: tuple
    backward: str | None = None
    gradients: tuple = ()
    inputs: tuple = ()
    linear: tuple = ()
    in_place: tuple = ()
    kinks: Callable | None = None

    @property
    def is_loss(self):
        """Whether one function returns the value and its gradient."""
        return bool(self.gradients) and self.backward is None

    @property
    def functions(self):
        """The contract's functions that make up the operation."""
        return (self.forward,) if self.backward is None else (self.forward, self.backward)

    def make_cases(self, seed, dtype="float64"):
        """The cases of this seed, in a fixed order; an operation's cases do not depend on the others'."""
        rng = np.random.default_rng([seed, *self.name.encode()])
        return self.cases(rng, np.dtype(dtype).type)

    def results_of(self, function):
        """Names of what ``function`` returns, in order."""
        if function == self.backward:
            return self.gradients
        return self.results


def _sign(arguments):
    return arguments["x"] > 0


def _winners(arguments):
    """Which pixel wins each window: where that changes, max-pooling has a kink."""
    return reference.max_pool2d_forward(**arguments)[1]


_LAYER = {"gradients": ("dx", "dw", "db"), "inputs": ("x", "w", "b"), "linear": ("x", "w")}
_UNARY = {"gradients": ("dx",), "inputs": ("x",), "results": ("y",)}
_BATCH_NORM = {"gradients": ("dx", "dgamma", "dbeta"), "inputs": ("x", "gamma", "beta")}


def _pair(name, **entry):
    return Operation(name, f"{name}_forward", backward=f"{name}_backward", **entry)


def _loss(name, scores, smoothing=True):
    return Operation(name, name, partial(cases.loss_cases, name=scores, smoothing=smoothing), ("loss", f"d{scores}"),
                     gradients=(f"d{scores}",), inputs=(scores,))


OPERATIONS = {operation.name: operation for operation in (
    _pair("conv2d", cases=cases.conv2d_cases, results=("y",), **_LAYER),
    _pair("max_pool2d", cases=cases.max_pool2d_cases, results=("y", "argmax"), gradients=("dx",), inputs=("x",),
          kinks=_winners),
    _pair("avg_pool2d", cases=cases.avg_pool2d_cases, linear=("x",), **_UNARY),
    _pair("dense", cases=cases.dense_cases, results=("y",), **_LAYER),
    _pair("relu", cases=cases.elementwise_cases, kinks=_sign, **_UNARY),
    _pair("leaky_relu", cases=cases.leaky_relu_cases, kinks=_sign, **_UNARY),
    _pair("sigmoid", cases=cases.saturating_cases, **_UNARY),
    _pair("tanh", cases=cases.saturating_cases, **_UNARY),
    _pair("softmax", cases=cases.saturating_cases, **_UNARY),
    _loss("softmax_cross_entropy", "logits"),
    _loss("cross_entropy", "probabilities"),
    _loss("mean_squared_error", "predictions", smoothing=False),
    _pair("batch_norm", cases=cases.batch_norm_cases, results=("y", "mean", "variance"), **_BATCH_NORM),
    _pair("batch_norm_inference", cases=partial(cases.batch_norm_cases, inference=True), results=("y",), **_BATCH_NORM),
    _pair("dropout", cases=cases.dropout_cases, results=("y", "mask"), gradients=("dx",), inputs=("x",), linear=("x",)),
    Operation("sgd_step", "sgd_step", cases.sgd_cases, (), in_place=("parameters", "velocity")),
    Operation("adam_step", "adam_step", cases.adam_cases, (), in_place=("parameters", "first_moment", "second_moment")),
    Operation("clip_by_global_norm", "clip_by_global_norm", cases.clip_cases, ("norm",), in_place=("gradients",)),
)}

#: The operation that a function of the contract belongs to.
OPERATION_OF = {function: operation for operation in OPERATIONS.values() for function in operation.functions}


@functools.cache
def parameters_of(function):
    """``{name: default}`` of a contract's function, in order; a parameter without default has ``REQUIRED``."""
    text = kernels.CONTRACT[function].rpartition(" -> ")[0] or kernels.CONTRACT[function]
    defaults = ast.parse(f"def f{text}: pass").body[0].args
    names = [argument.arg for argument in defaults.args]
    values = [REQUIRED] * (len(names) - len(defaults.defaults))
    for node in defaults.defaults:
        values.append(kernels.NO_PADDING if isinstance(node, ast.Name) else ast.literal_eval(node))
    return dict(zip(names, values, strict=True))


REQUIRED = object()


def arguments_for(function, available):
    """The positional arguments of a call of ``function``, taken by name from ``available``.

    Those at the end that have their default value are left out: a function that lacks them is then still right for
    their defaults, which is worth knowing.
    """
    parameters = parameters_of(function)
    arguments = {name: available.get(name, default) for name, default in parameters.items()}
    for name, default in reversed(parameters.items()):
        if default is REQUIRED or isinstance(arguments[name], np.ndarray) or arguments[name] != default:
            break
        del arguments[name]
    return arguments


def upstream(operation, case, y, seed, dtype):
    """The random ``dy`` of a case: never ones (a softmax's gradient would be zero and the check vacuous)."""
    if operation.backward is None:
        return np.float64(1.0)
    rng = np.random.default_rng([seed, 7, *case.name.encode()])
    return rng.standard_normal(np.shape(y)).astype(dtype)


def operations_named(names):
    """Operations by their names or by those of their functions; ``ValueError`` with the choices for an unknown one."""
    found = []
    for name in names:
        if name in ("layers", "losses", "networks"):
            continue
        if name not in OPERATIONS and name not in OPERATION_OF:
            raise ValueError(f"only: unknown name {name!r}; choose among {', '.join(OPERATIONS)}, layers, losses, "
                             f"networks")
        operation = name if name in OPERATIONS else OPERATION_OF[name].name
        found += [operation] if operation not in found else []
    return found


def functions_named(names):
    """Functions of the contract by their names or by those of their operations."""
    functions = []
    for name in names:
        if name in OPERATION_OF and name not in OPERATIONS:
            functions.append(name)
        elif name in OPERATIONS:
            functions += OPERATIONS[name].functions
        else:
            raise ValueError(f"only: unknown name {name!r}; choose among {', '.join(OPERATION_OF)}")
    return functions
