"""Faults that only a service in a container can suffer: taken off the network, out of memory."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from pytest_execgo.chaos.actions.checks import (
    NoParameters,
    duration_idle,
    duration_missing,
    missing,
    never_used,
    parameter_problems,
)
from pytest_execgo.chaos.actions.services import SERVICES, Done, status_of
from pytest_execgo.core.errors import ExecGoError, StackError
from pytest_execgo.plan.chaos import Fault
from pytest_execgo.plan.fault import Action, Applied, Surroundings, World
from pytest_execgo.plan.stack import Capability, Service, Stack

_PROBE_TIMEOUT = 1.0
_MEGABYTE = 1 << 20
_TIGHT = [int(8 * 1.2**step) * _MEGABYTE for step in range(24)]  # 8 MiB to some 500
_LOAD = 4 * _MEGABYTE
_LOADS = 24
_END = 5.0


@dataclass(slots=True)
class OffNetwork:
    """A service that nobody reaches."""

    stack: Stack
    service: Service
    seen: Mapping[str, Any]

    def undo(self) -> None:
        """Put it back on the network."""
        self.stack.connect(self.service)

    def observed(self) -> Mapping[str, Any]:
        """Tell how a request to it ended meanwhile."""
        return self.seen


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Takes a service off the network for the fault's duration, and makes sure of that: a request to it must fail.

    `answers` tells whether the service at a base URL answers; it is there for tests.
    """

    targets: frozenset[str] = SERVICES
    answers: Callable[[str], bool] | None = None

    def problems(self, fault: Fault) -> list[str]:
        """Complain about any parameter, and about a missing duration."""
        return parameter_problems(NoParameters, fault) + duration_missing(fault, "nobody would ever reach the service again")

    def unusable(self, fault: Fault, surroundings: Surroundings) -> str | None:
        """Need a backend that can disconnect, and a plan that uses the service."""
        return missing(Capability.DISCONNECT, surroundings) or never_used(fault.target, surroundings.plan)

    def apply(self, fault: Fault, world: World, draw: random.Random) -> Applied:
        """Disconnect, and ask whether it still answers; put it back at once when that can't be told."""
        service = Service(fault.target)
        before = status_of(world.stack, service)
        world.stack.disconnect(service)
        try:
            reached = (self.answers or _answers)(before.url)
        except BaseException:
            world.stack.connect(service)
            raise
        return OffNetwork(world.stack, service, {"hit": before.running and not reached, "answered": reached})


@dataclass(frozen=True, slots=True)
class OutOfMemory:
    """Leaves a service no memory but what it has, then gives it something to hold, until the machine ends it.

    The bound is gone before the run brings the service back. `load` makes a service take memory; it is there for tests.
    """

    targets: frozenset[str] = frozenset({str(Service.KERNEL), str(Service.RUNTIME)})
    load: Callable[[World, Service, str], None] | None = None
    clock: Callable[[], float] = field(default=time.monotonic)

    def problems(self, fault: Fault) -> list[str]:
        """Complain about any parameter, and about a duration."""
        return parameter_problems(NoParameters, fault) + duration_idle(
            fault, "the service has its memory back when it starts again"
        )

    def unusable(self, fault: Fault, surroundings: Surroundings) -> str | None:
        """Need a backend that can bound memory and restart, and a plan that uses the service."""
        return (
            missing(Capability.LIMIT, surroundings)
            or missing(Capability.RESTART, surroundings)
            or never_used(fault.target, surroundings.plan)
        )

    def apply(self, fault: Fault, world: World, draw: random.Random) -> Applied:
        """Bound, load until it has ended, lift the bound; the run brings it back only after that."""
        service = Service(fault.target)
        before = status_of(world.stack, service)
        world.run.hold_down(service)
        try:
            bound = _tightest(world.stack, service)
            try:
                rounds = self._exhaust(world, service, f"nemesis:{world.run_id}:memory:{draw.getrandbits(32):08x}")
            finally:
                world.stack.limit(service, memory=None)
        finally:
            world.run.let_go(service)
        after = status_of(world.stack, service)
        # who brings it back may be quicker than this look at it: then it is another process
        ended = not after.running or (before.pid is not None and after.pid != before.pid)
        return Done({"hit": before.running and ended, "bound_bytes": bound, "loads": rounds, "exit_code": after.exit_code})

    def _exhaust(self, world: World, service: Service, name: str) -> int:
        """Load the service until it has ended; return how many loads that took."""
        for number in range(_LOADS):
            if not status_of(world.stack, service).running:
                return number
            with suppress(ExecGoError):  # that it doesn't answer any more is what is wanted
                (self.load or _load)(world, service, f"{name}:{number}")
        last = self.clock() + _END
        while status_of(world.stack, service).running and self.clock() < last:
            time.sleep(0.02)
        return _LOADS


def _tightest(stack: Stack, service: Service, bounds: Iterable[int] = _TIGHT) -> int:
    """Bound a service's memory to the least of these that the engine takes, which is about what it has; return the bound."""
    refused: StackError | None = None
    for bound in bounds:
        try:
            stack.limit(service, memory=bound)
        except StackError as error:
            refused = error
        else:
            return bound
    raise ExecGoError("memory_not_bounded", f"the memory of the {service} can't be bounded: {refused}")


def _load(world: World, service: Service, name: str) -> None:
    """Make a service hold a few megabytes more: by tasks that do nothing but carry them."""
    if service is Service.KERNEL:
        world.kernel.submit([{"id": name, "type": "noop", "params": {"message": "x" * _LOAD}}])
        return
    endpoints = world.stack.endpoints()
    headers = {"Authorization": f"Bearer {endpoints.token}"} if endpoints.token else {}
    body = {"task_id": name, "execution": {"kind": "emit", "payload": "x" * _LOAD}}
    import requests  # here, since a run without faults has no use for it

    with requests.Session() as session:
        session.trust_env = False
        try:
            session.post(f"{endpoints.runtime}/api/v1/tasks", json=body, headers=headers, timeout=_PROBE_TIMEOUT)
        except requests.RequestException as error:
            raise ExecGoError("runtime_unreachable", f"the runtime did not answer: {error}") from error


def _answers(url: str) -> bool:
    import requests  # here, since a run without faults has no use for it

    with requests.Session() as session:
        session.trust_env = False
        try:
            session.get(f"{url}/health", timeout=_PROBE_TIMEOUT)
        except requests.RequestException:
            return False
        return True


CONTAINER_ACTIONS: dict[str, Action] = {"disconnect": Disconnect(), "out_of_memory": OutOfMemory()}
"""Faults of services in containers by name."""
