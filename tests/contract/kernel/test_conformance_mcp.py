"""mcp: tools, calls and their handles, tasks in graphs."""

from __future__ import annotations

import re
from typing import Any

import pytest

HANDLE = re.compile(r"mcp-[0-9]{16,20}\Z")
ORDER = "task_id status handle_id output details progress started_at finished_at duration_ms attempt error".split()
CALL = (
    'struct { ID string "json:\\"id\\""; ToolName string "json:\\"tool_name\\""; Input json.RawMessage "json:\\"input\\""; '
    'Timeout int64 "json:\\"timeout,omitempty\\"" }'
)


def checked(subject: Any, handle: dict[str, Any]) -> dict[str, Any]:
    """Check the parts of a handle that differ from run to run, and take them out."""
    assert list(handle) == [name for name in ORDER if name in handle]
    assert HANDLE.match(handle.pop("handle_id"))
    steps = handle.pop("progress")
    assert [list(step) for step in steps] == [["timestamp", "message"]] * len(steps)
    assert subject.in_order(*(step["timestamp"] for step in steps))
    assert handle.pop("started_at") == steps[0]["timestamp"]
    handle.pop("duration_ms", None)
    assert ("finished_at" in handle) == (handle["status"] == "success")
    handle.pop("finished_at", None)
    handle["steps"] = [step["message"] for step in steps]
    return handle


def test_the_tools(subject: Any) -> None:
    assert subject.call("GET", "/mcp/tools").text == (
        '{"tools":[{"name":"mcp.execute","category":"mcp","description":"Execute MCP task and return handle",'
        '"input_schema":{"type":"object"}}]}\n'
    )


CALLS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "all-fields": (
        {"id": "§m", "tool_name": "demo.echo", "input": {"b": [1.50, "<"], "a": None}, "timeout": 1000},
        {"task_id": "§m"},
        '{"echo":{"b":[1.5,"\\u003c"],"a":null},"tool_name":"demo.echo"}',
    ),
    "no-id": ({"tool_name": "t"}, {}, '{"echo":null,"tool_name":"t"}'),
    "nothing": ({}, {}, '{"echo":null,"tool_name":""}'),
    "null-input": ({"input": None}, {}, '{"echo":null,"tool_name":""}'),
    "scalar-input": ({"tool_name": "&", "input": 7}, {}, '{"echo":7,"tool_name":"\\u0026"}'),
    "negative-timeout": ({"id": "§n", "timeout": -1}, {"task_id": "§n"}, '{"echo":null,"tool_name":""}'),
}


@pytest.mark.parametrize("case", CALLS)
def test_a_call_is_taken_and_found_by_its_handle(subject: Any, case: str) -> None:
    sent, named, output = CALLS[case]
    answer = subject.call("POST", "/mcp/call", sent)
    assert answer.status == 202
    path = f"/mcp/tasks/{answer.json['handle_id']}"
    taken = checked(subject, answer.json)
    steps = ["task accepted", "task started", "task completed"]
    assert taken["status"] in ("accepted", "running", "success")  # the answer and the call run side by side
    assert taken["steps"] == steps[: len(taken["steps"])]
    assert taken.get("task_id") == subject.own(named).get("task_id")
    subject.until(path, lambda handle: handle["status"] == "success")
    found = subject.call("GET", path)
    assert f'"output":{output},"progress":[' in found.text
    ended = checked(subject, found.json)
    ended.pop("output")
    subject.same(ended, {**named, "status": "success", "steps": steps})


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "EOF"),
        (b"{", "unexpected EOF"),
        (b"[]", f"json: cannot unmarshal array into Go value of type {CALL}"),
        (b'{"id":1}', "json: cannot unmarshal number into Go struct field .id of type string"),
        (b'{"tool_name":[]}', "json: cannot unmarshal array into Go struct field .tool_name of type string"),
        (b'{"timeout":1.5}', "json: cannot unmarshal number 1.5 into Go struct field .timeout of type int64"),
        (b'{"timeout":"1"}', "json: cannot unmarshal string into Go struct field .timeout of type int64"),
    ],
    ids=["empty", "cut-short", "array", "id-number", "tool-array", "timeout-fraction", "timeout-string"],
)
def test_a_call_is_refused(subject: Any, body: bytes, error: str) -> None:
    answer = subject.call("POST", "/mcp/call", body)
    assert (answer.status, answer.json) == (400, {"error": f"invalid JSON: {error}"})


def test_an_unknown_handle(subject: Any) -> None:
    answer = subject.call("GET", "/mcp/tasks/mcp-1")
    assert (answer.status, answer.text) == (404, '{"error":"handle not found: mcp-1"}\n')


@pytest.mark.parametrize(
    ("given", "echo"),
    [({"input": {"x": 1}}, {"x": 1}), ({"params": [1]}, [1]), ({"params": 1, "input": 2}, 2), ({}, None)],
    ids=["input", "params", "both", "neither"],
)
def test_a_task_in_a_graph_has_a_handle(subject: Any, given: dict[str, Any], echo: Any) -> None:
    task, _ = subject.run(
        {"id": "§m", "type": "mcp", "tool_name": "demo", **given},
        {"id": "§after", "type": "noop", "depends_on": ["§m"]},
    )
    handle_id = task["handle_id"]
    assert HANDLE.match(handle_id)
    assert [list(step) for step in task["progress"]] == [["timestamp", "message"]] * 3
    assert [step["message"] for step in task["progress"]] == ["task accepted", "task started", "task completed"]
    output = {"echo": echo, "tool_name": "demo"}
    progress = task["progress"]
    envelope = {"id": "§m", "type": "mcp", "tool_name": "demo", **given}
    order = ("id", "type", "params", "tool_name", "input")
    expected = {
        **{name: envelope[name] for name in order if name in envelope},
        "status": "success",
        "run_status": "success",
        "handle_id": handle_id,
        "progress": progress,
        "result": output,
        "runtime": {"status": "success", "handle_id": handle_id, "output": output, "attempt": 1, "details": None},
    }
    subject.same(subject.without_times(task), expected)
    handle = subject.call("GET", f"/mcp/tasks/{handle_id}").json
    assert (handle["task_id"], handle["status"], handle["output"]) == (subject.own("§m"), "success", output)
    assert handle["progress"] == progress
