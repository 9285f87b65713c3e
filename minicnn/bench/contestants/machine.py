"""What the machine can do: the roof under which every contestant works."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from minicnn.bench import machine
from minicnn.bench.contestants import base


class Contestant(base.Contestant):
    """NumPy's matrix product in float32 (its BLAS, all threads), and copying memory with as many threads."""

    def __init__(self, threads):
        self.threads = threads

    def versions(self):
        blas = machine.numpy_build().get("Build Dependencies", {}).get("blas", {})
        return {"NumPy": np.__version__, "BLAS": f"{blas.get('name', '?')} {blas.get('version', '')}".strip()}

    def operation(self, operation, arrays, options):
        if operation == "sgemm":
            a, b = arrays["a"], arrays["b"]
            out = np.empty((a.shape[0], b.shape[1]), np.float32)
            return base.Job(lambda: np.matmul(a, b, out=out), lambda: {"c": a @ b})
        if operation == "copy":
            return self.copy(arrays["a"])
        raise base.Unsupported

    def copy(self, source):
        """Every thread copies its share; NumPy lets the others run meanwhile."""
        destination = np.zeros_like(source)  # zeros are written, so that no page is missing when the clock runs
        destination[...] = source
        pairs = list(zip(np.array_split(destination, self.threads), np.array_split(source, self.threads)))
        pool = ThreadPoolExecutor(self.threads)
        return base.Job(lambda: list(pool.map(lambda pair: np.copyto(*pair), pairs)),
                        lambda: {"copy": destination[:1000]})
