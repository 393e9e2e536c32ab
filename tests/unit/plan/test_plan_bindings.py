"""Bindings of a plan: tasks and paths that can or can't exist."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_execgo.plan.validate import check_plan

Document = dict[str, Any]
B = "$.stages[1].bindings[0]"


def binding(**fields: Any) -> Document:
    base = {"source_task_id": "fetch", "source_path": "output.files.0"}
    return base | {"target_task_id": "run", "target_param_path": "input.execution.env.FILE"} | fields


def bind(plan: Document, *bindings: Document) -> None:
    plan["stages"][1]["bindings"] = list(bindings)


BINDINGS: list[tuple[dict[str, Any], str, str, str]] = [
    ({"source_task_id": "fetsh"}, "source_task_id", "binding_source_unknown", "did you mean 'fetch'?"),
    ({"source_task_id": "save"}, "source_task_id", "binding_source_not_earlier", "this same stage"),
    ({"target_task_id": "ru"}, "target_task_id", "binding_target_unknown", "allowed: run, save"),
    ({"target_task_id": "parse"}, "target_task_id", "binding_target_unknown", "belongs to stage 'collect'"),
    ({"source_path": "outputs.files"}, "source_path", "binding_source_path", "did you mean 'output'?"),
    ({"source_path": "runtime.outputs"}, "source_path", "binding_source_path", "no 'runtime.outputs'; did you mean 'output'?"),
    ({"source_path": "runtime.error.kode"}, "source_path", "binding_source_path", "did you mean 'code'?"),
    ({"source_path": "status.code"}, "source_path", "binding_source_path", "'status' is a plain value"),
    ({"source_path": "output..x"}, "source_path", "binding_source_path", "empty key"),
    ({"source_path": "output.x\\"}, "source_path", "binding_source_path", "backslash"),
    ({"target_param_path": "timeout"}, "target_param_path", "binding_target_path", "allowed: input or params"),
    ({"target_param_path": "execution.env.A"}, "target_param_path", "binding_target_path", "allowed: input or params"),
    ({"target_param_path": "input..A"}, "target_param_path", "binding_target_path", "empty key"),
    ({"target_param_path": "input.execution.program.x"}, "target_param_path", "binding_target_path", '"python3"'),
    ({"target_param_path": "input.execution.args.2"}, "target_param_path", "binding_target_path", "index from 0 to 1"),
    ({"target_param_path": "input.execution.args.first"}, "target_param_path", "binding_target_path", "index from 0 to 1"),
    ({"target_param_path": "params.execution.env.A"}, "target_param_path", "binding_target_path", "arguments are in 'input'"),
    ({"target_param_path": "input.execution.kind"}, "target_param_path", "binding_changes_tool", "which tool"),
    ({"target_param_path": "input.execution"}, "target_param_path", "binding_changes_tool", "which tool"),
    ({"target_param_path": "input"}, "target_param_path", "binding_changes_tool", "which tool"),
    ({"required": "no"}, "required", "bad_value", "true or false"),
    ({"source_path": ""}, "source_path", "bad_value", "at least 1 character"),
]


@pytest.mark.parametrize(
    ("fields", "field", "code", "words"), BINDINGS, ids=[f"{row[2]}-{row[1]}-{n}" for n, row in enumerate(BINDINGS)]
)
def test_bindings(plan: Document, fields: dict[str, Any], field: str, code: str, words: str) -> None:
    bind(plan, binding(**fields))
    (problem,) = check_plan(plan)
    assert (problem.path, problem.code) == (f"{B}.{field}", code)
    assert words in problem.message


def test_a_binding_from_a_later_stage(plan: Document) -> None:
    plan["stages"][0]["bindings"] = [binding(source_task_id="run", target_task_id="fetch", target_param_path="params.message")]
    (problem,) = check_plan(plan)
    assert problem.code == "binding_source_not_earlier"
    assert "the later stage 'execute'" in problem.message


@pytest.mark.parametrize(
    "path",
    [
        "input.execution.args.0",
        "input.execution.args.1",
        "input.execution.cwd",
        "input.limits.wall_time_ms",
    ],
)
def test_target_paths_that_can_exist(plan: Document, path: str) -> None:
    bind(plan, binding(target_param_path=path))
    assert check_plan(plan) == []


@pytest.mark.parametrize(
    "path", ["output", "runtime.output.output.files.0", "result.stdout", "runtime.error.details.x", "error", r"output.a\.b"]
)
def test_source_paths_that_can_exist(plan: Document, path: str) -> None:
    bind(plan, binding(source_path=path))
    assert check_plan(plan) == []


def test_bindings_of_one_task_build_on_each_other(plan: Document) -> None:
    appended = [binding(target_param_path=f"input.execution.args.{index}") for index in (1, 2, 3)]
    bind(plan, *appended, binding(target_param_path="input.metadata.new.0"))
    assert check_plan(plan) == []
    bind(plan, appended[0], appended[2])
    assert [problem.path for problem in check_plan(plan)] == ["$.stages[1].bindings[1].target_param_path"]


def test_a_whole_argument_object_may_be_bound_where_it_does_not_choose_the_tool(plan: Document) -> None:
    bind(plan, binding(target_task_id="save", target_param_path="input"))
    assert check_plan(plan) == []


@pytest.mark.parametrize("root", ["input", "params"])
def test_arguments_of_a_task_without_any_can_go_to_either_field(plan: Document, root: str) -> None:
    plan["stages"][1]["task_graph"]["tasks"].append({"id": "bare", "type": "noop", "params": None})
    bind(plan, binding(target_task_id="bare", target_param_path=f"{root}.message"))
    assert check_plan(plan) == []
