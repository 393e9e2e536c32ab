"""Stand-ins for everything that a run talks to, and a plan for them to run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.adapters.replay import ReplayAdapter
from pytest_execgo.client.kernel import KernelRefused, KernelUnreachable
from pytest_execgo.core.errors import StackError
from pytest_execgo.observability.stream import EventStream
from pytest_execgo.plan.cell import Cell
from pytest_execgo.plan.chaos import ChaosProfile
from pytest_execgo.plan.event import TimelineEvent
from pytest_execgo.plan.events import Stamped
from pytest_execgo.plan.model import PlanStage, PromptPack
from pytest_execgo.plan.record import RunRecord
from pytest_execgo.plan.result import BenchmarkResult, RunMetrics
from pytest_execgo.plan.sandbox import SandboxPolicy, SandboxUse
from pytest_execgo.plan.scenario import EffectBudget, PromptFiles, RecoveryPolicy, ScenarioSpec
from pytest_execgo.plan.stack import Capability, Endpoints, Service, ServiceStatus
from pytest_execgo.plan.verdict import TaskOutcome, Verdict
from pytest_execgo.runner.parts import UNDISTURBED, RunParts
from pytest_execgo.runner.run import run_cell
from pytest_execgo.runner.stage import StageRunner
from pytest_execgo.scenarios.model import Scenario

CELL = Cell("demo", "langgraph", "replay", "none")
WORKING = frozenset({"checkpoints.sqlite", "run.json", "workspace"})
UNPLANNED = WORKING | {"execgo_snapshots.jsonl", "history.jsonl", "result.json", "summary.md", "timeline.jsonl"}
REJECTED = UNPLANNED | {"adapter_trace.json"}
PLANNED = REJECTED | {"plan.json"}
FIXTURES_URL = "http://fixtures.test:1"


@dataclass
class Kernel:
    """A kernel where every task succeeds at once, except as `envelopes` tells by plan id, or by `id:attempt`.

    `down` stops it from answering.
    """

    envelopes: dict[str, dict[str, Any]] = field(default_factory=dict)
    submitted: list[list[dict[str, Any]]] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    refuse: Exception | None = None
    down: bool = False
    on_submit: Callable[[Sequence[Mapping[str, Any]]], None] = lambda tasks: None

    def submit(self, tasks: Sequence[Mapping[str, Any]]) -> list[str]:
        if self.refuse is not None:
            raise self.refuse
        self.submitted.append([dict(task) for task in tasks])
        self.on_submit(tasks)
        return [task["id"] for task in tasks]

    def task(self, task_id: str) -> dict[str, Any]:
        self.health()
        known = (task for graph in self.submitted for task in graph if task["id"] == task_id and task_id not in self.deleted)
        sent = next(known, None)
        if sent is None:
            raise KernelRefused("refused", "task not found", status_code=404)
        _, _, task, attempt = task_id.split(":")
        told = self.envelopes.get(f"{task}:{attempt}") or self.envelopes.get(task, {})
        return {**sent, "status": "success", "result": {"ok": True}, **told}

    def capabilities(self) -> frozenset[str]:
        return frozenset()

    def delete(self, task_id: str) -> None:
        self.deleted.append(task_id)

    def health(self) -> dict[str, Any]:
        if self.down:
            raise KernelUnreachable("kernel_unreachable", "GET http://kernel.test: Connection refused")
        return {"status": "ok"}


@dataclass
class Effects:
    """A fixtures service whose count of effects goes through `counts`, the last one staying."""

    counts: list[int] = field(default_factory=lambda: [0])

    def applied_effects(self, run: str | None = None) -> int:
        return self.counts.pop(0) if len(self.counts) > 1 else self.counts[0]

    def deliveries(self, run: str | None = None) -> list[dict[str, Any]]:
        return []


@dataclass
class Stack:
    backend: str = "embedded"
    capabilities: frozenset[Capability] = frozenset(Capability)
    running: bool = True
    log: Path | None = Path("/logs/kernel.log")

    def status(self) -> list[ServiceStatus]:
        return [
            ServiceStatus(Service.KERNEL, self.running, "http://kernel.test", exit_code=None if self.running else -9, log=self.log)
        ]

    def revive(self, service: Service) -> bool:
        raise StackError("not_revived", f"the {service} can't be started")

    def logs(self, service: Service, *, tail: int = 50) -> str:
        assert Capability.LOGS in self.capabilities
        return f"the last {tail} lines of the {service}"


@dataclass
class Listener:
    stamped: list[Stamped] = field(default_factory=list)

    def consume(self, stamped: Stamped) -> None:
        self.stamped.append(stamped)

    def events(self, kind: str) -> list[Any]:
        return [stamped.event for stamped in self.stamped if stamped.event.event_type == kind]

    def at(self, seq: int) -> Any:
        return self.stamped[seq - 1].event


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


class Once:
    """No patience at all."""

    def through(self, call: Callable[[], Any], stage_id: str) -> Any:
        return call()


@pytest.fixture
def stages(tmp_path: Path, kernel: Kernel, listener: Listener) -> StageRunner:
    """A runner of stages on the fake kernel, with the workspace `tmp_path`."""
    values = {"workspace": str(tmp_path), "fixtures_url": FIXTURES_URL, "run_id": "run-1", "seed": "7"}
    return StageRunner(
        run_id="run-1",
        client=kernel,  # type: ignore[arg-type]
        patience=Once(),
        going=lambda ids: None,
        stream=EventStream([listener]),
        record=RunRecord(workspace=tmp_path),
        values=values,
        artifacts={"report": "out/report.json"},
        finished={},
    )


def make_stage(*tasks: dict[str, Any], **fields: Any) -> PlanStage:
    return PlanStage.model_validate({"stage_id": "s", "task_graph": {"tasks": list(tasks)}, **fields})


@pytest.fixture
def stage() -> Callable[..., PlanStage]:
    return make_stage


def make_outcome(task_id: str, output: Any = None, status: str = "success", **envelope: Any) -> TaskOutcome:
    return TaskOutcome("before", task_id, f"w:{task_id}", status, output, None, None, 1, {"status": status, **envelope})


@pytest.fixture
def outcome() -> Callable[..., TaskOutcome]:
    return make_outcome


PLAN = {
    "plan_id": "p",
    "scenario_id": "demo",
    "framework": "langgraph",
    "mode": "replay",
    "stages": [
        {"stage_id": "one", "task_graph": {"tasks": [{"id": "first", "type": "noop"}]}},
        {
            "stage_id": "two",
            "task_graph": {"tasks": [{"id": "second", "type": "noop", "input": {"message": ""}}]},
            "bindings": [
                {
                    "source_task_id": "first",
                    "source_path": "output.ok",
                    "target_task_id": "second",
                    "target_param_path": "input.message",
                }
            ],
            "expected_artifacts": ["report"],
        },
    ],
}


@dataclass
class World:
    """All parts of a run; a test changes what it is about before it calls `parts()`."""

    root: Path
    kernel: Kernel
    listener: Listener
    stack: Stack = field(default_factory=Stack)
    effects: Effects = field(default_factory=Effects)
    adapter: Any = field(default_factory=lambda: ReplayAdapter("langgraph", "langgraph", "langgraph", lambda raw: None))
    verifier: Callable[..., Any] = lambda context: Verdict(passed=True)
    plan: dict[str, Any] = field(default_factory=lambda: json.loads(json.dumps(PLAN)))
    expected: dict[str, Any] = field(default_factory=dict)
    max_effects: int = 0
    profile: ChaosProfile = UNDISTURBED
    actions: dict[str, Any] = field(default_factory=dict)
    allowed_tools: list[str] = field(default_factory=lambda: ["os.noop"])
    deadline_ms: int | None = None
    watchers: tuple[Any, ...] = ()
    recovery: RecoveryPolicy = field(default_factory=lambda: RecoveryPolicy(budget_ms=50))
    records: list[RunRecord] = field(default_factory=list)
    sandbox: SandboxPolicy | None = None
    sandbox_use: SandboxUse | None = None

    @property
    def out(self) -> Path:
        return self.root / "runs"

    def measure(self, record: RunRecord) -> RunMetrics:
        self.records.append(record)
        return RunMetrics(wall_time_ms=record.wall_ms)

    def scenario(self) -> Scenario:
        folder = self.root / "demo"
        (folder / "fixtures" / "out").mkdir(parents=True, exist_ok=True)
        (folder / "fixtures" / "out" / "report.json").write_text("{}")
        spec = ScenarioSpec(
            id="demo",
            description="",
            seed=7,
            objective="do it",
            prompt_pack=PromptFiles(system="s", user="u"),
            verifier="judge",
            allowed_tools=self.allowed_tools,
            deadline_ms=self.deadline_ms,
            effect_budget=EffectBudget(max_tasks=5, max_effects=self.max_effects),
            artifacts={"report": "out/report.json"},
            recovery=self.recovery,
            reference_plan="plan.json",
            sandbox=self.sandbox,
        )
        file = folder / "scenario.yaml"
        return Scenario(spec, folder, file, PromptPack(), self.expected, self.plan, folder / "fixtures", "0" * 64)

    def parts(self) -> RunParts:
        return RunParts(
            sweep_id="sweep-1",
            out=self.out,
            stack=self.stack,  # type: ignore[arg-type]
            endpoints=Endpoints("http://kernel.test", "http://runtime.test", FIXTURES_URL),
            client=self.kernel,  # type: ignore[arg-type]
            direct=self.kernel,  # type: ignore[arg-type]
            fixtures=self.effects,  # type: ignore[arg-type]
            adapter=self.adapter,
            scenario=self.scenario(),
            verifier=self.verifier,
            measure=self.measure,
            summarise=lambda result, rows: f"# {result.outcome}, {len(rows)} events\n",
            versions={"python": "3.11"},
            watchers=(self.listener, *self.watchers),
            profile=self.profile,
            actions=self.actions,
            sandbox=self.sandbox_use,
        )

    def run(self, cell: Cell = CELL, *, planned: bool = True, rejected: bool = False) -> BenchmarkResult:
        """Run a cell, and check what holds however it ends: whole artifacts, true hashes, a gapless timeline."""
        result = run_cell(cell, self.parts())
        folder = self.out / result.run_id
        files = REJECTED if rejected else PLANNED if planned else UNPLANNED
        assert {path.name for path in folder.iterdir()} == files, "nothing is missing and nothing is partial"
        assert BenchmarkResult.model_validate_json((folder / "result.json").read_bytes()) == result
        assert set(result.artifacts.files) == files - WORKING - {"result.json", "summary.md"}
        for name, sha256 in result.artifacts.files.items():
            assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == sha256, name
        lines = (folder / "timeline.jsonl").read_text("utf-8").splitlines()
        timeline = [TimelineEvent.model_validate_json(line) for line in lines]
        assert [event.seq for event in timeline] == list(range(1, len(timeline) + 1))
        assert (timeline[0].event_type, timeline[-1].event_type) == ("run_started", "run_finished")
        assert timeline[-1].status == result.outcome
        assert (folder / "summary.md").read_text() == f"# {result.outcome}, {len(timeline)} events\n"
        assert (result.run_id, result.cell, result.sweep_id, result.backend) == (folder.name, cell, "sweep-1", "embedded")
        return result


@pytest.fixture
def world(tmp_path: Path, kernel: Kernel, listener: Listener) -> World:
    return World(tmp_path, kernel, listener)
