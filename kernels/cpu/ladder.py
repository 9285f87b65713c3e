"""From the loops of the formula to the register tile, one idea at a time.

Every rung is a complete ``conv2d_forward``; ``RUNGS`` lists them with what each shows. The last one is the production
kernel. ``python -m kernels.cpu.ladder`` measures them all on this machine, and ``README.md`` tells the story.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

from .. import NO_PADDING, checks
from . import conv2d, setups, simd, threads
from .compiling import kernel
from .parallel import on_all
from .parts import part
from .product import product


def loops(x, w, b=None, stride=1, padding=NO_PADDING):
    """The formula, compiled: seven loops, the sum of one output number at a time."""
    return _with(_loops, x, w, b, stride, padding)


@kernel
def _loops(workers, x, w, b, sh, sw, y):
    for image in range(y.shape[0]):
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                for o in range(y.shape[3]):
                    total = b[o]
                    for m in range(w.shape[0]):
                        for n in range(w.shape[1]):
                            for c in range(w.shape[2]):
                                total += x[image, i * sh + m, j * sw + n, c] * w[m, n, c, o]
                    y[image, i, j, o] = total


def loop_order(x, w, b=None, stride=1, padding=NO_PADDING):
    """The loop over output channels goes inside: memory is read in the order in which it lies there."""
    return _with(_loop_order, x, w, b, stride, padding)


@part
def _ordered_images(first, last, x, w, b, sh, sw, y):
    for image in range(first, last):
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                for o in range(y.shape[3]):
                    y[image, i, j, o] = b[o]
                for m in range(w.shape[0]):
                    for n in range(w.shape[1]):
                        for c in range(w.shape[2]):
                            for o in range(y.shape[3]):
                                y[image, i, j, o] += x[image, i * sh + m, j * sw + n, c] * w[m, n, c, o]


@kernel
def _loop_order(workers, x, w, b, sh, sw, y):
    _ordered_images(0, len(x), x, w, b, sh, sw, y)


def on_threads(x, w, b=None, stride=1, padding=NO_PADDING):
    """The images are shared out among the cores."""
    return _with(_on_threads, x, w, b, stride, padding)


@part
def _on_threads_share(worker, workers, x, w, b, sh, sw, y):
    _ordered_images(len(x) * worker // workers, len(x) * (worker + 1) // workers, x, w, b, sh, sw, y)


@kernel
def _on_threads(workers, *arguments):
    on_all(_on_threads_share, workers, arguments)


def channels_last(x, w, b=None, stride=1, padding=NO_PADDING):
    """A row of the window is one run of KW C numbers in memory, so two loops become one, without index arithmetic."""
    return _with(_channels_last, x, w, b, stride, padding)


@part
def _channels_last_share(worker, workers, x, w, b, sh, sw, y):
    images, height, width, channels = x.shape
    kh, run, outputs = w.shape[0], w.shape[1] * channels, y.shape[3]
    flat_x, flat_w, flat_y = x.reshape(-1), w.reshape(-1), y.reshape(-1)
    pixels = y.shape[1] * y.shape[2]
    for p in range(images * pixels * worker // workers, images * pixels * (worker + 1) // workers):
        image, i, j = p // pixels, p % pixels // y.shape[2], p % y.shape[2]
        result = flat_y[p * outputs:(p + 1) * outputs]
        for o in range(outputs):
            result[o] = b[o]
        for m in range(kh):
            start = ((image * height + i * sh + m) * width + j * sw) * channels
            for k in range(run):
                number, row = flat_x[start + k], flat_w[(m * run + k) * outputs:]
                for o in range(outputs):
                    result[o] += number * row[o]


@kernel
def _channels_last(workers, *arguments):
    on_all(_channels_last_share, workers, arguments)


def vectors(x, w, b=None, stride=1, padding=NO_PADDING):
    """A vector of output channels is summed in a register and written once, instead of read and written K times."""
    return _tabled(_vectors, x, w, b, stride, padding)


@part
def _vectors_share(worker, workers, x, row, step, out, image_size, w, bias, y, outputs, lanes):
    pixels, images = len(row), len(y) // (len(row) * outputs)
    for image in range(images * worker // workers, images * (worker + 1) // workers):
        for p in range(pixels):
            inputs = (image * image_size + row[p],)
            for o in range(0, outputs, lanes):
                tile = simd.tile_of(bias, o, 1, 1)
                for k in range(len(step)):
                    tile = simd.tile_add_outer(tile, x, inputs, step, k, w, k * len(bias) + o)
                simd.tile_store(tile, y, (image * pixels * outputs + out[p] + o,), min(lanes, outputs - o))


@kernel
def _vectors(workers, *arguments):
    on_all(_vectors_share, workers, arguments)


def register_tile(x, w, b=None, stride=1, padding=NO_PADDING):
    """Several pixels times several vectors at once: every number loaded is used many times."""
    return _tabled(_register_tile, x, w, b, stride, padding)


@part
def _register_tile_share(worker, workers, x, row, step, out, image_size, w, bias, y, outputs, lanes):
    zero, no, pixels = np.int64(0), np.bool_(False), len(row)
    images = len(y) // (pixels * outputs)
    for image in range(images * worker // workers, images * (worker + 1) // workers):
        for o in range(0, outputs, simd.PANEL * lanes):
            width = min(simd.PANEL * lanes, outputs - o)
            product(x, image * image_size, row, zero, pixels, step, len(step), w, o, len(bias), bias, o, y,
                    image * pixels * outputs + o, out, width, lanes, no, no)


@kernel
def _register_tile(workers, *arguments):
    on_all(_register_tile_share, workers, arguments)


RUNGS = [
    ("loops", loops, "the formula, compiled"),
    ("loop order", loop_order, "memory is read in the order in which it lies there"),
    ("threads", on_threads, "the images are shared out among the cores"),
    ("channels last", channels_last, "a row of the window is one run in memory"),
    ("vectors", vectors, "the sum stays in a register"),
    ("register tile", register_tile, "every number loaded is used many times"),
    ("units", conv2d.conv2d_forward, "bits of work that fit the cache, padding and bias inside: the production kernel"),
]


def _with(run, x, w, b, stride, padding):
    """Check, pad, and run a kernel on the arrays as they are."""
    x, w, b, stride, padding, shape = checks.conv2d_forward(x, w, b, stride, padding)
    y = np.empty(shape, x.dtype)
    b = np.zeros(shape[3], x.dtype) if b is None else b
    threads.run(run, y.size * w.size, np.pad(x, ((0, 0), *padding, (0, 0))), w, b, *stride, y)
    return y


def _tabled(run, x, w, b, stride, padding):
    """Check, pad, and run a kernel on tables of offsets, w and b filled up to whole panels."""
    x, w, b, stride, padding, shape = checks.conv2d_forward(x, w, b, stride, padding)
    x = np.pad(x, ((0, 0), *padding, (0, 0)))
    _, height, width, channels = x.shape
    i, j = np.ogrid[:shape[1], :shape[2]]
    m, n, c = np.ogrid[:w.shape[0], :w.shape[1], :channels]
    row = (i * stride[0] * width + j * stride[1]) * channels
    step = (m * width + n) * channels + c
    lanes = simd.lanes(x.dtype)
    columns = setups.whole(shape[3], lanes)
    weights, bias = np.zeros((step.size, columns), x.dtype), np.zeros(columns, x.dtype)
    weights[:, :shape[3]] = w.reshape(step.size, shape[3])
    bias[:shape[3]] = 0 if b is None else b
    y = np.empty(shape, x.dtype)
    threads.run(run, y.size * step.size, x.reshape(-1), row.ravel(), step.ravel(), np.arange(row.size) * shape[3],
                height * width * channels, weights.reshape(-1), bias, y.reshape(-1), shape[3], lanes)
    return y


def measure(x, w, repeats=7):
    """Seconds of each rung on the same arrays, all rungs in turn: the median over the repeats."""
    b = np.zeros(w.shape[3], x.dtype)
    for _, rung, _ in RUNGS:
        rung(x, w, b)
    seconds = {name: [] for name, _, _ in RUNGS}
    for _ in range(repeats):
        for name, rung, _ in RUNGS:
            start = time.perf_counter()
            rung(x, w, b)
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}


def main():
    """Print the table of the rungs."""
    parser = argparse.ArgumentParser(prog="python -m kernels.cpu.ladder", description=main.__doc__)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--size", type=int, default=13, help="height and width of an image")
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--outputs", type=int, default=64)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    x = rng.normal(size=(options.images, options.size, options.size, options.channels)).astype(np.float32)
    w = rng.normal(size=(3, 3, options.channels, options.outputs)).astype(np.float32)
    seconds = measure(x, w)
    operations = 2 * options.images * (options.size - 2) ** 2 * w.size
    print(f"x {x.shape}, w {w.shape}, float32; {threads.get_num_threads()} threads, vectors of {simd.lanes(x.dtype)}, "
          f"tile of {simd.ROWS[simd.PANEL]} x {simd.PANEL} vectors\n")
    print("| rung | ms | GFLOP/s | times the one before | what it shows |\n| --- | --- | --- | --- | --- |")
    before = None
    for name, _, shows in RUNGS:
        gain = "" if before is None else f"{before / seconds[name]:.1f}"
        print(f"| {name} | {seconds[name] * 1e3:.2f} | {operations / seconds[name] / 1e9:.1f} | {gain} | {shows} |")
        before = seconds[name]


if __name__ == "__main__":
    main()
