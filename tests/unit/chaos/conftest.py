"""A world of fakes, each of which remembers what was done to it."""

from __future__ import annotations

import functools
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.chaos.actions import ACTIONS
from pytest_execgo.chaos.engine import Nemesis
from pytest_execgo.core.errors import ExecGoError, StackError
from pytest_execgo.observability.stream import EventStream
from pytest_execgo.plan.chaos import ChaosProfile, Fault
from pytest_execgo.plan.events import Event, StageFinished, StageStarted, Stamped
from pytest_execgo.plan.fault import Applied, Surroundings, World
from pytest_execgo.plan.stack import Capability, Endpoints, Service, ServiceStatus

PLAN: dict[str, Any] = {
    "plan_id": "p",
    "scenario_id": "s",
    "framework": "f",
    "mode": "replay",
    "stages": [
        {
            "stage_id": "fetch",
            "task_graph": {
                "tasks": [
                    {"id": "feed", "type": "os", "tool_name": "http", "input": {"url": "${{ fixtures_url }}/advisories"}},
                    {"id": "save", "type": "os", "tool_name": "file", "input": {"action": "read", "path": "${{ workspace }}/x"}},
                ]
            },
        },
        {
            "stage_id": "work",
            "task_graph": {"tasks": [{"id": "run", "type": "runtime", "input": {"execution": {"kind": "emit", "payload": 1}}}]},
            "bindings": [
                {
                    "source_task_id": "feed",
                    "source_path": "output.body",
                    "target_task_id": "run",
                    "target_param_path": "input.execution.payload",
                },
                {
                    "source_task_id": "save",
                    "source_path": "output",
                    "target_task_id": "run",
                    "target_param_path": "input.execution.extra",
                    "required": False,
                },
            ],
            "submit_policy": {"poll_interval_ms": 50, "max_attempts": 100, "stop_on_failure": True},
        },
        {
            "stage_id": "note",
            "task_graph": {"tasks": [{"id": "write", "type": "noop"}]},
        },
    ],
}


@dataclass
class FakeStack:
    """Three services as processes 100, 101, 102; a restarted one gets a pid of its own."""

    calls: list[str] = field(default_factory=list)
    refuses: str = ""
    pids: dict[Service, int | None] = field(default_factory=lambda: {s: 100 + n for n, s in enumerate(Service)})
    paused: set[Service] = field(default_factory=set)
    needs: int = 20_000_000
    backend: str = "fake"
    capabilities: frozenset[Capability] = frozenset(Capability)

    def status(self) -> list[ServiceStatus]:
        return [
            ServiceStatus(s, pid is not None and s not in self.paused, "", pid, None if pid is not None else -9)
            for s, pid in self.pids.items()
        ]

    def endpoints(self) -> Endpoints:
        return Endpoints("http://k", "http://r", "http://f", "token")

    def _do(self, what: str, service: Service) -> None:
        if what == self.refuses:
            raise ExecGoError("refused", f"{service} can't be {what}ed")
        self.calls.append(f"{what} {service}")

    def restart(self, service: Service) -> None:
        self._do("restart", service)
        self.pids[service] = (self.pids[service] or 0) + 1000

    def kill(self, service: Service) -> None:
        self._do("kill", service)
        self.pids[service] = None

    def pause(self, service: Service) -> None:
        self._do("pause", service)
        self.paused.add(service)

    def resume(self, service: Service) -> None:
        self._do("resume", service)
        self.paused.discard(service)

    def disconnect(self, service: Service) -> None:
        self._do("disconnect", service)

    def connect(self, service: Service) -> None:
        self._do("connect", service)

    def limit(self, service: Service, *, memory: int | None = None) -> None:
        if memory is not None and memory < self.needs:
            raise StackError("too_tight", f"the {service} has more than that")
        self._do(f"limit to {memory}" if memory else "lift", service)


