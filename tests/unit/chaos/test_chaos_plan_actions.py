"""Faults of the plan: what is changed, that nothing else is, and that the plan's checks and bindings find it."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import pytest

from pytest_execgo.chaos.actions.plan import PLAN_ACTIONS
from pytest_execgo.core.bundle import bundled
from pytest_execgo.core.jsonio import read_json
from pytest_execgo.plan.chaos import Fault
from pytest_execgo.plan.fault import Surroundings
from pytest_execgo.plan.paths import PathMissing, get_path
from pytest_execgo.plan.validate import check_plan

MakeFault = Callable[..., Fault]
AT_PLAN = {"phase": "plan"}
REFERENCE_PLANS = sorted(bundled("scenarios").glob("*/reference_plan.json"))


def disturbed(fault: Fault, plan: dict[str, Any], seed: int = 1) -> tuple[dict[str, Any], str]:
    before = copy.deepcopy(plan)
    found = PLAN_ACTIONS[fault.action].disturb(fault, plan, random.Random(seed))
    assert plan == before, "the plan that was given must stay as it is"
    assert found is not None
    return found


@pytest.mark.parametrize(("action", "code"), [("invalid_tool", "unknown_tool"), ("bad_dependency", "unknown_dependency")])
@pytest.mark.parametrize("file", REFERENCE_PLANS, ids=lambda file: file.parent.name)
def test_every_task_that_may_be_struck_makes_the_plan_invalid_by_that_code_alone(
    make_fault: MakeFault, file: Any, action: str, code: str
) -> None:
    document = read_json(file)
    for stage in document["stages"]:
        for task in stage["task_graph"]["tasks"]:
            given = {"stage_id": stage["stage_id"], "task_id": task["id"]}
            changed, said = disturbed(make_fault(action, "plan", given, trigger=AT_PLAN), document)
            assert {problem.code for problem in check_plan(changed)} == {code}
            assert f"{task['id']!r}" in said


@pytest.mark.parametrize("action", ["missing_binding", "timeout_budget"])
@pytest.mark.parametrize("file", REFERENCE_PLANS, ids=lambda file: file.parent.name)
def test_what_fails_only_when_it_runs_is_a_valid_plan(make_fault: MakeFault, file: Any, action: str) -> None:
    document = read_json(file)
    for seed in range(10):
        found = PLAN_ACTIONS[action].disturb(make_fault(action, "plan", trigger=AT_PLAN), document, random.Random(seed))
        if found is None:
            assert action == "missing_binding"
            assert not any(stage.get("bindings") for stage in document["stages"])
        else:
            assert check_plan(found[0]) == []
            assert found[0] != document


def test_a_missing_binding_takes_what_no_task_has_of_a_required_binding(make_fault: MakeFault, plan: dict[str, Any]) -> None:
    for seed in range(10):
        changed, said = disturbed(make_fault("missing_binding", "plan", trigger=AT_PLAN), plan, seed)
        required, optional = changed["stages"][1]["bindings"]
        assert optional == plan["stages"][1]["bindings"][1]
        assert required["target_param_path"] == "input.execution.payload"
        assert "'feed'" in said
        for output in ({"body": "x"}, "text", [1], None):
            with pytest.raises(PathMissing):
                get_path({"output": output}, required["source_path"])


def test_a_starved_stage_has_the_budget_that_was_asked_for_and_keeps_its_policy(
    make_fault: MakeFault, plan: dict[str, Any]
) -> None:
    changed, said = disturbed(make_fault("timeout_budget", "plan", {"stage_id": "work", "budget_ms": 3}, trigger=AT_PLAN), plan)
    assert changed["stages"][1]["submit_policy"] == {"poll_interval_ms": 1, "max_attempts": 3, "stop_on_failure": True}
    assert [changed["stages"][n] for n in (0, 2)] == [plan["stages"][n] for n in (0, 2)]
    assert said == "stage 'work' has a budget of 3 ms"


def test_a_stage_that_is_over_in_a_moment_is_never_starved(make_fault: MakeFault, plan: dict[str, Any], near: Any) -> None:
    starved = {disturbed(make_fault("timeout_budget", "plan", trigger=AT_PLAN), plan, seed)[1] for seed in range(30)}
    assert starved == {"stage 'work' has a budget of 1 ms"}
    fault = make_fault("timeout_budget", "plan", {"stage_id": "note"}, trigger=AT_PLAN)
    assert "longer than a moment with stage_id 'note'" in str(PLAN_ACTIONS["timeout_budget"].unusable(fault, near()))


def test_who_is_struck_is_drawn_and_the_same_draw_strikes_the_same(make_fault: MakeFault, plan: dict[str, Any]) -> None:
    fault = make_fault("invalid_tool", "plan", trigger=AT_PLAN)
    said = [disturbed(fault, plan, seed)[1] for seed in range(40)]
    assert said == [disturbed(fault, plan, seed)[1] for seed in range(40)]
    assert len(set(said)) == 4


def test_a_dependency_on_nothing_is_really_on_nothing(make_fault: MakeFault, plan: dict[str, Any]) -> None:
    taken = copy.deepcopy(plan)
    taken["stages"][2]["task_graph"]["tasks"][0]["id"] = "absent_task"
    changed, _ = disturbed(make_fault("bad_dependency", "plan", {"task_id": "run"}, trigger=AT_PLAN), taken)
    assert changed["stages"][1]["task_graph"]["tasks"][0]["depends_on"] == ["absent_task_"]


@pytest.mark.parametrize(
    ("action", "parameters", "reason"),
    [
        ("invalid_tool", {"task_id": "nobody"}, "the scenario's plan has no task with task_id 'nobody'"),
        ("bad_dependency", {"stage_id": "work", "task_id": "feed"}, "no task with stage_id 'work', task_id 'feed'"),
        ("missing_binding", {"stage_id": "fetch"}, "no required binding with stage_id 'fetch'"),
    ],
)
def test_a_plan_without_such_a_place_makes_a_fault_unusable(
    make_fault: MakeFault, near: Callable[..., Surroundings], plan: dict[str, Any], action: str, parameters: Any, reason: str
) -> None:
    fault = make_fault(action, "plan", parameters, trigger=AT_PLAN)
    assert reason in str(PLAN_ACTIONS[action].unusable(fault, near()))
    assert PLAN_ACTIONS[action].disturb(fault, plan, random.Random(1)) is None


@pytest.mark.parametrize("action", PLAN_ACTIONS)
def test_what_is_wrong_with_a_fault_of_the_plan(make_fault: MakeFault, near: Callable[..., Surroundings], action: str) -> None:
    good = make_fault(action, "plan", trigger=AT_PLAN)
    assert PLAN_ACTIONS[action].problems(good) == []
    assert PLAN_ACTIONS[action].unusable(good, near()) is None
    late = {"phase": "plan", "event": "plan_obtained"}
    bad = make_fault(action, "plan", {"stage_id": 3, "stage": "x"}, trigger=late, duration_ms=5)
    said = PLAN_ACTIONS[action].problems(bad)
    assert [sentence.split(":")[0] for sentence in said] == ["parameters.stage", "parameters.stage_id", "trigger", "duration_ms"]
    assert "did you mean 'stage_id'?" in said[0]
    delayed = make_fault(action, "plan", trigger={"phase": "plan", "delay_ms": 5})
    assert len(PLAN_ACTIONS[action].problems(delayed)) == 1


def test_a_document_that_is_hardly_a_plan_is_left_alone(make_fault: MakeFault) -> None:
    for document in ({}, {"stages": None}, {"stages": [1, {"task_graph": {"tasks": [None, {"type": "os"}]}}]}):
        for action in PLAN_ACTIONS.values():
            fault = make_fault("x", "plan", trigger=AT_PLAN)
            found = action.disturb(fault, document, random.Random(1))
            assert found is None or action is PLAN_ACTIONS["timeout_budget"]
