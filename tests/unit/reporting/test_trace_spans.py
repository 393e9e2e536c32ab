"""What a run's artifacts say as spans: stages tried again, attempts that were cut, runs that were, clocks that disagree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.observability.clock import rfc3339
from pytest_execgo.observability.stored import StoredRun
from pytest_execgo.plan.result import BenchmarkResult
from pytest_execgo.reporting.run_clock import RunClock
from pytest_execgo.reporting.run_trace import run_trace
from pytest_execgo.reporting.spans import RunTrace, Span

BEGAN = 1_900_000_000_000_000_000
MS = 1_000_000
RUN = Path("run-1")


def row(at_ms: float, kind: str, *, wall_off_ms: float = 0, **values: Any) -> dict[str, Any]:
    """One row of a timeline; numbered by its time, so that no two of a test share one."""
    metadata = values.pop("metadata", {})
    ns = int(at_ms * MS)
    wall = rfc3339(BEGAN + ns + int(wall_off_ms * MS))
    fields = {"seq": int(at_ms) + 1, "timestamp": wall, "monotonic_ns": 7_000 * MS + ns, "event_type": kind, "status": "ok"}
    return {**fields, **values, "metadata": metadata}


def seen(at_ms: float, task: str, status: str, wire: str | None = None) -> dict[str, Any]:
    metadata = {"wire_id": wire or f"run-1:s:{task}:1", "attempt": 1}
    return row(at_ms, "task_observed", stage_id="s", task_id=task, status=status, metadata=metadata)


def snapshot(task: str, start_ms: float | None, end_ms: float | None, **values: Any) -> dict[str, Any]:
    runtime = {
        "started_at": rfc3339(BEGAN + int(start_ms * MS)) if start_ms is not None else None,
        "finished_at": rfc3339(BEGAN + int(end_ms * MS)) if end_ms is not None else None,
        "attempt": 1,
    }
    return {"task_id": task, "task": {"id": f"run-1:s:{task}:1", "runtime": runtime, **values}}


def kernel(at_ms: float, f: str, task: str = "a", attempt: int = 1, **value: Any) -> dict[str, Any]:
    wall = rfc3339(BEGAN + int(at_ms * MS))
    return {"process": "kernel", "wall": wall, "f": f, "task": f"run-1:s:{task}:1", "attempt": attempt, "value": value}


def traced(timeline: list[dict[str, Any]], **artifacts: Any) -> RunTrace:
    return run_trace(StoredRun(RUN, timeline=timeline, **artifacts))


def at_ms(span: Span) -> tuple[float, float]:
    return span.start_ns / MS, span.end_ns / MS


def of_kind(trace: RunTrace, kind: str) -> list[Span]:
    return [span for span in trace.spans if span.kind == kind]


def test_the_steps_of_a_run() -> None:
    trace = traced(
        [
            row(0, "run_started"),
            row(10, "plan_obtained"),
            row(12, "stage_started", stage_id="s", metadata={"attempt": 1}),
            row(15, "stage_submitted", stage_id="s", metadata={"wire_ids": []}),
            row(40, "stage_finished", stage_id="s", status="failed", metadata={"counts": {"failed": 1}}),
            row(41, "recovery_decided", stage_id="s", metadata={"action": "retry_stage"}),
            row(50, "stage_started", stage_id="s", metadata={"attempt": 2}),
            row(55, "submit_refused", stage_id="s", status="failed", metadata={"reason": "no"}),
            row(80, "run_finished", status="failed"),
        ]
    )
    found = [(span.kind, span.status, *at_ms(span)) for span in trace.spans]
    assert found == [
        ("run", "unknown", 0, 80),
        ("plan", "ok", 0, 10),
        ("submit", "ok", 12, 15),
        ("wait", "failed", 15, 40),
        ("stage", "failed", 12, 40),
        ("submit", "failed", 50, 55),
        ("stage", "failed", 50, 55),
        ("conclude", "ok", 55, 80),
    ]
    first, second = of_kind(trace, "stage")
    assert (first.attributes["attempt"], second.attributes["attempt"]) == (1, 2)
    assert {span.parent for span in of_kind(trace, "submit")} == {first.key, second.key}
    assert [(moment.name, moment.at_ns / MS) for moment in trace.moments] == [("recovery_decided", 41)]


def test_an_attempt_that_a_crash_cut_ends_with_the_kernels_next_life() -> None:
    trace = traced(
        [row(0, "stage_started", stage_id="s"), seen(95, "a", "success"), row(100, "run_finished")],
        snapshots=[snapshot("a", 52, 88)],
        history=[
            kernel(0, "boot"),
            kernel(5, "start"),
            kernel(50, "boot"),
            kernel(51, "start", attempt=2),
            kernel(90, "end", attempt=2, outcome="success"),
            kernel(97, "boot"),
        ],
    )
    (task,) = of_kind(trace, "task")
    assert at_ms(task) == (52, 88)
    attempts = [(span.name, span.status, span.attributes["outcome"], *at_ms(span)) for span in of_kind(trace, "attempt")]
    assert attempts == [("a #1", "unknown", "cut", 5, 50), ("a #2", "ok", "success", 51, 90)]
    assert {span.parent for span in of_kind(trace, "attempt")} == {task.key}
    assert [moment.at_ns / MS for moment in trace.moments if moment.name == "kernel boot"] == [0, 50, 97]


def test_a_task_of_which_only_attempts_are_known() -> None:
    history = [kernel(5, "start"), kernel(20, "end", outcome="failed"), kernel(30, "start", attempt=2)]
    trace = traced([row(0, "stage_started", stage_id="s"), row(60, "run_finished")], history=history)
    (task,) = of_kind(trace, "task")
    assert (task.name, task.status, at_ms(task)) == ("a", "unknown", (5, 60))
    assert task.attributes["end_unknown"] is True
    assert [span.status for span in of_kind(trace, "attempt")] == ["failed", "unknown"]


def test_a_task_that_never_ran_is_a_moment() -> None:
    trace = traced([row(0, "stage_started", stage_id="s"), seen(30, "a", "skipped")], snapshots=[snapshot("a", None, None)])
    assert of_kind(trace, "task") == []
    (moment,) = [moment for moment in trace.moments if moment.name == "a skipped"]
    assert (moment.at_ns / MS, moment.parent) == (30, of_kind(trace, "stage")[0].key)


@pytest.mark.parametrize("off_ms", [-3_600_000.0, -40.0, 0.0, 2.0, 250.0])
def test_a_kernels_clock_that_disagrees_is_moved_by_the_least(off_ms: float) -> None:
    """The stage began at 10 and the end was seen at 60: times from 20 to 50 can be moved by -10 to 10 without a contradiction."""
    trace = traced(
        [row(0, "run_started"), row(10, "stage_started", stage_id="s"), seen(60, "a", "success"), row(70, "run_finished")],
        snapshots=[snapshot("a", 20 + off_ms, 50 + off_ms)],
    )
    (task,) = of_kind(trace, "task")
    left = max(-10, min(10, off_ms))
    assert at_ms(task) == (20 + left, 50 + left)
    assert trace.attributes.get("kernel_clock_moved_ns", 0) == int((left - off_ms) * MS)


def test_where_no_move_fits_it_is_the_one_in_the_middle() -> None:
    trace = traced(
        [row(10, "stage_started", stage_id="s"), seen(20, "a", "success"), row(90, "run_finished")],
        snapshots=[snapshot("a", 20, 60)],
    )
    assert trace.attributes["kernel_clock_moved_ns"] == (-10 - 40) // 2 * MS


@pytest.mark.parametrize("clock_ms", [-6_500, 90_000_000], ids=["a young clock", "an old clock"])
def test_a_run_that_was_killed_and_went_on(clock_ms: int) -> None:
    """Another boot, or another machine, in between: the monotonic clock is another one, the wall clock went on."""
    before = [row(0, "run_started"), row(10, "stage_started", stage_id="s"), row(20, "stage_submitted", stage_id="s")]
    resumed = [
        row(at, kind, stage_id="s") for at, kind in ((5_000, "run_resumed"), (5_010, "stage_started"), (5_040, "run_finished"))
    ]
    for later in resumed:
        later["monotonic_ns"] += clock_ms * MS
    trace = traced(before + resumed)
    assert [(span.status, span.attributes.get("cut"), *at_ms(span)) for span in of_kind(trace, "stage")] == [
        ("unknown", True, 10, 20),
        ("unknown", True, 5_010, 5_040),
    ]
    assert [at_ms(span) for span in of_kind(trace, "away")] == [(20, 5_000)]
    assert at_ms(trace.spans[0]) == (0, 5_040)


def test_faults_and_services() -> None:
    fault = {"fault": 0, "action": "kill", "target": "kernel"}
    late = {"fault": 1, "action": "slow", "target": "net"}
    trace = traced(
        [
            row(0, "run_started"),
            row(10, "fault_injected", metadata=fault),
            row(20, "fault_injected", metadata=late),
            row(30, "service_lost", metadata={"service": "kernel", "exit_code": -9}),
            row(45, "service_restarted", metadata={"service": "kernel", "took_ms": 12.5}),
            row(50, "fault_lifted", metadata={**fault, "hit": True}),
            row(60, "fault_spared", metadata={"fault": 2, "action": "x", "target": "y"}),
            row(70, "run_finished"),
        ]
    )
    assert [(span.name, span.attributes["lifted"], *at_ms(span)) for span in of_kind(trace, "fault")] == [
        ("kill kernel", True, 10, 50),
        ("slow net", False, 20, 70),
    ]
    assert [(span.name, *at_ms(span)) for span in of_kind(trace, "restart")] == [("restart kernel", 32.5, 45)]
    assert [moment.name for moment in trace.moments] == ["service_lost", "fault_spared"]


def test_what_a_task_waited_for() -> None:
    first, second = "run-1:s:a:1", "run-1:t:b:1"
    timeline = [
        row(0, "stage_started", stage_id="s"),
        seen(20, "a", "success"),
        seen(21, "a.b", "success", "run-1:s:a.b:1"),
        row(30, "stage_started", stage_id="t"),
        row(31, "binding_applied", stage_id="t", task_id="b", metadata={"source": "a.output.x", "target": "b.input"}),
        row(32, "binding_applied", stage_id="t", task_id="b", metadata={"source": "a.b.output.x", "target": "b.input"}),
        {**seen(60, "b", "success", second), "stage_id": "t"},
    ]
    given = [snapshot("a", 5, 10), snapshot("a.b", 12, 15, depends_on=[first, "run-0:elsewhere:1"]), snapshot("b", 40, 50)]
    given[2]["task"]["id"] = second
    arrows = {(arrow.kind, arrow.source, arrow.target) for arrow in traced(timeline, snapshots=given).arrows}
    assert arrows == {
        ("dependency", f"task/{first}", "task/run-1:s:a.b:1"),
        ("binding", f"task/{first}", f"task/{second}"),
        ("binding", "task/run-1:s:a.b:1", f"task/{second}"),
    }


def test_what_a_trace_says_of_its_run(make_result: Any) -> None:
    result: BenchmarkResult = make_result(chaos_profile="kernel_crash", repetition=2)
    about = run_trace(StoredRun(RUN, result=result)).attributes
    assert about["reason"] == "tests: 2 of 5 failed"
    named = {"run_id": "run-1", "scenario": "codegen_exec", "framework": "langgraph", "mode": "replay", "chaos": "kernel_crash"}
    assert about | named | {"repetition": 2, "seed": 7, "outcome": "failed", "attribution": "runtime:exit_nonzero"} == about
    assert traced([]).attributes == {"run_id": "run-1", "outcome": "unfinished"}


# -- the clock ------------------------------------------------------------------------------------------------------------


def test_a_wall_clock_that_is_set_back_does_not_move_what_the_run_saw() -> None:
    rows = [row(0, "a"), row(100, "b"), row(110, "c", wall_off_ms=-5_000), row(200, "d", wall_off_ms=-5_000)]
    clock = RunClock(rows)
    assert [at / MS for at in clock.times] == [0, 100, 110, 200]
    assert clock.began_ns == BEGAN
    assert clock.of_wall(BEGAN + 90 * MS) == 90 * MS
    assert clock.of_wall(BEGAN - 4_850 * MS) == 150 * MS
    assert clock.of_wall(BEGAN - 4_790 * MS) == 210 * MS
    assert clock.of_wall(BEGAN + 130 * MS) == 130 * MS


def test_a_timeline_without_times() -> None:
    clock = RunClock([{"seq": 1}, {"seq": 2, "monotonic_ns": True}])
    assert (clock.times, clock.began_ns, clock.end_ns) == ([0, 0], 0, 0)
