"""One stage: bind, compile, submit, wait, collect, and check what it promised."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pytest_execgo.client.completion import Kernel, wait_until_terminal
from pytest_execgo.client.kernel import KernelRefused
from pytest_execgo.client.wait import TERMINAL
from pytest_execgo.observability.stream import EventStream
from pytest_execgo.plan.events import ArtifactsMissing, StageFinished, StageStarted, StageSubmitted, SubmitRefused, TaskObserved
from pytest_execgo.plan.model import PlanStage
from pytest_execgo.plan.record import RunRecord, StageRecord
from pytest_execgo.plan.sandbox import SandboxPolicy
from pytest_execgo.plan.verdict import Attribution, TaskOutcome
from pytest_execgo.runner.compile import CompiledStage, compile_stage
from pytest_execgo.runner.failure import StageFailed, attribute_answer, attribute_task
from pytest_execgo.runner.outcome import task_outcome

T = TypeVar("T")


class StageKernel(Kernel, Protocol):
    """A kernel that takes task graphs."""

    def submit(self, tasks: Sequence[Mapping[str, Any]]) -> list[str]:
        """POST a task graph; return the ids that were accepted."""


class Patience(Protocol):
    """Gets calls to the kernel through, as long as the scenario's policy allows (see `recovery`)."""

    def through(self, call: Callable[[], T], stage_id: str) -> T:
        """Return what a call that may be repeated gives."""


@dataclass(slots=True)
class StageRunner:
    """Runs the stages of one run, one after the other. `finished` collects outcomes by the plan's task ids.

    `going` is told which tasks are about to be submitted, and once they are; `heed` is called while they are waited for. Both
    may raise to break the run off.
    """

    run_id: str
    client: StageKernel
    patience: Patience
    going: Callable[[Iterable[str]], None]
    stream: EventStream
    record: RunRecord
    values: Mapping[str, str]
    artifacts: Mapping[str, str]
    finished: dict[str, TaskOutcome]
    heed: Callable[[], None] = lambda: None
    taken_up: bool = False
    """The next attempt may have been submitted by an earlier life of this run."""
    sandbox: SandboxPolicy | None = None
    """Where commands run; None: where the runtime runs them."""

    def run(self, stage: PlanStage, attempt: int = 1) -> None:
        """Run one attempt of a stage to its end; `StageFailed` when it failed and its policy says to stop.

        An attempt whose tasks the kernel knows already, from before it or we were interrupted, is taken up where it is.
        """
        self.stream.emit(StageStarted(stage_id=stage.stage_id, attempt=attempt))
        compiled = compile_stage(
            stage,
            run_id=self.run_id,
            attempt=attempt,
            values=self.values,
            finished=self.finished,
            stream=self.stream,
            sandbox=self.sandbox,
        )
        record = StageRecord(stage.stage_id, len(compiled.tasks), depends_on=compiled.depends_on, attempt=attempt)
        record.wire_ids = compiled.wire_ids
        self.record.stages.append(record)
        record.unfinished = list(compiled.wire_ids.values())  # until it is known better
        self.going(record.unfinished)
        record.accepted = self._submit(stage, compiled)
        self.going(record.unfinished)
        failure = self._watch(stage, compiled, record) or self._missing_artifacts(stage)
        if failure is not None and stage.submit_policy.stop_on_failure:
            raise StageFailed(failure, stage.stage_id)

    def _submit(self, stage: PlanStage, compiled: CompiledStage) -> int:
        try:
            accepted = self.patience.through(Delivery(self.client, compiled, self.taken_up), stage.stage_id)
        except KernelRefused as refused:
            seq = self.stream.emit(
                SubmitRefused(stage_id=stage.stage_id, status="failed", error_code="submit_refused", reason=refused.message)
            )
            if refused.status_code != 400:
                raise
            self.record.stages[-1].unfinished = []
            message = f"stage {stage.stage_id}: the kernel refused the task graph: {refused.message}"
            raise StageFailed(
                Attribution(layer="submit", code="submit_refused", message=message, evidence=[seq]), stage.stage_id
            ) from refused
        self.stream.emit(StageSubmitted(stage_id=stage.stage_id, accepted=len(accepted), wire_ids=accepted))
        return len(accepted)

    def _watch(self, stage: PlanStage, compiled: CompiledStage, record: StageRecord) -> Attribution | None:
        plan_ids = {wire: task for task, wire in compiled.wire_ids.items()}
        sightings: dict[str, int] = {}
        statuses: dict[str, object] = {}

        def seen(wire: str, envelope: dict[str, Any]) -> None:
            if statuses.get(wire) == (status := envelope.get("status")):
                return  # seen before the kernel was away for a while
            statuses[wire] = status
            sightings[wire] = self.stream.emit(
                TaskObserved(
                    stage_id=stage.stage_id,
                    task_id=plan_ids[wire],
                    status=str(status),
                    error_code=_error_code(envelope),
                    wire_id=wire,
                    envelope=envelope,
                )
            )

        policy = stage.submit_policy
        deadline = time.monotonic() + policy.poll_interval_ms * policy.max_attempts / 1000

        def wait() -> tuple[dict[str, dict[str, Any]], list[str]]:
            left = max(0.0, deadline - time.monotonic())
            interval = policy.poll_interval_ms / 1000
            return wait_until_terminal(
                self.client, compiled.waits(), budget=left, longest_interval=interval, seen=seen, check=self.heed
            )

        try:
            envelopes, open_ids = self.patience.through(wait, stage.stage_id)
        except KernelRefused as refused:
            if refused.status_code != 404:
                raise
            message = f"stage {stage.stage_id}: the kernel accepted a task that it does not know any more: {refused.message}"
            return Attribution(layer="kernel", code="task_lost", message=message, retryable=True)
        record.timed_out = bool(open_ids)
        record.unfinished = [wire for wire in open_ids if envelopes.get(wire, {}).get("status") not in TERMINAL]
        for task, wire in compiled.wire_ids.items():
            if wire in envelopes:
                outcome = task_outcome(stage.stage_id, task, wire, envelopes[wire])
                record.outcomes.append(outcome)
                self.finished[task] = outcome
        return self._judge(stage, record, [plan_ids[wire] for wire in open_ids], sightings)

    def _judge(
        self, stage: PlanStage, record: StageRecord, unfinished: list[str], sightings: Mapping[str, int]
    ) -> Attribution | None:
        counts: dict[str, int] = {}
        for outcome in record.outcomes:
            counts[outcome.status] = counts.get(outcome.status, 0) + 1
        bad = unfinished or set(counts) - {"success"}
        seq = self.stream.emit(
            StageFinished(
                stage_id=stage.stage_id,
                status="failed" if bad else "ok",
                error_code="stage_timeout" if unfinished else None,
                counts=counts,
                unfinished=unfinished,
            )
        )
        # what was unfinished has been cancelled by now: that failure is the stage's doing
        in_time = (outcome for outcome in record.outcomes if outcome.task_id not in unfinished)
        failed = next((outcome for outcome in in_time if outcome.status == "failed"), None)
        if failed is not None:
            return attribute_task(failed, [sightings[failed.wire_id], seq], self.values["fixtures_url"])
        if not bad:
            answers = (
                attribute_answer(outcome, [sightings[outcome.wire_id], seq], self.values["fixtures_url"])
                for outcome in record.outcomes
            )
            return next((answer for answer in answers if answer is not None), None)
        if not unfinished:  # what the kernel tells of itself can't be
            message = f"stage {stage.stage_id}: tasks were skipped although none failed: {counts}"
            return Attribution(layer="kernel", code="skipped_without_failure", message=message, evidence=[seq])
        policy = stage.submit_policy
        message = (
            f"stage {stage.stage_id}: not finished within its budget of {policy.poll_interval_ms} ms x {policy.max_attempts}: "
            f"{', '.join(unfinished[:10])}"
        )
        return Attribution(layer="kernel", code="stage_timeout", message=message, retryable=True, evidence=[seq])

    def _missing_artifacts(self, stage: PlanStage) -> Attribution | None:
        missing = []
        for name in stage.expected_artifacts:
            digest = artifact_digest(self.record.workspace, self.artifacts.get(name, name))
            self.record.artifact_hashes[name] = digest
            if digest is None:
                missing.append(name)
        if not missing:
            return None
        seq = self.stream.emit(
            ArtifactsMissing(stage_id=stage.stage_id, status="failed", error_code="artifact_missing", missing=missing)
        )
        files = ", ".join(f"{name} ({self.artifacts.get(name, name)})" for name in missing)
        message = f"stage {stage.stage_id}: promised artifacts are not in the workspace: {files}"
        return Attribution(layer="plan", code="artifact_missing", message=message, evidence=[seq])


