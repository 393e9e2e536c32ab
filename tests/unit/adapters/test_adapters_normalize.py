"""Normalising: small repairs, each one said; everything else refused with every problem; the input left alone."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from pytest_execgo.adapters.normalize import normalize
from pytest_execgo.plan.model import PlanContext, StandardPlan
from pytest_execgo.plan.problems import PlanInvalid


def normalized(document: Any, context: PlanContext) -> StandardPlan:
    before = copy.deepcopy(document)
    try:
        return normalize(document, context, trace_ref="adapter_trace.json")
    finally:
        assert document == before, "the framework's own output is evidence, and stays as it was"


def task(plan: StandardPlan, index: int = 0) -> dict[str, Any]:
    return plan.stages[0].task_graph.tasks[index].model_dump(exclude_unset=True)


def test_a_plan_that_needs_no_repair_gets_none(document: dict[str, Any], context: PlanContext) -> None:
    plan = normalized(document, context)
    assert plan.normalization_warnings == []
    assert plan.raw_trace_ref == "adapter_trace.json"
    assert plan.model_dump(exclude_unset=True, exclude={"normalization_warnings", "raw_trace_ref"}) == document


@pytest.mark.parametrize(
    ("field", "found", "warning"),
    [
        ("framework", "reference", "$.framework: the text \"reference\" became 'langgraph'"),
        ("framework", None, "$.framework: null became 'langgraph'"),
        ("mode", "live", "$.mode: the text \"live\" became 'replay'"),
        ("mode", 3, "$.mode: the number 3 became 'replay'"),
        ("scenario_id", "other", "$.scenario_id: the text \"other\" became 'demo'"),
        ("scenario_id", {"a": 1}, "$.scenario_id: an object with 1 field became 'demo'"),
    ],
)
def test_a_wrong_label_is_replaced_and_said(
    document: dict[str, Any], context: PlanContext, field: str, found: object, warning: str
) -> None:
    plan = normalized({**document, field: found}, context)
    assert plan.normalization_warnings == [warning]
    assert getattr(plan, field) == getattr(context, field)


@pytest.mark.parametrize(
    ("field", "value"), [("framework", "langgraph"), ("mode", "replay"), ("scenario_id", "demo"), ("plan_id", "demo-plan")]
)
def test_a_missing_label_is_filled_in_and_said(document: dict[str, Any], context: PlanContext, field: str, value: str) -> None:
    del document[field]
    plan = normalized(document, context)
    assert plan.normalization_warnings == [f"$.{field}: missing became {value!r}"]
    assert getattr(plan, field) == value


def test_a_kind_of_os_tool_as_type_becomes_the_tools_own_name(document: dict[str, Any], context: PlanContext) -> None:
    document["stages"][0]["task_graph"]["tasks"][0] = {"id": "say", "type": "os.file", "input": {"action": "read", "path": "/x"}}
    plan = normalized(document, context)
    assert task(plan) == {"id": "say", "type": "file", "input": {"action": "read", "path": "/x"}}
    assert plan.normalization_warnings == ["$.stages[0].task_graph.tasks[0].type: 'os.file' became 'file'"]


@pytest.mark.parametrize("field", ["input", "params"])
@pytest.mark.parametrize("kind", [{}, {"kind": "command"}])
def test_a_kind_of_execution_as_type_goes_to_its_place(
    document: dict[str, Any], context: PlanContext, field: str, kind: dict[str, str]
) -> None:
    given = {"id": "run", "type": "runtime.command", field: {"execution": {"program": "true", **kind}, "limits": {}}}
    document["stages"][0]["task_graph"]["tasks"][1] = given
    plan = normalized(document, context)
    assert task(plan, 1) == {
        "id": "run",
        "type": "runtime",
        field: {"execution": {"program": "true", "kind": "command"}, "limits": {}},
    }
    assert plan.normalization_warnings == [
        "$.stages[0].task_graph.tasks[1].type: 'runtime.command' became 'runtime' with execution.kind 'command'"
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "os.file", "tool_name": "noop", "input": {"action": "read", "path": "x"}},
        {"type": "os.nothing"},
        {"type": "runtime.command", "input": {"execution": {"kind": "script", "program": "true"}}},
        {"type": "runtime.command", "input": {"program": "true"}},
        {"type": "runtime.nothing", "input": {"execution": {"program": "true"}}},
        {"type": "my.tool"},
    ],
)
def test_a_task_that_says_two_things_or_nothing_known_is_refused(
    document: dict[str, Any], context: PlanContext, wrong: dict[str, Any]
) -> None:
    document["stages"][0]["task_graph"]["tasks"][0] = {"id": "say", **wrong}
    with pytest.raises(PlanInvalid) as invalid:
        normalized(document, context)
    assert invalid.value.problems[0].path.startswith("$.stages[0].task_graph.tasks[0]")


def test_the_warnings_that_a_plan_brings_are_kept_before_our_own(document: dict[str, Any], context: PlanContext) -> None:
    plan = normalized({**document, "mode": "live", "normalization_warnings": ["theirs"]}, context)
    assert plan.normalization_warnings == ["theirs", "$.mode: the text \"live\" became 'replay'"]


@pytest.mark.parametrize(("given", "kept"), [("abc", []), (5, []), ({"a": 1}, []), (["kept", 1, None], ["kept"])])
def test_warnings_that_are_no_texts_are_dropped_and_said(
    document: dict[str, Any], context: PlanContext, given: object, kept: list[str]
) -> None:
    warnings = normalized({**document, "normalization_warnings": given}, context).normalization_warnings
    assert warnings[:-1] == kept
    assert warnings[-1].startswith("$.normalization_warnings: ")


def test_no_warnings_may_be_null(document: dict[str, Any], context: PlanContext) -> None:
    assert normalized({**document, "normalization_warnings": None}, context).normalization_warnings == []


@pytest.mark.parametrize("shape", [None, "text", [], [None], [{}], [{"stage_id": "s", "task_graph": {"tasks": [None, 5, "x"]}}]])
def test_any_other_shape_is_an_invalid_plan_never_a_crash(document: dict[str, Any], context: PlanContext, shape: object) -> None:
    with pytest.raises(PlanInvalid) as invalid:
        normalized({**document, "stages": shape}, context)
    assert invalid.value.problems


def test_every_problem_is_listed_at_once(document: dict[str, Any], context: PlanContext) -> None:
    tasks = document["stages"][0]["task_graph"]["tasks"]
    tasks[0]["type"] = "shell"
    tasks[1]["depends_on"] = ["nobody"]
    tasks += [{"id": f"more-{n}", "type": "noop"} for n in range(4)]
    document["surprise"] = 1
    with pytest.raises(PlanInvalid) as invalid:
        normalized(document, context)
    assert {problem.code for problem in invalid.value.problems} >= {"tool_not_allowed", "unknown_dependency", "unknown_field"}
    assert len(invalid.value.problems) == 4
    assert all(str(problem) in invalid.value.message for problem in invalid.value.problems)
