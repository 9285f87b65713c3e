"""What is missing is said in one sentence, and nothing is needed before the first array. No GPU, no simulator."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys

import pytest

import kernels
from kernels import BackendUnavailable, cuda
from minicnn import cli


def in_a_new_process(code, **environment):
    environment = {**{key: value for key, value in os.environ.items() if key != "NUMBA_ENABLE_CUDASIM"}, **environment}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)


def test_importing_the_package_imports_no_numba():
    code = "import sys, kernels; kernels.get_backend('cuda'); print('numba' in sys.modules)"
    assert in_a_new_process(code).stdout.strip() == "False"


def test_every_function_is_there_without_a_gpu():
    assert kernels.missing_functions(cuda) == []
    for name in (*kernels.CONTRACT, *kernels.ARRAYS, "conv2d_relu_forward", "dense_relu_backward"):
        assert getattr(cuda, name).__doc__, name
    with pytest.raises(AttributeError, match=r"'kernels.cuda' has no attribute 'conv3d'"):
        cuda.conv3d  # noqa: B018


def test_names_and_defaults_are_the_contracts():
    for name, signature in {**kernels.CONTRACT, **kernels.FUSED}.items():
        if name in kernels.FUSED and not hasattr(cuda, name):  # a back-end need not have all of these
            continue
        space = {}
        exec(f"def function{signature.partition(' ->')[0]}: pass", {"NO_PADDING": kernels.NO_PADDING}, space)
        declared = inspect.signature(space["function"]).parameters.values()
        offered = inspect.signature(getattr(cuda, name)).parameters.values()
        assert [(p.name, p.default) for p in offered] == [(p.name, p.default) for p in declared], name


@pytest.fixture
def machine(monkeypatch):
    """Pretend to be on a machine with some of the parts."""
    from kernels.cuda import device

    def pretend(numba_cuda=True, driver=(13, 0), toolkit=13, available=True, error=None):
        find_spec = device.importlib.util.find_spec
        monkeypatch.setattr(device, "SIMULATED", False)
        monkeypatch.setattr(device, "_found", [])
        monkeypatch.setattr(device.importlib.util, "find_spec",
                            lambda name: numba_cuda or None if name == "numba_cuda" else find_spec(name))
        monkeypatch.setattr(device, "_driver_version", lambda: driver)
        monkeypatch.setattr(device, "_toolkit_version", lambda: toolkit)
        monkeypatch.setattr(device.cuda, "is_available", lambda: available)
        monkeypatch.setattr(device.cuda, "cuda_error", lambda: error, raising=False)
        return device.require_device

    return pretend


@pytest.mark.parametrize("parts, error, message", [
    ({"numba_cuda": False}, ImportError, r"which is not installed: in a clone of MiniCNN: pip install '.\[cuda13\]'"),
    ({"driver": None}, BackendUnavailable, "needs an NVIDIA driver, and none was found"),
    ({"toolkit": None}, ImportError, r"compiler for your driver \(CUDA 13.0\), and none is installed"),
    ({"driver": (12, 4)}, BackendUnavailable,
     r"supports CUDA 12.4, but numba-cuda was installed for CUDA 13: pip install '.\[cuda12\]'"),
    ({"available": False, "error": "CUDA_ERROR_NO_DEVICE\n"}, BackendUnavailable,
     r"found a driver \(CUDA 13.0\) but cannot use a GPU \(CUDA_ERROR_NO_DEVICE\): see whether nvidia-smi lists one"),
])
def test_what_is_missing_is_named_with_what_to_do(machine, parts, error, message):
    require = machine(**parts)
    with pytest.raises(error, match=message) as raised:
        require()
    assert "\n" not in str(raised.value)
    with pytest.raises(error, match=message):
        cuda.zeros((3,), "float32")


def test_the_command_says_it_in_one_line(machine, tmp_path, capsys, monkeypatch):
    machine(driver=None)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", "--backend", "cuda", "--epochs", "1"]) == 2
    message = capsys.readouterr().err.strip()
    assert message.startswith("minicnn train: error: the cuda back-end needs an NVIDIA driver") and "\n" not in message
    assert not list(tmp_path.iterdir())


def test_with_all_parts_nothing_is_said(machine):
    machine()()
    machine(driver=(13, 1), toolkit=12)()


def test_an_old_driver_is_no_reason_where_it_is_new_enough(machine):
    machine(driver=(12, 9), toolkit=12)()


def test_a_numpy_array_is_refused_with_the_way_out():
    import numpy as np
    with pytest.raises(TypeError, match=r"x: expected an array on the device \(from kernels.cuda.asarray\), got ndarr"):
        cuda.relu_forward(np.zeros(3))


def test_other_backends_refuse_an_array_of_the_device():
    code = ("import numpy as np; from kernels import cuda, im2col\n"
            "try: im2col.relu_forward(cuda.asarray(np.zeros(3)))\n"
            "except TypeError as error: print(error)")
    got = in_a_new_process(code, NUMBA_ENABLE_CUDASIM="1")
    assert got.stdout.strip() == "x: expected a NumPy array, got DeviceArray", got.stderr
