"""The plan variants of the built-in scenarios: each is valid, solves its scenario, and is really another plan."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.core.bundle import bundled
from pytest_execgo.plan.model import StandardPlan
from pytest_execgo.plan.tools import tool_of
from pytest_execgo.plan.validate import check_plan, load_plan
from pytest_execgo.plan.verdict import Verdict, VerifierContext
from pytest_execgo.scenarios.loader import load_scenario

FILES = sorted(bundled("scenarios").glob("*/plans/*.json"))
NAMES = sorted({file.parts[-3] for file in FILES})


@pytest.fixture(params=FILES, ids=lambda file: f"{file.parts[-3]}-{file.stem}")
def variant(request: pytest.FixtureRequest) -> Path:
    """Each variant's file."""
    file: Path = request.param
    return file


def _document(file: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return document


def _reference(scenario: str) -> dict[str, Any]:
    return _document(bundled("scenarios") / scenario / "reference_plan.json")


def _shape(document: dict[str, Any]) -> tuple[Any, ...]:
    """What a plan looks like whatever its tasks are named: its stages, with each one's tools and edges, and its bindings."""
    stages = StandardPlan.model_validate(document).stages
    tools = [Counter(tool_of(task) for task in stage["task_graph"]["tasks"]) for stage in document["stages"]]
    edges = [sum(len(task.depends_on) for task in stage.task_graph.tasks) for stage in stages]
    paths = {(binding.source_path, binding.target_param_path) for stage in stages for binding in stage.bindings}
    return tuple(tuple(sorted(one.items(), key=str)) for one in tools), tuple(edges), frozenset(paths)


def _ids(document: dict[str, Any]) -> set[str]:
    return {task["id"] for stage in document["stages"] for task in stage["task_graph"]["tasks"]}


def test_every_scenario_has_three_or_four() -> None:
    counts = Counter(file.parts[-3] for file in FILES)
    assert set(counts) == {file.parent.name for file in bundled("scenarios").glob("*/scenario.yaml")}
    assert set(counts.values()) <= {3, 4}


@pytest.mark.parametrize("scenario", NAMES)
def test_no_two_plans_are_alike(scenario: str) -> None:
    plans = [_reference(scenario), *(_document(file) for file in FILES if file.parts[-3] == scenario)]
    shapes = [_shape(plan) for plan in plans]
    assert len(set(shapes)) == len(plans)
    for number, plan in enumerate(plans):
        for other in plans[:number]:
            assert len(_ids(plan) & _ids(other)) <= min(len(_ids(plan)), len(_ids(other))) // 2


def test_it_is_valid_within_the_scenarios_limits(variant: Path) -> None:
    spec = load_scenario(variant.parent.parent / "scenario.yaml").spec
    document = _document(variant)
    assert check_plan(document, allowed_tools=spec.allowed_tools, max_tasks=spec.effect_budget.max_tasks) == []
    plan = load_plan(document)
    assert (plan.plan_id, plan.scenario_id) == (f"{spec.id}-{variant.stem}", spec.id)
    assert {name for stage in plan.stages for name in stage.expected_artifacts} == set(spec.artifacts)
    assert all(binding.source_path.split(".")[0] == "output" for stage in plan.stages for binding in stage.bindings)
    for stage in plan.stages:
        assert 30_000 <= stage.submit_policy.poll_interval_ms * stage.submit_policy.max_attempts <= 60_000


def test_it_solves_its_scenario_even_when_every_task_runs_twice(
    variant: Path, execute: Callable[..., VerifierContext], judge: Callable[[VerifierContext], Verdict]
) -> None:
    document = _document(variant)

    def become(plan: dict[str, Any]) -> None:
        plan.clear()
        plan.update(document)

    context = execute(variant.parts[-3], edit=become, again=True)
    assert context.plan.plan_id == document["plan_id"]
    assert judge(context).reasons == []
