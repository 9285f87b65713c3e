"""The tutorials run as they are printed, offline and without warnings, and come to the same numbers.

The checks of what the committed pages look like are fast. Running the pages takes minutes: ``pytest -m tutorials``.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "tutorials").glob("*.ipynb"))
NAMES = [path.stem for path in NOTEBOOKS]

#: Run before a page's own cells. Messages of the notebook's machinery itself are not the page's.
GUARD = r"""
import socket, warnings
warnings.simplefilter("error")
warnings.filterwarnings("ignore", module=r"(ipykernel|IPython|jupyter_client|zmq|tornado|asyncio|traitlets)")
def _offline(*arguments, **options):
    raise OSError("a tutorial must run offline")
socket.getaddrinfo = socket.create_connection = _offline
"""

KEY_NUMBERS = re.compile(r"^key numbers \(within ([^)]+)\): (\{.*\})$", re.MULTILINE)
SOLUTION = re.compile(r"<details>.*?</details>", re.DOTALL)
PROGRAM = re.compile(r"```python\n(.*?)```", re.DOTALL)


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def source(cell):
    return "".join(cell["source"])


def printed(cell):
    return "".join("".join(output.get("text", "")) for output in cell.get("outputs", []))


def key_numbers(cells):
    """``[(tolerance, {name: value}), ...]`` in the order in which they are printed."""
    text = "\n".join(printed(cell) for cell in cells if cell["cell_type"] == "code")
    return [(float(tolerance), json.loads(numbers)) for tolerance, numbers in KEY_NUMBERS.findall(text)]


def solutions(text):
    """The programs in a cell's collapsed solution."""
    return [program for block in SOLUTION.findall(text) for program in PROGRAM.findall(block)]


def test_there_are_tutorials():
    assert [name[:2] for name in NAMES] == [f"{number:02d}" for number in range(1, 10)]


@pytest.fixture(params=NOTEBOOKS, ids=NAMES)
def page(request):
    return request.param


def test_size_and_order(page):
    assert page.stat().st_size < 1_500_000
    notebook = read(page)
    assert notebook["nbformat"] == 4
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1)), "run it from top to bottom"
    assert key_numbers(code), "no key numbers to compare with"


def test_outputs_are_clean(page):
    for cell in read(page)["cells"]:
        for output in cell.get("outputs", []):
            assert output["output_type"] != "error"
            assert output.get("name") != "stderr", "".join(output["text"])
            texts = ["".join(output.get("text", "")), *("".join(text) for kind, text in output.get("data", {}).items()
                                                         if kind.startswith("text/"))]
            for text in texts:
                assert not re.search(r"/(root|home|tmp|work|Users|opt)/", text), text


def test_pictures_are_whole(page):
    from PIL import Image
    count = 0
    for cell in read(page)["cells"]:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                with Image.open(io.BytesIO(base64.b64decode("".join(output["data"]["image/png"])))) as picture:
                    picture.load()
                    assert picture.width <= 1500
                count += 1
    assert count >= 2


def test_a_page_opens_with_its_aims_and_ends_with_three_exercises(page):
    texts = [source(cell) for cell in read(page)["cells"] if cell["cell_type"] == "markdown"]
    assert re.match(r"# \d\. ", texts[0]) and "After this hour you can" in texts[0]
    text = "\n".join(texts)
    exercises = text.split("## Exercises")[1]
    assert re.findall(r"^\*\*(\d)\.\*\*", exercises, re.MULTILINE)[:3] == ["1", "2", "3"]
    assert exercises.count("<details><summary>Solution</summary>") >= 3 and len(solutions(exercises)) >= 3
    code = "\n".join(source(cell) for cell in read(page)["cells"] if cell["cell_type"] == "code")
    assert re.search(r"\b(grade|grade_functions)\(", code), "no exercise grades itself"


def test_links_lead_somewhere(page):
    for cell in read(page)["cells"]:
        if cell["cell_type"] == "markdown":
            for link in re.findall(r"\]\(([^)#:]+)\)", source(cell)):
                assert (page.parent / link).exists(), link


def test_the_map_names_every_page():
    text = (ROOT / "tutorials" / "README.md").read_text(encoding="utf-8")
    for name in NAMES:
        assert f"({name}.ipynb)" in text


def test_the_map_gives_a_page_the_time_that_it_gives_itself(page):
    text = (ROOT / "tutorials" / "README.md").read_text(encoding="utf-8")
    row = next(line for line in text.splitlines() if line.startswith("| [") and f"({page.name})" in line)
    assert f"Time: {row.split('|')[4].strip()} minutes" in source(read(page)["cells"][0])


def test_the_courses_take_the_hours_that_they_say():
    text = (ROOT / "tutorials" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[(\d)\. .*\| (\d+) \|[^|]*\|$", text, re.MULTILINE)
    minutes = {int(number): int(time) for number, time in rows}
    assert list(minutes) == list(range(1, 10))
    for hours, pages in ((6, (1, 3, 4, 6, 7)), (9, range(1, 9)), (12, range(1, 10))):
        spare = 105 if hours == 12 else 0  # minutes of reading kernels
        assert sum(minutes[number] for number in pages) + spare == 60 * hours


def test_no_time_is_a_key_number(page):
    """What a clock says differs from machine to machine."""
    for _, numbers in key_numbers(read(page)["cells"]):
        assert not [name for name in numbers if re.search("second|speed|flops|faster|bandwidth|per_s", name)]


@pytest.mark.tutorials
def test_runs_and_comes_to_the_same_numbers(page, tmp_path):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    committed = read(page)["cells"]
    notebook = nbformat.read(page, as_version=4)
    cells = [nbformat.v4.new_code_cell(GUARD)]
    for cell in notebook.cells:
        cells.append(cell)
        if cell.cell_type == "markdown":
            cells += [nbformat.v4.new_code_cell(program) for program in solutions(cell.source)]
    notebook.cells = cells
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    client = nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3",
                                     resources={"metadata": {"path": str(tmp_path)}})
    client.execute(env=environment)
    old, new = key_numbers(committed), key_numbers(notebook.cells)
    assert [(tolerance, list(numbers)) for tolerance, numbers in old] == [
        (tolerance, list(numbers)) for tolerance, numbers in new]
    for (tolerance, before), (_, after) in zip(old, new):
        for name, value in before.items():
            assert after[name] == pytest.approx(value, abs=tolerance), name
