"""What is measured: operations, the documents' two networks, and how much work each of them is.

A ``Work`` is plain data: it goes to every contestant's process as JSON, its arrays as an ``.npz`` file.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field

import numpy as np

from minicnn.datasets.digits import load_data

#: Batch of the operations with the networks' shapes: the documents'. The three large convolutions have 8.
OPERATION_BATCH = 32
#: Different images that a network is fed with, batch by batch in turn; at least ``FEWEST_BATCHES`` of them.
IMAGES, FEWEST_BATCHES = 2048, 4

#: Of the height of an image of digits in one channel, the share that is border on either side: MNIST's.
BORDER = 4 / 28


@dataclass(frozen=True)
class Network:
    """One of the documents' networks and how it is trained.

    ``builder`` is a function of ``minicnn.zoo``; the peers have the same network under the same name. Adam's epsilon is
    smaller than usual, because Keras puts it at another place in the formula; so small, it makes no difference.
    """

    builder: str
    arguments: dict
    image: tuple
    optimizer: str
    hyperparameters: dict
    parameters: int


NETWORKS = {
    "mnist_cnn": Network("mnist_cnn", {}, (28, 28, 1), "adam", {"learning_rate": 0.001, "epsilon": 1e-8},
                         93_322),
    "cifar_cnn": Network("cifar_cnn", {"image_size": 24}, (24, 24, 3), "sgd", {"learning_rate": 0.001, "momentum": 0.9},
                         315_722),
}

#: Convolutions: name, image (H, W, C), filters, padding, batch. Kernels are 3x3, strides 1.
CONVOLUTIONS = [
    ("mnist_cnn 1", (28, 28, 1), 32, 0, OPERATION_BATCH),
    ("mnist_cnn 2", (13, 13, 32), 64, 0, OPERATION_BATCH),
    ("mnist_cnn 3", (5, 5, 64), 64, 0, OPERATION_BATCH),
    ("cifar_cnn 1", (24, 24, 3), 32, 1, OPERATION_BATCH),
    ("cifar_cnn 2", (12, 12, 32), 64, 1, OPERATION_BATCH),
    ("large 1", (56, 56, 64), 64, 1, 8),
    ("large 2", (28, 28, 128), 128, 1, 8),
    ("large 3", (14, 14, 256), 256, 1, 8),
]


@dataclass(frozen=True)
class Work:
    """A piece of work.

    Attributes
    ----------
    section : str
        "convolutions", "operations", "ladder", "training", "inference", "scaling" (training with one thread and with
        more) or "machine".
    job : str
        The operation, or the network's name.
    shapes : dict
        Shapes of the arrays.
    options : dict
        Arguments that are not arrays.
    flops, bytes : float
        Arithmetic of one call, a multiply-add counting as two; and the bytes that it must move at least: every
        argument read once, every result written once.
    images : int
        Images of one call, for networks.
    tags : tuple of str
        "first layer": so few input channels that there is little to reuse. Of a ladder: the back-end.
    """

    section: str
    name: str
    job: str
    shapes: dict
    options: dict = field(default_factory=dict)
    flops: float = 0.0
    bytes: float = 0.0
    images: int = 0
    tags: tuple = ()

    def as_dict(self):
        """As JSON can hold it."""
        return asdict(self)


def make_arrays(work, seed=0):
    """The arrays of a work: ``{name: ndarray}``, the same for the same seed.

    Numbers are float32 in [-0.5, 0.5); "images" and their "labels" are handwritten digits; labels alone are random
    class numbers; "y" beside "dy" is the output of the forward pass of which this is the backward pass.
    """
    generator = np.random.default_rng(seed)
    arrays = digits(work.shapes["images"], generator) if "images" in work.shapes else {}
    for name, shape in work.shapes.items():
        if name in arrays:
            continue
        if name == "labels":
            arrays[name] = generator.integers(0, 10, shape)
        elif name == "velocity" or name.endswith("_moment"):
            arrays[name] = np.zeros(shape, np.float32)
        else:
            arrays[name] = generator.random(shape, np.float32) - np.float32(0.5)
    if work.job.endswith("_backward") and "y" in arrays:
        import kernels.reference
        arrays["y"] = getattr(kernels.reference, work.job.replace("_backward", "_forward"))(arrays["y"])
    return arrays


def digits(shape, generator):
    """Pictures of handwritten digits, ``(batches, batch, H, W, C)`` float32 in [0, 1], and their labels.

    How many numbers relu and pooling let through depends on what a network sees, and with it the time of kernels that
    leave zeros out. So these are the digits that ship with MiniCNN, enlarged: with one channel as MNIST's are, white on
    black with a border, with more of them in two random colours and without.
    """
    (x, y), (more_x, more_y) = load_data()
    count, (height, width, channels) = math.prod(shape[:2]), shape[2:]
    order = np.resize(generator.permutation(len(x) + len(more_x)), count)
    small = np.concatenate([x, more_x])[order].astype(np.float32) / 16
    border = round(BORDER * height) if channels == 1 else 0
    down, across = (enlargement(size - 2 * border) for size in (height, width))
    images = np.pad(down @ small @ across.T, ((0, 0), (border, border), (border, border)))[..., np.newaxis]
    if channels > 1:
        ink, paper = generator.random((2, count, 1, 1, channels), np.float32)
        images = paper + images * (ink - paper)
    return {"images": images.reshape(shape), "labels": np.concatenate([y, more_y])[order].astype(np.int64).reshape(
        shape[:2])}


def enlargement(size, small=8):
    """A matrix that makes ``size`` numbers of ``small``, on straight lines between them."""
    places = np.linspace(0, small - 1, size, dtype=np.float32)
    return np.maximum(0, 1 - np.abs(places[:, np.newaxis] - np.arange(small, dtype=np.float32)))


def convolutions():
    """Forward, dx and dw of every shape in ``CONVOLUTIONS``."""
    works = []
    for name, (height, width, channels), filters, padding, batch in CONVOLUTIONS:
        oh, ow = height + 2 * padding - 2, width + 2 * padding - 2
        x, w, y = (batch, height, width, channels), (3, 3, channels, filters), (batch, oh, ow, filters)
        options = {"stride": 1, "padding": [[padding, padding]] * 2}
        flops = 2 * batch * oh * ow * filters * 9 * channels
        title = f"{name}: {height}x{width}x{channels}->{filters}"
        moved = {"conv2d_forward": (x, w, (filters,), y), "conv2d_dx": (y, w, x),
                 "conv2d_dw": (y, x, w, (filters,))}
        arrays = {"conv2d_forward": {"x": x, "w": w, "b": (filters,)}, "conv2d_dx": {"x": x, "w": w, "dy": y},
                  "conv2d_dw": {"x": x, "w": w, "dy": y}}
        works += [Work("convolutions", f"{title} {job.removeprefix('conv2d_')}", job, arrays[job], options, flops,
                       count_bytes(*moved[job]), tags=("first layer",) if channels <= 3 else ())
                  for job in moved]
    return works


def operations():
    """The other operations, on the shapes that they have in the documents' networks; and dx of narrow convolutions,
    which those do not have.
    """
    batch = OPERATION_BATCH
    image, pooled = (batch, 24, 24, 32), (batch, 12, 12, 32)  # after cifar_cnn's first convolution
    works = []

    def add(job, shapes, options=None, results=(), flops=0.0):
        sizes = "x".join(map(str, next(iter(shapes.values()))))
        works.append(Work("operations", f"{job} {sizes}", job, shapes, options or {}, flops,
                          count_bytes(*shapes.values(), *results)))

    for kind in ("max", "avg"):
        add(f"{kind}_pool2d_forward", {"x": image}, {"pool_size": 2}, [pooled])
        if kind == "max":
            add("max_pool2d_backward", {"x": image, "dy": pooled}, {"pool_size": 2})
        else:
            add("avg_pool2d_backward", {"dy": pooled}, {"pool_size": 2, "x_shape": list(image)}, [image])
    for inputs, outputs in ((576, 64), (2304, 128)):
        x, w, y = (batch, inputs), (inputs, outputs), (batch, outputs)
        flops = 2 * batch * inputs * outputs
        add("dense_forward", {"x": x, "w": w, "b": (outputs,)}, {}, [y], flops)
        add("dense_dx", {"x": x, "w": w, "dy": y}, {}, [], flops)
        add("dense_dw", {"x": x, "w": w, "dy": y}, {}, [], flops)
    for channels in (6, 16):
        x, w, y = (batch, 32, 32, channels), (3, 3, channels, 16), (batch, 32, 32, 16)
        add("conv2d_dx", {"x": x, "w": w, "dy": y}, {"stride": 1, "padding": [[1, 1], [1, 1]]}, [],
            2 * math.prod(y) * 9 * channels)
    for activation in ("relu", "leaky_relu", "sigmoid", "tanh"):
        add(f"{activation}_forward", {"x": image}, {}, [image])
        add(f"{activation}_backward", {"dy": image, "y": image}, {}, [image])
    add("softmax_forward", {"x": (4096, 10)}, {}, [(4096, 10)])
    add("softmax_backward", {"dy": (4096, 10), "y": (4096, 10)}, {}, [(4096, 10)])
    add("softmax_cross_entropy", {"logits": (4096, 10), "labels": (4096,)}, {}, [(4096, 10)])
    add("batch_norm_forward", {"x": image, "gamma": (32,), "beta": (32,)}, {}, [image])
    add("batch_norm_backward", {"x": image, "dy": image, "gamma": (32,), "beta": (32,)}, {}, [image])
    add("dropout_forward", {"x": image}, {"rate": 0.5, "seed": 1}, [image])
    add("dropout_backward", {"x": image, "dy": image}, {"rate": 0.5, "seed": 1})
    for network in NETWORKS.values():
        vector = (network.parameters,)
        add("sgd_step", {"parameters": vector, "gradients": vector, "velocity": vector},
            {"learning_rate": 0.001, "momentum": 0.9}, [vector, vector])
        add("adam_step", {"parameters": vector, "gradients": vector, "first_moment": vector, "second_moment": vector},
            {"step": 1}, [vector, vector, vector])
    return works


def ladder(backend):
    """The convolution that the rungs of a back-end's ladder compute: document 2's second; on a GPU a large batch."""
    batch = 512 if backend == "cuda" else OPERATION_BATCH
    x, w, y = (batch, 13, 13, 32), (3, 3, 32, 64), (batch, 11, 11, 64)
    return Work("ladder", f"{backend} ladder: {batch} images 13x13x32->64", "conv2d_forward", {"x": x, "w": w},
                flops=2 * batch * 11 * 11 * 64 * 9 * 32, bytes=count_bytes(x, w, y), tags=(backend,))


def networks(section, names, batches):
    """Training, inference or scaling of the networks ``names`` at every batch size."""
    def work(name, batch):
        count = max(FEWEST_BATCHES, IMAGES // batch)
        return Work(section, f"{name} batch {batch}", name,
                    {"images": (count, batch, *NETWORKS[name].image), "labels": (count, batch)}, {"batch": batch},
                    images=batch)

    return [work(name, batch) for name in names for batch in batches]


def machine():
    """A matrix product that BLAS is good at, and a copy of an array far larger than the caches."""
    n, size = 1024, 64 * 2**20 // 4
    return {
        "sgemm": Work("machine", f"sgemm {n}", "sgemm", {"a": (n, n), "b": (n, n)}, flops=2 * n**3, bytes=12 * n * n),
        "copy": Work("machine", "copy 64 MiB", "copy", {"a": (size,)}, bytes=8 * size),
    }


def count_bytes(*shapes):
    """Bytes of float32 arrays of these shapes."""
    return 4 * sum(int(np.prod(shape)) for shape in shapes)
