"""A run's folder that is opened again: what was there stays, what was torn goes, what follows is appended."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.core.errors import UsageError
from pytest_execgo.core.process_identity import ProcessIdentity
from pytest_execgo.observability.artifacts import (
    JsonLines,
    RunFolder,
    TimelineWriter,
    read_lines,
    read_run_file,
    set_result_aside,
    write_run_file,
)
from pytest_execgo.observability.stream import EventStream
from pytest_execgo.plan.cell import Cell
from pytest_execgo.plan.events import StageStarted

CELL = Cell("demo", "crewai", "replay", "none", 1, 5)
NAMES: dict[str, Any] = {"run_id": "run-1", "framework": "crewai", "scenario_id": "demo"}


@pytest.fixture
def cut(tmp_path: Path) -> Path:
    """Leave a run as a killed process does: two events, in a partial file, and a file in the workspace."""
    folder = RunFolder(tmp_path, "run-1")
    folder.write_json("plan.json", {"stages": []})
    (folder.workspace / "log").write_text("one\n")
    timeline = JsonLines(folder, "timeline.jsonl")
    stream = EventStream([TimelineWriter(timeline, **NAMES)])
    for attempt in (1, 2):
        stream.emit(StageStarted(stage_id="s", attempt=attempt))
    timeline._file.close()
    return folder.path


def history_row(process: str, seq: int, f: str) -> dict[str, Any]:
    return {
        **{"run": "run-1", "seq": seq, "boot_id": "b", "monotonic_ns": seq, "wall": "2025-03-01T12:00:00Z"},
        **{"process": process, "type": "event", "f": f, "value": {"n": seq}},
    }


def test_a_run_goes_on_where_its_lines_end(cut: Path) -> None:
    folder = RunFolder.reopen(cut)
    assert (folder.reopened, folder.last_seq) == (True, 2)
    assert (folder.workspace / "log").read_text() == "one\n"
    with JsonLines(folder, "timeline.jsonl") as lines:
        writer = TimelineWriter(lines, **NAMES, rows=folder.timeline_rows)
        assert EventStream([writer], after=folder.last_seq).emit(StageStarted(stage_id="s", attempt=3)) == 3
    rows = read_lines(cut / "timeline.jsonl")
    assert [(row["seq"], row["metadata"]["attempt"]) for row in rows] == [(1, 1), (2, 2), (3, 3)]
    assert writer.rows == rows
    assert not (cut / "timeline.jsonl.partial").exists()


def test_what_was_written_early_is_in_the_manifest_again(cut: Path) -> None:
    manifest = RunFolder.reopen(cut).manifest()
    assert manifest.files == {"plan.json": hashlib.sha256((cut / "plan.json").read_bytes()).hexdigest()}


@pytest.mark.parametrize(
    "torn",
    ['{"seq": 3, "ev', "\0\0\0\0", "\0\0\0\n", '{"seq": 3, "ev\n', '"text"\n', "\n", "3\n\0\n{", "é"[:1], '{"a": NaN'],
)
def test_what_a_dying_writer_left_at_the_end_is_cut_off(cut: Path, torn: str) -> None:
    partial = cut / "timeline.jsonl.partial"
    whole = partial.read_bytes()
    partial.write_bytes(whole + torn.encode())
    assert RunFolder.reopen(cut).last_seq == 2
    assert partial.read_bytes() == whole


def test_a_file_cut_at_any_byte_keeps_its_whole_lines(cut: Path) -> None:
    partial = cut / "timeline.jsonl.partial"
    whole = partial.read_bytes()
    first = whole.index(b"\n") + 1
    for length in range(len(whole) + 1):
        partial.write_bytes(whole[:length])
        seq = RunFolder.reopen(cut).last_seq
        assert seq == (0 if length < first else 1 if length < len(whole) else 2)


def test_a_line_that_is_damaged_in_the_middle_is_said(cut: Path) -> None:
    partial = cut / "timeline.jsonl.partial"
    partial.write_bytes(b"damage\n" + partial.read_bytes())
    with pytest.raises(UsageError, match=r"timeline\.jsonl\.partial:1"):
        RunFolder.reopen(cut)


def test_deep_lines_are_whole_lines(cut: Path) -> None:
    deep = '{"seq":3,"deep":' + "[" * 150 + "]" * 150 + "}\n"
    partial = cut / "timeline.jsonl.partial"
    partial.write_bytes(partial.read_bytes() + deep.encode())
    assert RunFolder.reopen(cut).last_seq == 3


def test_a_run_that_was_over_is_opened_too_and_its_result_set_aside(cut: Path) -> None:
    (cut / "timeline.jsonl.partial").rename(cut / "timeline.jsonl")
    (cut / "result.json").write_text("first")
    (cut / "result.1.json").write_text("before")
    (cut / ".result.json.x").write_text("half")
    folder = RunFolder.reopen(cut)
    assert folder.last_seq == 2
    assert (cut / "timeline.jsonl.partial").exists()
    assert sorted(path.name for path in cut.iterdir()) == [
        "plan.json",
        "result.1.json",
        "result.2.json",
        "timeline.jsonl.partial",
        "workspace",
    ]
    assert (cut / "result.2.json").read_text() == "first"
    assert set_result_aside(cut) is None


def test_of_the_history_only_what_the_run_itself_saw_is_kept(cut: Path) -> None:
    rows = [history_row(process, seq, "x") for seq, process in enumerate(("client", "kernel", "nemesis", "sink", "client"), 1)]
    (cut / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    folder = RunFolder.reopen(cut)
    assert [(row.process, row.seq) for row in folder.history_rows] == [("client", 1), ("nemesis", 3), ("client", 5)]
    with JsonLines(folder, "history.jsonl") as lines:
        lines.append(history_row("client", 6, "y"))
    assert [row["seq"] for row in read_lines(cut / "history.jsonl")] == [1, 3, 5, 6]
    assert folder.history_rows[0].value == {"n": 1}


def test_a_run_that_was_killed_before_it_had_anything(tmp_path: Path) -> None:
    (tmp_path / "run-1").mkdir()
    folder = RunFolder.reopen(tmp_path / "run-1")
    assert (folder.last_seq, folder.timeline_rows, folder.history_rows) == (0, [], [])
    assert folder.workspace.is_dir()


def test_a_run_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run in"):
        RunFolder.reopen(tmp_path / "run-1")
    assert list(tmp_path.iterdir()) == []


def test_a_new_run_never_takes_what_is_there(cut: Path) -> None:
    with pytest.raises(UsageError, match="File exists"):
        RunFolder(cut.parent, "run-1")


def test_the_run_file_says_what_runs_and_who_runs_it(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "run-1")
    assert read_run_file(folder.path) is None
    write_run_file(folder, CELL, "sweep-1", "gw0", tmp_path / "stack")
    record = read_run_file(folder.path)
    assert record is not None
    assert (record.run_id, record.sweep_id, record.worker, record.stack_folder) == (
        "run-1",
        "sweep-1",
        "gw0",
        str(tmp_path / "stack"),
    )
    assert record.cell.cell == CELL
    assert record.owner == ProcessIdentity.of(os.getpid())
    assert folder.manifest().files == {}
    assert sorted(path.name for path in folder.path.iterdir()) == ["run.json", "workspace"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema_version": 2}'])
def test_a_run_file_that_is_none_is_told_with_its_place(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(UsageError, match=r"run\.json"):
        read_run_file(tmp_path)
