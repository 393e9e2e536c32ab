"""The scripted model as a process, and a pool of planners that ask it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from pytest_execgo.adapters.catalogue import BUILT_IN, load_adapters
from pytest_execgo.adapters.worker.pool import WorkerPool
from pytest_execgo.core.bundle import bundle_root
from pytest_execgo.plan.adapter import PlannedRun, Planning
from pytest_execgo.plan.model import ModelProfile, PlanContext
from pytest_execgo.scenarios.catalogue import Catalogue

SCENARIO = "codegen_exec"
CONTROL = {"authorization": "Bearer t"}


class Model:
    """The scripted model. `order` has it misbehave from now on, and counts from there."""

    def __init__(self, folder: Path) -> None:
        read, write = os.pipe()
        argv = [sys.executable, "-m", "fixtures_service", "-addr", "127.0.0.1:0", "-ready-fd", str(write)]
        environment = {**os.environ, "PYTHONPATH": str(bundle_root()), "EXECGO_FIXTURES_TOKEN": "t"}
        self.process = subprocess.Popen(argv, pass_fds=[write], env=environment, cwd=folder)
        os.close(write)
        with os.fdopen(read) as ready:
            self.url = f"http://127.0.0.1:{json.loads(ready.readline())['port']}"
        self.session = requests.Session()
        self.session.trust_env = False

    def base(self, framework: str, seed: int) -> str:
        return f"{self.url}/model/{SCENARIO}/{framework}/{seed}/v1"

    def order(self, fault: str | None = None, **more: Any) -> None:
        order = {"fault": fault, **more}
        self.session.put(f"{self.url}/control/model", json=order, headers=CONTROL, timeout=30).raise_for_status()

    def counts(self) -> dict[str, Any]:
        """Return `requests` (answered since the last order, by role) and `hits` (of those, the ones that suffered)."""
        shown: dict[str, Any] = self.session.get(f"{self.url}/control/model", headers=CONTROL, timeout=30).json()
        return shown

    def stop(self) -> None:
        self.session.close()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


@pytest.fixture(scope="module")
def model_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    model = Model(tmp_path_factory.mktemp("model"))
    yield model
    model.stop()


@pytest.fixture
def model(model_process: Model) -> Model:
    """The model, without faults."""
    model_process.order()
    return model_process


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerPool]:
    with WorkerPool(os.environ, folder=tmp_path_factory.mktemp("planners"), grace_s=20) as pool:  # a busy machine is no hang
        yield pool
    assert pool.pids() == []


@dataclass
class Planner:
    """One framework against the model."""

    framework: str
    model: Model
    pool: WorkerPool
    told: list[Any] = field(default_factory=list)

    def context(self, mode: str = "live", seed: int = 1, **changes: Any) -> PlanContext:
        scenario = Catalogue.with_builtin([]).load(SCENARIO)
        document = {
            "scenario_id": SCENARIO,
            "framework": self.framework,
            "mode": mode,
            "seed": seed,
            "objective": scenario.spec.objective,
            "scenario_input": scenario.spec.input,
            "prompt_pack": scenario.prompt_pack,
            "allowed_tools": scenario.spec.allowed_tools,
            "max_tasks": scenario.spec.effect_budget.max_tasks,
            "model_profile": ModelProfile(model="scripted-planner", seed=seed),
            **changes,
        }
        return PlanContext.model_validate(document)

    def planning(self, seed: int = 1, deadline_ms: int = 120_000) -> Planning:
        return Planning(self.model.base(self.framework, seed), deadline_ms, self.pool, self.told.append)

    def plan(self, seed: int = 1, deadline_ms: int = 120_000) -> PlannedRun:
        adapter = load_adapters()[self.framework]
        return adapter.live(self.context(seed=seed), self.planning(seed, deadline_ms))


@pytest.fixture(params=BUILT_IN)
def planner(request: pytest.FixtureRequest, model: Model, pool: WorkerPool) -> Planner:
    capabilities = load_adapters()[request.param].capabilities()
    if capabilities.native_version is None:
        pytest.skip(f"{request.param} is not installed: {capabilities.install_hint}")
    return Planner(request.param, model, pool)
