"""What a run, and a sweep of runs, amount to."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from pytest_execgo.core.errors import VerificationFailed
from pytest_execgo.plan.base import Document, Name
from pytest_execgo.plan.cell import Cell
from pytest_execgo.plan.history import HistoryVerdict
from pytest_execgo.plan.model import Mode
from pytest_execgo.plan.planning import PlanSource
from pytest_execgo.plan.sandbox import SandboxUse
from pytest_execgo.plan.statistics import Comparison, GateResult, Interval, Quantiles, SweepStatistics
from pytest_execgo.plan.verdict import Attribution, Outcome, Verdict


class RunMetrics(Document):
    """Figures of one run, each computed from its artifacts; null where it does not apply.

    Rates are 0..1, times milliseconds. `critical_path_ms` is the longest dependency chain, over stages, of what the tasks
    themselves took (the kernel's clock); `overhead` is `wall_time_ms / critical_path_ms`. `determinism_drift` is the share of
    the cell's repetitions that differ from the most common one; it exists only in a sweep. Recovery figures exist where a
    fault hit and recovery was expected: `recovery_success` tells whether the run passed all the same, and only then is there a
    `recovery_time_ms`, from the first hit to the first success of a task that was seen once that fault was in force.
    Planning figures exist for live cells: `planning_time_ms` is all of it, `model_time_ms` the model's part, `repair_count` the
    repairs of the framework and of the normaliser. `wasted_task_count` counts executions whose stage was run again.
    `lost_count`, `duplicate_count`, `orphan_count` come from the run's history; null where it does not tell.
    """

    plan_validity: float | None = None
    submit_accept_rate: float | None = None
    scenario_success: float | None = None
    recovery_success: float | None = None
    recovery_time_ms: float | None = None
    wall_time_ms: float | None = None
    critical_path_ms: float | None = None
    overhead: float | None = None
    stage_count: int | None = None
    task_count: int | None = None
    retry_count: int | None = None
    timeout_count: int | None = None
    runtime_failure_count: int | None = None
    invalid_action_count: int | None = None
    determinism_drift: float | None = None
    artifact_hash_match: float | None = None
    lost_count: int | None = None
    duplicate_count: int | None = None
    orphan_count: int | None = None
    wasted_task_count: int | None = None
    restart_count: int | None = None
    stop_time_ms: float | None = None
    planning_time_ms: float | None = None
    model_time_ms: float | None = None
    repair_count: int | None = None
    cost: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class ArtifactManifest(Document):
    """Where a run's artifacts are: its folder, and each artifact's file name to its SHA-256 (hex)."""

    run_dir: str
    files: dict[str, str] = Field(default_factory=dict)


class FaultReport(Document):
    """What became of one fault of a run: whether its probability spared the run, whether it fired, whether it hit anything."""

    fault: int
    action: str
    target: str
    drawn: bool
    fired: bool
    hit: bool | None = None
    observed: dict[str, Any] = Field(default_factory=dict)
    error: str | None = None


class PlanShape(Document):
    """What a plan is made of, in numbers; `tools` counts tasks by what they use."""

    stages: int
    tasks: int
    bindings: int
    tools: dict[str, int] = Field(default_factory=dict)


class BenchmarkResult(Document):
    """One run's `result.json`: which cell, how it ended and why, its figures, where its evidence is.

    Times are RFC 3339 in UTC. `plan_source` says where the plan came from (null: there was none), `plan_digest` and
    `outcome_digest` what was planned and what came of it. `resumed` counts how often the run was cut short and went on.
    `sandbox` tells where its commands ran, if its scenario asked for one.
    """

    run_id: Name
    sweep_id: Name
    cell_id: str
    scenario_id: Name
    framework: Name
    mode: Mode
    chaos_profile: Name
    repetition: int
    seed: int
    sweep_seed: int | None = None
    outcome: Outcome
    verdict: Verdict | None = None
    attribution: Attribution | None = None
    error: str | None = None
    metrics: RunMetrics = Field(default_factory=RunMetrics)
    faults: list[FaultReport] = Field(default_factory=list)
    history: HistoryVerdict | None = None
    resumed: int = 0
    artifacts: ArtifactManifest
    plan_shape: PlanShape | None = None
    plan_source: PlanSource | None = None
    plan_digest: str | None = None
    outcome_digest: str | None = None
    started_at: str
    finished_at: str
    backend: str
    versions: dict[str, str] = Field(default_factory=dict)
    sandbox: SandboxUse | None = None

    def raise_for_verdict(self) -> None:
        """Raise `VerificationFailed`, an assertion, unless the run passed."""
        if self.outcome != "passed":
            reasons = self.verdict.reasons if self.verdict else [self.error or "nothing was concluded"]
            raise VerificationFailed(f"{self.scenario_id} {self.outcome}: {'; '.join(reasons)}")

    @property
    def interrupted(self) -> bool:
        """Tell whether the result only says that the run was broken off, by Ctrl-C for example: no defect of plan or machine."""
        return self.outcome == "inconclusive" and (self.error or "").startswith("interrupted")

    @property
    def cell(self) -> Cell:
        """The cell that was run."""
        return Cell(self.scenario_id, self.framework, self.mode, self.chaos_profile, self.repetition, self.sweep_seed)


class BenchmarkRunRequest(Document):
    """Which cells a sweep runs: the axes, and how often each cell."""

    scenarios: Annotated[list[str], Field(min_length=1)]
    frameworks: Annotated[list[str], Field(min_length=1)]
    modes: Annotated[list[Mode], Field(min_length=1, default_factory=lambda: ["replay"])]
    chaos_profiles: Annotated[list[str], Field(min_length=1, default_factory=lambda: ["none"])]
    repetitions: Annotated[int, Field(ge=1, le=10_000)] = 1
    seed: int | None = None


class PlanComparison(Document):
    """The plans of one scenario side by side, by framework: each one's shape, its digest, how its run ended.

    `differ_in` names what is not the same in all of them: stages, tasks, bindings, tools, or only details; empty when all
    plans are one. `outcomes_differ` tells whether that made a difference to the outcome.
    """

    scenario_id: Name
    mode: Mode
    repetition: int
    seed: int
    shapes: dict[str, PlanShape]
    digests: dict[str, str]
    outcomes: dict[str, Outcome]
    differ_in: list[str]
    outcomes_differ: bool


class BenchmarkSummary(Document):
    """A sweep's `benchmark-summary.json`: totals, one line a group of repetitions, and every run.

    `planned` is how many cells were to be run, where that is known: more than `totals` counts when the sweep was broken off.
    """

    sweep_id: Name
    started_at: str
    finished_at: str
    wall_time_ms: float
    totals: dict[str, int]
    planned: int | None = None
    statistics: SweepStatistics | None = None
    comparison: Comparison | None = None
    gates: list[GateResult] = Field(default_factory=list)
    groups: list[GroupSummary]
    plans: list[PlanComparison] = Field(default_factory=list)
    runs: list[BenchmarkResult]


class GroupSummary(Document):
    """Repetitions of one cell taken together; times in milliseconds (medians).

    `recovery_success` is the share of those that recovered, of the runs that a fault hit and that were to recover;
    `violations` counts the promises that their histories show broken. `pass_interval` is by Wilson; `pass_hat_k` maps k to
    C(passed, k) / C(ran, k); `flaky` tells whether repetitions disagree (null for fewer than two).
    """

    scenario_id: Name
    framework: Name
    mode: Mode
    chaos_profile: Name
    repetitions: int
    passed: int
    failed: int
    errors: int
    inconclusive: int
    skipped: int
    pass_rate: float | None
    wall_time_ms: float | None
    critical_path_ms: float | None
    overhead: float | None
    determinism_drift: float | None
    recovery_success: float | None = None
    recovery_time_ms: float | None = None
    violations: int = 0
    pass_interval: Interval | None = None
    pass_hat_k: dict[int, float] = Field(default_factory=dict)
    flaky: bool | None = None
    recovery_ms: Quantiles | None = None


BenchmarkSummary.model_rebuild()
