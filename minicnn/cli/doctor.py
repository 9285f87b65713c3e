"""Check this machine: is everything there that MiniCNN needs, and what to do where it is not.

Looks at Python, the libraries, Numba with its threads and its vector width, the caches, the data directory and CUDA.
Each is probed in a process of its own, so that a library that crashes does not take the others along. The exit status
is 1 when something is wrong that MiniCNN cannot work without.

Examples:
  minicnn doctor
  minicnn doctor --json
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from kernels.cuda import HOW_TO_INSTALL

OK, NOTE, WRONG = "ok", "note", "WRONG"

#: What is needed, with the oldest version that will do (as in pyproject.toml) and what it is for.
LIBRARIES = {"numpy": ((1, 24), "arrays"), "numba": ((0, 59), "the back-ends cpu and cuda"),
             "matplotlib": ((3, 7), "pictures"), "tqdm": ((4, 64), "progress bars")}

NUMBA_PROBE = """
import json, sys
import numpy as np
import kernels
backend = kernels.get_backend("cpu")
from kernels.cpu import compiling, simd, threads
import numba
x = np.ones((2, 8, 8, 3), np.float32); w = np.ones((3, 3, 3, 4), np.float32)
y = backend.conv2d_forward(x, w)
assert y.shape == (2, 6, 6, 4) and np.all(y == 27), "a convolution of ones gave wrong numbers"
@numba.njit(parallel=True)
def parallel(n):
    total = 0
    for i in numba.prange(n):
        total += i
    return total
assert parallel(10) == 45
print(json.dumps({"layer": numba.threading_layer(), "threads": threads.get_num_threads(),
                  "limit": numba.config.NUMBA_NUM_THREADS, "lanes": simd.lanes(np.dtype(np.float32)),
                  "cores": threads.physical_cores(), "cache": str(compiling.cache_directory())}))
"""

CUDA_PROBE = """
import json
from numba import cuda
if not cuda.is_available():
    print(json.dumps({"devices": []}))
else:
    names = [device.name.decode() if isinstance(device.name, bytes) else str(device.name) for device in cuda.gpus]
    array = cuda.to_device(__import__("numpy").arange(4.0))
    assert array.copy_to_host().sum() == 6
    print(json.dumps({"devices": names, "capability": list(cuda.get_current_device().compute_capability)}))
"""


def add_arguments(parser):
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run(arguments):
    findings = [check_python(), *check_libraries(), *check_numba(), check_pictures(), *check_folders(), check_cuda()]
    if arguments.json:
        print(json.dumps([dict(zip(("state", "what", "found", "advice"), finding)) for finding in findings], indent=2))
    else:
        width = max(len(what) for _, what, _, _ in findings)
        for state, what, found, advice in findings:
            print(f"{state:5}  {what:{width}}  {found}")
            if advice:
                print(f"{'':5}  {'':{width}}  -> {advice}")
    return int(any(state == WRONG for state, *_ in findings))


def check_python():
    """The interpreter's version and kind."""
    found = f"{platform.python_version()} ({platform.python_implementation()}, {platform.machine()})"
    if tuple(sys.version_info) < (3, 10):
        return WRONG, "Python", found, "MiniCNN needs Python 3.10 or newer"
    return OK, "Python", found, ""


def check_libraries():
    """The libraries' versions, without importing them."""
    for name, (oldest, purpose) in LIBRARIES.items():
        least = ".".join(map(str, oldest))
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield WRONG, name, "not installed", f"needed for {purpose}: pip install '{name}>={least}'"
            continue
        numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
        if numbers < oldest:
            yield WRONG, name, version, f"MiniCNN needs {least} or newer: pip install -U {name}"
        else:
            yield OK, name, version, ""


def check_numba():
    """Compile and run a convolution; report threads, vector width and the cache of compiled kernels."""
    facts, error = probe(NUMBA_PROBE)
    if facts is None:
        yield WRONG, "back-end cpu", error, "train with --backend im2col meanwhile; reinstall numba if it fails to load"
        return
    yield OK, "back-end cpu", "compiles, and a convolution is right", ""
    layer, threads, cores = facts["layer"], facts["threads"], facts["cores"]
    advice = ""
    if layer == "workqueue":
        advice = ("Numba's plain thread pool: starting threads costs about 20 times as much as with OpenMP; install "
                  "the system's OpenMP library (Debian, Ubuntu: apt-get install libgomp1)")
    yield (NOTE if advice else OK), "threading layer", layer, advice
    advice = "" if threads >= cores else f"MINICNN_NUM_THREADS or NUMBA_NUM_THREADS limits them; {cores} would be used"
    yield (NOTE if advice else OK), "threads", f"{threads} of {cores} cores", advice
    advice = "" if facts["lanes"] >= 8 else "an old or very small processor: the cpu back-end works, at half speed"
    yield (NOTE if advice else OK), "vector width", f"{facts['lanes']} float32 numbers", advice
    yield folder_finding("kernel cache", facts["cache"], "set NUMBA_CACHE_DIR to a folder that can be written; until "
                         "then kernels are compiled anew in every process")


def check_pictures():
    """Pillow, for folders of pictures."""
    try:
        return OK, "Pillow", importlib.metadata.version("pillow"), ""
    except importlib.metadata.PackageNotFoundError:
        return NOTE, "Pillow", "not installed", "needed for your own pictures: pip install pillow"


def check_folders():
    """Where data sets go."""
    from minicnn.datasets import storage

    yield folder_finding("data directory", storage.data_directory(), "set MINICNN_DATA_DIR to a folder that can be "
                                                                     "written, or that holds the files already")


def folder_finding(what, path, advice):
    """Whether a folder, or the one in which it would be made, can be written, and how much room there is."""
    path = Path(path)
    existing = next(folder for folder in (path, *path.parents) if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        return NOTE, what, f"{path} cannot be written ({error.strerror or error})", advice
    free = shutil.disk_usage(existing).free / 1e9
    return OK, what, f"{path} ({free:.1f} GB free)", ""


def check_cuda():
    """A GPU, if there is one; none is no fault."""
    driver = shutil.which("nvidia-smi")
    facts, error = probe(CUDA_PROBE)
    if facts is not None and facts["devices"]:
        capability = ".".join(map(str, facts["capability"]))
        return OK, "CUDA", f"{', '.join(facts['devices'])} (compute capability {capability})", ""
    if driver is None:
        return NOTE, "CUDA", "no NVIDIA driver found (nvidia-smi is missing)", "only the back-end cuda needs one"
    return NOTE, "CUDA", f"there is a driver, but Numba finds no GPU{f': {error}' if error else ''}", HOW_TO_INSTALL


def probe(program, timeout=300):
    """``facts, None`` from a program that prints JSON, or ``None, what went wrong``."""
    try:
        result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=timeout,
                                env={**os.environ, "PYTHONWARNINGS": "ignore"}, check=False)
    except subprocess.TimeoutExpired:
        return None, f"no answer within {timeout} s"
    lines = result.stdout.strip().splitlines()
    if result.returncode == 0 and lines:
        return json.loads(lines[-1]), None
    if result.returncode < 0:
        return None, f"the process was killed by signal {-result.returncode}"
    errors = result.stderr.strip().splitlines()
    return None, errors[-1] if errors else f"the process ended with status {result.returncode}"
