"""Measure the back-end on a GPU, next to PyTorch, in less than ten minutes.

    python -m kernels.cuda.measure [--out measured.json] [--minutes 9] [--skip-tests]

Needs a machine with an NVIDIA GPU, numba-cuda, PyTorch and pytest; no network and no installation: run it in the root
of the repository. In this order, so that what matters most is there if the time runs out (the file is written after
every part):

1. the ceilings of the device: bytes per second of a copy, float32 operations per second of a matrix product by cuBLAS,
   with and without TF32, and what an empty launch costs;
2. correctness: convolutions of real sizes against PyTorch in float64, on random data;
3. the convolutions of the documents' networks and three larger ones: forward, dx and dw, in GFLOP/s, next to cuDNN's
   with TF32 off and on, and as a share of the ceiling;
4. training steps of the second document's network at batch 32, 128, 512 and 4096, in images per second, next to
   PyTorch's eager steps (default and channels_last), with the number of launches;
5. the rungs of the ladder;
6. the contract tests and the gradient checks on the device (pytest -m cuda tests/cuda).

Times are medians of repeated runs, by the host's clock around ``synchronize``, over enough calls to fill 50 ms.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

#: Images (H, W, C), filters, padding, batch: the documents' convolutions and three large ones.
CONVOLUTIONS = {
    "document 2, first": ((28, 28, 1), 32, 0, 512),
    "document 2, second": ((13, 13, 32), 64, 0, 512),
    "document 2, third": ((5, 5, 64), 64, 0, 512),
    "document 1, first": ((24, 24, 3), 32, 1, 512),
    "document 1, second": ((12, 12, 32), 64, 1, 512),
    "56x56, 64 to 64": ((56, 56, 64), 64, 1, 32),
    "28x28, 128 to 128": ((28, 28, 128), 128, 1, 32),
    "14x14, 256 to 256": ((14, 14, 256), 256, 1, 32),
}

BATCHES = (32, 128, 512, 4096)


class Report:
    """What has been measured so far, on the screen and in a file."""

    def __init__(self, path, minutes):
        self.path, self.stop, self.parts = path, time.perf_counter() + 60 * minutes, {}

    def add(self, part, **values):
        """Note one row of a part."""
        self.parts.setdefault(part, []).append(values)
        print(f"{part}: " + "  ".join(f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
                                      for key, value in values.items()), flush=True)
        if self.path:
            Path(self.path).write_text(json.dumps(self.parts, indent=1))

    def time_is_up(self, reserve=0):
        """Whether less than ``reserve`` seconds are left."""
        return time.perf_counter() + reserve > self.stop


def seconds_per_call(function, synchronize, minimum=0.05, repeats=5):
    """Median over ``repeats`` of the mean time of so many calls that they take ``minimum`` seconds."""
    function()
    synchronize()
    calls = 1
    while True:
        start = time.perf_counter()
        for _ in range(calls):
            function()
        synchronize()
        taken = time.perf_counter() - start
        if taken >= minimum:
            break
        calls = max(calls + 1, int(calls * min(10, 1.2 * minimum / max(taken, 1e-7))))
    times = [taken / calls]
    for _ in range(repeats - 1):
        start = time.perf_counter()
        for _ in range(calls):
            function()
        synchronize()
        times.append((time.perf_counter() - start) / calls)
    return statistics.median(times)


# ---- 1. ceilings --------------------------------------------------------------------------------------------------

def measure_ceilings(report):
    """Copy, matrix product, launch."""
    import torch

    from kernels.cuda import arrays, device
    wait = torch.cuda.synchronize
    name = torch.cuda.get_device_name()
    properties = torch.cuda.get_device_properties(0)
    report.add("device", name=name, multiprocessors=properties.multi_processor_count,
               memory_gib=properties.total_memory / 2**30, torch=torch.__version__, numpy=np.__version__,
               numba_cuda=_version("numba-cuda"), numba=_version("numba"))
    source, target = torch.rand(2**28, device="cuda"), torch.empty(2**28, device="cuda")
    report.add("ceiling", what="copy",
               gigabytes_per_second=2 * source.nbytes / seconds_per_call(lambda: target.copy_(source), wait) / 1e9)
    a, b = torch.randn(8192, 8192, device="cuda"), torch.randn(8192, 8192, device="cuda")
    for tf32 in (False, True):
        torch.backends.cuda.matmul.allow_tf32 = tf32
        report.add("ceiling", what="cuBLAS 8192^3", tf32=tf32,
                   gflops=2 * 8192**3 / seconds_per_call(lambda: a @ b, wait, 0.2, 3) / 1e9)
    torch.backends.cuda.matmul.allow_tf32 = False
    x = arrays.zeros((32,), np.float32)
    report.add("launch", what="one array", microseconds=1e6 * seconds_per_call(
        lambda: device.launch(arrays._fill(), 1, 32, x, np.float32(0)), device.synchronize))
    report.add("launch", what="an empty array from the pool", microseconds=1e6 * seconds_per_call(
        lambda: arrays.empty((32,), np.float32), device.synchronize))
    image, w = arrays.zeros((1, 3, 3, 1), np.float32), arrays.zeros((3, 3, 1, 1), np.float32)
    from kernels.cuda import conv2d
    report.add("launch", what="a convolution of one pixel", microseconds=1e6 * seconds_per_call(
        lambda: conv2d.conv2d_forward(image, w), device.synchronize))


def _version(package):
    import importlib.metadata
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


# ---- 2. correctness and 3. convolutions -----------------------------------------------------------------------------

def measure_convolutions(report):
    """Every convolution, until the time is up."""
    for name, sizes in CONVOLUTIONS.items():
        if not report.time_is_up(60):
            measure_convolution(report, name, *sizes)


def measure_convolution(report, name, image, outputs, padding, images):
    """Forward, dx and dw of one convolution: error against float64, speed, and cuDNN's speed."""
    import torch

    from kernels import cuda
    torch.backends.cudnn.benchmark = True
    height, width, channels = image
    pads, out = ((padding, padding),) * 2, (height + 2 * padding - 2, width + 2 * padding - 2)
    rng = np.random.default_rng(0)
    host = [rng.normal(size=shape).astype(np.float32) for shape in
            ((images, *image), (3, 3, channels, outputs), (images, *out, outputs))]
    x, w, dy = (cuda.asarray(array) for array in host)
    errors = _errors(host, padding, [cuda.conv2d_forward(x, w, None, 1, pads),
                                     *cuda.conv2d_backward(dy, x, w, 1, pads)[:2]])
    ours = passes(x, w, dy, pads)
    tx, tw, tdy = _torch_arrays(host, torch.float32)
    theirs = {"forward": lambda: torch.nn.functional.conv2d(tx, tw, padding=padding),
              "dx": lambda: _torch_backward(tdy, tx, tw, padding, [True, False, False]),
              "dw": lambda: _torch_backward(tdy, tx, tw, padding, [False, True, False])}
    operations = 2 * images * out[0] * out[1] * outputs * 9 * channels
    for kind, error in zip(ours, errors):
        row = {"shape": name, "pass": kind, "batch": images, "relative_error": error,
               "gflops": operations / seconds_per_call(ours[kind], cuda.synchronize) / 1e9}
        for tf32 in (False, True):
            torch.backends.cudnn.allow_tf32 = tf32
            row["cudnn_tf32" if tf32 else "cudnn"] = operations / seconds_per_call(
                theirs[kind], torch.cuda.synchronize) / 1e9
        torch.backends.cudnn.allow_tf32 = False
        report.add("convolution", **row, share_of_cudnn=row["gflops"] / row["cudnn"])


