"""What holds for each built-in scenario: it loads, its reference plan is valid and portable, and its verifier is steady."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.plan.model import StandardPlan
from pytest_execgo.plan.placeholders import fill
from pytest_execgo.plan.tools import tool_of
from pytest_execgo.plan.validate import check_plan, load_plan
from pytest_execgo.plan.verdict import Verdict, VerifierContext
from pytest_execgo.scenarios.loader import load_scenario
from pytest_execgo.scenarios.model import Scenario

NAMES = ("codegen_exec", "vuln_scan", "multi_step_agent", "long_chain_dag")
ODD_OUTPUTS: tuple[Any, ...] = (
    None,
    [],
    {},
    "text",
    7,
    {"nodes": [1], "records": [{}, 3], "files": 1, "body": 9, "status_code": "x", "run_id": []},
)

Execute = Callable[..., VerifierContext]
Judge = Callable[[VerifierContext], Verdict]


@pytest.fixture(params=NAMES)
def scenario(request: pytest.FixtureRequest, scenarios: Path) -> Scenario:
    """Each built-in scenario, loaded."""
    return load_scenario(scenarios / request.param / "scenario.yaml")


def _snapshot(workspace: Path) -> dict[str, str]:
    files = sorted(path for path in workspace.rglob("*") if path.is_file())
    return {path.relative_to(workspace).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_all_built_in_scenarios_are_known(scenarios: Path) -> None:
    assert {file.parent.name for file in scenarios.glob("*/scenario.yaml")} == set(NAMES)


def test_reference_plan_is_valid_within_the_scenarios_limits(scenario: Scenario) -> None:
    spec = scenario.spec
    assert check_plan(scenario.reference_plan, allowed_tools=spec.allowed_tools, max_tasks=spec.effect_budget.max_tasks) == []
    plan = load_plan(scenario.reference_plan)
    assert (plan.scenario_id, plan.framework, plan.mode) == (spec.id, "reference", "replay")
    promised = {name for stage in plan.stages for name in stage.expected_artifacts}
    assert promised == set(spec.artifacts)


def test_allowed_tools_are_those_that_the_reference_plan_needs(scenario: Scenario) -> None:
    tasks = [task for stage in scenario.reference_plan["stages"] for task in stage["task_graph"]["tasks"]]
    assert {tool_of(task) for task in tasks} | _optional(scenario) == set(scenario.spec.allowed_tools)


def _optional(scenario: Scenario) -> set[str]:
    return {"runtime.command"} if scenario.spec.id == "multi_step_agent" else set()


def test_every_stage_has_half_a_minute_to_a_minute(scenario: Scenario) -> None:
    for stage in load_plan(scenario.reference_plan).stages:
        assert 30_000 <= stage.submit_policy.poll_interval_ms * stage.submit_policy.max_attempts <= 60_000


def test_bindings_use_only_the_portable_view(scenario: Scenario) -> None:
    bindings = [binding for stage in load_plan(scenario.reference_plan).stages for binding in stage.bindings]
    assert all(binding.source_path.split(".")[0] == "output" for binding in bindings)


def test_prompts_name_every_tool_and_every_artifact(scenario: Scenario) -> None:
    prompts = scenario.prompt_pack
    assert all(f"`{tool}`" in prompts.constraints for tool in scenario.spec.allowed_tools)
    assert all(f"`{name}`" in prompts.constraints for name in scenario.spec.artifacts)
    assert scenario.fixtures is not None
    for script in (scenario.fixtures / "tools").glob("*.py"):
        assert f"tools/{script.name}" in prompts.user


@pytest.mark.parametrize("name", NAMES)
def test_reference_plan_passes(name: str, executed: Callable[[str], VerifierContext], judge: Judge) -> None:
    context = executed(name)
    verdict = judge(context)
    assert verdict.reasons == []
    assert verdict.passed
    assert verdict.details
    for path in load_scenario(context.scenario_dir / "scenario.yaml").spec.artifacts.values():
        assert (context.workspace / path).is_file()


@pytest.mark.parametrize("name", NAMES)
def test_plan_with_filled_placeholders_passes_too(name: str, executed: Callable[[str], VerifierContext], judge: Judge) -> None:
    context = executed(name)
    values = {"workspace": str(context.workspace), "run_id": context.run_id, "seed": str(context.seed)}
    values["fixtures_url"] = context.fixtures_url
    filled = StandardPlan.model_validate(fill(context.plan.model_dump(), values))
    assert judge(replace(context, plan=filled)).reasons == []


@pytest.mark.parametrize("name", NAMES)
def test_same_run_and_seed_give_the_same_world(
    name: str, executed: Callable[[str], VerifierContext], execute: Execute, judge: Judge
) -> None:
    first, second = executed(name), execute(name)
    assert _snapshot(first.workspace) == _snapshot(second.workspace)
    assert {key: task.output for key, task in first.tasks.items()} == {key: task.output for key, task in second.tasks.items()}
    assert judge(first) == judge(second)


@pytest.mark.parametrize("name", NAMES)
def test_another_run_with_another_seed_passes_and_leaves_another_world(
    name: str, executed: Callable[[str], VerifierContext], execute: Execute, judge: Judge
) -> None:
    other = execute(name, run_id="run-two.2", seed=99)
    assert judge(other).reasons == []
    assert _snapshot(other.workspace) != _snapshot(executed(name).workspace)


@pytest.mark.parametrize("name", NAMES)
def test_tasks_may_run_twice(name: str, execute: Execute, judge: Judge) -> None:
    """After a crash a task may run again: running each stage's tasks anew in the same workspace changes nothing."""
    assert judge(execute(name, again=True)).reasons == []


