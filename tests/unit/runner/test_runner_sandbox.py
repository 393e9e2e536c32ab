"""A scenario's sandbox reaches every command of a plan, or the run is skipped, or it says that it runs without."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from pytest_execgo.observability.stream import EventStream
from pytest_execgo.plan.result import BenchmarkResult
from pytest_execgo.plan.sandbox import SandboxPolicy, SandboxUse
from pytest_execgo.runner.compile import compile_stage

if TYPE_CHECKING:
    from tests.unit.runner.conftest import World

Make = Callable[..., Any]
VALUES = {"workspace": "/w", "fixtures_url": "http://f", "run_id": "run-1", "seed": "7"}
NATIVE = SandboxPolicy(mode="native")
IN_WORKSPACE = {"mode": "native", "folder": "/w"}
HAD = SandboxUse(requested="native", effective="native")
MISSING = SandboxUse(requested="native", reason="bwrap is not installed; install bubblewrap")


def compiled(stage: Any, sandbox: SandboxPolicy | None) -> list[dict[str, Any]]:
    made = compile_stage(stage, run_id="r", attempt=1, values=VALUES, finished={}, stream=EventStream([]), sandbox=sandbox)
    return made.tasks


def runtime(task_id: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"id": task_id, "type": "runtime", "input": {"execution": {"kind": kind}, **more}}


def test_commands_scripts_and_code_get_the_sandbox_and_nothing_else_does(stage: Make) -> None:
    kinds = ("command", "script", "code", "emit", "sleep", "fail")
    plan = stage(*(runtime(kind, kind) for kind in kinds), {"id": "noop", "type": "noop", "input": {"message": "m"}})
    sandboxes = {task["id"].split(":")[2]: task["input"].get("sandbox") for task in compiled(plan, NATIVE)}
    assert sandboxes == {
        "command": IN_WORKSPACE,
        "script": IN_WORKSPACE,
        "code": {"mode": "native"},
        "emit": None,
        "sleep": None,
        "fail": None,
        "noop": None,
    }
    assert all("sandbox" not in task["input"] for task in compiled(plan, None))


def test_arguments_in_params_get_it_too(stage: Make) -> None:
    plan = stage({"id": "a", "type": "runtime", "params": {"execution": {"kind": "command"}}})
    assert compiled(plan, NATIVE)[0]["params"]["sandbox"] == IN_WORKSPACE


def test_a_plan_can_not_weaken_the_scenarios_sandbox(stage: Make) -> None:
    asked = {
        "mode": "wasm",
        "folder": "/etc",
        "profile": "plain",
        "strict": False,
        "network_enabled": True,
        "allowed_hosts": ["a.test"],
    }
    plan = stage(runtime("a", "command", sandbox=asked))
    assert compiled(plan, NATIVE)[0]["input"]["sandbox"] == IN_WORKSPACE
    with_network = SandboxPolicy(mode="native", network_enabled=True)
    network = {"network_enabled": True, "allowed_hosts": ["a.test"]}
    assert compiled(plan, with_network)[0]["input"]["sandbox"] == {**IN_WORKSPACE, **network}
    assert compiled(plan, None)[0]["input"]["sandbox"] == asked
    assert compiled(stage(runtime("a", "command")), with_network)[0]["input"]["sandbox"] == IN_WORKSPACE


def test_code_gets_the_workspace_only_when_it_asks_for_a_folder(stage: Make) -> None:
    assert compiled(stage(runtime("a", "code", sandbox={"folder": "/etc"})), NATIVE)[0]["input"]["sandbox"] == IN_WORKSPACE


@pytest.mark.parametrize(
    "kind", [{"type": "code"}, {"type": "os", "tool_name": "code"}, {"type": "os", "tool_name": "code", "execution_category": "os"}]
)
def test_code_of_an_os_task_is_sent_to_the_runtime(stage: Make, kind: dict[str, Any]) -> None:
    code = {"execution": {"kind": "code", "language": "python", "code": "print(1)"}}
    (sent,) = compiled(stage({"id": "a", **kind, "input": code}), None)
    assert sent == {"id": "r:s:a:1", "type": "runtime", "input": code}
    (sent,) = compiled(stage({"id": "a", **kind, "params": code}), NATIVE)
    assert sent["params"] == {**code, "sandbox": {"mode": "native"}}


COMMAND = {
    "plan_id": "p",
    "scenario_id": "demo",
    "framework": "langgraph",
    "mode": "replay",
    "stages": [
        {
            "stage_id": "one",
            "task_graph": {
                "tasks": [
                    {"id": "first", "type": "runtime", "input": {"execution": {"kind": "command", "program": "true"}}, "retry": 1}
                ]
            },
        }
    ],
}


def run(world: World, policy: SandboxPolicy | None, use: SandboxUse | None, *, planned: bool = True) -> BenchmarkResult:
    world.plan = json.loads(json.dumps(COMMAND))
    world.allowed_tools = ["runtime.command"]
    world.sandbox, world.sandbox_use = policy, use
    return world.run(planned=planned)


def sent_sandboxes(world: World) -> list[Any]:
    return [task["input"].get("sandbox") for graph in world.kernel.submitted for task in graph]


def test_a_run_in_the_sandbox_that_its_scenario_asks_for(world: World) -> None:
    result = run(world, NATIVE, HAD)
    assert (result.outcome, result.sandbox) == ("passed", HAD)
    assert sent_sandboxes(world) == [{"mode": "native", "folder": str(world.out / result.run_id / "workspace")}]
    (event,) = world.listener.events("sandbox_chosen")
    assert (event.status, event.requested, event.effective, event.reason) == ("ok", "native", "native", None)


def test_without_a_required_sandbox_the_run_is_skipped_before_it_plans(world: World) -> None:
    result = run(world, NATIVE, MISSING, planned=False)
    assert (result.outcome, result.sandbox) == ("skipped", MISSING)
    assert result.error is not None
    assert "'native', which can't be had: bwrap is not installed; install bubblewrap" in result.error
    assert "required: false" in result.error
    assert world.kernel.submitted == []
    (event,) = world.listener.events("sandbox_chosen")
    assert (event.status, event.error_code, event.effective) == ("failed", "sandbox_unavailable", None)


def test_without_a_sandbox_that_is_not_required_the_run_goes_on_and_says_so(world: World) -> None:
    result = run(world, SandboxPolicy(mode="native", required=False), MISSING)
    assert (result.outcome, result.sandbox) == ("passed", MISSING)
    assert sent_sandboxes(world) == [None]
    (event,) = world.listener.events("sandbox_chosen")
    assert (event.status, event.error_code, event.reason) == ("skipped", "sandbox_unavailable", MISSING.reason)


@pytest.mark.parametrize(
    ("reason", "outcome", "layer"),
    [("image_missing", "error", "machine"), ("sandbox_unavailable", "error", "machine"), ("bad_mount", "failed", "runtime")],
)
def test_a_sandbox_that_the_machine_can_not_make_is_no_failure_of_the_plan(
    world: World, reason: str, outcome: str, layer: str
) -> None:
    details = {"details": {"requested": "native", "reason": reason}, "raw_error_code": "sandbox_setup_failed"}
    error = {"code": "sandbox_setup_failed", "message": "the image is not here", "retryable": False, "details": details}
    world.kernel.envelopes = {"first": {"type": "runtime", "status": "failed", "error": "x", "runtime": {"error": error}}}
    result = run(world, NATIVE, HAD)
    assert result.attribution is not None
    assert (result.outcome, result.attribution.layer, result.attribution.code) == (outcome, layer, "sandbox_setup_failed")
    assert "the image is not here" in (result.error or result.attribution.message)


def test_a_scenario_without_a_sandbox_says_nothing_of_one(world: World) -> None:
    result = run(world, None, None)
    assert (result.outcome, result.sandbox) == ("passed", None)
    assert sent_sandboxes(world) == [None]
    assert world.listener.events("sandbox_chosen") == []