def passes(x, w, dy, pads):
    """The calls of a convolution's forward pass, dx and dw, by name."""
    from kernels import cuda
    from kernels.cuda import conv2d
    return {"forward": lambda: cuda.conv2d_forward(x, w, None, 1, pads),
            "dx": lambda: conv2d.input_gradient_product(dy, None, x.shape, w, (1, 1), pads),
            "dw": lambda: conv2d.weight_gradients(dy, None, x, w.shape, (1, 1), pads)}


def _errors(host, padding, got):
    """Relative errors of y, dx, dw, against PyTorch in float64."""
    import torch

    from kernels import cuda
    x, w, dy = _torch_arrays(host, torch.float64)
    dx, dw, _ = _torch_backward(dy, x, w, padding, [True, True, False])
    y = torch.nn.functional.conv2d(x, w, padding=padding)
    expected = [y.permute(0, 2, 3, 1), dx.permute(0, 2, 3, 1), dw.permute(2, 3, 1, 0)]
    errors = []
    for array, value in zip(got, expected):
        value = value.cpu().numpy()
        errors.append(float(np.linalg.norm((cuda.to_numpy(array) - value).ravel()) / np.linalg.norm(value.ravel())))
    return errors


def _torch_backward(dy, x, w, padding, which):
    import torch
    return torch.ops.aten.convolution_backward(dy, x, w, None, [1, 1], [padding, padding], [1, 1], False, [0, 0], 1,
                                               which)


