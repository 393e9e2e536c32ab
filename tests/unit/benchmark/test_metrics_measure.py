"""Each metric follows its cause: nothing is constant, and what does not apply is null."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.benchmark.metrics import measure
from pytest_execgo.plan.fault import FaultRecord
from pytest_execgo.plan.history import HistoryVerdict
from pytest_execgo.plan.model import PlanStage, StandardPlan, Task, TaskGraph
from pytest_execgo.plan.record import RunRecord, StageRecord
from pytest_execgo.plan.result import RunMetrics
from pytest_execgo.plan.verdict import TaskOutcome, Verdict

T0 = 1_700_000_000_000_000_000
MS = 1_000_000


def outcome(task: str, start_ms: float | None, end_ms: float | None, attempt: int = 1, **envelope: Any) -> TaskOutcome:
    def at(ms: float | None) -> int | None:
        return None if ms is None else T0 + int(ms * MS)

    status = envelope.setdefault("status", "success")
    return TaskOutcome("s", task, f"run-{task}", status, None, at(start_ms), at(end_ms), attempt, envelope)


def failed(task: str, *, code: str = "external_failure", source: str = "executor", type: str = "os") -> TaskOutcome:
    return outcome(task, 0, 1, status="failed", type=type, runtime={"error": {"code": code, "source": source}})


def plan(*stages: int) -> StandardPlan:
    def stage(index: int, tasks: int) -> PlanStage:
        graph = TaskGraph(tasks=[Task(id=f"s{index}-t{number}", type="noop") for number in range(tasks)])
        return PlanStage(stage_id=f"s{index}", task_graph=graph)

    made = [stage(index, tasks) for index, tasks in enumerate(stages)]
    return StandardPlan(plan_id="p", scenario_id="demo", framework="langgraph", mode="replay", stages=made)


def good_record() -> RunRecord:
    """One run in which all went well: two stages, three tasks, 60 ms of critical path in 120 ms."""
    return RunRecord(
        workspace=Path("workspace"),
        plan=plan(2, 1),
        plan_valid=True,
        stages=[
            StageRecord("s0", 2, 2, {"b": ("a",)}, [outcome("a", 0, 10), outcome("b", 10, 30)]),
            StageRecord("s1", 1, 1, {}, [outcome("c", 40, 70)]),
        ],
        verdict=Verdict(passed=True),
        wall_ms=120.0,
        artifact_hashes={"report": "aa", "patch": "bb"},
        known_hashes={"report": "aa", "patch": "bb"},
        prompt_tokens=100,
        completion_tokens=20,
        cost=0.5,
        planning_ms=30.0,
        model_ms=25.0,
        repairs=2,
        progress_ns=[ms(10), ms(70), ms(90)],
        faults=(FaultRecord(0, "kill", "runtime", True, fired_ns=ms(30), hit=True),),
        expectation="should_recover",
        recovered=True,
        history=HistoryVerdict(outcome="valid", counts={"lost": 0, "duplicated": 0, "orphan": 0}),
        stop_time_ms=4.0,
        restarts=1,
    )


def ms(milliseconds: int) -> int:
    return milliseconds * 1_000_000


GOOD = {
    "plan_validity": 1.0,
    "submit_accept_rate": 1.0,
    "scenario_success": 1.0,
    "wall_time_ms": 120.0,
    "critical_path_ms": 60.0,
    "overhead": 2.0,
    "stage_count": 2,
    "task_count": 3,
    "retry_count": 0,
    "timeout_count": 0,
    "runtime_failure_count": 0,
    "invalid_action_count": 0,
    "recovery_success": 1.0,
    "recovery_time_ms": 40.0,
    "lost_count": 0,
    "duplicate_count": 0,
    "orphan_count": 0,
    "wasted_task_count": 0,
    "restart_count": 1,
    "stop_time_ms": 4.0,
    "artifact_hash_match": 1.0,
    "planning_time_ms": 30.0,
    "model_time_ms": 25.0,
    "repair_count": 2,
    "cost": 0.5,
    "prompt_tokens": 100,
    "completion_tokens": 20,
}
NEVER_IN_ONE_RUN = {"determinism_drift"}


def first(record: RunRecord, replacement: TaskOutcome) -> None:
    record.stages[0].outcomes[0] = replacement


def set_(name: str, value: object) -> Callable[[RunRecord], None]:
    return lambda record: setattr(record, name, value)


CAUSES: list[tuple[str, object, Callable[[RunRecord], object]]] = [
    ("plan_validity", 0.0, set_("plan_valid", False)),
    ("plan_validity", None, set_("plan_valid", None)),
    ("submit_accept_rate", 2 / 3, lambda record: setattr(record.stages[1], "accepted", 0)),
    ("submit_accept_rate", 0.75, lambda record: record.stages.append(StageRecord("s1", 1, 0))),
    ("submit_accept_rate", None, set_("stages", [])),
    ("scenario_success", 0.0, set_("verdict", Verdict(passed=False))),
    ("scenario_success", None, set_("verdict", None)),
    ("wall_time_ms", 90.0, set_("wall_ms", 90.0)),
    ("wall_time_ms", None, set_("wall_ms", 0.0)),
    ("critical_path_ms", 61.5, lambda record: first(record, outcome("a", 0, 11.5))),
    ("critical_path_ms", 60.000001, lambda record: first(record, outcome("a", 0, 10.000001))),
    ("critical_path_ms", 50.0, lambda record: record.stages[0].depends_on.clear()),
    ("critical_path_ms", 50.0, lambda record: first(record, outcome("a", None, None))),
    ("critical_path_ms", None, set_("stages", [])),
    ("overhead", 1.5, set_("wall_ms", 90.0)),
    ("overhead", None, set_("stages", [])),
    ("overhead", None, set_("wall_ms", 0.0)),
    ("overhead", None, set_("stages", [StageRecord("s", 1, 1, {}, [outcome("a", 5, 5)])])),
    ("stage_count", 3, set_("plan", plan(2, 1, 1))),
    ("stage_count", None, set_("plan", None)),
    ("task_count", 5, set_("plan", plan(4, 1))),
    ("task_count", None, set_("plan", None)),
    ("retry_count", 2, lambda record: first(record, outcome("a", 0, 10, attempt=3))),
    ("retry_count", 0, lambda record: first(record, outcome("a", 0, 10, attempt=0))),
    ("retry_count", 0, lambda record: first(record, outcome("a", None, None, attempt=3))),
    ("retry_count", None, set_("stages", [])),
    ("timeout_count", 1, lambda record: first(record, failed("a", code="timeout"))),
    ("timeout_count", 0, lambda record: first(record, failed("a"))),
    ("timeout_count", 0, lambda record: first(record, outcome("a", 0, 1, runtime={"error": None}))),
    ("timeout_count", None, set_("stages", [])),
    ("runtime_failure_count", 1, lambda record: first(record, failed("a", type="runtime"))),
    ("runtime_failure_count", 1, lambda record: first(record, failed("a", source="execgo-runtime"))),
    ("runtime_failure_count", 1, lambda record: first(record, failed("a", source="runtime-executor"))),
    ("runtime_failure_count", 0, lambda record: first(record, failed("a"))),
    ("runtime_failure_count", 0, lambda record: first(record, outcome("a", 0, 1, type="runtime"))),
    ("runtime_failure_count", None, set_("stages", [])),
    ("invalid_action_count", 3, set_("invalid_actions", 3)),
    ("invalid_action_count", None, set_("plan_valid", None)),
    ("recovery_success", 0.0, set_("recovered", False)),
    ("recovery_success", None, set_("recovered", None)),
    ("recovery_time_ms", 60.0, set_("progress_ns", [ms(10), ms(90)])),
    ("recovery_time_ms", 60.0, set_("faults", (FaultRecord(0, "x", "y", True, fired_ns=ms(30), hit=True, applied_ns=ms(75)),))),
    ("recovery_time_ms", None, set_("faults", (FaultRecord(0, "x", "y", True, fired_ns=ms(30), hit=True, applied_ns=ms(95)),))),
    ("recovery_time_ms", None, set_("progress_ns", [ms(10)])),
    ("recovery_time_ms", None, set_("recovered", False)),
    ("recovery_time_ms", None, set_("faults", (FaultRecord(0, "kill", "runtime", True, fired_ns=ms(30), hit=False),))),
    ("lost_count", 2, set_("history", HistoryVerdict(outcome="invalid", counts={"lost": 2}))),
    ("lost_count", None, set_("history", None)),
    ("duplicate_count", 1, set_("history", HistoryVerdict(outcome="invalid", counts={"duplicated": 1}))),
    ("orphan_count", 3, set_("history", HistoryVerdict(outcome="invalid", counts={"orphan": 3}))),
    ("orphan_count", None, set_("history", HistoryVerdict(outcome="unknown"))),
    ("wasted_task_count", 2, lambda record: setattr(record.stages[0], "superseded", True)),
    ("wasted_task_count", 5, set_("wasted_before", 5)),
    ("wasted_task_count", None, set_("stages", [])),
    ("restart_count", 3, set_("restarts", 3)),
    ("restart_count", None, set_("stages", [])),
    ("stop_time_ms", None, set_("stop_time_ms", None)),
    ("artifact_hash_match", 0.5, lambda record: record.artifact_hashes.update(patch="cc")),
    ("artifact_hash_match", 0.5, lambda record: record.artifact_hashes.update(patch=None)),
    ("artifact_hash_match", 0.0, set_("artifact_hashes", {})),
    ("artifact_hash_match", None, set_("known_hashes", {})),
    ("plan_validity", 0.75, set_("plan_validity", 0.75)),
    ("planning_time_ms", None, set_("planning_ms", None)),
    ("model_time_ms", 5.0, set_("model_ms", 5.0)),
    ("repair_count", 0, set_("repairs", 0)),
    ("cost", None, set_("cost", None)),
    ("prompt_tokens", None, set_("prompt_tokens", None)),
    ("completion_tokens", 7, set_("completion_tokens", 7)),
]


def test_a_good_run_has_every_figure_that_one_run_can_have() -> None:
    assert measure(good_record()).model_dump(exclude_none=True) == GOOD


@pytest.mark.parametrize(("metric", "expected", "cause"), CAUSES, ids=[f"{name}={value}" for name, value, _ in CAUSES])
def test_a_metric_follows_its_cause(metric: str, expected: object, cause: Callable[[RunRecord], object]) -> None:
    record = good_record()
    cause(record)
    found = getattr(measure(record), metric)
    if isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-12)
    else:
        assert found == expected
        assert type(found) is type(expected)


def test_every_metric_has_a_cause_that_changes_it() -> None:
    changed = {name for name, value, _ in CAUSES if value != GOOD[name]}
    assert changed | NEVER_IN_ONE_RUN == set(RunMetrics.model_fields)


def test_a_run_that_never_got_a_plan_has_no_figure_but_its_time() -> None:
    assert measure(RunRecord(Path("workspace"), wall_ms=5.0)).model_dump(exclude_none=True) == {"wall_time_ms": 5.0}


def test_a_stage_that_was_submitted_again_counts_again() -> None:
    record = good_record()
    record.stages.insert(1, StageRecord("s0", 2, 2, {"b": ("a",)}, [outcome("a", 0, 5), outcome("b", 5, 10, attempt=2)]))
    metrics = measure(record)
    assert (metrics.critical_path_ms, metrics.retry_count, metrics.stage_count) == (70.0, 1, 2)


@pytest.mark.parametrize(
    "envelope", [{"runtime": "broken"}, {"runtime": {"error": "timeout"}}, {"runtime": {"error": ["timeout"]}}]
)
def test_a_foreign_envelope_is_no_error(envelope: dict[str, Any]) -> None:
    record = good_record()
    first(record, outcome("a", 0, 10, status="failed", **envelope))
    assert measure(record).timeout_count == 0
