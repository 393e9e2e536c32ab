"""How a run ended, and what identifies that ending among repetitions."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from pytest_execgo.core.jsonio import digest
from pytest_execgo.plan.model import StandardPlan
from pytest_execgo.plan.record import RunRecord
from pytest_execgo.plan.result import PlanShape
from pytest_execgo.plan.tools import tool_of
from pytest_execgo.plan.verdict import Attribution, Outcome, Verdict


@dataclass(slots=True)
class Ending:
    """How a run ended, before it is written down. `verdict` stands in for the verifier's, where the run counts otherwise."""

    outcome: Outcome
    attribution: Attribution | None = None
    error: str | None = None
    verdict: Verdict | None = None
    interrupted: bool = False


def plan_digest(plan: StandardPlan) -> str:
    """Identify what was planned: all of the plan but its names and who made it."""
    return digest(plan.model_dump(mode="json", include={"stages"}))


def shape_of(plan: StandardPlan) -> PlanShape:
    """Return what a plan is made of, in numbers."""
    tasks = [task for stage in plan.stages for task in stage.task_graph.tasks]
    tools = Counter(tool_of(task.model_dump(exclude_unset=True)) or task.type for task in tasks)
    bindings = sum(len(stage.bindings) for stage in plan.stages)
    return PlanShape(stages=len(plan.stages), tasks=len(tasks), bindings=bindings, tools=dict(sorted(tools.items())))


def outcome_digest(record: RunRecord, ending: Ending) -> str | None:
    """Identify what came of a run: how it ended, why, how each task ended, what is in artifacts that should not vary.

    None when nothing was concluded. In a run that was disturbed it does not count how often tasks had to be tried.
    """
    if ending.outcome not in ("passed", "failed"):
        return None
    last = [outcome for stage in record.stages if not stage.superseded for outcome in stage.outcomes]
    disturbed = any(fault.drawn for fault in record.faults)
    tasks = sorted((task.stage_id, task.task_id, task.status, 0 if disturbed else task.attempt) for task in last)
    code = ending.attribution.code if ending.attribution else None
    stable = sorted((name, record.artifact_hashes.get(name)) for name in record.known_hashes)
    return digest([ending.outcome, code, tasks, stable])
