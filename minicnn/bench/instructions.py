"""Holding everybody to vector instructions older than the processor's: how would it be on a processor without AVX-512?

Every library looks at the processor when it starts and takes the widest vectors it finds. Each has a variable that says
otherwise, and they are set together here, for the workers.
"""

from __future__ import annotations

import os

import llvmlite.binding as llvm

from minicnn.bench import machine

#: What may be asked for: everything that the processor has, or AVX2 at most.
CHOICES = ("native", "avx2")


def check(isa):
    """``ValueError`` if this processor does not have these instructions."""
    features = llvm.get_host_cpu_features()
    if isa == "avx2" and not (features.get("avx2") and features.get("fma")):
        raise ValueError("--isa avx2: this processor has no such instructions (AVX2 and FMA)")


def environment(isa):
    """The variables that hold a worker to these instructions."""
    if isa == "native":
        return {}
    found = machine.numpy_build().get("SIMD Extensions", {}).get("found", ())
    newer = [name for name in found if name.startswith("AVX512") or name == "X86_V4"]
    return {
        "NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+fma",  # MiniCNN
        "OPENBLAS_CORETYPE": "Haswell", "NPY_DISABLE_CPU_FEATURES": " ".join(newer),  # NumPy
        "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2",  # PyTorch, and its matrix products
        "ONEDNN_MAX_CPU_ISA": "AVX2", "DNNL_MAX_CPU_ISA": "AVX2",  # oneDNN, under PyTorch and TensorFlow
        # TensorFlow takes oneDNN's convolutions by itself only on processors with AVX512-VNNI, AVX512-BF16, AVX-VNNI or
        # AMX (DefaultOneDnnPolicy in its tensorflow/core/util/port.cc), and its own on all others
        "TF_ENABLE_ONEDNN_OPTS": "0",
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_max_isa=AVX2".strip(),  # JAX, and Keras' training
    }
