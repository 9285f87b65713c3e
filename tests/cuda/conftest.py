"""Where the cuda tests run: on the simulator, on a device, or nowhere.

    NUMBA_ENABLE_CUDASIM=1 python -m pytest -m cuda tests/cuda      without a GPU
    python -m pytest -m cuda tests/cuda                             on one

Without either they are skipped, and what the message says about the missing part is a test by itself.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "kernels"))

SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0")


def missing():
    """Why no cuda test can run, or None."""
    if SIMULATED:
        return None
    from kernels.cuda import device
    try:
        device.require_device()
    except (ImportError, RuntimeError) as error:
        return f"{error}. On the simulator: NUMBA_ENABLE_CUDASIM=1 python -m pytest -m cuda tests/cuda"
    return None


def pytest_collection_modifyitems(items):
    marked = [item for item in items if item.get_closest_marker("cuda")]
    if marked and (reason := missing()):
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=reason))
