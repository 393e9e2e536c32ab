"""What a run is made of: everything that the wiring chose for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pytest_execgo.client.fixtures import FixturesClient
from pytest_execgo.client.kernel import KernelClient
from pytest_execgo.plan.adapter import Adapter, Planning
from pytest_execgo.plan.cell import Cell
from pytest_execgo.plan.chaos import ChaosProfile
from pytest_execgo.plan.events import Consumer
from pytest_execgo.plan.fault import Action, Link, PlanAction
from pytest_execgo.plan.model import ModelProfile
from pytest_execgo.plan.planning import ModelExchange, ModelUsage, Recording
from pytest_execgo.plan.record import RunRecord
from pytest_execgo.plan.result import BenchmarkResult, RunMetrics
from pytest_execgo.plan.sandbox import SandboxUse
from pytest_execgo.plan.stack import Endpoints, Stack
from pytest_execgo.plan.verdict import Verifier
from pytest_execgo.scenarios.model import Scenario

UNDISTURBED = ChaosProfile(id="none", description="Nothing is disturbed.")


class Journal(Protocol):
    """The kernel's own account of what it did, where it keeps one."""

    def news(self) -> list[dict[str, Any]]:
        """Return the entries since the last call."""


@dataclass(slots=True)
class ModelWay:
    """One live planning's way to its model. What was said, exchanged and used is there once the way is closed."""

    planning: Planning
    profile: ModelProfile
    provider: str
    label: str
    exchanges: list[ModelExchange] = field(default_factory=list)
    usage: ModelUsage = field(default_factory=ModelUsage)
    heard: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RunParts:
    """Everything that a run needs, chosen by the wiring.

    `out` is the folder of all runs; `watchers` are told every event. `endpoints` is what the plan sees and `client` what
    the run uses: both may lead through `links`, while `direct` is a connection to the kernel that no fault disturbs. A
    `shared` stack serves others, too, so that only effects whose key begins with the run's id count against its budget.
    `local` services are processes of this machine. `abandon` is told the global ids of tasks that were given up.
    `way` opens a live planning's way to its model (None: no live planning here); `keep` takes a recording of it, if one is
    wanted. `stack_folder` and `worker` are written down, so that a run that is cut short can be found and taken up again.
    `sandbox` tells what the runtime has of the sandbox that the scenario asks for; None when it asks for none.
    """

    sweep_id: str
    out: Path
    stack: Stack
    endpoints: Endpoints
    client: KernelClient
    direct: KernelClient
    fixtures: FixturesClient
    adapter: Adapter
    scenario: Scenario
    verifier: Verifier
    measure: Callable[[RunRecord], RunMetrics]
    summarise: Callable[[BenchmarkResult, Sequence[Mapping[str, Any]]], str]
    abandon: Callable[[Sequence[str]], None] = lambda ids: None
    shared: bool = False
    local: bool = True
    profile: ChaosProfile = UNDISTURBED
    actions: Mapping[str, Action | PlanAction] = field(default_factory=dict)
    links: Mapping[str, Link] = field(default_factory=dict)
    journal: Journal | None = None
    worker: str = "main"
    stack_folder: Path | None = None
    way: Callable[[Cell, int], AbstractContextManager[ModelWay]] | None = None
    keep: Callable[[Recording], object] | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    watchers: tuple[Consumer, ...] = ()
    sandbox: SandboxUse | None = None
