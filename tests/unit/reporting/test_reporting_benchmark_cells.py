"""The script that measures the built-in cells: what it reads, how it renders, and that a failure stops nothing else."""

from __future__ import annotations

import importlib.util
import os
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.core.bundle import bundled
from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.plan.result import RunMetrics

SCRIPT = bundled("reports") / "benchmark_cells.py"
Make = Callable[..., Any]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Load the script as a module."""
    spec = importlib.util.spec_from_file_location("benchmark_cells_under_test", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


def passed(make_result: Make, wall: float, critical: float, **values: Any) -> Any:
    metrics = RunMetrics(wall_time_ms=wall, critical_path_ms=critical, overhead=wall / critical)
    return make_result(outcome="passed", metrics=metrics, **values)


def test_results_are_read_from_run_folders_and_not_from_workspaces(script: Any, tmp_path: Path, make_result: Make) -> None:
    for name in ("a", "b"):
        run = tmp_path / "runs" / name
        (run / "workspace").mkdir(parents=True)
        (run / "result.json").write_text(make_result(run_id=name).model_dump_json())
        (run / "workspace" / "result.json").write_text("not ours")
    assert [result.run_id for result in script.read_results(tmp_path)] == ["a", "b"]
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(ExecGoError, match=r"^result\.json: ") as caught:
        script.read_results(tmp_path)
    assert caught.value.code == "malformed_result"


def test_stack_starts(script: Any, tmp_path: Path) -> None:
    assert script.read_stack_starts(tmp_path) == []
    for name, ms in (("gw0", 412.5), ("gw1", 398)):
        (tmp_path / "stacks" / name).mkdir(parents=True)
        (tmp_path / "stacks" / name / "start.json").write_text(f'{{"start_ms": {ms}}}')
    assert script.read_stack_starts(tmp_path) == [412.5, 398.0]
    (tmp_path / "stacks" / "gw1" / "start.json").write_text("[]")
    with pytest.raises(ExecGoError, match=r"stacks/gw1/start\.json"):
        script.read_stack_starts(tmp_path)


def test_cells_are_medians_of_what_passed(script: Any, make_result: Make) -> None:
    sweeps = [
        script.Sweep(4000.0, [passed(make_result, 100.0, 50.0), passed(make_result, 30.0, 3.0, framework="autogen")], [400.0]),
        script.Sweep(5000.0, [passed(make_result, 120.0, 40.0), make_result(framework="autogen")], [500.0]),
    ]
    lines = script.cells_section(sweeps)
    assert "| codegen_exec | autogen | replay | none | 1/2 | 30.0 | 3.00 | 10.0 |" in lines
    assert "| codegen_exec | langgraph | replay | none | 2/2 | 110 | 45.0 | 2.50 |" in lines
    assert "| codegen_exec | 3/4 | 100 | 40.0 | 3.00 |" in lines
    command = script.command_section(sweeps, [script.Sweep(3000.0, sweeps[0].results, [])], 2)
    assert command[0].startswith("2 cells a sweep")
    assert "| whole command, one process | 4500 | 4000 | 5000 | 2 |" in command
    assert "| stack start to healthy, one process | 450 | 400 | 500 | 2 |" in command
    assert "| whole command, -n 2 | 3000 | 3000 | 3000 | 1 |" in command
    assert "| stack start to healthy, -n 2 | n/a | n/a | n/a | 0 |" in command


def test_import_cost_is_the_median_of_differences_not_their_difference(script: Any) -> None:
    lines = script.import_section([(120.0, 100.0), (330.0, 300.0), (220.0, 250.0)])
    assert "| difference, pair by pair | 20.0 | -30.0 | 30.0 | 3 |" in lines


def test_the_two_sides_take_turns(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []

    def run(argv: list[str], cwd: Path, timeout: float, **extra_env: str) -> Any:
        seen.append("pytest_execgo.plugin.entry" in argv)
        return script.Finished(5.0, 100.0 if seen[-1] else 90.0, 0, "")

    monkeypatch.setattr(script, "run", run)
    assert script.import_cost(3, 5) == [(100.0, 90.0)] * 3
    assert seen == [True, False, True, False, False, True, True, False]


def test_a_command_that_hangs_is_ended_with_all_it_started(script: Any, tmp_path: Path) -> None:
    """What it started holds a pipe's end open: when that end closes, it is gone."""
    os.mkfifo(tmp_path / "alive")
    alive = os.open(tmp_path / "alive", os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(ExecGoError, match=r"not done after 1 s"):
        script.run(["sh", "-c", "(echo up; exec sleep 600) > alive & wait"], tmp_path, 1)
    os.set_blocking(alive, True)
    with os.fdopen(alive) as pipe:
        assert pipe.readline() == "up\n"
        assert select.select([pipe], [], [], 30)[0]
        assert pipe.read() == ""


def test_a_command_says_how_it_ended(script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "--bogus")
    monkeypatch.setenv("PYTEST_EXECGO_REPEAT", "9")
    code = "import os, sys; print(os.getcwd(), [n for n in os.environ if n.startswith('PYTEST_')]); sys.exit(3)"
    done = script.run([sys.executable, "-c", code], tmp_path, 60)
    assert done.exit_code == 3
    assert str(tmp_path) in done.output
    assert "ADDOPTS" not in done.output
    assert "EXECGO" not in done.output


def broken(*args: object) -> Any:
    raise ExecGoError("sweep_failed", "no stack")


def test_what_fails_is_said_and_the_rest_goes_on(
    script: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(script, "sweep", broken)
    monkeypatch.setattr(script, "import_cost", lambda pairs, timeout: [(120.0, 100.0)])
    saved = tmp_path / "deep" / "cells.md"
    assert script.main(["--save", str(saved)]) == 3
    printed = capsys.readouterr()
    assert "## Cells\n\nNot measured (sweep_failed).\n" in printed.out
    assert "| difference, pair by pair | 20.0 |" in printed.out
    assert "not measured: no stack" in printed.err
    assert not saved.exists()


def test_it_saves_what_it_prints(
    script: Any, make_result: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workers: list[int] = []

    def sweep(count: int, timeout: float) -> Any:
        workers.append(count)
        return script.Sweep(4000.0, [passed(make_result, 100.0, 50.0)], [400.0])

    monkeypatch.setattr(script, "sweep", sweep)
    monkeypatch.setattr(script, "import_cost", lambda pairs, timeout: [(120.0, 100.0)] * pairs)
    assert script.main(["--repeat", "2", "--save", str(tmp_path / "cells.md")]) == 0
    text = (tmp_path / "cells.md").read_text()
    assert text == capsys.readouterr().out
    assert workers == [0, 2, 0, 2]
    assert "| whole command, one process | 4000 | 4000 | 4000 | 2 |" in text
    assert "cores" in text
    assert str(tmp_path) not in text


def test_help_and_bad_values() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), "--help"], capture_output=True, text=True, check=True)
    assert "--repeat" in done.stdout
    bad = subprocess.run([sys.executable, str(SCRIPT), "--repeat", "0"], capture_output=True, text=True, check=False)
    assert bad.returncode == 2
    assert "Traceback" not in bad.stderr
