"""What a chaos profile file holds."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from pytest_execgo.plan.base import Document, Millis, Name

Phase = Literal["plan", "submit", "runtime", "poll", "verify"]
RecoveryExpectation = Literal["not_applicable", "should_recover", "expected_failure"]


class Trigger(Document):
    """When a fault strikes: at the `occurrence`-th timeline event of type `event` in `phase`, then after `delay_ms`."""

    phase: Phase
    event: str | None = None
    occurrence: Annotated[int, Field(ge=1)] = 1
    stage_id: str | None = None
    task_id: str | None = None
    delay_ms: Millis = 0


class Fault(Document):
    """One fault: what is done (`action`), to whom (`target`), when, how likely, for how long until it is undone."""

    action: Name
    target: str | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    trigger: Trigger
    probability: Annotated[float, Field(ge=0, le=1)] = 1.0
    duration_ms: Millis | None = None


class ChaosProfile(Document):
    """A named set of faults, and what is expected of a run that they hit."""

    id: Name
    description: str
    faults: list[Fault] = Field(default_factory=list)
    recovery_expectation: RecoveryExpectation = "not_applicable"
    expected_code: str | None = None
