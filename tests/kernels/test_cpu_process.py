"""What only shows in a process of its own: threads, threading layers, the cache on disk, forks."""

from __future__ import annotations

import errno
import importlib
import os
import pathlib
import subprocess
import sys

import numba
import pytest
from numba.core.dispatcher import Dispatcher

from kernels.cpu import compiling
from kernels.cpu.parts import part

ROOT = pathlib.Path(__file__).parents[2]

STEP = """
import hashlib
import numpy as np
from kernels import cpu
from kernels.cpu import threads
threads.WORTH_THREADS = 0

def sparse(y):
    return np.where(y > np.quantile(y, 0.8), y, 0)

def step(dtype=np.float32):
    digest = hashlib.sha256()
    for shape, w_shape, padding in (((9, 13, 12, 5), (3, 3, 5, 70), ((1, 1), (0, 2))),
                                    ((40, 9, 9, 1), (3, 3, 1, 32), 0), ((7, 23, 12, 32), (3, 3, 32, 21), 0),
                                    ((33, 1, 1, 200), (1, 1, 200, 10), 0)):
        padding = padding or ((0, 0), (0, 0))
        rng = np.random.default_rng(1)
        x, w, b = (rng.normal(size=s).astype(dtype) for s in (shape, w_shape, w_shape[3:]))
        y = cpu.conv2d_relu_forward(x, w, b, 1, padding)
        dy = rng.normal(size=y.shape).astype(dtype)
        results = [y, *cpu.conv2d_relu_backward(dy, y, x, w, 1, padding)]
        results += cpu.conv2d_relu_backward(dy, sparse(y), x, w, 1, padding)
        if y.shape[1] > 1:
            pooled, argmax = cpu.max_pool2d_forward(y, 2)
            results += [pooled, argmax, cpu.max_pool2d_backward(pooled, argmax, y.shape, 2)]
            results += cpu.conv2d_relu_max_pool2d_forward(x, w, b, 1, padding)
            results += cpu.conv2d_relu_max_pool2d_backward(pooled, *results[-2:], x, w, 1, padding)
        for array in results:
            digest.update(array.tobytes())
    flat = np.random.default_rng(0).normal(size=(4, 100_003)).astype(dtype) ** 2
    cpu.adam_step(*flat, 3)
    digest.update(flat.tobytes())
    digest.update(cpu.sigmoid_forward(-flat[0]).tobytes())
    norm = cpu.clip_by_global_norm(flat[0], 1.0)
    digest.update(np.float64(norm).tobytes())
    return digest.hexdigest()
"""


def run(code, **environment):
    """The output of a Python process, and what it wrote to stderr."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=300,
                          check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split(), done.stderr


def test_the_same_bits_for_any_number_of_threads():
    digests, _ = run(STEP + """
for number in (1, 2, 3, 4):
    cpu.set_num_threads(number)
    print(step())
""", NUMBA_NUM_THREADS="4")
    assert len(digests) == 4 and len(set(digests)) == 1


LATE = """
import inspect
from numba.core.caching import NullCache
from kernels.cpu import convolution, dots, picked, winners
from kernels.cpu.parts import part

def late(module, name, *kernels):
    # the same share, but the first of several workers comes when all is done
    share = getattr(module, name)
    for kernel in kernels:
        getattr(module, kernel)._cache = NullCache()
    names = ", ".join(inspect.signature(share.py_func).parameters)
    made = {"share": share}
    exec(f"def late_{name}({names}):\\n    if worker > 0 or workers == 1:\\n        share({names})", made)
    setattr(module, name, part(made[f"late_{name}"]))

for names in ((convolution, "convolve_share", "convolve"),
              (convolution, "spread_share", "spread", "spread_and_correlate"),
              (convolution, "correlate_share", "correlate", "spread_and_correlate"),
              (dots, "dots_share", "spread_dots"), (picked, "picked_share", "correlate_picked"),
              (winners, "winners_share", "backward_from_winners")):
    late(*names)
"""


@pytest.mark.slow  # compiles the kernels anew
def test_what_a_late_worker_leaves_the_others_do():
    digests, _ = run(STEP + LATE + """
for number in (1, 2, 4):
    cpu.set_num_threads(number)
    print(step())
""", NUMBA_NUM_THREADS="4")
    assert len(digests) == 3 and len(set(digests)) == 1


def test_gradients_repeat_to_the_bit_however_the_workers_interleave():
    # one worker is at dw while another is at dx still: what they write to must not overlap
    out, _ = run("""
