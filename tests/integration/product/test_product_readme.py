"""What the README shows, works: its scenario, its test, its commands."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.wiring.options import OPTIONS

README = (Path(__file__).parents[3] / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """Return the README's code blocks of one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.S | re.M)


def hello(folder: Path) -> None:
    """Write the README's scenario into a project."""
    scenario = folder / "scenarios" / "hello"
    scenario.mkdir(parents=True)
    (scenario / "scenario.yaml").write_text(blocks("yaml")[0])
    (scenario / "reference_plan.json").write_text(blocks("json")[0])
    (scenario / "verifier.py").write_text(blocks("python")[1])


def run_pytest(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False).stdout


def test_the_scenario_runs(tmp_path: Path) -> None:
    hello(tmp_path)
    assert "3 passed" in run_pytest(tmp_path, "--execgo-matrix")


def test_the_scenario_is_really_judged(tmp_path: Path) -> None:
    hello(tmp_path)
    plan = tmp_path / "scenarios/hello/reference_plan.json"
    plan.write_text(plan.read_text().replace('"content": "hello"', '"content": "bye"'))
    assert "3 failed" in run_pytest(tmp_path, "--execgo-matrix")


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
    ci = (Path(__file__).parents[3] / ".ci/run").read_text()
    assert tests in ci.splitlines()


def test_every_option_is_in_the_table() -> None:
    for option in OPTIONS:
        told_with_the_backend = option.name in ("bin", "url", "runtime-url", "fixtures-url")
        assert f"{'' if told_with_the_backend else '| '}`--execgo-{option.name}" in README
