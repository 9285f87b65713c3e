"""The contract itself: every back-end offers every function, under the same names, and ``get_backend`` says so."""

from __future__ import annotations

import inspect
import types

import pytest
from arguments import BACKENDS, good_arguments, name_of

import kernels
from kernels import im2col, reference


def declared(signature):
    """The signature that a line of the contract declares, as Python sees it."""
    space = {}
    exec(f"def function{signature.partition(' ->')[0]}: pass", {"NO_PADDING": kernels.NO_PADDING}, space)
    return [(parameter.name, parameter.default)
            for parameter in inspect.signature(space["function"]).parameters.values()]


def offered(function):
    return [(parameter.name, parameter.default) for parameter in inspect.signature(function).parameters.values()]


def test_the_numpy_backends_are_complete():
    for name in ("reference", "im2col"):
        assert kernels.missing_functions(kernels.get_backend(name)) == []


def agreed(backend, name, signature):
    """The signature that a back-end should offer: with ``out``, if it says that it takes that."""
    takes_out = getattr(backend, "TAKES_OUT", False) and name in kernels.OUT
    return declared(signature) + [("out", None)] * takes_out


@pytest.mark.parametrize("backend", BACKENDS, ids=name_of)
@pytest.mark.parametrize("name", kernels.CONTRACT)
def test_names_and_defaults_are_the_contracts(backend, name):
    assert offered(getattr(backend, name)) == agreed(backend, name, kernels.CONTRACT[name])


@pytest.mark.parametrize("backend", BACKENDS, ids=name_of)
def test_fused_functions_if_offered_have_the_contracts_names(backend):
    for name, signature in kernels.FUSED.items():
        if hasattr(backend, name):
            assert offered(getattr(backend, name)) == agreed(backend, name, signature)


@pytest.mark.parametrize("backend", BACKENDS, ids=name_of)
@pytest.mark.parametrize("name", kernels.CONTRACT)
def test_every_function_is_documented(backend, name):
    assert getattr(backend, name).__doc__


@pytest.mark.parametrize("name", kernels.CONTRACT)
def test_there_are_good_arguments_for_every_function(name):
    assert set(good_arguments(name)) <= {parameter for parameter, _ in declared(kernels.CONTRACT[name])}


def test_the_cpu_backend_writes_gradients_where_they_are_wanted():
    assert kernels.get_backend("cpu").TAKES_OUT
    assert set(kernels.OUT) <= {*kernels.CONTRACT, *kernels.FUSED}


def test_get_backend_by_name():
    assert kernels.get_backend("reference") is reference
    assert kernels.get_backend("im2col") is im2col


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match=r"backend: unknown name 'numpi'.*reference, im2col"):
        kernels.get_backend("numpi")


def test_a_complete_module_is_a_backend():
    module = types.ModuleType("homework")
    for name in kernels.CONTRACT:
        setattr(module, name, getattr(reference, name))
    assert kernels.get_backend(module) is module


def test_a_module_that_lacks_functions_is_named_with_them():
    module = types.ModuleType("homework")
    for name in kernels.CONTRACT:
        setattr(module, name, getattr(reference, name))
    del module.max_pool2d_backward
    module.adam_step = None
    assert kernels.missing_functions(module) == ["max_pool2d_backward", "adam_step"]
    with pytest.raises(TypeError, match=r"'homework' lacks 2 of the \d+") as error:
        kernels.get_backend(module)
    assert "max_pool2d_backward(dy, argmax, x_shape" in str(error.value)
    assert "adam_step(parameters" in str(error.value)
    assert "conv2d_forward" not in str(error.value)


def test_a_fallback_completes_a_module_and_leaves_it_alone():
    module = types.ModuleType("homework")
    module.conv2d_forward = lambda x, w, b=None, stride=1, padding=kernels.NO_PADDING: "mine"
    completed = kernels.get_backend(module, fallback="im2col")
    assert kernels.missing_functions(completed) == []
    assert completed.conv2d_forward is module.conv2d_forward
    assert completed.conv2d_backward is im2col.conv2d_backward
    assert kernels.missing_functions(module) == [name for name in kernels.CONTRACT if name != "conv2d_forward"]


def test_a_fused_function_of_the_fallback_does_not_bypass_the_modules_own():
    fallback = types.ModuleType("fallback")
    for name in kernels.CONTRACT:
        setattr(fallback, name, getattr(reference, name))
    for name in kernels.FUSED:
        setattr(fallback, name, lambda *arguments: "fused")
    module = types.ModuleType("homework")
    module.conv2d_forward = reference.conv2d_forward
    completed = kernels.get_backend(module, fallback=fallback)
    assert not any(hasattr(completed, name) for name in kernels.FUSED)
    module.conv2d_relu_forward = lambda *arguments: "mine"
    completed = kernels.get_backend(module, fallback=fallback)
    assert completed.conv2d_relu_forward is module.conv2d_relu_forward
    assert not hasattr(completed, "dense_relu_forward")


def test_an_incomplete_fallback_is_an_error_too():
    with pytest.raises(TypeError, match="'second' lacks"):
        kernels.get_backend(types.ModuleType("first"), fallback=types.ModuleType("second"))
