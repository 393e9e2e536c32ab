"""What a run leaves in memory when it ends: the input of metrics and reports, before anything is written."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from pytest_execgo.plan.chaos import RecoveryExpectation
from pytest_execgo.plan.fault import FaultRecord
from pytest_execgo.plan.history import HistoryVerdict
from pytest_execgo.plan.model import StandardPlan
from pytest_execgo.plan.planning import ModelExchange, PlanSource
from pytest_execgo.plan.verdict import TaskOutcome, Verdict


@dataclass(slots=True)
class StageRecord:
    """One attempt of one stage. `depends_on` maps each task to the tasks of this stage that it waits for (plan ids).

    `timed_out` tells that its budget was spent before its tasks were over; `unfinished` holds the global ids of tasks that
    were not terminal when the stage was given up, and could not be cancelled. `wire_ids` maps plan ids to global ones.
    """

    stage_id: str
    submitted: int
    accepted: int = 0
    depends_on: dict[str, tuple[str, ...]] = field(default_factory=dict)
    outcomes: list[TaskOutcome] = field(default_factory=list)
    timed_out: bool = False
    unfinished: list[str] = field(default_factory=list)
    attempt: int = 1
    wire_ids: dict[str, str] = field(default_factory=dict)
    superseded: bool = False
    """A further attempt of the stage was made after this one."""


@dataclass(slots=True)
class RunRecord:
    """One run. `plan_valid` is None when no plan was obtained; `invalid_actions` counts what the plan was not allowed to do.

    `progress_ns` holds when tasks were seen to succeed (monotonic clock), in order; `faults` what became of each fault;
    `history` the judgement on the run's history, where one was kept; `stop_time_ms` how long the run took to obey an
    order to stop; `restarts` how many lost services were brought back. Of a live planning, `planning_ms` is how long it took,
    `model_ms` of that the model's part, `repairs` how often a plan was mended; `plan_validity` the share of the plan in
    which nothing was wrong.

    `artifact_hashes` maps each expected artifact to its SHA-256 (None: it is missing) and `known_hashes` to the one
    that the scenario expects, where it states one. `wall_ms` runs from the cell's start to its verdict.
    """

    workspace: Path
    plan: StandardPlan | None = None
    plan_valid: bool | None = None
    plan_source: PlanSource | None = None
    invalid_actions: int = 0
    stages: list[StageRecord] = field(default_factory=list)
    verdict: Verdict | None = None
    wall_ms: float = 0.0
    artifact_hashes: dict[str, str | None] = field(default_factory=dict)
    known_hashes: dict[str, str] = field(default_factory=dict)
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost: float | None = None
    plan_validity: float | None = None
    planning_ms: float | None = None
    model_ms: float | None = None
    repairs: int | None = None
    exchanges: list[ModelExchange] = field(default_factory=list)
    progress_ns: list[int] = field(default_factory=list)
    faults: tuple[FaultRecord, ...] = ()
    expectation: RecoveryExpectation = "not_applicable"
    recovered: bool | None = None
    history: HistoryVerdict | None = None
    stop_time_ms: float | None = None
    restarts: int = 0
    began_ns: int = field(default_factory=time.monotonic_ns)
    before_ms: float = 0.0
    wasted_before: int = 0
    lives: int = 1
    """How many processes have carried the run: one more than it was cut short. `wasted_before`: executions that others wasted,
    `before_ms`: the time that others spent up to their last checkpoint; `began_ns`: when this one began (monotonic)."""

    def elapsed_ms(self) -> float:
        """Return how long the run has gone on by now, in all its lives."""
        return self.before_ms + (time.monotonic_ns() - self.began_ns) / 1e6

    @property
    def outcomes(self) -> list[TaskOutcome]:
        """Every task outcome of every stage, in submission order."""
        return [outcome for stage in self.stages for outcome in stage.outcomes]