@dataclass
class FakeRun:
    """A run that obeys when it is told so."""

    calls: list[str] = field(default_factory=list)
    obeys: bool = True
    ordered: bool = False

    def stop(self, how: str) -> None:
        self.calls.append(f"stop {how}")
        self.ordered = True

    def stopped(self) -> bool:
        return self.ordered and self.obeys

    def hold_down(self, service: Service) -> None:
        self.calls.append(f"hold {service}")

    def let_up(self, service: Service) -> None:
        self.calls.append(f"let {service}")

    def let_go(self, service: Service) -> None:
        self.calls.append(f"let go {service}")


@dataclass
class FakeKernel:
    """A kernel that takes everything, and tells of each task what `answers` holds, one after the other."""

    submitted: list[Mapping[str, Any]] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    answers: list[dict[str, Any]] = field(default_factory=list)
    refuses: Exception | None = None

    def submit(self, tasks: Sequence[Mapping[str, Any]]) -> list[str]:
        if self.refuses is not None:
            raise self.refuses
        self.submitted += tasks
        return [str(task["id"]) for task in tasks]

    def task(self, task_id: str) -> dict[str, Any]:
        return self.answers.pop(0)

    def cancel(self, task_id: str) -> dict[str, Any]:
        self.cancelled.append(task_id)
        return {"status": "running"}


@dataclass
class FakeFixtures:
    """A control plane that counts anew with each mode; `count` is what is to be suffered under the present one.

    So it is with the model's `orders`, and the answers that are `spoiled` under the present one.
    """

    modes: list[Mapping[str, Any]] = field(default_factory=list)
    count: dict[str, int] = field(default_factory=dict)
    orders: list[Mapping[str, Any]] = field(default_factory=list)
    spoiled: dict[str, int] = field(default_factory=dict)
    refuses: Exception | None = None

    def set_mode(self, mode: Mapping[str, Any]) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.modes.append({name: value for name, value in mode.items() if value is not None})
        self.count = {}

    def hits(self) -> Mapping[str, int]:
        return {"latency": 0, "error": 0, "inject": 0, **self.count}

    def set_model(self, order: Mapping[str, Any]) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.orders.append(order)
        self.spoiled = {}

    def model_hits(self) -> Mapping[str, int]:
        return {"planner": 0, "reviewer": 0, **self.spoiled}


@dataclass
class FakeDisturbance:
    """A disturbance that hits as often as it is told."""

    kind: str
    parameters: Mapping[str, Any]
    lifted: int = 0
    suffered: int = 0

    def lift(self) -> None:
        self.lifted += 1

    def hits(self) -> int:
        return self.suffered


@dataclass
class FakeLink:
    """A leg that remembers its disturbances."""

    name: str
    url: str = "http://link"
    disturbances: list[FakeDisturbance] = field(default_factory=list)

    def disturb(self, kind: str, parameters: Mapping[str, Any]) -> FakeDisturbance:
        self.disturbances.append(FakeDisturbance(kind, parameters))
        return self.disturbances[-1]


@dataclass
class Fakes:
    """The world of fakes, and its parts."""

    scratch: Path
    stack: FakeStack = field(default_factory=FakeStack)
    run: FakeRun = field(default_factory=FakeRun)
    kernel: FakeKernel = field(default_factory=FakeKernel)
    fixtures: FakeFixtures = field(default_factory=FakeFixtures)
    links: dict[str, FakeLink] = field(
        default_factory=lambda: {name: FakeLink(name) for name in ("client-kernel", "kernel-runtime", "kernel-fixtures")}
    )

    def world(self) -> World:
        stack: Any = self.stack
        return World("run-1", 7, stack, self.kernel, self.fixtures, self.run, self.scratch, self.links)


@dataclass
class Probe:
    """An action that remembers, and does what it is told by its fault's parameters."""

    targets: frozenset[str] = frozenset({"kernel"})
    log: list[str] = field(default_factory=list)
    drawn: list[int] = field(default_factory=list)
    struck: threading.Event = field(default_factory=threading.Event)
    undone: threading.Event = field(default_factory=threading.Event)
    hold: threading.Event | None = None
    during: Callable[[], None] = lambda: None

    def problems(self, fault: Fault) -> list[str]:
        return []

    def unusable(self, fault: Fault, surroundings: Surroundings) -> str | None:
        return None

    def apply(self, fault: Fault, world: World, draw: random.Random) -> Applied:
        name = fault.parameters.get("name", "x")
        if self.hold is not None:
            assert self.hold.wait(30)
        self.drawn.append(draw.getrandbits(64))
        self.during()
        if "apply" in fault.parameters:
            raise RuntimeError(fault.parameters["apply"])
        self.log.append(f"+{name}")
        self.struck.set()
        return _InForce(self, name, fault.parameters)