@pytest.mark.parametrize("name", NAMES)
def test_report_of_another_run_is_refused(name: str, executed: Callable[[str], VerifierContext], judge: Judge) -> None:
    verdict = judge(replace(executed(name), run_id="another-run"))
    assert not verdict.passed
    assert any("'run-one'" in reason and "'another-run'" in reason for reason in verdict.reasons), verdict.reasons


@pytest.mark.parametrize("name", NAMES)
def test_empty_world_fails_with_reasons(
    name: str, executed: Callable[[str], VerifierContext], judge: Judge, tmp_path: Path
) -> None:
    verdict = judge(replace(executed(name), workspace=tmp_path, tasks={}))
    assert not verdict.passed
    assert len(verdict.reasons) >= 2


@pytest.mark.parametrize("output", ODD_OUTPUTS)
@pytest.mark.parametrize("name", NAMES)
def test_odd_outputs_fail_with_reasons(name: str, output: Any, executed: Callable[[str], VerifierContext], judge: Judge) -> None:
    context = executed(name)
    verdict = judge(replace(context, tasks={key: replace(task, output=output) for key, task in context.tasks.items()}))
    assert not verdict.passed
    assert verdict.reasons


@pytest.mark.parametrize(
    "content", ["", "[]", "null", "{}", "{", '{"run_id": 1, "nodes": 3, "records": [[]], "patch": 7, "by_severity": []}']
)
@pytest.mark.parametrize("name", NAMES)
def test_odd_artifacts_fail_with_reasons(
    name: str,
    content: str,
    executed: Callable[[str], VerifierContext],
    copy_of: Callable[[VerifierContext], VerifierContext],
    judge: Judge,
) -> None:
    context = copy_of(executed(name))
    for path in load_scenario(context.scenario_dir / "scenario.yaml").spec.artifacts.values():
        (context.workspace / path).write_text(content)
    verdict = judge(context)
    assert not verdict.passed
    assert verdict.reasons


@pytest.mark.parametrize("name", NAMES)
def test_changed_tool_is_noticed(
    name: str,
    executed: Callable[[str], VerifierContext],
    copy_of: Callable[[VerifierContext], VerifierContext],
    judge: Judge,
) -> None:
    context = copy_of(executed(name))
    tool = min((context.workspace / "tools").glob("*.py"))
    tool.write_text(tool.read_text("utf-8") + "\n# changed\n", "utf-8")
    reasons = judge(context).reasons
    assert [reason for reason in reasons if f"tools/{tool.name}" in reason and "modified" in reason], reasons


def test_modules_in_the_prompt_are_those_of_the_project(scenarios: Path) -> None:
    folder = scenarios / "codegen_exec"
    prompt = (folder / "prompts" / "user.md").read_text("utf-8")
    for module in ("clock", "week", "pay"):
        assert (folder / "fixtures" / "project" / "timesheet" / f"{module}.py").read_text("utf-8").strip() in prompt


def test_expectations_fit_the_feed(scenarios: Path, feed: str) -> None:
    advisories = json.loads(feed)["advisories"]
    expected = load_scenario(scenarios / "multi_step_agent" / "scenario.yaml").expected
    assert expected["entries"]["advisories"] == len(advisories)
    severities = {advisory["id"]: advisory["severity"] for advisory in advisories}
    findings = json.loads((scenarios / "vuln_scan" / "expected.json").read_text("utf-8"))["findings"]
    assert {finding["id"]: finding["severity"] for finding in findings}.items() <= severities.items()
