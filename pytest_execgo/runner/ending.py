"""How a run ended, and what identifies that ending among repetitions."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_execgo.core.jsonio import digest
from pytest_execgo.plan.model import StandardPlan
from pytest_execgo.plan.record import RunRecord
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
