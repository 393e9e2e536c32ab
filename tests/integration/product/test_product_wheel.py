"""The wheel, installed into an empty environment, does the main job from an empty folder."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.wheel


def call(*words: str | Path, cwd: Path) -> str:
    finished = subprocess.run([*map(str, words)], cwd=cwd, capture_output=True, text=True, timeout=600, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def test_a_cell_runs_from_the_wheel(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    call(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", wheels, ROOT, cwd=tmp_path)
    (wheel,) = wheels.glob("pytest_execgo-*.whl")
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv/bin/python"
    call(python, "-m", "pip", "install", "-q", wheel, cwd=tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    where = call(python, "-c", "import pytest_execgo; print(pytest_execgo.__file__)", cwd=empty)
    assert str(tmp_path / "venv") in where
    out = call(tmp_path / "venv/bin/pytest", "--execgo-matrix", "--execgo-framework=langgraph", "-v", cwd=empty)
    assert "4 passed" in out
    assert "scenarios/codegen_exec/scenario.yaml::test_plan[langgraph-replay-none-0]" in out
    assert "py.typed" in {path.name for path in (tmp_path / "venv").glob("lib/*/site-packages/pytest_execgo/*")}
    schemas = call(python, "-m", "pytest_execgo", "schema", "export", "--out", "schemas", cwd=empty)
    assert "scenario.schema.json" in schemas
