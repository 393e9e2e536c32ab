"""What happens in a run, as frozen events named in the past tense. Every artifact is a consumer of their stream."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from pytest_execgo.plan.chaos import Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base of all events; `phase` places it in the run."""

    phase: ClassVar[Phase] = "plan"
    stage_id: str | None = None
    task_id: str | None = None
    status: str = "ok"
    error_code: str | None = None

    @property
    def event_type(self) -> str:
        """The event's name in the timeline: `StageSubmitted` becomes `stage_submitted`."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).lower()

    def details(self) -> dict[str, Any]:
        """Return what only this kind of event carries."""
        own = {f.name for f in dataclasses.fields(self)} - {f.name for f in dataclasses.fields(Event)}
        return {name: getattr(self, name) for name in sorted(own)}


@dataclass(frozen=True, slots=True)
class Stamped:
    """An event with its place in the run: `seq` from 1, wall clock in ns since the epoch, monotonic clock in ns."""

    seq: int
    wall_ns: int
    monotonic_ns: int
    event: Event


class Consumer(Protocol):
    """Anything that makes something of events."""

    def consume(self, stamped: Stamped) -> None:
        """Take one event; called in order, one at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    """A cell began to run."""

    cell_id: str
    seed: int
    workspace: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxChosen(Event):
    """What a run's commands get of the sandbox that its scenario asks for; `reason` says why that is none."""

    requested: str
    effective: str | None
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanObtained(Event):
    """A framework's adapter gave a plan; `source` says from where."""

    source: str
    plan_id: str
    stages: int
    tasks: int
    warnings: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRejected(Event):
    """What the adapter gave is no valid plan."""

    problems: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class BindingApplied(Event):
    """A value went from a finished task into one that is about to be submitted."""

    phase: ClassVar[Phase] = "submit"
    source: str
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BindingFailed(Event):
    """A binding's source is not there."""

    phase: ClassVar[Phase] = "submit"
    source: str
    target: str
    required: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StageStarted(Event):
    """A stage is about to be compiled and submitted; `attempt` counts from 1."""

    phase: ClassVar[Phase] = "submit"
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSubmitted(Event):
    """The kernel accepted a stage's task graph."""

    phase: ClassVar[Phase] = "submit"
    accepted: int
    wire_ids: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitRefused(Event):
    """The kernel did not accept a stage's task graph."""

    phase: ClassVar[Phase] = "submit"
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskObserved(Event):
    """The kernel's answer about a task showed a new status; `envelope` is the whole answer (kept in the snapshots)."""

    phase: ClassVar[Phase] = "runtime"
    wire_id: str
    envelope: Mapping[str, Any]

    def details(self) -> dict[str, Any]:
        """Leave the envelope to the snapshots."""
        runtime = self.envelope.get("runtime")
        attempt = runtime.get("attempt", 0) if isinstance(runtime, Mapping) else 0
        return {"wire_id": self.wire_id, "attempt": attempt, "error": self.envelope.get("error")}


@dataclass(frozen=True, slots=True, kw_only=True)
class StageFinished(Event):
    """Every task of a stage is terminal, or the stage's budget is spent (then `unfinished` names those that are not)."""

    phase: ClassVar[Phase] = "poll"
    counts: dict[str, int]
    unfinished: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactsMissing(Event):
    """Artifacts that a stage promised are not there."""

    phase: ClassVar[Phase] = "poll"
    missing: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TasksAbandoned(Event):
    """Tasks that were not over when the run gave up: their records were deleted; what runs may go on for a while."""

    phase: ClassVar[Phase] = "poll"
    wire_ids: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureAttributed(Event):
    """What failed was classified."""

    phase: ClassVar[Phase] = "verify"
    layer: str
    message: str
    evidence: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictReached(Event):
    """The scenario's verifier judged."""

    phase: ClassVar[Phase] = "verify"
    passed: bool
    reasons: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished(Event):
    """The run is over."""

    phase: ClassVar[Phase] = "verify"
    outcome: str
    wall_time_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSaved(Event):
    """The state after a finished stage was saved; `step` counts finished stages from 1."""

    phase: ClassVar[Phase] = "poll"
    checkpoint_id: str
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResumed(Event):
    """A run that was cut short goes on; `finished` names the stages that are not run again."""

    finished: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceLost(Event):
    """A service of the stack ended although nobody had asked for that."""

    phase: ClassVar[Phase] = "runtime"
    service: str
    exit_code: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRestarted(Event):
    """A lost service is back; `took_ms` from the restart's beginning to its readiness."""

    phase: ClassVar[Phase] = "runtime"
    service: str
    took_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryDecided(Event):
    """What is done about a failure: `action` is retry_stage, resume_stage or give_up; `reason` says why."""

    phase: ClassVar[Phase] = "runtime"
    action: str
    code: str
    layer: str
    attempt: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultInjected(Event):
    """A fault struck: the `fault`-th of its profile (from 0). `cause` is the `seq` of the event that triggered it."""

    phase: ClassVar[Phase] = "runtime"
    profile: str
    fault: int
    action: str
    target: str
    parameters: dict[str, Any]
    cause: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultLifted(Event):
    """A fault was undone; `hit` tells whether it had an effect, `observed` what was seen of it."""

    phase: ClassVar[Phase] = "runtime"
    profile: str
    fault: int
    action: str
    target: str
    hit: bool
    observed: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultSpared(Event):
    """A fault did not strike: its probability spared this cell, its trigger never came, or it could not be applied."""

    phase: ClassVar[Phase] = "verify"
    profile: str
    fault: int
    action: str
    target: str
    drawn: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StopOrdered(Event):
    """The run was told to stop: `how` is cancel, deadline or interrupt."""

    phase: ClassVar[Phase] = "runtime"
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStopped(Event):
    """Everything that the run had going has ended after an order to stop; `stop_time_ms` from the order to that."""

    phase: ClassVar[Phase] = "runtime"
    how: str
    stop_time_ms: float
    tasks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryChecked(Event):
    """The run's history was judged; `counts` tells, check by check, how much was looked at and what was found."""

    phase: ClassVar[Phase] = "verify"
    verdict: str
    counts: dict[str, int]
    violations: list[str]
