"""What a chaos profile file holds."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from pytest_execgo.plan.base import Document, Millis, Name

Phase = Literal["plan", "submit", "runtime", "poll", "verify"]
RecoveryExpectation = Literal["not_applicable", "should_recover", "expected_failure"]


class Trigger(Document):
    """When a fault strikes: at the `occurrence`-th timeline event of type `event` in `phase`, then after `delay_ms`.

    The phase `plan` without an event stands for the moment in which the plan is there and not yet checked.
    """

    phase: Phase = Field(description="Part of the run in which the fault strikes.")
    event: str | None = Field(default=None, description="Type of the timeline event that it waits for; any event if absent.")
    occurrence: Annotated[int, Field(ge=1)] = Field(default=1, description="The how-manieth such event, from 1.")
    stage_id: str | None = Field(default=None, description="Only events of this stage.")
    task_id: str | None = Field(default=None, description="Only events of this task.")
    delay_ms: Millis = Field(default=0, description="Milliseconds from the event to the fault.")


class Fault(Document):
    """One fault: what is done (`action`), to whom (`target`), when, how likely, for how long until it is undone.

    Without `duration_ms` a fault is undone when the run has ended, before it is judged.
    """

    action: Name = Field(description="What is done.")
    target: Name = Field(description="What it is done to.")
    parameters: dict[str, Any] = Field(default_factory=dict, description="Details of the action.")
    trigger: Trigger = Field(description="When it strikes.")
    probability: Annotated[float, Field(ge=0, le=1)] = Field(default=1.0, description="How likely it strikes, 0 to 1.")
    duration_ms: Millis | None = Field(default=None, description="Milliseconds until it is undone; absent: at the run's end.")


class ChaosProfile(Document):
    """A named set of faults, and what is expected of a run that they hit."""

    id: Name = Field(description="Name of the profile: the name of its file without the suffix.")
    description: str = Field(description="What the profile does, in one sentence.")
    faults: list[Fault] = Field(default_factory=list, description="What strikes; an empty list is an undisturbed run.")
    recovery_expectation: RecoveryExpectation = Field(
        default="not_applicable", description="Whether a run is expected to get over the faults."
    )
    expected_code: str | list[str] | None = Field(
        default=None, description="Error code that a run under `expected_failure` must end with, or a list of which any will do."
    )
    expected_layer: str | None = Field(default=None, description="Layer that such a failure must be attributed to; absent: any.")
    model_timeout_ms: Annotated[int, Field(ge=1, le=3_600_000)] | None = Field(
        default=None, description="Milliseconds that a planner waits for an answer of its model, where it would wait longer."
    )

    @property
    def expected_codes(self) -> tuple[str, ...]:
        """The codes of which a run under `expected_failure` must end with one."""
        given = self.expected_code
        return () if given is None else (given,) if isinstance(given, str) else tuple(given)