import numpy as np
from kernels import cpu
from kernels.cpu import threads
threads.WORTH_THREADS = 0
rng = np.random.default_rng(0)
for shape, w_shape in (((32, 8, 8, 1), (3, 3, 1, 16)), ((32, 8, 8, 16), (3, 3, 16, 32)),
                       ((32, 12, 12, 32), (3, 3, 32, 64))):
    x, w = (rng.normal(size=s).astype(np.float32) for s in (shape, w_shape))
    padding = ((1, 1), (1, 1))
    y = cpu.conv2d_relu_forward(x, w, None, 1, padding)
    pooled, argmax = cpu.conv2d_relu_max_pool2d_forward(x, w, None, 1, padding)
    sparse = np.where(y > np.quantile(y, 0.8), y, 0)
    seen = set(), set(), set()
    for repeat in range(120):
        cpu.set_num_threads(1 + repeat % 4)
        seen[0].add(b"".join(g.tobytes() for g in cpu.conv2d_relu_backward(y, y, x, w, 1, padding)))
        seen[1].add(b"".join(g.tobytes() for g in cpu.conv2d_relu_max_pool2d_backward(
            pooled, pooled, argmax, x, w, 1, padding)))
        seen[2].add(b"".join(g.tobytes() for g in cpu.conv2d_relu_backward(y, sparse, x, w, 1, padding)))
    print(*map(len, seen))
""", NUMBA_NUM_THREADS="4")
    assert out == ["1"] * 9


@pytest.mark.parametrize("layer", ["workqueue", "default"])
def test_two_python_threads_at_once(layer):
    digests, _ = run(STEP + """
from concurrent.futures import ThreadPoolExecutor
import numba
cpu.set_num_threads(2)

def fresh(_):
    x, w = (np.random.default_rng(5).normal(size=s).astype(np.float32) for s in ((16, 9, 9, 8), (3, 3, 8, 40)))
    y = cpu.conv2d_relu_forward(x, w)
    dx, dw, db = cpu.conv2d_relu_backward(y, y, x, w)
    return hashlib.sha256(y.tobytes() + dx.tobytes() + dw.tobytes() + db.tobytes()).hexdigest()

with ThreadPoolExecutor(4) as pool:
    print(*pool.map(fresh, range(60)), numba.threading_layer())
""", NUMBA_NUM_THREADS="2", NUMBA_THREADING_LAYER=layer)
    *digests, name = digests
    assert len(digests) == 60 and len(set(digests)) == 1
    assert name == layer or layer == "default"


def test_a_child_after_a_fork_computes_the_same_and_numba_keeps_its_own_setting():
    if not hasattr(os, "fork"):
        pytest.skip("no fork here")
    out, _ = run("""
import os, sys, warnings
import numba, numpy as np
warnings.simplefilter("ignore")
from kernels import cpu
from kernels.cpu import threads
threads.WORTH_THREADS = 0
numba.set_num_threads(1)
cpu.set_num_threads(2)
x = np.arange(100_000, dtype=np.float32) - 50_000
parent = cpu.relu_forward(x)
print(numba.get_num_threads(), flush=True)
if os.fork() == 0:
    print((cpu.relu_forward(x) == parent).all(), flush=True)
    os._exit(0)
print(os.wait()[1])
""", NUMBA_NUM_THREADS="2")
    assert out == ["1", "True", "0"]


RELU = "import numpy as np\nfrom kernels import cpu\nprint(cpu.relu_forward(np.float32([-1, 2])))"


def test_the_first_run_says_once_that_it_compiles_and_the_second_finds_the_result(tmp_path):
    _, first = run(RELU, NUMBA_CACHE_DIR=str(tmp_path))
    _, second = run(RELU, NUMBA_CACHE_DIR=str(tmp_path))
    assert first.count("MiniCNN: compiling") == 1 and len(first.splitlines()) == 1
    assert second == ""


def test_what_is_only_needed_to_compile_is_not_imported_to_load():
    # see kernels/cpu/compiling.py
    code = STEP + """
