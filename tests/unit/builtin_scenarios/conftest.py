"""Runs a reference plan directly, without a kernel, so that a verifier can be judged by itself."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.plan.model import PlanStage, StandardPlan, Task
from pytest_execgo.plan.paths import get_path, set_path
from pytest_execgo.plan.placeholders import fill
from pytest_execgo.plan.validate import load_plan
from pytest_execgo.plan.verdict import TaskOutcome, Verdict, VerifierContext
from pytest_execgo.scenarios.loader import load_scenario
from pytest_execgo.scenarios.verifiers import judge as ask
from pytest_execgo.scenarios.verifiers import load_verifier

SCENARIOS = Path(__file__).resolve().parents[3] / "scenarios"
RUN_ID = "run-one"
FIXTURES_URL = "http://fixtures.invalid"


@pytest.fixture(scope="session")
def scenarios() -> Path:
    """The folder of the built-in scenarios."""
    return SCENARIOS


@dataclass
class Executor:
    """Executes plans one task after the other, each twice with `again`; GET /advisories answers `feed` with `http_status`."""

    feed: str
    http_status: int = 200
    again: bool = False
    tasks: dict[str, TaskOutcome] = field(default_factory=dict)

    def run(self, name: str, root: Path, *, run_id: str, seed: int | None, edit: Callable[[Any], None]) -> VerifierContext:
        scenario = load_scenario(SCENARIOS / name / "scenario.yaml")
        assert scenario.fixtures is not None
        workspace = root / "workspace"
        shutil.copytree(scenario.fixtures, workspace, copy_function=shutil.copy)
        document = json.loads(json.dumps(scenario.reference_plan))
        edit(document)
        plan = load_plan(document, allowed_tools=scenario.spec.allowed_tools)
        chosen = scenario.spec.seed if seed is None else seed
        values = {"workspace": str(workspace), "fixtures_url": FIXTURES_URL, "run_id": run_id, "seed": str(chosen)}
        for stage in StandardPlan.model_validate(fill(plan.model_dump(), values)).stages:
            if not self.run_stage(stage):
                break
        return VerifierContext(
            run_id=run_id,
            seed=chosen,
            scenario_dir=scenario.folder,
            workspace=workspace,
            fixtures_url=FIXTURES_URL,
            input=scenario.spec.input,
            expected=scenario.expected,
            plan=plan,
            tasks=dict(self.tasks),
        )

    def run_stage(self, stage: PlanStage) -> bool:
        documents = {task.id: task.model_dump() for task in stage.task_graph.tasks}
        for binding in stage.bindings:
            value = get_path({"output": self.tasks[binding.source_task_id].output}, binding.source_path)
            if ".env." in binding.target_param_path and not isinstance(value, str):
                value = json.dumps(value)
            set_path(documents[binding.target_task_id], binding.target_param_path, value)
        waiting = [Task.model_validate(document) for document in documents.values()]
        while waiting:
            task = next(task for task in waiting if not {other.id for other in waiting} & set(task.depends_on))
            waiting.remove(task)
            for _ in range(2 if self.again else 1):
                self.tasks[task.id] = self.run_task(stage.stage_id, task)
            if self.tasks[task.id].status != "success":
                return False
        return True

    def run_task(self, stage_id: str, task: Task) -> TaskOutcome:
        started = time.time_ns()
        payload = task.input or task.params or {}
        tool = task.tool_name if task.type == "os" else task.type
        status, output = getattr(self, f"run_{tool}")(payload)
        finished = time.time_ns()
        wire_id = f"wire-{stage_id}-{task.id}-1"
        envelope = {"id": wire_id, "status": status, "input": payload}
        return TaskOutcome(stage_id, task.id, wire_id, status, output, started, finished, 1, envelope)

    def run_file(self, payload: Mapping[str, Any]) -> tuple[str, Any]:
        path = Path(payload["path"])
        assert path.is_absolute()
        if payload["action"] == "write":
            path.parent.mkdir(parents=True, exist_ok=True)
            return "success", {"bytes_written": path.write_bytes(payload["content"].encode())}
        assert payload["action"] == "read"
        content = path.read_text("utf-8")
        return "success", {"content": content, "size": len(content.encode())}

    def run_http(self, payload: Mapping[str, Any]) -> tuple[str, Any]:
        if (payload["method"], payload["url"]) == ("GET", f"{FIXTURES_URL}/advisories"):
            return "success", {"status_code": self.http_status, "body": self.feed}
        assert (payload["method"], payload["url"]) == ("POST", f"{FIXTURES_URL}/effects")
        assert payload["headers"]["Idempotency-Key"]
        assert set(json.loads(payload["body"])) == {"kind", "payload"}
        return "success", {"status_code": 201, "body": json.dumps({"applied": True, "effect_id": "effect-1"})}

    def run_shell(self, payload: Mapping[str, Any]) -> tuple[str, Any]:
        script = payload.get("script")
        command = ["sh", "-c", script] if script else [payload["command"], *payload["args"]]
        done = _spawn(command, None, {})
        output = {
            "stdout": done.stdout,
            "stderr": done.stderr,
            "exit_code": done.returncode,
            "runner": "sh" if script else "direct",
        }
        return _status(done), output

    def run_runtime(self, payload: Mapping[str, Any]) -> tuple[str, Any]:
        execution = payload["execution"]
        if execution["kind"] == "script":
            command = [execution.get("interpreter", "sh"), "-c", execution["script"]]
        else:
            assert execution["kind"] == "command"
            command = [execution["program"], *execution["args"]]
        done = _spawn(command, execution["cwd"], execution.get("env", {}))
        try:
            output: Any = json.loads(done.stdout)
        except ValueError:
            output = {"stdout": done.stdout, "stderr": done.stderr, "exit_code": done.returncode}
        return _status(done), output


def _status(done: subprocess.CompletedProcess[str]) -> str:
    return "success" if done.returncode == 0 else "failed"


def _spawn(command: list[str], cwd: str | None, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    assert all(len(f"{name}={value}") < 131_072 for name, value in env.items()), "too long for one environment variable"
    surroundings = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", **env}
    return subprocess.run(command, cwd=cwd, env=surroundings, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture(scope="session")
def feed() -> str:
    """The advisory feed that the fixtures service ships."""
    return (SCENARIOS.parent / "fixtures_service" / "data" / "advisories.json").read_text("utf-8")


@pytest.fixture(scope="session")
def execute(feed: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., VerifierContext]:
    """Run a scenario's reference plan in a fresh workspace, and return what its verifier gets.

    Takes the scenario, and by name `run_id`, `seed`, `edit` (changes the plan's document beforehand), `body`,
    `http_status` (of the feed), `again` (every task runs twice).
    """

    def run(
        scenario: str,
        *,
        run_id: str = RUN_ID,
        seed: int | None = None,
        edit: Callable[[Any], None] = lambda document: None,
        body: str | None = None,
        http_status: int = 200,
        again: bool = False,
    ) -> VerifierContext:
        executor = Executor(feed if body is None else body, http_status, again)
        return executor.run(scenario, tmp_path_factory.mktemp(scenario), run_id=run_id, seed=seed, edit=edit)

    return run


@pytest.fixture(scope="session")
def executed(execute: Callable[..., VerifierContext]) -> Callable[[str], VerifierContext]:
    """Run a scenario's reference plan once a session; what it returns must not be changed."""
    runs: dict[str, VerifierContext] = {}

    def once(scenario: str) -> VerifierContext:
        if scenario not in runs:
            runs[scenario] = execute(scenario)
        return runs[scenario]

    return once


@pytest.fixture
def copy_of(tmp_path: Path) -> Callable[[VerifierContext], VerifierContext]:
    """Return a copy of a finished run whose workspace and task outcomes may be tampered with; file times stay."""

    def copied(context: VerifierContext) -> VerifierContext:
        workspace = tmp_path / "tampered"
        shutil.copytree(context.workspace, workspace, symlinks=True)
        tasks = {name: replace(task, output=json.loads(json.dumps(task.output))) for name, task in context.tasks.items()}
        return replace(context, workspace=workspace, tasks=tasks)

    return copied


@pytest.fixture(scope="session")
def judge() -> Callable[[VerifierContext], Verdict]:
    """Let a scenario's own verifier judge."""
    verifiers = {file.parent.name: load_verifier(load_scenario(file), {}) for file in SCENARIOS.glob("*/scenario.yaml")}
    return lambda context: ask(verifiers[context.scenario_dir.name], context)
