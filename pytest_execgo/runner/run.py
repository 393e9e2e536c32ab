"""One run: from a cell to its `result.json`, through DESIGN's steps: plan, normalise, stages, verify, measure."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_execgo.client.fixtures import FixturesClient
from pytest_execgo.client.kernel import KernelClient, KernelRefused, KernelUnreachable
from pytest_execgo.core.errors import ExecGoError, MissingDependency, Unsupported
from pytest_execgo.observability import artifacts as files
from pytest_execgo.observability.clock import rfc3339
from pytest_execgo.observability.stream import EventStream
from pytest_execgo.plan.adapter import Adapter, PlannedRun
from pytest_execgo.plan.cell import Cell
from pytest_execgo.plan.events import (
    Consumer,
    FailureAttributed,
    PlanObtained,
    PlanRejected,
    RunFinished,
    RunStarted,
    TasksAbandoned,
    VerdictReached,
)
from pytest_execgo.plan.model import PlanContext, StandardPlan
from pytest_execgo.plan.problems import PlanInvalid
from pytest_execgo.plan.record import RunRecord
from pytest_execgo.plan.result import BenchmarkResult, RunMetrics
from pytest_execgo.plan.stack import Endpoints, Stack
from pytest_execgo.plan.verdict import Attribution, TaskOutcome, Verdict, Verifier, VerifierContext
from pytest_execgo.runner.diagnosis import kernel_gone, service_gone
from pytest_execgo.runner.ending import Ending, outcome_digest, plan_digest
from pytest_execgo.runner.failure import StageFailed
from pytest_execgo.runner.stage import StageRunner
from pytest_execgo.runner.workspace import lay_out, new_run_id
from pytest_execgo.scenarios.model import Scenario
from pytest_execgo.scenarios.verifiers import judge


@dataclass(frozen=True, slots=True)
class RunParts:
    """Everything that a run needs, chosen by the wiring.

    `out` is the folder of all runs; `watchers` are told every event. A `shared` stack serves others, too, so that only effects
    whose key begins with the run's id count against its budget. `abandon` is told the global ids of tasks that were given up.
    """

    sweep_id: str
    out: Path
    stack: Stack
    endpoints: Endpoints
    client: KernelClient
    fixtures: FixturesClient
    adapter: Adapter
    scenario: Scenario
    verifier: Verifier
    measure: Callable[[RunRecord], RunMetrics]
    summarise: Callable[[BenchmarkResult, Sequence[Mapping[str, Any]]], str]
    abandon: Callable[[Sequence[str]], None] = lambda ids: None
    shared: bool = False
    versions: Mapping[str, str] = field(default_factory=dict)
    watchers: tuple[Consumer, ...] = ()


def run_cell(cell: Cell, parts: RunParts) -> BenchmarkResult:
    """Run one cell to its end and return what its `result.json` says.

    A plan that fails is an outcome `failed`; what we or the machine could not do is an outcome `error`; neither is raised.
    `UsageError` when the artifacts folder can't be used. Artifacts are written in every case.
    """
    run_id = new_run_id(cell)
    folder = files.RunFolder(parts.out, run_id)
    record = RunRecord(workspace=folder.workspace)
    started_ns, started = time.time_ns(), time.monotonic_ns()
    interruption: BaseException | None = None
    with ExitStack() as open_files:
        timeline = open_files.enter_context(files.JsonLines(folder, files.TIMELINE))
        snapshots = open_files.enter_context(files.JsonLines(folder, files.SNAPSHOTS))
        writer = files.TimelineWriter(timeline, run_id=run_id, framework=cell.framework, scenario_id=cell.scenario)
        stream = EventStream([writer, files.SnapshotWriter(snapshots), *parts.watchers])
        run = _Run(cell, parts, run_id, folder, record, stream)
        try:
            ending = run.to_the_end()
        except BaseException as error:  # an interrupt, or a test outcome that the verifier raised: whole artifacts, then on it goes
            ending, interruption = Ending("inconclusive", error=f"interrupted: {type(error).__name__} {error}".rstrip()), error
        run.leave_nothing_behind()
        record.wall_ms = (time.monotonic_ns() - started) / 1e6
        stream.emit(RunFinished(status=ending.outcome, outcome=ending.outcome, wall_time_ms=round(record.wall_ms, 3)))
    result = _result(run, ending, started_ns)
    folder.write_json(files.RESULT, result.model_dump(mode="json"))
    folder.write(files.SUMMARY, parts.summarise(result, writer.rows))
    if interruption is not None:
        raise interruption
    return result


class _Run:
    """The state of one run while it goes through its steps."""

    def __init__(
        self, cell: Cell, parts: RunParts, run_id: str, folder: files.RunFolder, record: RunRecord, stream: EventStream
    ) -> None:
        self.cell = cell
        self.parts = parts
        self.run_id = run_id
        self.folder = folder
        self.record = record
        self.stream = stream
        self.seed = parts.scenario.spec.seed if cell.seed is None else cell.seed
        self.finished: dict[str, TaskOutcome] = {}
        self.judged_at = 0

    def to_the_end(self) -> Ending:
        """Take every step; tell how it ended."""
        self.stream.emit(RunStarted(cell_id=self.cell.cell_id, seed=self.seed, workspace=str(self.folder.workspace)))
        try:
            effects_before = self._applied_effects()
            lay_out(self.parts.scenario.fixtures, self.folder.workspace)
            plan = self._plan()
            self._execute(plan)
            verdict = self._verify(plan, effects_before)
        except PlanInvalid as invalid:
            return self._rejected(invalid)
        except StageFailed as failed:
            lost = service_gone(self.parts.stack, failed.attribution)
            return Ending("error", failed.attribution, str(lost)) if lost else self._failed(failed.attribution)
        except (MissingDependency, Unsupported) as unavailable:
            return Ending("skipped", error=str(unavailable))
        except KernelUnreachable as unreachable:
            return Ending("error", error=str(kernel_gone(self.parts.stack, self.parts.client, unreachable)))
        except ExecGoError as error:
            return Ending("error", error=str(error))
        except OSError as error:
            return Ending("error", error=f"the machine: {error}")
        if verdict.passed:
            return Ending("passed")
        said = "; ".join(verdict.reasons[:3]) or "no reason given"
        attribution = Attribution(layer="verifier", code="verdict_failed", message=said, evidence=[self.judged_at])
        return self._failed(attribution, judged=verdict)

    def _plan(self) -> StandardPlan:
        planned = self._obtain()
        self.folder.write_json(files.TRACE, dict(planned.trace))
        self.folder.write_json(files.PLAN, planned.plan.model_dump(mode="json", exclude_unset=True))
        self.record.plan = planned.plan
        self.record.plan_valid = True
        self.record.prompt_tokens = planned.prompt_tokens
        self.record.completion_tokens = planned.completion_tokens
        tasks = sum(len(stage.task_graph.tasks) for stage in planned.plan.stages)
        self.stream.emit(
            PlanObtained(
                source=str(planned.trace.get("source", self.cell.mode)),
                plan_id=planned.plan.plan_id,
                stages=len(planned.plan.stages),
                tasks=tasks,
                warnings=list(planned.plan.normalization_warnings),
            )
        )
        return planned.plan

    def _obtain(self) -> PlannedRun:
        scenario, cell = self.parts.scenario, self.cell
        context = PlanContext(
            scenario_id=cell.scenario,
            framework=cell.framework,
            mode=cell.mode,
            seed=self.seed,
            objective=scenario.spec.objective,
            scenario_input=scenario.spec.input,
            prompt_pack=scenario.prompt_pack,
            allowed_tools=scenario.spec.allowed_tools,
            max_tasks=scenario.spec.effect_budget.max_tasks,
            chaos_profile=cell.chaos,
        )
        adapter = self.parts.adapter
        try:
            return adapter.live(context) if cell.mode == "live" else adapter.replay(context, scenario.reference_plan)
        except (ExecGoError, OSError):
            raise
        except Exception as error:  # adapters come from other packages too; theirs is no crash of the sweep
            what = f"the adapter of {cell.framework} raised {error!r}"
            raise ExecGoError("adapter_raised", what, "the adapter is broken, not the plan") from error

    def _execute(self, plan: StandardPlan) -> None:
        values = {
            "workspace": str(self.folder.workspace),
            "fixtures_url": self.parts.endpoints.fixtures,
            "run_id": self.run_id,
            "seed": str(self.seed),
        }
        stages = StageRunner(
            run_id=self.run_id,
            client=self.parts.client,
            stream=self.stream,
            record=self.record,
            values=values,
            artifacts=self.parts.scenario.spec.artifacts,
            finished=self.finished,
        )
        for stage in plan.stages:
            stages.run(stage)

    def _verify(self, plan: StandardPlan, effects_before: int) -> Verdict:
        scenario = self.parts.scenario
        known = scenario.expected.get("artifact_sha256")
        if isinstance(known, Mapping):
            self.record.known_hashes = {str(name): str(value) for name, value in known.items()}
        context = VerifierContext(
            run_id=self.run_id,
            seed=self.seed,
            scenario_dir=scenario.folder,
            workspace=self.folder.workspace,
            fixtures_url=self.parts.endpoints.fixtures,
            input=scenario.spec.input,
            expected=scenario.expected,
            plan=plan,
            tasks=self.finished,
        )
        verdict = self._within_budget(self._judge(context), effects_before)
        self.record.verdict = verdict
        self.judged_at = self.stream.emit(
            VerdictReached(status="ok" if verdict.passed else "failed", passed=verdict.passed, reasons=list(verdict.reasons))
        )
        return verdict

    def _judge(self, context: VerifierContext) -> Verdict:
        verdict = judge(self.parts.verifier, context)
        try:
            verdict.model_dump(mode="json")
        except ValueError as error:
            what = f"the verifier's details can't be written down: {error}"
            raise ExecGoError("verifier_bad_result", what, "details hold JSON values alone") from error
        return verdict

    def _within_budget(self, verdict: Verdict, effects_before: int) -> Verdict:
        allowed = self.parts.scenario.spec.effect_budget.max_effects
        applied = self._applied_effects() - effects_before
        if applied <= allowed:
            return verdict
        self.record.invalid_actions += applied - allowed
        reason = f"the plan applied {applied} effects; the scenario's budget is {allowed}"
        return Verdict(passed=False, reasons=[*verdict.reasons, reason], details=verdict.details)

    def _applied_effects(self) -> int:
        return self.parts.fixtures.applied_effects(self.run_id if self.parts.shared else None)

    def leave_nothing_behind(self) -> None:
        """Withdraw tasks that are not over, so that they take nothing from the next run; say which may run on."""
        unfinished = [wire for stage in self.record.stages for wire in stage.unfinished]
        if not unfinished:
            return
        left = [wire for wire in reversed(unfinished) if not self._withdrawn(wire)]
        self.stream.emit(TasksAbandoned(status="failed", wire_ids=unfinished))
        if left:
            self.parts.abandon(left)

    def _withdrawn(self, wire: str) -> bool:
        """Delete a task's record; tell whether that surely ended it (ExecGo itself lets what runs go on)."""
        client = self.parts.client
        try:
            client.delete(wire)
            return "cancel" in client.capabilities()
        except KernelRefused as refused:
            return refused.status_code == 404
        except KernelUnreachable:
            return False

    def _rejected(self, invalid: PlanInvalid) -> Ending:
        self.record.plan_valid = False
        self.record.invalid_actions += sum(problem.code in ("unknown_tool", "tool_not_allowed") for problem in invalid.problems)
        problems = [str(problem) for problem in invalid.problems]
        raw = {"framework": self.cell.framework, "mode": self.cell.mode, "raw": self.parts.scenario.reference_plan}
        self.folder.write_json(files.TRACE, {**raw, "problems": problems})
        seq = self.stream.emit(PlanRejected(status="failed", error_code=invalid.code, problems=problems))
        said = f"the plan is invalid: {len(problems)} {'problem' if len(problems) == 1 else 'problems'}"
        attribution = Attribution(layer="plan", code=invalid.code, message=said, evidence=[seq])
        return self._failed(attribution, judged=Verdict(passed=False, reasons=problems))

    def _failed(self, attribution: Attribution, judged: Verdict | None = None) -> Ending:
        self.record.verdict = judged or Verdict(passed=False, reasons=[attribution.message])
        self.stream.emit(
            FailureAttributed(
                status="failed",
                error_code=attribution.code,
                layer=attribution.layer,
                message=attribution.message,
                evidence=attribution.evidence,
            )
        )
        return Ending("failed", attribution)


def _result(run: _Run, ending: Ending, started_ns: int) -> BenchmarkResult:
    cell, parts, record = run.cell, run.parts, run.record
    return BenchmarkResult(
        run_id=run.run_id,
        sweep_id=parts.sweep_id,
        cell_id=cell.cell_id,
        scenario_id=cell.scenario,
        framework=cell.framework,
        mode=cell.mode,
        chaos_profile=cell.chaos,
        repetition=cell.repetition,
        seed=run.seed,
        sweep_seed=cell.seed,
        outcome=ending.outcome,
        verdict=record.verdict,
        attribution=ending.attribution,
        error=ending.error,
        metrics=parts.measure(record),
        artifacts=run.folder.manifest(),
        plan_digest=plan_digest(record.plan) if record.plan else None,
        outcome_digest=outcome_digest(record, ending),
        started_at=rfc3339(started_ns),
        finished_at=rfc3339(),
        backend=parts.stack.backend,
        versions=dict(parts.versions),
    )
