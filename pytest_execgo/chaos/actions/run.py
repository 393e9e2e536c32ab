"""Faults of the run itself: it is told to stop."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pytest_execgo.chaos.actions.checks import duration_idle, parameter_problems, parsed
from pytest_execgo.plan.base import Document
from pytest_execgo.plan.chaos import Fault
from pytest_execgo.plan.fault import Action, Applied, Run, Surroundings, World


class StopOptions(Document):
    """Who tells the run to stop: its owner (`cancel`), or its time being up (`deadline`)."""

    how: Literal["cancel", "deadline"] = "cancel"


@dataclass(frozen=True, slots=True)
class Stopped:
    """An order to stop that was given."""

    run: Run
    how: str

    def undo(self) -> None:
        """An order to stop is not taken back."""

    def observed(self) -> Mapping[str, Any]:
        """Tell whether the run obeyed."""
        return {"hit": self.run.stopped(), "how": self.how}


@dataclass(frozen=True, slots=True)
class Stop:
    """Orders the run to stop, as its owner or a deadline would."""

    targets: frozenset[str] = frozenset({"run"})

    def problems(self, fault: Fault) -> list[str]:
        """Complain about parameters, and about a duration."""
        return parameter_problems(StopOptions, fault) + duration_idle(fault, "an order to stop is not taken back")

    def unusable(self, fault: Fault, surroundings: Surroundings) -> str | None:
        """Every run can be stopped."""
        return None

    def apply(self, fault: Fault, world: World, draw: random.Random) -> Applied:
        """Give the order."""
        how = parsed(StopOptions, fault).how
        world.run.stop(how)
        return Stopped(world.run, how)


RUN_ACTIONS: dict[str, Action] = {"stop": Stop()}
"""Faults of the run by name."""
