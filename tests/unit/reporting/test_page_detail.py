"""What the page shows of a run: what its artifacts say, and what is missing of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.plan.history import HistoryRow, HistoryVerdict, Violation
from pytest_execgo.plan.result import BenchmarkResult, BenchmarkSummary
from pytest_execgo.plan.statistics import CellOutcome
from pytest_execgo.plan.verdict import Verdict
from pytest_execgo.reporting.page.detail import FULL, LEAST, SHORT, Depth, run_detail
from pytest_execgo.reporting.page.folder import RunPlace
from pytest_execgo.reporting.page.logs import Logs

GOLDEN = Path(__file__).parents[2] / "data/golden_sweep/runs"


def golden(chaos: str, framework: str) -> BenchmarkResult:
    summary = BenchmarkSummary.model_validate_json((GOLDEN / "benchmark-summary.json").read_text("utf-8"))
    return next(run for run in summary.runs if (run.chaos_profile, run.framework) == (chaos, framework))


def detail(run: BenchmarkResult, out: Path = GOLDEN, depth: Depth = FULL, before: CellOutcome | None = None) -> dict[str, Any]:
    return run_detail(run, RunPlace(out, run), Logs(out / "stacks"), depth, before=before, rerun="again")


def times(lane: dict[str, list[int]]) -> list[int]:
    found, at = [], 0
    for step in lane["t"]:
        at += step
        found.append(at)
    return found


def names(found: dict[str, Any], lane: str, column: str) -> list[str]:
    return [found["texts"][number] for number in found[lane][column]]


def test_a_failed_run_tells_why_and_what_shows_it() -> None:
    run = golden("runtime_restart", "langgraph")
    found = detail(run)
    assert found["reasons"] == [
        "zombie_writer: task publish:announce:1 had ended when its effect reminder was applied",
        "the notice was published 2 times, not once",
    ]
    assert (found["attribution"]["layer"], found["attribution"]["code"]) == ("kernel", "history_zombie_writer")
    violation = found["history"]["violations"][0]
    assert violation["check"] == "zombie_writer"
    assert [row[1:5] for row in violation["witness"]] == [
        ["kernel", "event", "persist", "publish:announce:1"],
        ["sink", "event", "deliver", "publish:announce:1"],
    ]
    assert found["faults"][0][:2] == ["restart", "runtime"]
    assert found["files"] == [
        *("result.json", "summary.md", "plan.json", "adapter_trace.json", "timeline.jsonl", "history.jsonl"),
        *("execgo_snapshots.jsonl", "run.json"),
    ]
    assert run.run_id not in json.dumps({name: found[name] for name in ("reasons", "kernel", "sink", "texts", "history")})


def test_all_observers_are_on_the_runs_own_clock() -> None:
    found = detail(golden("runtime_restart", "langgraph"))
    events = dict(zip(names(found, "events", "k"), times(found["events"]), strict=True))
    steps = list(zip(names(found, "kernel", "w"), names(found, "kernel", "f"), times(found["kernel"]), strict=True))
    announced = {what: at for task, what, at in steps if task == "publish:announce:1"}
    delivered = times(found["sink"])[names(found, "sink", "f").index("deliver")]
    assert events["run_started"] == 0
    assert announced["spawn"] < delivered < announced["persist"] < events["verdict_reached"] <= found["end"]
    assert 0 < min(at for _, _, at in steps)
    assert found["history"]["violations"][0]["witness"][0][0] == announced["persist"]


def test_events_keep_their_numbers_and_their_causes() -> None:
    found = detail(golden("runtime_restart", "langgraph"))
    kinds, numbers = names(found, "events", "k"), found["events"]["q"]
    assert numbers == list(range(1, len(kinds) + 1))
    cause = found["events"]["c"][kinds.index("fault_injected")]
    assert kinds[cause - 1] == "stage_submitted"


def test_logs_are_of_the_time_of_the_run() -> None:
    run = golden("none", "crewai")
    lines = detail(run)["log"]["kernel"]
    assert lines
    stamps = [json.loads(line)["time"] for line in lines]
    assert all(run.started_at[:21] <= stamp <= run.finished_at for stamp in stamps)


def test_a_short_account_leaves_out_what_is_dull() -> None:
    run = golden("runtime_restart", "crewai")
    full, short = detail(run), detail(run, depth=SHORT)
    assert len(short["kernel"]["t"]) < len(full["kernel"]["t"])
    assert "log" not in short
    assert {"spawn", "end"} <= set(names(short, "kernel", "f"))
    assert "binding_applied" not in names(short, "events", "k")
    seen = [
        state
        for kind, state in zip(names(short, "events", "k"), names(short, "events", "s"), strict=True)
        if kind == "task_observed"
    ]
    assert seen  # of the attempt that the restart cut short
    assert "" not in seen
    assert {"stage_started", "stage_finished", "fault_injected", "run_finished"} <= set(names(short, "events", "k"))
    assert names(short, "sink", "x") == names(full, "sink", "x") == ["notice", "notice"]


def test_without_a_kernels_history_a_short_account_keeps_what_the_run_saw(tmp_path: Path) -> None:
    run = golden("none", "crewai")
    shutil.copytree(GOLDEN / run.run_id, tmp_path / run.run_id)
    (tmp_path / run.run_id / "history.jsonl").unlink()
    assert "task_observed" in names(detail(run, tmp_path, SHORT), "events", "k")


def test_a_lane_that_is_too_long_keeps_its_ends_and_says_what_is_missing() -> None:
    run = golden("runtime_restart", "langgraph")
    found, all_of_it = detail(run, depth=LEAST), detail(run, depth=SHORT)
    kept = LEAST.rows
    missing = len(all_of_it["events"]["t"]) - kept
    assert missing <= 0 or found["cut"]["events"] == missing
    few = Depth(rows=6, log_lines=0, reasons=1, reason=100, short=False)
    cut = detail(run, depth=few)
    assert len(cut["events"]["t"]) == len(cut["kernel"]["t"]) == 6
    whole = detail(run)
    assert cut["cut"] == {"events": len(whole["events"]["t"]) - 6, "kernel": len(whole["kernel"]["t"]) - 6}
    assert names(cut, "events", "k")[:3] == names(whole, "events", "k")[:3]
    assert names(cut, "events", "k")[-3:] == names(whole, "events", "k")[-3:]
    assert cut["more_reasons"] == 1


def test_a_run_whose_folder_is_gone_shows_what_its_result_says(make_result: Callable[..., BenchmarkResult], tmp_path: Path) -> None:
    found = detail(make_result(), tmp_path)
    assert found["reasons"] == ["tests: 2 of 5 failed"]
    assert "files" not in found
    assert "notes" not in found
    assert found["events"] == found["kernel"] == {"t": []}


def test_a_run_that_was_cut_short_shows_what_it_knew(tmp_path: Path) -> None:
    run = golden("none", "langgraph")
    folder = tmp_path / run.run_id
    shutil.copytree(GOLDEN / run.run_id, folder)
    lines = (folder / "timeline.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "timeline.jsonl").unlink()
    (folder / "timeline.jsonl.partial").write_bytes(b"".join(lines[:5]) + lines[5][:30])
    found = detail(run, tmp_path)
    assert found["events"]["q"] == [1, 2, 3, 4, 5]
    assert found["notes"] == ["timeline.jsonl: 1 of 6 lines can't be read"]


@pytest.mark.parametrize(
    "damage",
    [
        b"[1,2]\n",
        b'{"a":\n',
        b"\xff\xfe\n",
        b"null\n" * 3,
        b'{"event_type":7,"monotonic_ns":"x","metadata":[1],"seq":{}}\n',
        b"[" * 9000,
    ],
    ids=["no-object", "torn", "no-text", "null", "wrong-types", "deep"],
)
def test_damaged_artifacts_are_said_and_spoil_nothing_else(damage: bytes, tmp_path: Path) -> None:
    run = golden("runtime_restart", "langgraph")
    folder = tmp_path / run.run_id
    shutil.copytree(GOLDEN / run.run_id, folder)
    for name in ("timeline.jsonl", "history.jsonl"):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole + b'{"process":"kernel"}\n' + damage)
    (folder / "plan.json").write_bytes(damage)
    (folder / "run.json").write_bytes(damage)
    found = detail(run, tmp_path)
    assert names(found, "events", "k")[0] == "run_started"
    assert "spawn" in names(found, "kernel", "f")
    place = RunPlace(tmp_path, run)
    assert place.plan() is None
    assert place.notes[0].startswith("plan.json: no plan")
    json.dumps(found, allow_nan=False)


def test_texts_are_of_bounded_length_and_nothing_in_them_leaves_its_line(
    make_result: Callable[..., BenchmarkResult], tmp_path: Path, hostile: str
) -> None:
    long = f"{hostile}{'x' * 9000}"
    row = HistoryRow(
        run="run-1",
        seq=1,
        boot_id="b",
        monotonic_ns=1,
        wall="2030-01-01T00:00:00Z",
        process="kernel",
        type="event",
        f=long,
        task=long,
        value={"x": long},
    )
    history = HistoryVerdict(outcome="invalid", violations=[Violation(check=long, message=long, witness=[row] * 9)] * 30)
    verdict = Verdict(passed=False, reasons=[long] * 90, details={long: long})
    found = detail(make_result(verdict=verdict, history=history, error=long), tmp_path)
    text = json.dumps(found, ensure_ascii=False)
    assert len(text) < 250_000
    assert text.encode("utf-8")
    assert all(line.isprintable() for reason in found["reasons"] for line in reason.split("\n"))
    assert (len(found["reasons"]), found["more_reasons"]) == (30, 61)
    assert len(found["history"]["violations"]) == 20


def test_a_cell_that_moved_shows_how_it_was(make_result: Callable[..., BenchmarkResult], tmp_path: Path) -> None:
    run = make_result(plan_digest="p", outcome_digest="new")
    fields = run.model_dump(include={"cell_id", "scenario_id", "framework", "mode", "chaos_profile", "repetition", "seed"})
    before = CellOutcome(**fields, outcome="passed", plan_digest="p", outcome_digest="old", wall_time_ms=90.0)
    assert detail(run, tmp_path, before=before)["before"] == {
        "outcome": "passed",
        "reasons": [],
        "wall": 90.0,
        "recovery": None,
        "violations": 0,
        "plan": True,
        "result": False,
    }