@dataclass
class _InForce:
    probe: Probe
    name: str
    parameters: Mapping[str, Any]

    def undo(self) -> None:
        self.probe.log.append(f"-{self.name}")
        self.probe.undone.set()
        if "undo" in self.parameters:
            raise ExecGoError("stuck", self.parameters["undo"])

    def observed(self) -> Mapping[str, Any]:
        if "observed" in self.parameters:
            seen: Mapping[str, Any] = {"raise": None, "nan": {"hit": True, "n": float("nan")}}.get(
                self.parameters["observed"]
            ) or {}
            if not seen:
                raise RuntimeError("blind")
            return seen
        return {"hit": self.parameters.get("hit", True)}


class Scene:
    """A nemesis at the end of a real stream, beside a witness of everything."""

    def __init__(
        self, fakes: Fakes, faults: list[dict[str, Any]], seed: int = 1, cell_id: str = "cell", before: tuple[int, ...] = ()
    ) -> None:
        self.probe = Probe()
        self.events: list[Stamped] = []
        self.rows: list[tuple[str, dict[str, Any]]] = []
        self.stream = EventStream([self])
        whole = [
            {"action": "probe", "target": "kernel", "trigger": {"phase": "submit", "event": "stage_started"}, **fault}
            for fault in faults
        ]
        profile = ChaosProfile.model_validate({"id": "storm", "description": "", "faults": whole})
        self.nemesis = Nemesis(
            profile,
            {**ACTIONS, "probe": self.probe},
            seed=seed,
            cell_id=cell_id,
            world=fakes.world(),
            emit=self.stream.emit,
            note=lambda f, value: self.rows.append((f, value)),
            struck_before=before,
        )
        self.stream.add(self.nemesis)

    def consume(self, stamped: Stamped) -> None:
        self.events.append(stamped)

    def start(self, stage: str = "a") -> int:
        return self.stream.emit(StageStarted(stage_id=stage, attempt=1))

    def finish(self, stage: str = "a") -> int:
        return self.stream.emit(StageFinished(stage_id=stage, counts={}, unfinished=[]))

    def of(self, kind: type[Event]) -> list[Any]:
        return [stamped.event for stamped in self.events if isinstance(stamped.event, kind)]


MakeScene = Callable[..., Scene]


@pytest.fixture
def make_scene(fakes: Fakes) -> MakeScene:
    """Make scenes: `make_scene([{…}], seed=…)`; a fault is a probe of the kernel at a stage's start, unless told otherwise."""
    return functools.partial(Scene, fakes)


@pytest.fixture
def fakes(tmp_path: Path) -> Fakes:
    """A world of fakes."""
    return Fakes(tmp_path)


@pytest.fixture
def plan() -> dict[str, Any]:
    """A plan of three stages: `fetch` talks to the fixtures service, `work` to the runtime, `note` is a noop."""
    return PLAN


@pytest.fixture
def make_fault() -> Callable[..., Fault]:
    """Make a fault: `make_fault("kill", "kernel", {…}, trigger={…}, duration_ms=5)`."""

    def make(action: str, target: str, parameters: dict[str, Any] | None = None, **rest: Any) -> Fault:
        trigger = rest.pop("trigger", {"phase": "submit", "event": "stage_started"})
        return Fault.model_validate(
            {"action": action, "target": target, "parameters": parameters or {}, "trigger": trigger, **rest}
        )

    return make


@pytest.fixture
def near() -> Callable[..., Surroundings]:
    """Make surroundings in which everything can be done, but for what is said otherwise."""

    def make(**rest: Any) -> Surroundings:
        legs = frozenset({"client-kernel", "kernel-runtime", "kernel-fixtures"})
        return Surroundings(**{"capabilities": frozenset(Capability), "plan": PLAN, "links": legs, "local": True, **rest})

    return make
