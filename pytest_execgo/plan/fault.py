"""The Protocols between the chaos engine, its actions, and the world that they disturb."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from pytest_execgo.plan.chaos import Fault
from pytest_execgo.plan.model import Mode
from pytest_execgo.plan.stack import Capability, Service, Stack


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is known of a cell before it runs, to tell whether a fault could hit anything in it.

    `plan` is the scenario's reference plan document. `links` names the legs of the network that lead through a proxy of ours,
    `local` tells whether the services are processes of this machine that may be signalled and bounded. `mode` says whether
    a model is asked for the plan, `provider` whose model (None where none was named).
    """

    capabilities: frozenset[Capability]
    plan: Mapping[str, Any]
    links: frozenset[str]
    local: bool
    mode: Mode = "replay"
    provider: str | None = None


class Link(Protocol):
    """One leg of the network, on which traffic passes through a proxy of ours: client-kernel, kernel-runtime, kernel-fixtures."""

    @property
    def name(self) -> str:
        """Name of the leg."""

    @property
    def url(self) -> str:
        """Where the leg begins: the base URL that the near side is given."""

    def disturb(self, kind: str, parameters: Mapping[str, Any]) -> Disturbance:
        """Disturb what passes from now on; `UsageError` for a kind or parameters that make no sense."""


class Disturbance(Protocol):
    """A disturbance of one leg, in force until it is lifted."""

    def lift(self) -> None:
        """Let everything pass again. Safe to call twice."""

    def hits(self) -> int:
        """Return how many connections, or requests where the kind is about requests, have suffered from it."""


class FixturesControl(Protocol):
    """The control plane of the fixtures service."""

    def set_mode(self, mode: Mapping[str, Any]) -> None:
        """Replace the mode (see `fixtures_service/faults.py`); an empty mapping is the undisturbed one."""

    def hits(self) -> Mapping[str, int]:
        """Return how many requests have suffered since the mode was set, by what they suffered."""

    def set_model(self, order: Mapping[str, Any]) -> None:
        """Order a fault of the scripted model (see `fixtures_service/model/faults.py`); an empty mapping lifts it."""

    def model_hits(self) -> Mapping[str, int]:
        """Return how many of the model's answers have suffered since the order, by its role in them: `planner`, `reviewer`."""


class KernelPort(Protocol):
    """What a fault may ask of the kernel itself, over a connection that no fault disturbs."""

    def submit(self, tasks: Sequence[Mapping[str, Any]]) -> list[str]:
        """POST a task graph; return the ids that were accepted."""

    def task(self, task_id: str) -> dict[str, Any]:
        """GET one task's envelope."""

    def cancel(self, task_id: str) -> dict[str, Any]:
        """Cancel one task, where the kernel can do that."""


class Run(Protocol):
    """What a fault may ask of the run that it strikes."""

    def stop(self, how: str) -> None:
        """Order the run to stop: everything that it has going is cancelled, nothing more is submitted. Returns at once."""

    def stopped(self) -> bool:
        """Tell whether such an order was obeyed: nothing of the run was going on any more."""

    def hold_down(self, service: Service) -> None:
        """Don't bring this service back when it is lost, until `let_up`."""

    def let_up(self, service: Service) -> None:
        """Bring this service back when it is lost, from now on, and now."""

    def let_go(self, service: Service) -> None:
        """Bring this service back when it is lost, from now on; returns at once, so that a fault may call it as it strikes."""


@dataclass(frozen=True, slots=True)
class World:
    """Everything that an action can disturb in one run. `links` is empty where the network can't be disturbed.

    `scratch` is a folder for what an action needs; it is outside of the run's workspace.
    """

    run_id: str
    seed: int
    stack: Stack
    kernel: KernelPort
    fixtures: FixturesControl
    run: Run
    scratch: Path
    links: Mapping[str, Link] = field(default_factory=dict)


class Applied(Protocol):
    """A fault in force."""

    def undo(self) -> None:
        """Take the fault back, completely. Called once, also when the run has failed; raises only if it could not be undone."""

    def observed(self) -> Mapping[str, Any]:
        """Say what was seen of the fault's effect, in JSON values; called after `undo`. Its `hit` (bool) says whether it hit."""


@runtime_checkable
class Action(Protocol):
    """One kind of fault: how it is applied, undone, and seen to have hit."""

    @property
    def targets(self) -> frozenset[str]:
        """What it can be done to: plan, kernel, runtime, fixtures, client-kernel, machine, run and the like."""

    def problems(self, fault: Fault) -> list[str]:
        """Return what is wrong with a fault's parameters, trigger or duration, a sentence each; empty when nothing is."""

    def unusable(self, fault: Fault, surroundings: Surroundings) -> str | None:
        """Say why the fault can't be injected, or could not hit anything, in such a cell; None when it can."""

    def apply(self, fault: Fault, world: World, draw: random.Random) -> Applied:
        """Let the fault strike and return once it has. `draw` is seeded for this fault of this cell."""


@runtime_checkable
class PlanAction(Protocol):
    """One kind of fault that strikes the plan before it is checked, instead of the world. Its only target is `plan`."""

    def problems(self, fault: Fault) -> list[str]:
        """Return what is wrong with a fault's parameters, trigger or duration, a sentence each; empty when nothing is."""

    def unusable(self, fault: Fault, surroundings: Surroundings) -> str | None:
        """Say why the fault can't be injected, or could not hit anything, in such a cell; None when it can."""

    def disturb(self, fault: Fault, plan: Mapping[str, Any], draw: random.Random) -> tuple[dict[str, Any], str] | None:
        """Return the disturbed plan document and a sentence that says what was changed; None when there is nothing to change."""


@dataclass(frozen=True, slots=True)
class FaultRecord:
    """What became of one fault of a run. Times in monotonic ns; None when it did not come to that.

    `drawn`: its probability did not spare this cell. `hit` is None for a fault that never fired. `seq` is the timeline's.
    It struck at `fired_ns` and was in force from `applied_ns` on: between the two, a restarted service goes down and comes back.
    """

    index: int
    action: str
    target: str
    drawn: bool
    fired_ns: int | None = None
    lifted_ns: int | None = None
    hit: bool | None = None
    seq: int | None = None
    observed: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    applied_ns: int | None = None
