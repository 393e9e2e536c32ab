"""`report trace`: `trace.json` of one run, of a folder of them, of one that was cut short."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.cli import main
from pytest_execgo.observability.artifacts import read_lines


def slices(file: Path) -> list[dict[str, Any]]:
    return [event for event in json.loads(file.read_text())["traceEvents"] if event["ph"] == "X"]


def test_one_run(runs: Any, report: Callable[..., Any], tmp_path: Path) -> None:
    run = runs.runs[0]
    answer = report("trace", run)
    assert (answer.code, answer.out, answer.err) == (0, f"{run / 'trace.json'}\n", "")
    assert {event["cat"] for event in slices(run / "trace.json")} >= {"run", "stage", "task", "attempt"}
    assert report("trace", run, "--out", tmp_path / "new" / "t.json").code == 0
    assert (tmp_path / "new" / "t.json").read_bytes() == (run / "trace.json").read_bytes()


def test_every_run_of_a_folder(runs: Any, report: Callable[..., Any]) -> None:
    answer = report("trace", runs.path)
    assert answer.code == 0
    assert answer.out.splitlines() == [str(run / "trace.json") for run in runs.runs]
    assert all((run / "trace.json").is_file() for run in runs.runs)


def test_a_run_that_was_killed(runs: Any, report: Callable[..., Any]) -> None:
    """It left what it knew, the last line torn, under other names, and no result."""
    run = runs.runs[0]
    (run / "result.json").unlink()
    for name in ("timeline.jsonl", "execgo_snapshots.jsonl", "history.jsonl"):
        lines = (run / name).read_text().splitlines(keepends=True)
        (run / f"{name}.partial").write_text("".join(lines[: len(lines) // 2]) + lines[len(lines) // 2][:20])
        (run / name).unlink()
    assert report("trace", runs.path).out.count("trace.json") == 4
    (whole, *_) = slices(run / "trace.json")
    assert whole["args"]["outcome"] == "unfinished"
    assert whole["args"]["scenario"] == "relay"
    assert whole["dur"] > 0


def test_a_run_that_can_not_be_read(runs: Any, report: Callable[..., Any]) -> None:
    broken = runs.runs[0]
    lines = (broken / "timeline.jsonl").read_text().splitlines()
    (broken / "timeline.jsonl").write_text("\n".join([*lines[:3], "{", *lines[3:]]) + "\n")
    answer = report("trace", broken)
    assert (answer.code, answer.out) == (2, "")
    assert f"{broken / 'timeline.jsonl'}:4: this line is no JSON object" in answer.err
    answer = report("trace", runs.path)
    assert (answer.code, answer.out.count("trace.json")) == (0, 3)
    assert "warning: 1 without a trace" in answer.err


def test_what_is_no_run(runs: Any, report: Callable[..., Any], tmp_path: Path) -> None:
    for words, said in (
        ((tmp_path / "nowhere",), "does not exist"),
        ((runs.path, "--sweep", "other"), "unknown sweep 'other'"),
        ((runs.path, "--out", tmp_path / "t.json"), "holds 4 runs"),
        ((runs.runs[0], "--out", runs.path), "can't write"),
    ):
        answer = report("trace", *words)
        assert (answer.code, answer.out) == (2, "")
        assert said in answer.err


@pytest.mark.parametrize("command", ["build", "merge", "compare", "trace", "otel"])
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["report", command, "--help"])
    assert f"usage: python -m pytest_execgo report {command}" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="0"):
        main(["report", "--help"])
    assert f"\n    {command} " in capsys.readouterr().out


def test_a_run_that_may_not_be_read(runs: Any, report: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    closed = runs.runs[0] / "timeline.jsonl"

    def read(file: Path) -> Any:
        if file == closed:
            raise PermissionError(13, "Permission denied", str(file))
        return read_lines(file)

    monkeypatch.setattr("pytest_execgo.observability.stored.read_lines", read)
    answer = report("trace", runs.runs[0])
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == f"error: {closed}: Permission denied\n  hint: make it readable for this user\n"
    assert not (runs.runs[0] / "trace.json").exists()
    answer = report("trace", runs.path)
    assert (answer.code, answer.out.count("trace.json")) == (0, 3)
    assert f"warning: {closed}: Permission denied" in answer.err


@pytest.mark.parametrize("command", ["build", "merge", "compare", "trace"])
def test_a_folder_that_may_not_be_looked_into(
    command: str, runs: Any, report: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    is_file = Path.is_file

    def looked(path: Path) -> bool:
        if path.parent == runs.path:
            raise PermissionError(13, "Permission denied", str(path))
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", looked)
    more = {"merge": ["--out", tmp_path / "new"], "compare": [runs.path]}.get(command, [])
    answer = report(command, runs.path, *more)
    assert (answer.code, answer.out) == (2, "")
    first, hint = answer.err.splitlines()
    assert first.startswith(f"error: {runs.path}/")
    assert first.endswith(".json: Permission denied")
    assert hint == "  hint: make it readable for this user"
    assert not (tmp_path / "new").exists()