def _torch_arrays(host, dtype):
    """x, w, dy for PyTorch, channels_last in memory, which is what NHWC is."""
    import torch
    x, w, dy = (torch.from_numpy(array).to("cuda", dtype) for array in host)
    return x.permute(0, 3, 1, 2), w.permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last), (
        dy.permute(0, 3, 1, 2))


# ---- 4. training steps --------------------------------------------------------------------------------------------

def measure_training(report):
    """Steps of the second document's network on data that are on the device already."""
    import torch

    from kernels import cuda
    from kernels.cuda import device
    rng = np.random.default_rng(0)
    for batch in BATCHES:
        if report.time_is_up(60):
            return
        x = rng.random((batch, 28, 28, 1), np.float32)
        labels = rng.integers(0, 10, batch)
        step = _our_step(cuda, x, labels)
        step()
        before = device.launches
        loss = float(step())
        launches = device.launches - before
        seconds = seconds_per_call(step, cuda.synchronize, 0.2)
        row = {"batch": batch, "loss": loss, "launches": launches, "milliseconds": 1e3 * seconds,
               "images_per_second": batch / seconds}
        for tf32 in (False, True):
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
            for layout in ("default", "channels_last"):
                theirs = _torch_step(torch, x, labels, layout)
                row[f"pytorch_{layout}{'_tf32' * tf32}"] = batch / seconds_per_call(
                    theirs, torch.cuda.synchronize, 0.2)
        best = max(row["pytorch_default"], row["pytorch_channels_last"])
        report.add("training", **row, against_pytorch=row["images_per_second"] / best)


def _our_step(cuda, x, labels):
    """Forward, loss, backward and Adam by the back-end's own functions: what ``minicnn`` calls, without its layers."""
    rng = np.random.default_rng(1)
    shapes = [(3, 3, 1, 32), (32,), (3, 3, 32, 64), (64,), (3, 3, 64, 64), (64,), (576, 64), (64,), (64, 10), (10,)]
    sizes = [int(np.prod(shape)) for shape in shapes]
    stops = np.cumsum(sizes)
    parameters = cuda.asarray((0.05 * rng.normal(size=stops[-1])).astype(np.float32))
    gradients, first, second = (cuda.zeros(parameters.shape, np.float32) for _ in range(3))
    views = [[vector[int(stop - size):int(stop)].reshape(shape) for shape, size, stop in zip(shapes, sizes, stops)]
             for vector in (parameters, gradients)]
    (w1, b1, w2, b2, w3, b3, w4, b4, w5, b5), places = views
    x, labels = cuda.asarray(x), cuda.asarray(labels)
    count = [0]

    def step():
        y1 = cuda.conv2d_relu_forward(x, w1, b1)
        p1, a1 = cuda.max_pool2d_forward(y1)
        y2 = cuda.conv2d_relu_forward(p1, w2, b2)
        p2, a2 = cuda.max_pool2d_forward(y2)
        y3 = cuda.conv2d_relu_forward(p2, w3, b3)
        flat = y3.reshape(len(y3), 576)
        y4 = cuda.dense_relu_forward(flat, w4, b4)
        loss, dy = cuda.softmax_cross_entropy(cuda.dense_forward(y4, w5, b5), labels)
        dy, dw5, db5 = cuda.dense_backward(dy, y4, w5)
        dy, dw4, db4 = cuda.dense_relu_backward(dy, y4, flat, w4)
        dy, dw3, db3 = cuda.conv2d_relu_backward(dy.reshape(y3.shape), y3, p2, w3)
        dy = cuda.max_pool2d_backward(dy, a2, y2.shape)
        dy, dw2, db2 = cuda.conv2d_relu_backward(dy, y2, p1, w2)
        dy = cuda.max_pool2d_backward(dy, a1, y1.shape)
        _, dw1, db1 = cuda.conv2d_relu_backward(dy, y1, x, w1, input_gradient=False)
        for place, value in zip(places, (dw1, db1, dw2, db2, dw3, db3, dw4, db4, dw5, db5)):
            cuda.assign(place, value)
        count[0] += 1
        cuda.adam_step(parameters, gradients, first, second, count[0])
        return loss

    return step


