"""Faults of services: stopped gracefully, killed, made to hang."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pytest_execgo.chaos.actions.checks import (
    NoParameters,
    duration_idle,
    duration_missing,
    missing,
    never_used,
    parameter_problems,
)
from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.plan.chaos import Fault
from pytest_execgo.plan.fault import Action, Applied, Surroundings, World
from pytest_execgo.plan.stack import Capability, Service, ServiceStatus, Stack

SERVICES = frozenset(map(str, Service))


def status_of(stack: Stack, service: Service) -> ServiceStatus:
    """Return how one service is; one that its backend knows nothing of counts as not running."""
    found = (status for status in stack.status() if status.service == service)
    return next(found, ServiceStatus(service, running=False, url=""))


@dataclass(frozen=True, slots=True)
class Done:
    """A fault that is over as soon as it has struck; what was seen of it is known by then."""

    seen: Mapping[str, Any]

    def undo(self) -> None:
        """Nothing is left to be undone."""

    def observed(self) -> Mapping[str, Any]:
        """Return what was seen."""
        return self.seen


@dataclass(frozen=True, slots=True)
class Restart:
    """Stops a service gracefully and brings it back; returns once it is ready again."""

    targets: frozenset[str] = SERVICES

    def problems(self, fault: Fault) -> list[str]:
        """Complain about any parameter, and about a duration."""
        return parameter_problems(NoParameters, fault) + duration_idle(fault, "it takes as long as the service needs")

    def unusable(self, fault: Fault, surroundings: Surroundings) -> str | None:
        """Need a backend that can restart, and a plan that uses the service."""
        return missing(Capability.RESTART, surroundings) or never_used(fault.target, surroundings.plan)

    def apply(self, fault: Fault, world: World, draw: random.Random) -> Applied:
        """Restart; the run, which has only so many restarts, is kept from bringing back what is being restarted already."""
        service = Service(fault.target)
        before = status_of(world.stack, service)
        world.run.hold_down(service)
        try:
            world.stack.restart(service)
        finally:
            world.run.let_go(service)
        after = status_of(world.stack, service)
        hit = before.running and (before.pid is None or before.pid != after.pid)
        return Done({"hit": hit, "pid_before": before.pid, "pid_after": after.pid})


@dataclass(slots=True)
class HeldDown:
    """A service that was killed; if `held`, it is brought back when this is undone."""

    world: World
    service: Service
    held: bool
    seen: Mapping[str, Any]

    def undo(self) -> None:
        """Let the run bring the service back; without a duration it never was kept from that."""
        if self.held:
            self.world.run.let_up(self.service)

    def observed(self) -> Mapping[str, Any]:
        """Return what was seen when the service was killed."""
        return self.seen


@dataclass(frozen=True, slots=True)
class Kill:
    """SIGKILLs a service. The run brings it back: at once, or after the fault's duration."""

    targets: frozenset[str] = SERVICES

    def problems(self, fault: Fault) -> list[str]:
        """Complain about any parameter."""
        return parameter_problems(NoParameters, fault)

    def unusable(self, fault: Fault, surroundings: Surroundings) -> str | None:
        """Need a backend that can kill and restart, and a plan that uses the service."""
        return (
            missing(Capability.KILL, surroundings)
            or missing(Capability.RESTART, surroundings)
            or never_used(fault.target, surroundings.plan)
        )

    def apply(self, fault: Fault, world: World, draw: random.Random) -> Applied:
        """Kill; with a duration, keep the run from bringing the service back."""
        service, held = Service(fault.target), bool(fault.duration_ms)
        before = status_of(world.stack, service)
        if held:
            world.run.hold_down(service)
        try:
            world.stack.kill(service)
        except ExecGoError as error:
            if not held:
                raise
            # what is held down has to be let up, and not from here: that waits for what may be waiting for this event's end
            return HeldDown(world, service, held, {"hit": False, "error": error.message})
        return HeldDown(world, service, held, {"hit": before.running, "pid": before.pid})


@dataclass(slots=True)
class Paused:
    """A service that was stopped from running, as the process `pid` (None where there is none to tell)."""

    stack: Stack
    service: Service
    pid: int | None
    hit: bool
    resumed: bool = False

    def undo(self) -> None:
        """Let the service go on, unless that very process has ended since."""
        now = status_of(self.stack, self.service)
        if now.pid == self.pid and now.exit_code is None and not now.running:
            self.stack.resume(self.service)
            self.resumed = True

    def observed(self) -> Mapping[str, Any]:
        """Tell whether the process really stood still."""
        return {"hit": self.hit, "pid": self.pid, "resumed": self.resumed}


@dataclass(frozen=True, slots=True)
class Pause:
    """SIGSTOPs a service for the fault's duration: it holds its connections and answers nothing."""

    targets: frozenset[str] = SERVICES

    def problems(self, fault: Fault) -> list[str]:
        """Complain about any parameter, and about a missing duration."""
        return parameter_problems(NoParameters, fault) + duration_missing(fault, "a paused service holds up the whole run")

    def unusable(self, fault: Fault, surroundings: Surroundings) -> str | None:
        """Need a backend that can pause, and a plan that uses the service."""
        return missing(Capability.PAUSE, surroundings) or never_used(fault.target, surroundings.plan)

    def apply(self, fault: Fault, world: World, draw: random.Random) -> Applied:
        """Pause, and make sure that the process stands still."""
        service = Service(fault.target)
        before = status_of(world.stack, service)
        world.stack.pause(service)
        during = status_of(world.stack, service)
        stands = before.running and not during.running and during.exit_code is None
        return Paused(world.stack, service, during.pid, hit=stands)


SERVICE_ACTIONS: dict[str, Action] = {"restart": Restart(), "kill": Kill(), "pause": Pause()}
"""Faults of services by name."""
