"""The directions that imports may take: tutorials -> minicnn -> kernels, and no back-end knows another."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import kernels
import minicnn

ROOTS = {"kernels": Path(kernels.__file__).parent, "minicnn": Path(minicnn.__file__).parent}


def imported_modules(source, module, is_package=False):
    """Absolute names of everything that the source text of ``module`` imports, at any depth of nesting.

    Names count as modules: ``from ..reference import loss`` yields both kernels.reference and kernels.reference.loss.
    """
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[:len(package) - node.level + 1] if node.level else []
            base = ".".join([*base, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def imports_below(package):
    """Pairs (file, imported module) of all Python files of an installed package."""
    root = ROOTS[package]
    for file in sorted(root.rglob("*.py")):
        parts = (package, *file.relative_to(root).with_suffix("").parts)
        is_package = parts[-1] == "__init__"
        module = ".".join(parts[:-1] if is_package else parts)
        for name in imported_modules(file.read_text(encoding="utf-8"), module, is_package):
            yield str(file.relative_to(root.parent)), name


def belongs_to(name, package):
    return name == package or name.startswith(package + ".")


def test_nothing_in_minicnn_imports_numba():
    assert [pair for pair in imports_below("minicnn") if belongs_to(pair[1], "numba")] == []


def test_nothing_in_kernels_imports_minicnn():
    assert [pair for pair in imports_below("kernels") if belongs_to(pair[1], "minicnn")] == []


@pytest.mark.parametrize("backend", kernels.BACKENDS)
def test_backends_import_no_other_backend_but_reference(backend):
    others = [f"kernels.{other}" for other in kernels.BACKENDS if other not in (backend, "reference")]
    if backend == "reference":
        assert [f"kernels.{other}" for other in kernels.BACKENDS[1:]] == others
    folder = str(Path("kernels", backend))
    assert [(file, name) for file, name in imports_below("kernels")
            if file.startswith(folder) and any(belongs_to(name, other) for other in others)] == []


def test_the_walk_itself_finds_imports():
    source = ("import numba.cuda as nc\ndef f():\n    from ..im2col import pad\n    from . import loss\n"
              "from .. import checks\n")
    assert set(imported_modules(source, "kernels.cpu.dense")) == {
        "numba.cuda", "kernels.im2col", "kernels.im2col.pad", "kernels.cpu", "kernels.cpu.loss", "kernels",
        "kernels.checks"}
    assert set(imported_modules("from . import tile", "kernels.cpu", is_package=True)) == {
        "kernels.cpu", "kernels.cpu.tile"}
    assert len(list(imports_below("kernels"))) > 50
