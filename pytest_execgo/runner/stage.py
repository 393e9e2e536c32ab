"""One stage: bind, compile, submit, wait, collect, and check what it promised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Any

from pytest_execgo.client.completion import cancel_all, wait_until_terminal
from pytest_execgo.client.kernel import KernelClient, KernelRefused, KernelUnreachable
from pytest_execgo.client.wait import TERMINAL
from pytest_execgo.observability.stream import EventStream
from pytest_execgo.plan.events import ArtifactsMissing, StageFinished, StageSubmitted, SubmitRefused, TaskObserved
from pytest_execgo.plan.model import PlanStage
from pytest_execgo.plan.record import RunRecord, StageRecord
from pytest_execgo.plan.verdict import Attribution, TaskOutcome
from pytest_execgo.runner.compile import CompiledStage, compile_stage
from pytest_execgo.runner.failure import StageFailed, attribute_task
from pytest_execgo.runner.outcome import task_outcome


@dataclass(slots=True)
class StageRunner:
    """Runs the stages of one run, one after the other. `finished` collects outcomes by the plan's task ids."""

    run_id: str
    client: KernelClient
    stream: EventStream
    record: RunRecord
    values: Mapping[str, str]
    artifacts: Mapping[str, str]
    finished: dict[str, TaskOutcome]

    def run(self, stage: PlanStage, attempt: int = 1) -> None:
        """Run one stage to its end; `StageFailed` when it failed and its policy says to stop."""
        compiled = compile_stage(
            stage, run_id=self.run_id, attempt=attempt, values=self.values, finished=self.finished, stream=self.stream
        )
        record = StageRecord(stage.stage_id, submitted=len(compiled.tasks), depends_on=compiled.depends_on)
        self.record.stages.append(record)
        record.unfinished = list(compiled.wire_ids.values())  # until it is known better
        record.accepted = self._submit(stage, compiled)
        failure = self._watch(stage, compiled, record) or self._missing_artifacts(stage)
        if failure is not None and stage.submit_policy.stop_on_failure:
            raise StageFailed(failure, stage.stage_id)

    def _submit(self, stage: PlanStage, compiled: CompiledStage) -> int:
        try:
            accepted = self.client.submit(compiled.tasks)
        except KernelUnreachable:
            cancel_all(self.client, compiled.waits())  # it may have arrived all the same
            raise
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

        def seen(wire: str, envelope: dict[str, Any]) -> None:
            sightings[wire] = self.stream.emit(
                TaskObserved(
                    stage_id=stage.stage_id,
                    task_id=plan_ids[wire],
                    status=str(envelope.get("status")),
                    error_code=_error_code(envelope),
                    wire_id=wire,
                    envelope=envelope,
                )
            )

        policy = stage.submit_policy
        budget = policy.poll_interval_ms * policy.max_attempts / 1000
        envelopes, open_ids = wait_until_terminal(
            self.client, compiled.waits(), budget=budget, longest_interval=policy.poll_interval_ms / 1000, seen=seen
        )
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
            return None
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
