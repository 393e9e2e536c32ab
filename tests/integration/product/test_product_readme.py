"""What the README shows, works, and its translation shows the same. Its scenario is the guides' (`test_product_guides.py`)."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.wiring.options import OPTIONS

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text()
CHINESE = (ROOT / "README.zh-CN.md").read_text()


def blocks(language: str, text: str = README) -> list[str]:
    """Return the code blocks of one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.S | re.M)


def run_pytest(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False).stdout


def test_the_own_test_runs(tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text(blocks("python")[0])
    assert "2 passed" in run_pytest(tmp_path)


@pytest.mark.parametrize(
    "line", [line for block in blocks("sh") for line in block.splitlines() if " run " in line or " schema " in line]
)
def test_the_commands_run(command_line: Any, line: str) -> None:
    words = shlex.split(line.partition(" #")[0])
    assert words[:3] == ["python", "-m", "pytest_execgo"]
    finished = command_line(*words[3:])
    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_the_two_commands_are_what_ci_runs() -> None:
    main_job, tests = [block.strip() for block in blocks("sh") if "python3 -m venv" in block]
    assert main_job == "python3 -m venv .venv && .venv/bin/pip install -q -e . && .venv/bin/pytest --execgo-matrix"
    ci = (ROOT / ".ci/run").read_text()
    assert tests in ci.splitlines()


def rows(text: str) -> list[tuple[str, str]]:
    """Return the options that tables name, each with its default if that is given as code."""
    return re.findall(r"^\| `--execgo-([a-z-]+)[^`]*` \| (`[^`]*`)?", text, re.M)


def test_every_option_is_in_the_table() -> None:
    table = dict(rows((ROOT / "docs/options.md").read_text()))
    assert set(table) == {option.name for option in OPTIONS}
    for option in OPTIONS:
        if option.default and table[option.name]:
            assert table[option.name] == f"`{option.default}`", option.name


def test_the_readme_keeps_ten_options_that_exist() -> None:
    named = [name for name, _ in rows(README)]
    assert len(named) == 10
    assert set(named) <= {option.name for option in OPTIONS}


def test_the_translation_shows_the_same() -> None:
    for language in ("sh", "python", "text"):
        assert blocks(language, CHINESE) == blocks(language)
    links, again = (re.findall(r"\]\(([^)\s]+)\)", text) for text in (README, CHINESE))
    assert (links.pop(0), again.pop(0)) == ("README.zh-CN.md", "README.md")
    assert again == links
    assert rows(CHINESE) == rows(README)
    assert len(re.findall("^## ", CHINESE, re.M)) == len(re.findall("^## ", README, re.M))


def test_the_pictures_are_what_the_script_draws_of_the_recording() -> None:
    script = runpy.run_path(str(ROOT / "reports/record_session.py"))
    images = ROOT / "docs/images"
    head, *events = [json.loads(line) for line in (images / "session.cast").read_text().splitlines()]
    rows = script["last_screen"]([(at, text) for at, _, text in events], head["width"], head["height"])
    assert (images / "session.svg").read_text() == script["svg"](rows, head["title"])
    png = (images / "report.png").read_bytes()
    assert struct.unpack(">I", png[16:20]) == (1280,)
    assert len(png) < 250_000


def test_a_command_is_recorded_as_a_terminal_shows_it(tmp_path: Path) -> None:
    script = runpy.run_path(str(ROOT / "reports/record_session.py"))
    said = "import os, sys; print('wrong', end='\\r'); print('\\033[31mright\\033[0m', os.getcwd()); sys.exit(3)"
    pieces, code = script["record"]([sys.executable, "-c", said], tmp_path, 40, 10)
    assert code == 3
    (row,) = script["last_screen"](pieces, 40, 10)
    assert "".join(char.data for char in row).split() == ["right", "~/plans"]
    assert 'fill="#ff7b72">right</text>' in script["svg"]([row], "<&")
    assert [json.loads(line)[1] for line in script["cast"](pieces, "t", 40, 10).splitlines()[1:]] == ["o"] * len(pieces)
