"""Compile every kernel to machine code, without a GPU, and check what came out.

    pip install '.[cudacheck]'
    python -m kernels.cuda.compile_check [--arch 75 80 90] [--full] [--only PATTERN] [--json FILE] [--keep FOLDER]

A kernel can be right and yet be slow for reasons that only its machine code shows. This command runs all operations
with launches noted instead of done, compiles each kernel that was launched for the types it was launched with (Numba
to PTX, ``ptxas`` to machine code), and asserts:

* no spills and no local memory: everything that is meant for registers is in registers;
* no float64 instruction in a kernel of float32 operations, such as a stray ``0.5`` or ``float32 + int64`` brings in;
* in the products: TM x TN x BK multiply-adds in a row (the loops are unrolled), loads from shared memory of 128 bits,
  and loads and stores of global memory of 128 bits wherever the shapes allow it.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import contextlib
import json
import re
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np

ARCHITECTURES = {75: "Turing (T4, RTX 20)", 80: "Ampere (A100)", 90: "Hopper (H100, H200)"}

#: Kernels that use float64 on purpose, whatever the type of the operation.
FLOAT64_ON_PURPOSE = ("square_sums", "clip")

INSTRUCTION = re.compile(r"^\s*/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)", re.MULTILINE)


# ---- which kernels ------------------------------------------------------------------------------------------------

@contextlib.contextmanager
def recording():
    """Launches are noted in the list that this yields; arrays need no device."""
    from . import arrays, device
    device.recorded, kept = [], dict(arrays._free)
    arrays._free.clear()
    try:
        yield device.recorded
    finally:
        device.recorded = None
        arrays.free_memory()
        arrays._free.update(kept)


def run_everything(T, full=False):
    """Call every operation on shapes that between them need all tiles and all flags; ``full``: most of their pairs."""
    from . import activations, arrays, conv2d, dense, ladder, loss, normalization, optimizers, pool2d

    def new(*shape):
        return arrays.empty(shape, T)

    def convolution(images, size, channels, outputs, stride=1, padding=0):
        pads = ((padding, padding), (padding, padding))
        out = (size + 2 * padding - 3) // stride + 1
        x, w, b = new(images, size, size, channels), new(3, 3, channels, outputs), new(outputs)
        y = new(images, out, out, outputs)
        conv2d.conv2d_forward(x, w, b, stride, pads)
        conv2d.conv2d_relu_backward(y, y, x, w, stride, pads)
        if full:
            conv2d.conv2d_backward(y, x, w, stride, pads)

    for images in (1, 32, 512) if full else (32, 512):  # the second document's network
        convolution(images, 28, 1, 32)
        convolution(images, 13, 32, 64)
    x, w, y = new(32, 64), new(64, 10), new(32, 10)
    dense.dense_forward(x, w, new(10))
    dense.dense_backward(y, x, w)
    convolution(2, 16, 32, 32, stride=2, padding=1)
    convolution(2, 16, 3, 5, stride=2)
    convolution(512, 32, 64, 64)
    if full:
        convolution(512, 16, 32, 32, stride=2, padding=1)
        convolution(512, 16, 3, 5, stride=2)
        convolution(512, 32, 3, 32, padding=1)

    for _, rung, _ in ladder.RUNGS:
        rung(new(2, 9, 9, 8), new(3, 3, 8, 16))

    x, y = new(4, 6, 6, 5), new(4, 3, 3, 5)
    _, argmax = pool2d.max_pool2d_forward(x)
    pool2d.max_pool2d_backward(y, argmax, x.shape)
    pool2d.avg_pool2d_forward(x)
    pool2d.avg_pool2d_backward(y, x.shape)
    for name in ("relu", "leaky_relu", "sigmoid", "tanh", "softmax"):
        getattr(activations, f"{name}_forward")(x)
        getattr(activations, f"{name}_backward")(x, x)
    channels = [new(5) for _ in range(4)]
    normalization.batch_norm_forward(x, *channels[:2])
    normalization.batch_norm_backward(x, x, *channels[:3])
    _, mask = normalization.dropout_forward(x, 0.5, 1)
    normalization.dropout_backward(x, mask, 0.5)
    labels = arrays.empty((8,), np.int64)
    labels.bounds = (0, 9)
    scores = new(8, 10)
    loss.softmax_cross_entropy(scores, labels, new(8), 0.1)
    loss.cross_entropy(scores, labels, new(8), 0.1)
    loss.mean_squared_error(scores, scores, new(8))
    vectors = [new(1000) for _ in range(4)]
    optimizers.sgd_step(*vectors[:3], 0.1)
    optimizers.adam_step(*vectors, 1)
    optimizers.clip_by_global_norm(vectors[0], 1.0)
    arrays.zeros((10,), T)
    arrays.take(new(10, 4), labels)
    arrays.count_correct(scores, labels)
    arrays.update_average(*vectors[:2], 0.9)
    launch_is_finite(vectors[0])


def launch_is_finite(vector):
    """``arrays.is_finite`` without the reading back."""
    from . import arrays, device
    device.launch(arrays._not_finite(), 1, 1, vector, arrays.zeros((1,), np.int32))


def kernels_of(T, full=False):
    """Distinct ``(name, kernel, argument types)`` of all operations in one number type."""
    from numba import typeof

    with recording() as launches:
        run_everything(T, full)
    found = {}
    for kernel, arguments in launches:
        types = tuple(typeof(argument) for argument in arguments)
        found.setdefault((kernel.py_func.__name__, types), kernel)
    return [(name, kernel, types) for (name, types), kernel in sorted(found.items(), key=lambda item: str(item[0]))]


# ---- to machine code ----------------------------------------------------------------------------------------------

def tool(name):
    """Path of a program of the CUDA toolkit: from the packages of the extra, or from the system."""
    import shutil
    for folder in sys.path:
        for path in Path(folder or ".").glob(f"nvidia/*/bin/{name}"):
            return str(path)
    if path := shutil.which(name):
        return path
    raise SystemExit(f"{name} not found: pip install '.[cudacheck]'")


def assemble(ptx, arch, folder, name):
    """Machine code by ``ptxas``: what it reports of registers and memory, and the instructions by ``nvdisasm``."""
    source, binary = folder / f"{name}.ptx", folder / f"{name}.cubin"
    source.write_text(ptx)
    report = subprocess.run([tool("ptxas"), "-v", f"-arch=sm_{arch}", str(source), "-o", str(binary)],
                            capture_output=True, text=True, check=True).stderr
    code = subprocess.run([tool("nvdisasm"), "-c", str(binary)], capture_output=True, text=True, check=True).stdout
    (folder / f"{name}.sass").write_text(code)

    def number(pattern):
        return sum(int(count) for count in re.findall(pattern, report))

    return {"registers": max(int(count) for count in re.findall(r"Used (\d+) registers", report)),
            "shared": number(r"(\d+) bytes smem"), "stack": number(r"(\d+) bytes stack frame"),
            "spills": number(r"(\d+) bytes spill"), **count_instructions(code)}


def count_instructions(code):
    """How many instructions there are, and how many of the kinds that matter."""
    names = collections.Counter(INSTRUCTION.findall(code))

    def count(*pattern):
        return sum(number for name, number in names.items() if re.match("|".join(pattern), name))

    return {"instructions": sum(names.values()) - names["NOP"],
            "multiply_adds": count(r"[FD]FMA"), "shared_128": count(r"LDS.*\.128"), "loads_128": count(r"LDG.*\.128"),
            "stores_128": count(r"STG.*\.128"), "loads": count("LDG"), "local": count("LDL", "STL"),
            "float64": count(r"D(ADD|MUL|FMA|SETP|MNMX)", r".*\.F64", r".*64H")}


def compile_all(arch, folder, only="", full=False):
    """One row for every kernel and number type, for one architecture."""
    from numba import cuda
    from numba.cuda import dispatcher

    class Device:  # device functions ask the current device what to compile for, and there is none
        compute_capability = (arch // 10, arch % 10)

    dispatcher.get_current_device = lambda: Device
    rows = []
    for T in (np.float32, np.float64):
        for number, (name, kernel, types) in enumerate(kernels_of(T, full)):
            if not re.search(only, name):
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                ptx, _ = cuda.compile_ptx(kernel.py_func, types, cc=Device.compute_capability)
            row = {"kernel": name, "type": T.__name__, "arch": arch,
                   **assemble(ptx, arch, Path(folder), f"sm_{arch}_{T.__name__}_{number:02d}_{name}")}
            rows.append({**row, "faults": faults(row)})
    return rows


# ---- what is asserted ---------------------------------------------------------------------------------------------

def faults(row):
    """What is wrong with one kernel's machine code, as sentences."""
    found = []
    if row["spills"] or row["stack"] or row["local"]:
        found.append(f"{row['spills']} bytes of spills, {row['stack']} of stack, {row['local']} instructions on local "
                     "memory")
    if row["float64"] and row["type"] == "float32" and row["kernel"] not in FLOAT64_ON_PURPOSE:
        found.append(f"{row['float64']} float64 instructions")
    product = re.match(r"(pixel|weight)_product_(\d+)x(\d+)_in(\d)_out(\d)", row["kernel"])
    if product:
        from . import tiles
        size = int(product[2]), int(product[3])
        tile = next(tile for tile in tiles.SPEED if tile[:2] == size)
        if row["multiply_adds"] < tile.TM * tile.TN * tile.BK:
            found.append(f"{row['multiply_adds']} multiply-adds, expected {tile.TM * tile.TN * tile.BK} in a row")
        width = 4 if row["type"] == "float32" else 2
        if row["shared_128"] < tile.BK * (tile.TM + tile.TN) // width:
            found.append(f"{row['shared_128']} loads of 128 bits from shared memory, expected "
                         f"{tile.BK * (tile.TM + tile.TN) // width}")
        if int(product[4]) > 1 and not row["loads_128"]:
            found.append("no load of 128 bits from global memory")
        if int(product[5]) > 1 and not row["stores_128"]:
            found.append("no store of 128 bits to global memory")
    return found


