"""What every back-end promises, asked of the cuda back-end: the other back-ends' own tests, on its arrays.

``tests/kernels/test_promises.py`` is loaded a second time, with the cuda back-end as the only one to be tested.
"""

import importlib.util
from pathlib import Path

import pytest
from conftest import missing

if missing():
    pytest.skip(missing(), allow_module_level=True)

import arguments
import host

pytestmark = pytest.mark.cuda




def promises():
    """The tests of ``tests/kernels/test_promises.py``, parametrized over the cuda back-end alone."""
    path = Path(__file__).parents[1] / "kernels" / "test_promises.py"
    module = importlib.util.module_from_spec(importlib.util.spec_from_file_location("cuda_promises", path))
    others, arguments.BACKENDS = arguments.BACKENDS, [host]
    try:
        module.__spec__.loader.exec_module(module)
    finally:
        arguments.BACKENDS = others
    return {key: value for key, value in vars(module).items() if key.startswith("test_")}


globals().update(promises())
