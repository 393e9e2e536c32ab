"""Other names and forms of a plan's fields are made the plan's own, each with a line; what is not plain stays, and is refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from pytest_execgo.adapters.normalize import normalize
from pytest_execgo.plan.model import PlanContext, StandardPlan
from pytest_execgo.plan.problems import PlanInvalid

TASK = "$.stages[0].task_graph.tasks[0]"


def normalized(document: Any, context: PlanContext) -> StandardPlan:
    before = copy.deepcopy(document)
    try:
        return normalize(document, context, trace_ref="adapter_trace.json")
    finally:
        assert document == before, "the framework's own output is evidence, and stays as it was"


def labelled(**fields: Any) -> dict[str, Any]:
    return {"plan_id": "p", "scenario_id": "demo", "framework": "langgraph", "mode": "replay", **fields}


def stage(*tasks: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"stage_id": "one", "task_graph": {"tasks": list(tasks)}, **fields}


def mended(document: dict[str, Any], context: PlanContext) -> tuple[list[Any], list[str]]:
    plan = normalized(document, context)
    return [one.model_dump(exclude_unset=True) for one in plan.stages], plan.normalization_warnings


NOOP = {"id": "say", "type": "noop"}


@pytest.mark.parametrize(
    ("given", "warnings"),
    [
        ({"steps": [stage(NOOP)]}, ["$.steps: became 'stages'"]),
        ({"phases": [stage(NOOP)]}, ["$.phases: became 'stages'"]),
        ({"stages": [{"id": "one", "task_graph": {"tasks": [NOOP]}}]}, ["$.stages[0].id: became 'stage_id'"]),
        ({"stages": [{"name": "one", "task_graph": {"tasks": [NOOP]}}]}, ["$.stages[0].name: became 'stage_id'"]),
        ({"stages": [{"stage_id": "one", "tasks": [NOOP]}]}, ["$.stages[0].tasks: became task_graph.tasks"]),
        ({"stages": [{"stage_id": "one", "steps": [NOOP]}]}, ["$.stages[0].steps: became task_graph.tasks"]),
        ({"stages": [{"stage_id": "one", "task_graph": [NOOP]}]}, ["$.stages[0].task_graph: a list became task_graph.tasks"]),
        (
            {"stages": [stage(NOOP, bindings=None, submit_policy=None)]},
            ["$.stages[0].bindings: null was left out", "$.stages[0].submit_policy: null was left out"],
        ),
        ({"stages": [stage(NOOP, depends_on=[])]}, ["$.stages[0].depends_on: was left out: stages run in their order"]),
    ],
)
def test_stages_by_other_names(given: dict[str, Any], warnings: list[str], context: PlanContext) -> None:
    assert mended(labelled(**given), context) == ([stage(NOOP)], warnings)


def test_tasks_without_stages_become_one_stage(context: PlanContext) -> None:
    second = {"id": "then", "type": "noop", "depends_on": ["say"]}
    expected = [{"stage_id": "main", "task_graph": {"tasks": [NOOP, second]}}]
    line = "$.stages: tasks without stages became the one stage 'main'"
    assert mended(labelled(task_graph={"tasks": [NOOP, second]}), context) == (expected, [line])
    assert mended(labelled(tasks=[NOOP, second]), context) == (expected, [line, "$.stages[0].tasks: became task_graph.tasks"])
    lines = ["$.steps: became 'stages'", "$.stages: 2 tasks became those of the one stage 'main'"]
    assert mended(labelled(steps=[NOOP, second]), context) == (expected, lines)


def test_steps_that_are_tasks_keep_their_order_as_a_stage_each(context: PlanContext) -> None:
    second = {"id": "then", "type": "noop"}
    stages, warnings = mended(labelled(steps=[NOOP, second]), context)
    assert [(one["stage_id"], one["task_graph"]["tasks"]) for one in stages] == [("stage-1", [NOOP]), ("stage-2", [second])]
    assert warnings == ["$.steps: became 'stages'", "$.stages: 2 tasks became a stage each"]


def test_a_stage_that_waits_for_earlier_ones_needs_not_say_so(context: PlanContext) -> None:
    other = {"stage_id": "two", "task_graph": {"tasks": [{"id": "then", "type": "noop"}]}, "depends_on": ["one"]}
    stages, warnings = mended(labelled(stages=[stage(NOOP), other]), context)
    assert "depends_on" not in stages[1]
    assert warnings == ["$.stages[1].depends_on: was left out: stages run in their order"]
    with pytest.raises(PlanInvalid, match="depends_on"):
        normalized(labelled(stages=[stage(NOOP, depends_on=["two"]), other]), context)


def test_a_missing_stage_id_is_made_up(context: PlanContext) -> None:
    taken = {"stage_id": "stage-1", "task_graph": {"tasks": [{"id": "x", "type": "noop"}]}}
    stages, warnings = mended(labelled(stages=[{"task_graph": {"tasks": [NOOP]}}, taken]), context)
    assert [one["stage_id"] for one in stages] == ["stage-1-2", "stage-1"]
    assert warnings == ["$.stages[0].stage_id: missing became 'stage-1-2'"]


READ = {"action": "read", "path": "/x"}
RUN = {"execution": {"kind": "command", "program": "true"}}


@pytest.mark.parametrize(
    ("given", "expected", "warnings"),
    [
        ({"task_id": "say", "type": "noop"}, NOOP, ["task_id: became 'id'"]),
        ({"name": "say", "type": "noop"}, NOOP, ["name: became 'id'"]),
        ({**NOOP, "dependencies": []}, {**NOOP, "depends_on": []}, ["dependencies: became 'depends_on'"]),
        ({**NOOP, "deps": []}, {**NOOP, "depends_on": []}, ["deps: became 'depends_on'"]),
        ({**NOOP, "depends_on": None}, NOOP, ["depends_on: null was left out"]),
        ({**NOOP, "retries": "2"}, {**NOOP, "retry": 2}, ["retries: became 'retry'", 'retry: the text "2" became 2']),
        ({**NOOP, "timeout": 5000.0}, {**NOOP, "timeout": 5000}, ["timeout: the number 5000.0 became 5000"]),
        ({**NOOP, "timeout_ms": 5000}, {**NOOP, "timeout": 5000}, ["timeout_ms: became 'timeout'"]),
        (
            {"id": "say", "tool": "os.file", "args": READ},
            {"id": "say", "type": "file", "input": READ},
            ["tool: 'os.file' became the type 'os.file'", "args: became 'input'", "type: 'os.file' became 'file'"],
        ),
        (
            {"id": "say", "tool_name": "file", "arguments": READ},
            {"id": "say", "type": "file", "input": READ},
            ["tool_name: 'file' became the type 'file'", "arguments: became 'input'"],
        ),
        (
            {"id": "say", "type": "os", "tool_name": "file", "inputs": READ},
            {"id": "say", "type": "os", "tool_name": "file", "input": READ},
            ["inputs: became 'input'"],
        ),
        (
            {"id": "say", "type": "file", "input": '{"action": "read", "path": "/x"}'},
            {"id": "say", "type": "file", "input": READ},
            ["input: a text became the JSON object in it"],
        ),
        (
            {"id": "say", "tool": "runtime.command", "params": RUN},
            {"id": "say", "type": "runtime", "params": RUN},
            [
                "tool: 'runtime.command' became the type 'runtime.command'",
                "type: 'runtime.command' became 'runtime' with execution.kind 'command'",
            ],
        ),
        (
            {"id": "say", "tool": "command", "input": {"execution": {"program": "true"}}},
            {"id": "say", "type": "runtime", "input": RUN},
            [
                "tool: 'command' became the type 'runtime.command'",
                "type: 'runtime.command' became 'runtime' with execution.kind 'command'",
            ],
        ),
        (
            {**NOOP, "description": "says", "annotations": {"a": "b"}},
            {**NOOP, "annotations": {"description": "says", "a": "b"}},
            ["description: became an annotation"],
        ),
    ],
)
def test_tasks_by_other_names_and_forms(
    given: dict[str, Any], expected: dict[str, Any], warnings: list[str], context: PlanContext
) -> None:
    stages, said = mended(labelled(stages=[stage(given)]), context)
    assert stages[0]["task_graph"]["tasks"] == [expected]
    assert said == [f"{TASK}.{line}" for line in warnings]


def test_one_dependency_may_stand_alone(context: PlanContext) -> None:
    stages, said = mended(labelled(stages=[stage({"id": "then", "type": "noop", "needs": "say"}, NOOP)]), context)
    assert stages[0]["task_graph"]["tasks"][0]["depends_on"] == ["say"]
    assert said == [f"{TASK}.needs: became 'depends_on'", f'{TASK}.depends_on: the text "say" became a list of one']


def test_a_policys_numbers_may_be_texts(context: PlanContext) -> None:
    policy = {"poll_interval_ms": "100", "max_attempts": 30.0}
    stages, said = mended(labelled(stages=[stage(NOOP, submit_policy=policy)]), context)
    assert stages[0]["submit_policy"] == {"poll_interval_ms": 100, "max_attempts": 30}
    assert len(said) == 2


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (labelled(stages=[stage(NOOP)], steps=[]), "unknown_field"),
        (labelled(stages=[stage(NOOP)], tasks=[NOOP]), "unknown_field"),
        (labelled(stages=[stage({**NOOP, "depends_on": [], "needs": []})]), "unknown_field"),
        (labelled(stages=[stage({**NOOP, "input": {}, "args": {}})]), "unknown_field"),
        (labelled(stages=[stage({**NOOP, "tool": "os.file"})]), "unknown_field"),
        (labelled(stages=[stage({"id": "say", "tool": "web_search"})]), "unknown_field"),
        (labelled(stages=[stage({**NOOP, "timeout": "30s"})]), "bad_value"),
        (labelled(stages=[stage({**NOOP, "retry": 1.5})]), "bad_value"),
        (labelled(stages=[stage({**NOOP, "retry": True})]), "bad_value"),
    ],
)
def test_what_says_two_things_or_nothing_known_is_refused(document: dict[str, Any], code: str, context: PlanContext) -> None:
    with pytest.raises(PlanInvalid) as invalid:
        normalized(document, context)
    assert code in {problem.code for problem in invalid.value.problems}, invalid.value


def bound(source: Any, target: Any, **fields: Any) -> dict[str, Any]:
    ends = {"source_task_id": source, "target_task_id": target}
    return {**ends, "source_path": "output", "target_param_path": "input.message", **fields}


def test_ids_that_can_not_be_kept_are_renamed_and_all_that_names_them_follows(context: PlanContext) -> None:
    first = stage({"id": "read it", "type": "noop"}, {"id": 2, "type": "noop", "depends_on": ["read it"]}, stage_id="stage / one")
    second = stage({"id": "read-it", "type": "noop"}, {"id": "", "type": "noop"}, stage_id="two", bindings=[bound(2, "read-it")])
    stages, said = mended(labelled(stages=[first, second]), context)
    assert [one["stage_id"] for one in stages] == ["stage-one", "two"]
    tasks = [task for one in stages for task in one["task_graph"]["tasks"]]
    assert [task["id"] for task in tasks] == ["read-it-2", "2", "read-it", "task-4"]
    assert tasks[1]["depends_on"] == ["read-it-2"]
    assert (stages[1]["bindings"][0]["source_task_id"], stages[1]["bindings"][0]["target_task_id"]) == ("2", "read-it")
    assert said == [
        "$.stages[0].stage_id: the text \"stage / one\" became 'stage-one'",
        "$.stages[0].task_graph.tasks[0].id: the text \"read it\" became 'read-it-2'",
        "$.stages[0].task_graph.tasks[1].id: the number 2 became '2'",
        "$.stages[1].task_graph.tasks[1].id: the text \"\" became 'task-4'",
    ]


def test_ids_of_letters_digits_and_the_usual_signs_are_kept(context: PlanContext) -> None:
    names = ["a.b-c_d:e", "Übung", "x" * 120]
    stages, said = mended(labelled(stages=[stage(*({"id": name, "type": "noop"} for name in names))]), context)
    assert [task["id"] for task in stages[0]["task_graph"]["tasks"]] == names
    assert said == []


def test_an_id_that_two_tasks_share_is_a_problem_and_not_renamed(context: PlanContext) -> None:
    twice = {"id": "read it", "type": "noop"}
    with pytest.raises(PlanInvalid) as invalid:
        normalized(labelled(stages=[stage(twice, dict(twice))]), context)
    assert [problem.code for problem in invalid.value.problems] == ["duplicate_task_id"]


def test_an_endless_id_is_cut(context: PlanContext) -> None:
    stages, said = mended(labelled(stages=[stage({"id": "y" * 500, "type": "noop"})]), context)
    assert stages[0]["task_graph"]["tasks"][0]["id"] == "y" * 120
    assert len(said) == 1


def test_bindings_by_other_names(context: PlanContext) -> None:
    second = stage({"id": "then", "type": "noop"}, stage_id="two")
    second["bindings"] = [{"from_task": "say", "from_path": "output", "to_task": "then", "to_path": "input.message"}]
    stages, said = mended(labelled(stages=[stage(NOOP), second]), context)
    assert stages[1]["bindings"] == [bound("say", "then")]
    assert len(said) == 4
