"""Fixtures of the cpu back-end's tests."""

from __future__ import annotations

import math
import types

import numpy as np
import pytest

from kernels import cpu
from kernels.cpu import calls, conv2d, dense, loss, optimizers, plans, setups, workspace


def forget_calls():
    """Nothing that was prepared for a call is known any more."""
    for module in (conv2d, dense, loss, optimizers):
        for known in vars(module).values():
            if isinstance(known, calls.Calls):
                known.known.clear()


class Guarded:
    """In place of ``workspace``: every array lies between guards, and ``check`` tells if one was overwritten."""

    SIZE, VALUE = 300, 77.25

    def __init__(self):
        self.arrays = []

    def empty(self, shape, dtype):
        size = math.prod(shape)
        memory = np.full(size + 2 * self.SIZE, self.VALUE).astype(dtype)
        self.arrays.append((shape, memory))
        return memory[self.SIZE:self.SIZE + size].reshape(shape)

    def results(self, shape, dtype):
        return types.SimpleNamespace(empty=lambda: self.empty(shape, dtype))

    def arguments(self, fixed):
        return tuple(self.empty(one.shape, one.dtype) if isinstance(one, workspace.Room) else one for one in fixed)

    Fixed, flat = workspace.Fixed, staticmethod(workspace.flat)

    def check(self):
        for shape, memory in self.arrays:
            guards = np.concatenate([memory[:self.SIZE], memory[len(memory) - self.SIZE:]])
            assert (guards == guards.dtype.type(self.VALUE)).all(), f"written beside an array of shape {shape}"


@pytest.fixture
def guarded(monkeypatch):
    """Give the modules a guarded workspace, and check it at the end of every example."""
    def install():
        guard = Guarded()
        forget_calls()  # they know where their results' memory came from
        for module in (conv2d, cpu.pool2d):
            monkeypatch.setattr(module, "workspace", guard)
        return guard

    return install


@pytest.fixture(autouse=True)
def no_call_is_known():
    """What a test changes is to count: nothing that was prepared before or during another is used."""
    forget_calls()
    yield
    forget_calls()


@pytest.fixture
def all_pixels(monkeypatch):
    """Let no gradient through relu or a pooling be computed from winners alone."""
    for what in ("winners", "picked"):
        monkeypatch.setattr(setups, what, lambda *geometry: None)


@pytest.fixture
def all_winners(monkeypatch):
    """Let gradients be computed from winners alone even where they are many."""
    monkeypatch.setattr(conv2d, "FEW", 2)


@pytest.fixture
def units_of(monkeypatch):
    """A function that sets how many bytes a unit may have; what was planned before is forgotten, and afterwards too."""
    planned = (setups.convolution, setups.gather, setups.spread, setups.dots, setups.correlation, setups.picked,
               setups.winners, plans.plan_of)

    def forget():
        forget_calls()
        for cached in planned:
            cached.cache_clear()

    def units_of(limit):
        monkeypatch.setattr(plans, "UNIT_BYTES", limit)
        forget()

    yield units_of
    forget()
