"""What happens in a run, as frozen events named in the past tense. Every artifact is a consumer of their stream."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

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


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    """A cell began to run."""

    cell_id: str
    seed: int
    workspace: str


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
