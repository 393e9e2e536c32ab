"""Digests: repetitions are alike exactly when what was planned, and what came of it, is alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.plan.model import PlanStage, StandardPlan
from pytest_execgo.plan.record import RunRecord, StageRecord
from pytest_execgo.plan.verdict import Attribution, Outcome, TaskOutcome
from pytest_execgo.runner.ending import Ending, outcome_digest, plan_digest

Make = Callable[..., Any]


def digest(*tasks: TaskOutcome, ended: Outcome = "passed", code: str | None = None) -> str | None:
    record = RunRecord(Path(), stages=[StageRecord("s", len(tasks), outcomes=list(tasks))])
    attribution = Attribution(layer="kernel", code=code, message="m", evidence=[1]) if code else None
    return outcome_digest(record, Ending(ended, attribution))


@pytest.mark.parametrize("ended", ["error", "skipped", "inconclusive"])
def test_what_concluded_nothing_has_no_digest(ended: Outcome) -> None:
    assert digest(ended=ended) is None


def test_times_and_order_and_wire_ids_do_not_matter(outcome: Make) -> None:
    a, b = outcome("a"), outcome("b")
    later = replace(a, started_ns=5, finished_ns=9, wire_id="other", output={"now": 1})
    assert digest(a, b) == digest(b, later) is not None


def test_how_the_run_and_each_task_ended_matters(outcome: Make) -> None:
    a = outcome("a")
    digests = [
        digest(a),
        digest(outcome("a", status="failed")),
        digest(replace(a, attempt=2)),
        digest(replace(a, stage_id="elsewhere")),
        digest(outcome("b")),
        digest(a, outcome("b")),
        digest(a, ended="failed", code="timeout"),
        digest(a, ended="failed", code="exit_nonzero"),
        digest(a, ended="failed"),
    ]
    assert len(set(digests)) == len(digests)
    assert None not in digests


def plan(stage: PlanStage, **names: Any) -> StandardPlan:
    given = {"plan_id": "p", "scenario_id": "demo", "framework": "crewai", "mode": "replay", **names}
    return StandardPlan(stages=[stage], **given)


def test_a_plan_is_the_same_whoever_made_it_and_another_when_it_does_another_thing(stage: Make) -> None:
    task = {"id": "a", "type": "noop"}
    one = stage(task)
    assert plan_digest(plan(one)) == plan_digest(plan(one, plan_id="q", framework="autogen", normalization_warnings=["w"]))
    others = [stage({**task, "id": "b"}), stage(task, stage_id="t"), stage({**task, "retry": 1})]
    assert len({plan_digest(plan(each)) for each in [one, *others]}) == 4
