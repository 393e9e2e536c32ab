"""Faults of the network between the services, done by the proxies that traffic passes through."""

from __future__ import annotations

import random
import re
import threading
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
from pytest_execgo.chaos.actions.services import status_of
from pytest_execgo.chaos.network.legs import LEGS
from pytest_execgo.chaos.network.parameters import problems as link_problems
from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.plan.chaos import Fault
from pytest_execgo.plan.fault import Action, Applied, Disturbance, Link, Surroundings, World
from pytest_execgo.plan.stack import Capability, Service, Stack

CLIENT_KERNEL = "client-kernel"
_NAMED = re.compile(r"[a-z_]+(?:\[\d+\])?: ")


def link_of(world: World, leg: str) -> Link:
    """Return a leg of the network; `ExecGoError` where it leads through no proxy."""
    link = world.links.get(leg)
    if link is None:
        raise ExecGoError("leg_undisturbable", f"the leg {leg} can't be disturbed here", "it leads through no proxy of ours")
    return link


@dataclass(frozen=True, slots=True)
class Disturbed:
    """A disturbance of one leg in force."""

    disturbance: Disturbance

    def undo(self) -> None:
        """Let everything pass again."""
        self.disturbance.lift()

    def observed(self) -> Mapping[str, Any]:
        """Tell how many connections or requests suffered from it, as the proxy counted."""
        hits = self.disturbance.hits()
        return {"hit": hits > 0, "suffered": hits}


@dataclass(frozen=True, slots=True)
class NetworkFault:
    """One kind of disturbance of a leg, with the parameters that the proxy takes for it.

    `blocks`: nothing passes while it lasts, unless its parameter `bounded_by` says how often it strikes.
    """

    kind: str
    blocks: bool = False
    bounded_by: str = ""
    targets: frozenset[str] = frozenset(LEGS)

    def problems(self, fault: Fault) -> list[str]:
        """Complain about parameters, in the proxy's words, and about a missing duration of what lets nothing pass."""
        said = link_problems(self.kind, fault.parameters)
        found = [f"parameters.{what}" if _NAMED.match(what) else f"parameters: {what}" for what in said]
        if self.blocks and fault.parameters.get(self.bounded_by) is None:
            found += duration_missing(fault, "nothing passes until it is undone")
        return found

    def unusable(self, fault: Fault, surroundings: Surroundings) -> str | None:
        """Need a proxy on the leg, and a plan that uses the leg."""
        if fault.target not in surroundings.links:
            return f"the network between {fault.target.replace('-', ' and ')} leads through no proxy here"
        return never_used(fault.target, surroundings.plan)

    def apply(self, fault: Fault, world: World, draw: random.Random) -> Applied:
        """Disturb the leg from now on."""
        return Disturbed(link_of(world, fault.target).disturb(self.kind, fault.parameters))


class CrashedAfterAccept:
    """A kernel that is killed once it has accepted a submission, before the answer gets out to the client."""

    def __init__(self, stack: Stack, link: Link) -> None:
        self._stack = stack
        self._lock = threading.Lock()
        self._killed: int | None = None
        self._error: str | None = None
        self._disturbance = link.disturb("on_response", {"method": "POST", "path": "/tasks", "exact": True, "call": self._crash})

    def _crash(self) -> None:
        """Kill the kernel, the first time; called by the proxy while it holds the answer back."""
        with self._lock:
            if self._killed is not None or self._error is not None:
                return
            before = status_of(self._stack, Service.KERNEL)
            try:
                self._stack.kill(Service.KERNEL)
                self._killed = before.pid or 0
            except ExecGoError as error:
                self._error = error.message

    def undo(self) -> None:
        """Let answers pass again; the kernel itself is brought back by the run."""
        self._disturbance.lift()

    def observed(self) -> Mapping[str, Any]:
        """Tell whether an answer came by, and the kernel was killed then."""
        seen = {"hit": self._killed is not None, "pid": self._killed, "answers": self._disturbance.hits()}
        return seen if self._error is None else {**seen, "error": self._error}


@dataclass(frozen=True, slots=True)
class CrashAfterAccept:
    """SIGKILLs the kernel between its acceptance of the next submission and the answer: the client can't know that it was taken."""

    targets: frozenset[str] = frozenset({str(Service.KERNEL)})

    def problems(self, fault: Fault) -> list[str]:
        """Complain about any parameter, and about a duration."""
        return parameter_problems(NoParameters, fault) + duration_idle(fault, "it waits for the next submission")

    def unusable(self, fault: Fault, surroundings: Surroundings) -> str | None:
        """Need a proxy before the kernel, and a backend that can kill and restart it."""
        if CLIENT_KERNEL not in surroundings.links:
            return "the network between client and kernel leads through no proxy here"
        return missing(Capability.KILL, surroundings) or missing(Capability.RESTART, surroundings)

    def apply(self, fault: Fault, world: World, draw: random.Random) -> Applied:
        """Lie in wait for the next submission's answer."""
        return CrashedAfterAccept(world.stack, link_of(world, CLIENT_KERNEL))


NETWORK_ACTIONS: dict[str, Action] = {
    "network_reset": NetworkFault("reset", blocks=True, bounded_by="limit"),
    "network_latency": NetworkFault("latency"),
    "network_slice": NetworkFault("slice"),
    "network_half_open": NetworkFault("half_open", blocks=True),
    "response_lost": NetworkFault("lose_response"),
    "duplicate_delivery": NetworkFault("duplicate"),
    "crash_after_accept": CrashAfterAccept(),
}
"""Faults of the network by name."""