import sys
step()
cpu.softmax_cross_entropy(np.zeros((2, 3), np.float32), np.array([0, 1]))
print(*{"numba.np.arrayobj", "numba.np.arraymath", "scipy.linalg"} & set(sys.modules))
"""
    run(code)  # compiles what is not in the cache yet
    out, _ = run(code)
    assert out == []


def test_a_cache_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    out, _ = run(RELU, NUMBA_CACHE_DIR=str(tmp_path / "file" / "cache"))
    assert "".join(out) == "[0.2.]"


def test_a_damaged_cache_is_compiled_anew(tmp_path):
    run(RELU, NUMBA_CACHE_DIR=str(tmp_path))
    for file in tmp_path.rglob("*.nb?"):
        file.write_bytes(file.read_bytes()[:20])
    out, _ = run(RELU, NUMBA_CACHE_DIR=str(tmp_path))
    assert "".join(out) == "[0.2.]"
    assert run(RELU, NUMBA_CACHE_DIR=str(tmp_path))[1] == ""  # the damage is repaired


def test_no_two_compiled_functions_share_a_name():
    # the linker would take one for the other when they come from the cache: see kernels/cpu/compiling.py
    found = {}
    for path in (ROOT / "kernels" / "cpu").glob("*.py"):
        module = importlib.import_module(f"kernels.cpu.{path.stem}" if path.stem != "__init__" else "kernels.cpu")
        for value in vars(module).values():
            if isinstance(value, Dispatcher):
                function = value.py_func
                found.setdefault((function.__module__, function.__qualname__), set()).add(function)
    assert len(found) > 40
    assert [name for name, functions in found.items() if len(functions) > 1] == []


@part
def twice(x):
    return 2 * x


@part
def twice_and_larger(x):
    return max(twice(x), x)


@numba.njit  # no cache, from which the parts would be missing
def twice_and_larger_and_one(x):
    return twice_and_larger(x) + 1


def test_a_part_ends_up_in_its_kernels_and_has_no_machine_code_of_its_own():
    assert twice_and_larger_and_one(20) == 41
    known = []
    for dispatcher in (twice, twice_and_larger, twice_and_larger_and_one):
        compiled, = dispatcher.overloads.values()
        known.append(compiled.library._codegen._engine.is_symbol_defined(compiled.fndesc.llvm_func_name))
    assert known == [False, False, True]
    with pytest.raises(TypeError, match="twice: only compiled code can call this part of a kernel"):
        twice(20)


@pytest.mark.slow  # compiles the convolutions twice
def test_kernels_compiled_in_different_processes_agree(tmp_path):
    pieces = ["""
import numpy as np
from kernels import cpu, reference
rng = np.random.default_rng(0)
x, w = rng.normal(size=(4, 6, 6, 40)), rng.normal(size=(3, 3, 40, 33))
y = cpu.conv2d_forward(x, w)
""", """
gradients = cpu.conv2d_backward(y, x, w)
""", """
assert np.allclose(y, reference.conv2d_forward(x, w), rtol=0, atol=1e-9)
for got, expected in zip(gradients, reference.conv2d_backward(y, x, w)):
    assert np.allclose(got, expected, rtol=0, atol=1e-9)
"""]
    for count in (1, 2, 3):  # the first compiles the forward pass, the second the backward one, the third loads both
        run("".join(pieces[:count]), NUMBA_CACHE_DIR=str(tmp_path))


def test_a_full_disk_loses_the_result_and_nothing_else():
    class Full:
        def save_overload(self, signature, data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def load_overload(self, signature, target):
            raise EOFError

    cache = compiling._Forgiving(Full(), "kernel")
    cache.save_overload(None, None)
    assert cache.load_overload(None, None) is None


def test_the_cache_directory_changes_with_the_sources_and_the_processor(monkeypatch, tmp_path):
    before = compiling.cache_directory()
    monkeypatch.setattr(compiling.config, "CPU_NAME", "generic")
    assert compiling.cache_directory() != before
    monkeypatch.undo()
    (tmp_path / "simd.py").write_text("changed")
    monkeypatch.setattr(compiling, "_HERE", tmp_path)
    assert compiling.cache_directory() != before


@pytest.mark.parametrize("value", ["0", "many", "-1"])
def test_a_wrong_setting_in_the_environment(value):
    code = "try:\n    import kernels.cpu\nexcept ValueError as error:\n    print(error)"
    out, _ = run(code, MINICNN_NUM_THREADS=value)
    assert " ".join(out).startswith("MINICNN_NUM_THREADS: expected an integer of at least 1")


def test_the_setting_in_the_environment():
    out, _ = run("from kernels import cpu\nprint(cpu.get_num_threads())", MINICNN_NUM_THREADS="1")
    assert out == ["1"]
