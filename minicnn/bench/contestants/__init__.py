"""Who takes part in a measurement.

MiniCNN takes part with its back-ends, each as a contestant of its own; the others are the *peers*. A contestant is a
class with the methods of ``base.Contestant``; its file is written as a user of that library would write it. Every
contestant lives in a process of its own (``minicnn/bench/worker.py``), which alone imports its library.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass, field

import kernels


@dataclass(frozen=True)
class Entry:
    """Where a contestant is found.

    Attributes
    ----------
    module : str
        File in this folder; its class ``Contestant`` is made with ``threads`` and ``options``.
    needs : tuple of str
        Packages without which it cannot take part.
    tolerance : float
        How many times as far from the judge's results it may be as float32 arithmetic.
    """

    module: str
    options: dict = field(default_factory=dict)
    needs: tuple = ()
    tolerance: float = 1.0


PEERS = {
    "pytorch": Entry("pytorch", {"channels_last": False}, ("torch",)),
    "pytorch-cl": Entry("pytorch", {"channels_last": True}, ("torch",)),
    "keras": Entry("keras", {}, ("keras", "tensorflow")),
    "jax": Entry("jax", {}, ("jax",)),
}

#: The peers of the back-end cuda: PyTorch on the same GPU, with float32 products and with TF32's.
GPU_PEERS = {
    "pytorch-cuda": Entry("pytorch", {"channels_last": True, "device": "cuda"}, ("torch",)),
    "pytorch-cuda-tf32": Entry("pytorch", {"channels_last": True, "device": "cuda", "tf32": True}, ("torch",), 30.0),
}

#: Not a competitor: measures what the machine can do (NumPy's matrix product, copying memory).
MACHINE = "machine"

#: Stands in the name of a contestant that is one rung of a back-end's ladder: "cpu ladder: loops".
LADDER = " ladder: "


def entry(name):
    """The entry of a contestant: a peer, "machine", a rung, or what ``minicnn.backends.resolve_backend`` takes."""
    if name in PEERS or name in GPU_PEERS:
        return PEERS.get(name) or GPU_PEERS[name]
    if name == MACHINE:
        return Entry("machine")
    backend, is_rung, rung = name.partition(LADDER)
    return Entry("ladder", {"backend": backend, "rung": rung}) if is_rung else Entry("minicnn", {"backend": name})


def uses_gpu(name):
    """Whether a contestant computes on a GPU: the back-end cuda, a rung of its ladder, or one of its peers."""
    return name in GPU_PEERS or name.partition(LADDER)[0] == "cuda"


def load(name, threads):
    """Import the contestant's library and return the contestant; done in its worker."""
    found = entry(name)
    module = importlib.import_module(f"{__name__}.{found.module}")
    return module.Contestant(threads=threads, **found.options)


def missing_packages(name):
    """The packages that contestant ``name`` needs and that are not installed. Imports none of them."""
    return [package for package in entry(name).needs if importlib.util.find_spec(package) is None]


def choose_peers(wanted, backends=()):
    """The peers that are meant by ``wanted``: a list of names, or "all" for those that are installed, or "none".

    Where cuda is among the back-ends, "all" means the peers on the GPU, and besides those on the CPU only if another
    back-end takes part.

    Raises
    ------
    ValueError
        For an unknown name, and for a peer asked for by name whose packages are not installed.
    """
    if wanted == "none":
        return []
    if wanted == "all":
        fitting = [*(GPU_PEERS if "cuda" in backends else ()), *(PEERS if list(backends) != ["cuda"] else ())]
        return [name for name in fitting if not missing_packages(name)]
    known = {**PEERS, **GPU_PEERS}
    for name in wanted:
        if name not in known:
            raise ValueError(f"peers: unknown name {name!r}; choose from {', '.join(known)}, or 'all' or 'none'")
        if missing := missing_packages(name):
            raise ValueError(f"peers: {name} needs {' and '.join(missing)}, not installed here; install it, or leave "
                             f"{name} out")
    return list(wanted)


def choose_backends(wanted):
    """The back-ends that are meant by ``wanted``, a list; None for cpu and im2col, as far as they are there."""
    if wanted is None:
        return [name for name in ("cpu", "im2col") if name in kernels.available_backends()]
    for name in wanted:
        if not name.endswith(".py") and name not in kernels.available_backends():
            raise ValueError(f"backends: unknown name {name!r}; choose from {', '.join(kernels.available_backends())}, "
                             "or give the path of a Python file")
    return list(wanted)
