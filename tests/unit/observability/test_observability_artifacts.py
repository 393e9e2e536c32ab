"""A run's folder: each artifact absent or whole, its hash the truth, whatever text it holds."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.core.errors import ExecGoError, UsageError
from pytest_execgo.observability.artifacts import JsonLines, RunFolder, SnapshotWriter, TimelineWriter
from pytest_execgo.observability.stream import EventStream
from pytest_execgo.plan.event import TimelineEvent
from pytest_execgo.plan.events import PlanObtained, RunStarted, StageFinished, Stamped, TaskObserved

ODD = 'half a pair \ud800, NUL \0, "quotes" \\, line\u2028end, \U0001f600'


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "var" / "runs", "run-1")


def lines(path: Path) -> list[Any]:
    text = path.read_text("utf-8")
    assert text == "" or text.endswith("\n")
    return [json.loads(line) for line in text.split("\n")[:-1]]


def names(folder: RunFolder) -> list[str]:
    return sorted(path.name for path in folder.path.iterdir())


def assert_true(folder: RunFolder) -> None:
    manifest = folder.manifest()
    assert manifest.run_dir == str(folder.path)
    for name, sha256 in manifest.files.items():
        assert hashlib.sha256((folder.path / name).read_bytes()).hexdigest() == sha256
    assert set(manifest.files) == {name for name in names(folder) if name != "workspace"}


def test_the_folder_and_its_workspace_are_made(tmp_path: Path, folder: RunFolder) -> None:
    assert folder.path == tmp_path / "var" / "runs" / "run-1"
    assert folder.workspace.is_dir()
    assert folder.manifest().files == {}


def test_two_runs_never_share_a_folder(folder: RunFolder) -> None:
    with pytest.raises(UsageError, match="File exists"):
        RunFolder(folder.path.parent, "run-1")


@pytest.mark.parametrize("run_id", ["..", "a/b", "", "a\0b"])
def test_a_run_id_never_leads_out_of_the_folder(tmp_path: Path, run_id: str) -> None:
    with pytest.raises(UsageError, match="can't be used as a name"):
        RunFolder(tmp_path / "runs", run_id)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_can_not_be_used_is_a_usage_error_with_the_option(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError) as refused:
        RunFolder(tmp_path / "file", "run-1")
    assert refused.value.code == "artifacts_folder_unusable"
    assert str(tmp_path / "file" / "run-1") in refused.value.message
    assert "--execgo-out" in refused.value.hint


@pytest.mark.parametrize("text", ["", "grüße\n", ODD])
def test_an_artifact_is_written_whole_with_its_true_hash(folder: RunFolder, text: str) -> None:
    folder.write("summary.md", text)
    assert (folder.path / "summary.md").read_text("utf-8") == text.replace("\ud800", "\\ud800")
    assert_true(folder)
    folder.write("summary.md", text + "again")
    assert_true(folder)


def test_json_of_any_text_reads_back(folder: RunFolder) -> None:
    folder.write_json("result.json", {"a": [ODD], ODD: None})
    assert json.loads((folder.path / "result.json").read_text("utf-8")) == {"a": [ODD], ODD: None}
    assert_true(folder)


@pytest.mark.parametrize("value", [float("nan"), object(), {1, 2}, {(): 1}, b"bytes"])
def test_what_is_no_json_is_an_error_that_names_the_artifact_and_writes_nothing(folder: RunFolder, value: object) -> None:
    with pytest.raises(ExecGoError, match=r"adapter_trace\.json") as refused:
        folder.write_json("adapter_trace.json", {"raw": value})
    assert refused.value.code == "not_json"
    assert names(folder) == ["workspace"]


def test_json_nested_too_deeply_is_an_error_too(folder: RunFolder) -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(ExecGoError, match=r"adapter_trace\.json"):
        folder.write_json("adapter_trace.json", value)


def test_lines_grow_under_a_partial_name_and_get_their_own_at_the_end(folder: RunFolder) -> None:
    with JsonLines(folder, "timeline.jsonl") as timeline:
        timeline.append({"n": 1, "text": ODD})
        assert names(folder) == ["timeline.jsonl.partial", "workspace"]
        assert lines(folder.path / "timeline.jsonl.partial") == [{"n": 1, "text": ODD}], "a killed run leaves what it knew"
        assert folder.manifest().files == {}
        timeline.append({"n": 2})
    assert names(folder) == ["timeline.jsonl", "workspace"]
    assert [row["n"] for row in lines(folder.path / "timeline.jsonl")] == [1, 2]
    assert_true(folder)


def test_lines_keep_their_working_name_when_what_writes_them_breaks_off(folder: RunFolder) -> None:
    def interrupted() -> None:
        with JsonLines(folder, "timeline.jsonl") as timeline:
            timeline.append({"n": 1})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert names(folder) == ["timeline.jsonl.partial", "workspace"]
    assert lines(folder.path / "timeline.jsonl.partial") == [{"n": 1}]
    assert folder.manifest().files == {}


def test_no_lines_are_an_empty_file(folder: RunFolder) -> None:
    with JsonLines(folder, "execgo_snapshots.jsonl"):
        pass
    assert (folder.path / "execgo_snapshots.jsonl").read_bytes() == b""
    assert_true(folder)


def test_a_line_that_is_no_json_leaves_the_others_whole(folder: RunFolder) -> None:
    with JsonLines(folder, "timeline.jsonl") as timeline:
        timeline.append({"n": 1})
        with pytest.raises(ValueError, match="JSON"):
            timeline.append({"n": float("inf")})
        timeline.append({"n": 2})
    assert lines(folder.path / "timeline.jsonl") == [{"n": 1}, {"n": 2}]


EVENTS = [
    RunStarted(cell_id="c", seed=7, workspace="/w"),
    PlanObtained(source="recording", plan_id="p", stages=1, tasks=2, warnings=["$.mode: repaired"]),
    TaskObserved(
        stage_id="s",
        task_id=ODD,
        status="failed",
        error_code="timeout",
        wire_id="w",
        envelope={"error": ODD, "runtime": {"attempt": 3}},
    ),
    TaskObserved(stage_id="s", task_id="t", status="skipped", wire_id="w2", envelope={"runtime": None}),
    StageFinished(stage_id="s", status="failed", counts={"failed": 1}, unfinished=[]),
]


def test_each_event_is_a_line_of_the_timeline_that_validates(folder: RunFolder) -> None:
    with JsonLines(folder, "timeline.jsonl") as file:
        writer = TimelineWriter(file, run_id="run-1", framework="crewai", scenario_id="demo")
        stream = EventStream([writer])
        for event in EVENTS:
            stream.emit(event)
    rows = lines(folder.path / "timeline.jsonl")
    assert rows == writer.rows
    events = [TimelineEvent.model_validate(row) for row in rows]
    assert [event.seq for event in events] == [1, 2, 3, 4, 5]
    assert {(event.run_id, event.framework, event.scenario_id) for event in events} == {("run-1", "crewai", "demo")}
    assert [event.monotonic_ns for event in events] == sorted(event.monotonic_ns for event in events)
    assert [event.event_type for event in events] == [
        "run_started",
        "plan_obtained",
        "task_observed",
        "task_observed",
        "stage_finished",
    ]
    assert [event.phase for event in events] == ["plan", "plan", "runtime", "runtime", "poll"]
    failed = events[2]
    assert (failed.stage_id, failed.task_id, failed.status, failed.error_code) == ("s", ODD, "failed", "timeout")
    assert failed.metadata == {"wire_id": "w", "attempt": 3, "error": ODD}
    assert events[3].metadata == {"wire_id": "w2", "attempt": 0, "error": None}
    assert "error_code" not in rows[0]


def test_the_kernels_own_answers_are_kept_in_full_and_nothing_else(folder: RunFolder) -> None:
    with JsonLines(folder, "execgo_snapshots.jsonl") as file:
        stream = EventStream([SnapshotWriter(file)])
        for event in EVENTS:
            stream.emit(event)
    rows = lines(folder.path / "execgo_snapshots.jsonl")
    assert [(row["seq"], row["stage_id"], row["task_id"]) for row in rows] == [(3, "s", ODD), (4, "s", "t")]
    assert rows[0]["task"] == {"error": ODD, "runtime": {"attempt": 3}}
    assert rows[0]["timestamp"].endswith("Z")


class Listener:
    def __init__(self) -> None:
        self.heard: list[Stamped] = []

    def consume(self, stamped: Stamped) -> None:
        self.heard.append(stamped)


def test_every_consumer_hears_every_event_in_one_order_without_gaps() -> None:
    first, second = Listener(), Listener()
    stream = EventStream([first, second])
    assert [stream.emit(event) for event in EVENTS] == [1, 2, 3, 4, 5]
    assert first.heard == second.heard
    assert [stamped.seq for stamped in first.heard] == [1, 2, 3, 4, 5]
    assert [stamped.event for stamped in first.heard] == EVENTS
    walls = [stamped.monotonic_ns for stamped in first.heard]
    assert walls == sorted(walls)


def test_an_event_can_not_be_changed() -> None:
    with pytest.raises(AttributeError):
        EVENTS[0].status = "failed"  # type: ignore[misc]
