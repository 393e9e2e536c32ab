"""What becomes of one fault in one run: waiting, in force, over."""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pytest_execgo.chaos.trigger import Countdown, told
from pytest_execgo.plan.chaos import Fault
from pytest_execgo.plan.fault import Action, Applied, FaultRecord, PlanAction


class State(StrEnum):
    """Where a fault is in its life. `CALLED`: its trigger came, it has not struck yet."""

    SPARED = "spared"
    WAITING = "waiting"
    CALLED = "called"
    IN_FORCE = "in_force"
    OVER = "over"


@dataclass(slots=True)
class Fate:
    """One fault of a run. `cause` is the `seq` of the event that called it; the rest is as in `FaultRecord`.

    `before`: it struck in an earlier life of the run. `told`: it was said that it was spared. `timer` runs while it waits for
    its delay, since an event of the stage `stage_id`; `striking`: somebody lets it strike now.
    """

    index: int
    fault: Fault
    action: Action | PlanAction
    drawn: bool
    draw: random.Random
    countdown: Countdown
    state: State
    applied: Applied | None = None
    cause: int | None = None
    fired_ns: int | None = None
    applied_ns: int | None = None
    lifted_ns: int | None = None
    hit: bool | None = None
    seq: int | None = None
    observed: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    before: bool = False
    told: bool = False
    timer: threading.Timer | None = None
    stage_id: str | None = None
    striking: bool = False

    @property
    def name(self) -> str:
        """How people call it: `fault 0 (kill kernel)`."""
        return f"fault {self.index} ({self.fault.action} {self.fault.target})"

    def record(self) -> FaultRecord:
        """Return what became of it so far."""
        return FaultRecord(
            index=self.index,
            action=self.fault.action,
            target=self.fault.target,
            drawn=self.drawn,
            fired_ns=self.fired_ns,
            lifted_ns=self.lifted_ns,
            hit=self.hit,
            seq=self.seq,
            observed=dict(self.observed),
            error=self.error,
            applied_ns=self.applied_ns,
        )

    def spared(self) -> str:
        """Say why it did not strike."""
        if not self.drawn:
            return f"its probability of {self.fault.probability:g} spared this cell"
        return self.error or f"the run had no {told(self.fault.trigger).removeprefix('the ')}"

    def doubts(self) -> list[str]:
        """Say why nothing can be concluded from a run with this fault; empty when something can."""
        if not self.drawn or self.before:
            return []
        if self.fired_ns is None:
            return [f"{self.name} never struck: {self.spared()}"]
        found = [] if self.hit else [f"{self.name} struck, but hit nothing"]
        return found + ([f"{self.name}: {self.error}"] if self.error else [])


@dataclass(frozen=True, slots=True)
class PlanChanged:
    """A fault of the plan: in force as long as the plan is."""

    changed: str

    def undo(self) -> None:
        """The plan ends with its run."""

    def observed(self) -> Mapping[str, Any]:
        """Say what was changed."""
        return {"hit": True, "changed": self.changed}