def _torch_step(torch, x, labels, layout):
    """The same network and step in PyTorch, eager."""
    nn = torch.nn
    model = nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(),
                          nn.MaxPool2d(2), nn.Conv2d(64, 64, 3), nn.ReLU(), nn.Flatten(), nn.Linear(576, 64), nn.ReLU(),
                          nn.Linear(64, 10)).cuda()
    x = torch.from_numpy(x).cuda().permute(0, 3, 1, 2)
    memory_format = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    model, x = model.to(memory_format=memory_format), x.contiguous(memory_format=memory_format)
    labels = torch.from_numpy(labels).cuda()
    optimizer, loss_function = torch.optim.Adam(model.parameters()), nn.CrossEntropyLoss()

    def step():
        optimizer.zero_grad()
        loss = loss_function(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss

    return step


# ---- 5. ladder and 6. tests -----------------------------------------------------------------------------------------

def measure_ladder(report):
    """Every rung on one shape."""
    from kernels import cuda
    from kernels.cuda import ladder
    rng = np.random.default_rng(0)
    x = cuda.asarray(rng.normal(size=(512, 13, 13, 32)).astype(np.float32))
    w = cuda.asarray(rng.normal(size=(3, 3, 32, 64)).astype(np.float32))
    operations = 2 * 512 * 11 * 11 * 64 * 9 * 32
    for name, rung, _ in ladder.RUNGS:
        seconds = seconds_per_call(functools.partial(rung, x, w), cuda.synchronize)
        report.add("ladder", rung=name, gflops=operations / seconds / 1e9)


def run_tests(report):
    """The contract tests and the gradient checks on the device, as far as the time goes."""
    for command in (["pytest", "-m", "cuda", "tests/cuda", "--maxfail=10", "-p", "no:cacheprovider"],
                    ["minicnn", "gradcheck", "--backend", "cuda"]):
        left = max(30, report.stop - time.perf_counter())
        try:
            done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, timeout=left,
                                  check=False)
            tail, status = (done.stdout + done.stderr)[-3000:], done.returncode
        except subprocess.TimeoutExpired as error:
            tail, status = (error.stdout or b"").decode(errors="replace")[-3000:], "the time was up"
        report.add("tests", command=" ".join(command), status=status, tail=tail)


def main(arguments=None):
    """Run all parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="measured.json", help="where the figures go (JSON)")
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--skip-tests", action="store_true")
    parser.add_argument("--tests-first", action="store_true", help="correctness before figures")
    chosen = parser.parse_args(arguments)
    from kernels.cuda import device
    device.require_device()
    report = Report(chosen.out, chosen.minutes)
    parts = [measure_ceilings, measure_convolutions, measure_training, measure_ladder]
    if not chosen.skip_tests:
        parts.insert(0 if chosen.tests_first else len(parts), run_tests)
    for part in parts:
        try:
            part(report)
        except Exception as error:  # one part that fails must not cost the others' figures
            report.add("failed", what=part.__name__, error=f"{type(error).__name__}: {error}")
    return int("failed" in report.parts)


if __name__ == "__main__":
    sys.exit(main())
