"""README.md and .ci/run: the same commands in both, and every file that is linked exists."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CI = (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def commands():
    """The README's shell lines, without the path of its virtual environment, which CI makes elsewhere."""
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [part.strip().removeprefix(".venv/bin/") for line in lines for part in line.split("&&")]


def test_ci_runs_the_commands_of_the_readme():
    for command in ("pip install .", "minicnn train", "pip install -e '.[test]'", "python -m pytest"):
        assert command in commands()
        words = command.split()
        pattern = r"(?m)^" + re.escape(words[0]) + r".*" + re.escape(" ".join(words[2:]) or words[1])
        assert re.search(pattern, CI), command


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    for link in links:
        if not link.startswith("http"):
            assert (ROOT / link).exists(), link


def test_the_commands_of_the_readme_exist():
    from minicnn.cli import COMMANDS
    named = set(re.findall(r"`minicnn ([a-z]+)[^`\n]*`", README))
    assert named and named <= set(COMMANDS)


def test_no_path_of_a_machine_is_in_the_readme():
    assert not re.search(r"/(home|root|work|Users)/", README)