@dataclass(slots=True)
class Delivery:
    """Submits a stage's tasks, so that it may be called again when nobody knows whether a call before it was heard.

    `taken_up`: an earlier life of this run may have submitted them.
    """

    client: StageKernel
    compiled: CompiledStage
    taken_up: bool = False

    def __call__(self) -> list[str]:
        """Submit, unless the kernel has the tasks; a graph is taken whole or not at all, so one of them stands for all."""
        if self.taken_up:
            try:
                self.client.task(next(iter(self.compiled.wire_ids.values())))
                return list(self.compiled.wire_ids.values())
            except KernelRefused as refused:
                if refused.status_code != 404:
                    raise
        self.taken_up = True
        return self.client.submit(self.compiled.tasks)


def artifact_digest(workspace: Path, relative: str) -> str | None:
    """Return the SHA-256 (hex) of a regular file beneath the workspace; None if there is none."""
    try:
        path = (workspace / relative).resolve(strict=True)
    except (OSError, RuntimeError):  # not there, or no path at all; RuntimeError: symbolic links that lead in a circle
        return None
    if not path.is_relative_to(workspace.resolve()) or not path.is_file():
        return None
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _error_code(envelope: Mapping[str, Any]) -> str | None:
    runtime = envelope.get("runtime")
    error = runtime.get("error") if isinstance(runtime, Mapping) else None
    code = error.get("code") if isinstance(error, Mapping) else None
    return str(code) if code else ("task_failed" if envelope.get("status") == "failed" else None)
