"""Gradient checking that teaches: is a gradient right, and if not, where and why.

    from minicnn import gradcheck, layers

    result = gradcheck.check_layer(layers.Conv2D(4, 3, activation="relu"), (2, 7, 6, 3))
    print(result.table())
    assert result.ok, result.worst

``check_operation`` checks one operation of a back-end, ``check_layer``, ``check_loss`` and ``check_model``
what is built
on it, ``grade_file`` a student's file (the command ``minicnn gradcheck FILE``). The method stands in ``numeric``, the
search for the mistake in ``causes``.
"""

from __future__ import annotations

import importlib

_HOMES = {
    "CheckResult": "check", "check_operation": "check", "check_layer": "models", "check_loss": "models",
    "check_model": "models", "grade_file": "homework", "grade_function": "grade", "numeric_gradient": "numeric",
    "step_sweep": "numeric", "relative_error": "numeric", "OPERATIONS": "operations",
}

__all__ = list(_HOMES)


def __getattr__(name):
    if name in _HOMES:
        return getattr(importlib.import_module(f"minicnn.gradcheck.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'minicnn.gradcheck' has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