def table(rows):
    """The rows as text, one line a kernel, with the registers and instructions of each architecture side by side."""
    archs = sorted({row["arch"] for row in rows})
    width = max(len(row["kernel"]) for row in rows)
    head = f"{'kernel':{width}} {'type':8}" + "".join(
        f" | sm_{arch}: regs instr" for arch in archs) + f" | on sm_{archs[-1]}: shared  fma  LDS.128  LDG.128  STG.128"
    lines = [head, "-" * len(head)]
    by_kernel = collections.defaultdict(dict)
    for row in rows:
        by_kernel[row["type"], row["kernel"]].setdefault(row["arch"], []).append(row)
    for (kind, name), by_arch in by_kernel.items():
        for variant in range(len(by_arch[archs[0]])):
            last = by_arch[archs[-1]][variant]
            lines.append(f"{name:{width}} {kind:8}" + "".join(
                f" |       {by_arch[arch][variant]['registers']:5} {by_arch[arch][variant]['instructions']:5}"
                for arch in archs) + f" | {last['shared']:15} {last['multiply_adds']:4} {last['shared_128']:8} "
                f"{last['loads_128']:8} {last['stores_128']:8}")
    return "\n".join(lines)


def main(arguments=None):
    """Compile, print the table, and return how many kernels have a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", type=int, nargs="+", default=list(ARCHITECTURES),
                        help="compute capabilities, times ten")
    parser.add_argument("--full", action="store_true", help="more combinations of tiles and flags, twice the time")
    parser.add_argument("--only", metavar="PATTERN", default="", help="kernels whose names match")
    parser.add_argument("--json", metavar="FILE", help="write the rows there as well")
    parser.add_argument("--keep", metavar="FOLDER", help="leave PTX, binaries and disassembly there")
    chosen = parser.parse_args(arguments)
    if chosen.keep:
        Path(chosen.keep).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ProcessPoolExecutor() as processes:
        folder = chosen.keep or folder
        parts = processes.map(compile_all, chosen.arch, *zip(*[(folder, chosen.only, chosen.full)] * len(chosen.arch)))
        rows = [row for part in parts for row in part]
    print(table(rows))
    if chosen.json:
        Path(chosen.json).write_text(json.dumps(rows, indent=1))
    bad = [row for row in rows if row["faults"]]
    for row in bad:
        print(f"sm_{row['arch']} {row['type']} {row['kernel']}: {'; '.join(row['faults'])}")
    print(f"{len(rows)} kernels compiled for {', '.join(f'sm_{arch}' for arch in chosen.arch)}; {len(bad)} at fault")
    return len(bad)


if __name__ == "__main__":
    sys.exit(main() > 0)
