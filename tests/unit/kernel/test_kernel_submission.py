"""The rules of POST /tasks, in their order, and normalisation."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_execgo.kernel.submission import Refused, read_graph
from pytest_execgo.kernel.task import TaskSpec


def graph(*tasks: Any) -> bytes:
    return json.dumps({"tasks": tasks}).encode()


def task(task_id: str, *depends_on: str, **more: Any) -> dict[str, Any]:
    return {"id": task_id, "type": "noop", "depends_on": list(depends_on), **more}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "invalid JSON: EOF"),
        (b"{}", "task graph is empty"),
        (b"null", "task graph is empty"),
        (b'{"tasks":null}', "task graph is empty"),
        (b'{"tasks":[]}', "task graph is empty"),
        (b'{"tasks":[null]}', "task id is required"),
        (b'{"tasks":5}', "invalid JSON: json: cannot unmarshal number into Go struct field TaskGraph.tasks of type []*models.Task"),
        (b'{"tasks":[5]}', "invalid JSON: json: cannot unmarshal number into Go struct field TaskGraph.tasks of type models.Task"),
        (graph({"id": 5}), "invalid JSON: json: cannot unmarshal number into Go struct field Task.tasks.id of type string"),
        (
            graph({"id": "a", "retry": "1"}),
            "invalid JSON: json: cannot unmarshal string into Go struct field Task.tasks.retry of type int",
        ),
        (
            graph({"id": "a", "timeout": 1.5}),
            "invalid JSON: json: cannot unmarshal number 1.5 into Go struct field Task.tasks.timeout of type int64",
        ),
        (
            graph({"id": "a", "status": 1}),
            "invalid JSON: json: cannot unmarshal number into Go struct field Task.tasks.status of type models.TaskStatus",
        ),
        (
            graph({"id": "a", "runtime": {"status": 1}}),
            "invalid JSON: json: cannot unmarshal number into Go struct field "
            "RuntimeResult.tasks.runtime.status of type models.RuntimeStatus",
        ),
        (graph({}), "task id is required"),
        (graph({"id": "", "type": ""}), "task id is required"),
        (graph({"id": 'a"\n'}), 'task "a\\"\\n": type is required'),
        (graph(task("a"), task("a")), 'duplicate task id: "a"'),
        # names of all tasks come before dependencies of any
        (graph(task("a", "nope"), {"id": "b"}), 'task "b": type is required'),
        (graph(task("a", "é<")), 'task "a" depends on unknown task "é<"'),
        (graph(task("a", "a")), 'task "a" cannot depend on itself'),
        (graph(task("a", "a", "nope")), 'task "a" cannot depend on itself'),
        (graph({**task("a"), "depends_on": [None]}), 'task "a" depends on unknown task ""'),
        (graph(task("a", "b"), task("b", "a"), {"id": "c", "type": "what"}), "cycle detected in task graph"),
        (graph(task("a"), {"id": "b", "type": "Noop"}), "unknown task type: Noop (available: cli-skills, mcp, os, runtime)"),
        (graph({"id": "b", "type": " os"}), "unknown task type:  os (available: cli-skills, mcp, os, runtime)"),
    ],
)
def test_refusals(body: bytes, message: str) -> None:
    with pytest.raises(Refused) as caught:
        read_graph(body)
    assert caught.value.message == message


def test_a_dependency_named_twice_is_no_cycle() -> None:
    assert [spec.depends_on for spec in read_graph(graph(task("a"), task("b", "a", "a")))] == [(), ("a", "a")]


def test_what_a_client_may_not_say_is_dropped() -> None:
    forged = {
        **task("a"),
        "status": "success",
        "run_status": "success",
        "handle_id": "h",
        "progress": [1],
        "result": 1,
        "error": "e",
        "runtime": {"status": "success", "error": {"code": "x"}, "started_at": "2026-01-01T00:00:00Z"},
        "created_at": "2026-01-01T00:00:00Z",
    }
    assert read_graph(graph(forged)) == read_graph(graph(task("a")))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            {"type": "shell", "params": {"command": "ls"}},
            TaskSpec("t", "os", '{"command":"ls"}', "shell", '{"command":"ls"}', "os"),
        ),
        ({"type": "noop"}, TaskSpec("t", "os", None, "noop", None, "os")),
        ({"type": " noop ", "params": 1, "input": 2}, TaskSpec("t", "os", "1", " noop ", "2", "os")),
        (
            {"type": "file", "tool_name": "shell", "execution_category": "x"},
            TaskSpec("t", "os", None, "file", None, "os"),
        ),
        ({"type": "os", "tool_name": "noop", "input": {}}, TaskSpec("t", "os", None, "noop", "{}", "")),
        ({"type": "runtime", "params": {}, "execution_category": "c"}, TaskSpec("t", "runtime", "{}", category="c")),
        ({"type": "mcp", "annotations": {"b": "2", "a": None}}, TaskSpec("t", "mcp", annotations='{"a":"","b":"2"}')),
        (
            {"type": "mcp", "params": None, "input": None, "depends_on": None, "annotations": {}, "retry": None},
            TaskSpec("t", "mcp"),
        ),
        ({"type": "mcp", "retry": -1, "timeout": 10**15}, TaskSpec("t", "mcp", retry=-1, timeout=10**15)),
    ],
)
def test_normalisation(given: dict[str, Any], expected: TaskSpec) -> None:
    assert read_graph(graph({"id": "t", **given})) == [expected]


def test_a_long_ladder_is_checked_quickly() -> None:
    tasks = [task("0")] + [task(str(i), *([str(i - 1)] * 3)) for i in range(1, 5_000)]
    assert len(read_graph(graph(*tasks))) == 5_000
