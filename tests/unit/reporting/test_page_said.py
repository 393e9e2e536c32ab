"""Texts of several lines: kept in their lines or made one, and never without their end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytest_execgo.plan.result import BenchmarkResult
from pytest_execgo.plan.sandbox import SandboxUse
from pytest_execgo.plan.verdict import Verdict
from pytest_execgo.reporting.page.columns import Texts
from pytest_execgo.reporting.page.detail import FULL, run_detail
from pytest_execgo.reporting.page.folder import CHECKPOINTS, RunPlace
from pytest_execgo.reporting.page.lanes import Lanes
from pytest_execgo.reporting.page.logs import Logs
from pytest_execgo.reporting.page.said import block, ends
from pytest_execgo.reporting.run_clock import RunClock
from pytest_execgo.runner.checkpoints.run_state import DATABASE

TRACEBACK = "check.py exited with 1:\nTraceback (most recent call last):\n" + "".join(
    f'  File "part_{number}.py", line {number}\n\tcall()\n' for number in range(400)
)
LAST = "AssertionError: 3 notices, not 1"


def detail(run: BenchmarkResult, out: Path) -> dict[str, Any]:
    return run_detail(run, RunPlace(out, run), Logs(out / "stacks"), FULL, before=None, rerun="again")


def test_what_is_short_is_as_it_was() -> None:
    assert ends(" one\n two ", 20) == "one ⏎ two"
    assert block(" one\n\n\ttwo  \r\nthree\n", 30) == "one\n\n    two\nthree"
    assert ends("", 5) == block("", 5) == ""


def test_one_line_keeps_its_head_and_its_last_line_and_counts_the_rest() -> None:
    line = ends(f"{TRACEBACK}{LAST}", 120)
    assert line.startswith("check.py exited with 1: ⏎ Traceback")
    assert line.endswith(f" characters) … call() ⏎ {LAST}")
    assert len(line) < 160
    assert ends("a" * 60 + "b" * 40 + "c" * 60, 100) == f"{'a' * 50} … (+60 characters) … {'c' * 50}"


def test_a_block_keeps_whole_lines_of_both_ends() -> None:
    lines = block(f"{TRACEBACK}{LAST}", 500).split("\n")
    assert lines[0] == "check.py exited with 1:"
    assert lines[-1] == LAST
    assert lines[-2] == "    call()"
    assert lines[2].startswith('  File "part_0.py"')
    assert [line.startswith("… (+") for line in lines].count(True) == 1
    assert sum(map(len, lines)) < 540


def test_one_long_line_is_no_block() -> None:
    assert "\n" not in block("x" * 900, 100)


def test_nothing_in_a_block_leaves_its_line(hostile: str) -> None:
    for line in block(f"{hostile}\n{hostile}", 400).split("\n"):
        assert line.isprintable()


def test_reasons_and_errors_of_tasks_keep_their_lines(make_result: Callable[..., BenchmarkResult], tmp_path: Path) -> None:
    said = f"{TRACEBACK}{LAST}"
    reasons = detail(make_result(verdict=Verdict(passed=False, reasons=[said])), tmp_path)["reasons"]
    assert reasons[0].split("\n")[-1] == LAST
    assert len(reasons[0].split("\n")) > 50
    texts = Texts()
    row = {"event_type": "task_observed", "status": "failed", "metadata": {"error": said}, "monotonic_ns": 1, "seq": 1}
    Lanes("run-1", texts, 10, 400).events([row], RunClock([row]))
    assert any(text.endswith(f"    call()\n{LAST}") for text in texts.table)


def test_where_commands_ran_is_told(make_result: Callable[..., BenchmarkResult], tmp_path: Path) -> None:
    assert "sandbox" not in detail(make_result(), tmp_path)
    use = SandboxUse(requested="docker", reason="no engine\nanswers")
    found = detail(make_result(sandbox=use), tmp_path)["sandbox"]
    assert found == {"requested": "docker", "effective": None, "reason": "no engine ⏎ answers"}


def test_workspace_and_checkpoints_are_linked_where_they_are(make_result: Callable[..., BenchmarkResult], tmp_path: Path) -> None:
    run = make_result()
    (tmp_path / run.run_id / "workspace").mkdir(parents=True)
    assert RunPlace(tmp_path, run).files() == ["workspace/"]
    assert CHECKPOINTS == DATABASE
    (tmp_path / run.run_id / DATABASE).write_bytes(b"")
    assert RunPlace(tmp_path, run).files() == ["workspace/", "checkpoints.sqlite"]
