"""The action adapter: what agents are told, how each kind of action is translated, what is refused."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

NO_TIME = "0001-01-01T00:00:00Z"
KINDS = (
    "os.shell os.file os.http os.dns os.tcp os.sleep os.noop runtime.command runtime.script mcp.call cli.run task_graph.submit"
).split()
GRAPH = (
    'struct { TaskGraph *models.TaskGraph "json:\\"task_graph,omitempty\\""; Tasks []*models.Task "json:\\"tasks,omitempty\\"" }'
)
OBJECT = "map[string]interface {}"


def test_the_capabilities(subject: Any) -> None:
    answer = subject.call("GET", "/adapters/capabilities")
    assert answer.status == 200
    told = answer.json
    assert list(told) == ["schema_version", "profiles", "action_kinds", "compatibility_notes"]
    assert told["schema_version"] == "adapter.v1"
    assert told["profiles"] == ["generic", "claudecode", "codex", "openclaw"]
    assert told["action_kinds"] == KINDS
    assert told["compatibility_notes"] == [
        "POST /tasks remains the direct Task DSL path.",
        "POST /adapters/actions translates structured mature-agent actions into TaskGraph submissions.",
        "runtime.command and runtime.script use the runtime executor for process scheduling, resource limits, and sandbox policy.",
    ]


def test_the_tools(subject: Any) -> None:
    told = subject.call("GET", "/adapters/tools").json
    assert list(told) == ["schema_version", "tools"]
    assert told["schema_version"] == "adapter.v1"
    aliases = {
        "os.shell": ["shell", "bash", "terminal.command"],
        "os.file": ["file.read", "file.write"],
        "os.http": ["http.request"],
        "runtime.command": ["command"],
        "runtime.script": ["script"],
    }
    categories = {"mcp.call": "mcp", "cli.run": "cli-skills", "task_graph.submit": "task-dsl"}
    for kind, tool in zip(KINDS, told["tools"], strict=True):
        assert tool.pop("description")
        named = {"name": f"execgo.{kind}", "action_kind": kind, "category": categories.get(kind, kind.partition(".")[0])}
        more = {"aliases": aliases[kind]} if kind in aliases else {}
        subject.same(tool, {**named, "input_schema": {"type": "object"}, **more})


def request(kind: str, given: Any = None, *, action: Any = None, **more: Any) -> dict[str, Any]:
    """Build a request for action `§a`."""
    body = {"kind": kind} if given is None else {"kind": kind, "input": given}
    return {"action_id": "§a", "action": {**body, **(action or {})}, **more}


def notes(kind: str, **more: str) -> dict[str, str]:
    """Return the annotations of a request that says nothing but its action and id."""
    return dict(
        sorted({"action_id": "§a", "action_kind": kind, "adapter": "generic", "adapter_schema": "adapter.v1", **more}.items())
    )


def translated(
    kind: str, category: str, tool: str, given: Any, *, note: Any = None, task_id: str = "§a", middle: Any = None
) -> dict[str, Any]:
    """Return the task of a translation, its fields in order."""
    task: dict[str, Any] = {"id": task_id, "type": category}
    task |= {"tool_name": tool} if tool else {}
    task |= {} if given is None else {"input": given}
    task |= {"execution_category": category, **(middle or {}), "annotations": notes(kind) if note is None else note}
    return {**task, "status": "", "created_at": NO_TIME, "updated_at": NO_TIME}


def os_task(kind: str, given: Any, **more: Any) -> dict[str, Any]:
    return translated(f"os.{kind}", "os", kind, given, **more)


def runtime_task(kind: str, payload: dict[str, Any], **more: Any) -> dict[str, Any]:
    note = more.get("note") or notes(f"runtime.{kind}")
    full = {"task_id": more.get("task_id", "§a"), "metadata": note, **payload}
    return translated(f"runtime.{kind}", "runtime", "", dict(sorted(full.items())), **{**more, "note": note})


TRANSLATED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    **{
        f"os-{kind}": (request(f"os.{kind}", {"b": 1, "a": [2.50]}), os_task(kind, {"b": 1, "a": [2.50]}))
        for kind in ("shell", "file", "http", "dns", "tcp", "sleep", "noop")
    },
    **{
        f"alias-{alias}": (request(alias, {"x": 1}), os_task(kind, {"x": 1}))
        for alias, kind in [
            ("shell", "shell"),
            ("bash", "shell"),
            ("terminal.command", "shell"),
            ("http.request", "http"),
            ("noop", "noop"),
            ("dns", "dns"),
            ("tcp", "tcp"),
            ("sleep", "sleep"),
            (" OS.Noop\t", "noop"),
        ]
    },
    "no-input": (request("os.noop"), os_task("noop", None)),
    "scalar-input": (request("os.noop", 5), os_task("noop", 5)),
    "file-read": (request("file.read", {"path": "x"}), os_task("file", {"action": "read", "path": "x"})),
    "file-write": (
        request("File.Write", {"path": "x", "content": "y", "n": 1.0}),
        os_task("file", {"action": "write", "content": "y", "n": 1, "path": "x"}),
    ),
    "file-read-with-an-action": (request("file.read", {"action": "stat"}), os_task("file", {"action": "stat"})),
    "file-read-without-input": (request("file.read"), os_task("file", {"action": "read"})),
    "retry-and-timeout": (
        request("noop", action={"retry": 2, "timeout": 5}),
        os_task("noop", None, middle={"retry": 2, "timeout": 5}),
    ),
    "who-acts": (
        request("noop", adapter=" Codex ", agent_id=" a1 ", session_id="s1", metadata={" k ": " v ", "empty": " ", "adapter": "x"}),
        os_task("noop", None, note=notes("os.noop", adapter="codex", agent_id="a1", session_id="s1", k="v")),
    ),
    "mcp-call": (
        request("mcp.call", {"q": 1}, action={"tool_name": " t "}),
        translated("mcp.call", "mcp", "t", {"q": 1}),
    ),
    "mcp-call-named-in-the-input": (
        request("mcp.call", {"tool_name": " t "}),
        translated("mcp.call", "mcp", " t ", {"tool_name": " t "}),
    ),
    "mcp-call-any-input": (request("mcp.call", [1], action={"tool_name": "t"}), translated("mcp.call", "mcp", "t", [1])),
    "cli-run": (
        request("cli.run", {"command": "ls"}, action={"tool_name": "other"}),
        translated("cli.run", "cli-skills", "cli.run", {"command": "ls"}),
    ),
    "runtime-command": (
        request("command", {"program": " go ", "args": ["test", "<"], "env": {"A": "1", "N": 2}}),
        runtime_task("command", {"execution": {"args": ["test", "<"], "env": {"A": "1"}, "kind": "command", "program": "go"}}),
    ),
    "runtime-command-odd-args": (
        request("runtime.command", {"program": "go", "args": ["a", 1], "env": {"N": 2}, "cwd": "/"}),
        runtime_task("command", {"execution": {"kind": "command", "program": "go"}}),
    ),
    "runtime-script": (
        request("runtime.script", {"script": "echo\n", "interpreter": ["/bin/sh", "-c"], "args": ["x"]}),
        runtime_task("script", {"execution": {"interpreter": ["/bin/sh", "-c"], "kind": "script", "script": "echo"}}),
    ),
    "runtime-forwarded": (
        request("script", {"script": "x", "limits": {"b": 1e3, "a": 1}, "sandbox": None, "policy": [], "control_context": "c"}),
        runtime_task(
            "script",
            {
                "execution": {"kind": "script", "script": "x"},
                "limits": {"a": 1, "b": 1000},
                "sandbox": None,
                "policy": [],
                "control_context": "c",
            },
        ),
    ),
    "runtime-execution": (
        request("runtime.command", {"execution": {"program": "x", "cwd": "/"}, "program": "ignored"}),
        runtime_task("command", {"execution": {"cwd": "/", "kind": "command", "program": "x"}}),
    ),
    "runtime-execution-of-a-kind": (
        request("runtime.script", {"execution": {"kind": "emit"}}),
        runtime_task("script", {"execution": {"kind": "emit"}}),
    ),
    "runtime-metadata": (
        request("runtime.script", {"script": "x", "metadata": {"m": " 1 ", "n": 2, "k": "input"}}, metadata={"k": "request"}),
        {
            **runtime_task("script", {}, note=notes("runtime.script", k="request")),
            "input": {
                "execution": {"kind": "script", "script": "x"},
                "metadata": dict(sorted({**notes("runtime.script", k="request"), "m": "1"}.items())),
                "task_id": "§a",
            },
        },
    ),
    "runtime-action-id-wins": (
        request("runtime.script", {"script": "x", "task_id": "other"}),
        runtime_task("script", {"execution": {"kind": "script", "script": "x"}}),
    ),
    "graph": (
        request("task_graph.submit", {"tasks": [{"id": "§g", "type": "noop", "params": {"message": "x"}}]}),
        {"id": "§g", "type": "noop", "params": {"message": "x"}, "status": "", "created_at": NO_TIME, "updated_at": NO_TIME},
    ),
    "graph-nested": (
        request("task_graph.submit", {"task_graph": {"tasks": [{"id": "§g", "type": "what"}]}, "tasks": []}),
        {"id": "§g", "type": "what", "status": "", "created_at": NO_TIME, "updated_at": NO_TIME},
    ),
    "graph-as-it-was-sent": (
        request(
            "task_graph.submit",
            {
                "tasks": [
                    {
                        "updated_at": "2026-01-01T00:00:00.5+02:00",
                        "runtime": {
                            "attempt": 2,
                            "status": "s",
                            "output": {"b": 1, "a": 2},
                            "error": {"message": "m", "code": "c"},
                        },
                        "error": "e",
                        "result": [1],
                        "handle_id": "h",
                        "status": "success",
                        "annotations": {"b": "1", "a": "2"},
                        "id": "§g",
                        "type": "noop",
                    }
                ]
            },
        ),
        {
            "id": "§g",
            "type": "noop",
            "annotations": {"a": "2", "b": "1"},
            "status": "success",
            "handle_id": "h",
            "result": [1],
            "runtime": {"status": "s", "output": {"a": 2, "b": 1}, "attempt": 2, "error": {"code": "c", "message": "m"}},
            "error": "e",
            "created_at": NO_TIME,
            "updated_at": "2026-01-01T00:00:00.5+02:00",
        },
    ),
}


@pytest.mark.parametrize("case", TRANSLATED)
def test_an_action_is_translated(subject: Any, case: str) -> None:
    sent, task = TRANSLATED[case]
    answer = subject.call("POST", "/adapters/translate", sent)
    assert answer.status == 200, answer.text
    ids = [task["id"]]
    kind = sent["action"]["kind"].strip()
    found = answer.json
    normalized = found["translation_trace"]["normalized_kind"]
    assert normalized in KINDS
    trace = {
        "action_id": "§a",
        "adapter": sent.get("adapter", "generic").strip().lower(),
        "agent_id": sent.get("agent_id", ""),
        "normalized_kind": task.get("annotations", {}).get("action_kind", normalized),
        "schema_version": "adapter.v1",
        "session_id": sent.get("session_id", ""),
        "source_kind": kind,
        "task_ids": ids,
    }
    subject.same(found, {"accepted": 0, "task_ids": ids, "task_graph": {"tasks": [task]}, "translation_trace": trace})
    assert subject.call("GET", f"/tasks/{task['id']}").status == 404  # nothing was submitted


REFUSED: dict[str, tuple[Any, str]] = {
    "json-empty": (b"", "invalid JSON: EOF"),
    "json-array": (b"[]", "invalid JSON: json: cannot unmarshal array into Go value of type adapter.AgentActionRequest"),
    "json-action-string": (
        b'{"action":"noop"}',
        "invalid JSON: json: cannot unmarshal string into Go struct field AgentActionRequest.action of type adapter.AgentAction",
    ),
    "json-kind-number": (
        b'{"action":{"kind":1}}',
        "invalid JSON: json: cannot unmarshal number into Go struct field AgentAction.action.kind of type string",
    ),
    "json-timeout": (
        b'{"action":{"kind":"noop","timeout":0.5}}',
        "invalid JSON: json: cannot unmarshal number 0.5 into Go struct field AgentAction.action.timeout of type int64",
    ),
    "json-metadata": (
        b'{"metadata":{"a":1}}',
        "invalid JSON: json: cannot unmarshal number into Go struct field AgentActionRequest.metadata of type string",
    ),
    "kind-missing": ({}, "action.kind is required"),
    "kind-null-action": ({"action": None}, "action.kind is required"),
    "kind-blank": ({"action": {"kind": " \n"}}, "action.kind is required"),
    "kind-unknown": ({"action": {"kind": ' Not.Real" '}}, 'unknown action kind "Not.Real\\""'),
    "file-input-array": (
        request("file.read", [1]),
        f"input must be a JSON object: json: cannot unmarshal array into Go value of type {OBJECT}",
    ),
    "mcp-without-tool": (request("mcp.call"), "tool_name is required for mcp.call"),
    "mcp-blank-tool": (request("mcp.call", {"tool_name": " "}, action={"tool_name": " "}), "tool_name is required for mcp.call"),
    "mcp-tool-number": (request("mcp.call", {"tool_name": 1}), "tool_name is required for mcp.call"),
    "mcp-input-string": (
        request("mcp.call", "x"),
        f"input must be a JSON object: json: cannot unmarshal string into Go value of type {OBJECT}",
    ),
    "runtime-command-without-program": (request("command", {"script": "x"}), "input.program is required for runtime.command"),
    "runtime-command-blank": (request("command", {"program": " "}), "input.program is required for runtime.command"),
    "runtime-script-without-script": (request("runtime.script"), "input.script is required for runtime.script"),
    "runtime-input-number": (
        request("script", 1),
        f"input must be a JSON object: json: cannot unmarshal number into Go value of type {OBJECT}",
    ),
    "graph-without-input": (request("task_graph.submit"), "input is required for task_graph.submit"),
    "graph-of-nothing": (request("task_graph.submit", {}), "input must contain tasks or task_graph"),
    "graph-null-tasks": (request("task_graph.submit", {"tasks": None}), "input must contain tasks or task_graph"),
    "graph-array": (
        request("task_graph.submit", []),
        f"parse task graph input: json: cannot unmarshal array into Go value of type {GRAPH}",
    ),
    "graph-wrong-type": (
        request("task_graph.submit", {"tasks": 1}),
        "parse task graph input: json: cannot unmarshal number into Go struct field .tasks of type []*models.Task",
    ),
    "graph-wrong-task": (
        request("task_graph.submit", {"task_graph": {"tasks": [{"id": 1}]}}),
        "parse task graph input: json: cannot unmarshal number into Go struct field Task.task_graph.tasks.id of type string",
    ),
    "graph-empty": (request("task_graph.submit", {"tasks": []}), "task graph is empty"),
    "graph-empty-nested": (request("task_graph.submit", {"task_graph": {}}), "task graph is empty"),
    "graph-rule": (request("task_graph.submit", {"tasks": [{"id": "a"}]}), 'task "a": type is required'),
    "graph-cycle": (
        request(
            "task_graph.submit",
            {"tasks": [{"id": "a", "type": "x", "depends_on": ["b"]}, {"id": "b", "type": "x", "depends_on": ["a"]}]},
        ),
        "cycle detected in task graph",
    ),
    "dependency": (request("noop", action={"depends_on": ["b"]}), 'task "§a" depends on unknown task "b"'),
    "dependency-itself": (request("noop", action={"depends_on": ["§a"]}), 'task "§a" cannot depend on itself'),
}


@pytest.mark.parametrize("path", ["translate", "actions"])
@pytest.mark.parametrize("case", REFUSED)
def test_an_action_is_refused(subject: Any, case: str, path: str) -> None:
    sent, reason = REFUSED[case]
    answer = subject.call("POST", f"/adapters/{path}", sent)
    message = reason if reason.startswith("invalid JSON") else f"invalid adapter action: {reason}"
    assert (answer.status, answer.json) == (400, {"error": subject.own(message)})


def test_an_action_is_submitted(subject: Any) -> None:
    answer = subject.call("POST", "/adapters/actions", request("noop", {"message": "hi"}, agent_id="x", metadata={"k": "v"}))
    assert answer.status == 202
    found = answer.json
    assert list(found) == ["accepted", "task_ids", "task_graph", "translation_trace"]
    subject.same([found["accepted"], found["task_ids"]], [1, ["§a"]])
    (task,) = found["task_graph"]["tasks"]
    assert task["status"] in ("pending", "running")  # it may have begun already
    annotations = notes("os.noop", agent_id="x", k="v")
    start = {"id": "§a", "type": "os", "tool_name": "noop", "input": {"message": "hi"}, "execution_category": "os"}
    subject.same({name: task[name] for name in (*start, "annotations")}, {**start, "annotations": annotations})
    ended = subject.without_times(subject.ended("§a"))
    output = {"message": "hi", "ok": True}
    expected = {
        "id": "§a",
        "type": "os",
        "params": {"message": "hi"},
        "tool_name": "noop",
        "input": {"message": "hi"},
        "execution_category": "os",
        "annotations": annotations,
        "status": "success",
        "run_status": "success",
        "result": output,
        "runtime": {"status": "success", "output": output, "attempt": 1, "details": None},
    }
    subject.same(ended, expected)


def test_a_submitted_graph_is_normalised(subject: Any) -> None:
    tasks = [{"id": "§b", "type": "noop", "depends_on": ["§c"]}, {"id": "§c", "type": "sleep", "params": {"duration_ms": 0}}]
    answer = subject.call("POST", "/adapters/actions", request("task_graph.submit", {"tasks": tasks}))
    assert (answer.status, answer.json["accepted"]) == (202, 2)
    subject.same(answer.json["task_ids"], ["§b", "§c"])
    assert [task["type"] for task in answer.json["task_graph"]["tasks"]] == ["os", "os"]
    assert subject.ended("§b")["status"] == "success"


def test_an_unknown_type_is_refused_when_it_is_submitted(subject: Any) -> None:
    sent = request("task_graph.submit", {"tasks": [{"id": "§b", "type": "what"}]})
    assert subject.call("POST", "/adapters/translate", sent).status == 200
    answer = subject.call("POST", "/adapters/actions", sent)
    assert (answer.status, answer.json["error"]) == (400, "unknown task type: what (available: cli-skills, mcp, os, runtime)")


@pytest.mark.parametrize(
    ("sent", "task_id"),
    [
        ({"action": {"kind": "noop"}}, r"adapter-[0-9]{16,20}"),
        ({"action_id": " \t", "action": {"kind": "script", "input": {"script": "x", "task_id": "mine"}}}, r"adapter-[0-9]{16,20}"),
        ({"action": {"kind": "script", "input": {"script": "x", "task_id": " mine "}}}, "mine"),
        ({"action_id": " x ", "action": {"kind": "noop"}}, "x"),
    ],
    ids=["made", "blank", "of-the-input", "trimmed"],
)
def test_where_the_id_comes_from(subject: Any, sent: dict[str, Any], task_id: str) -> None:
    found = subject.call("POST", "/adapters/translate", sent).json
    (task,) = found["task_graph"]["tasks"]
    assert re.fullmatch(task_id, task["id"])
    assert found["task_ids"] == found["translation_trace"]["task_ids"] == [task["id"]]
    assert found["translation_trace"]["action_id"] == sent.get("action_id", "")
    assert task.get("input", {}).get("task_id", task["id"]) == task["id"]


def test_raw_input_comes_back_compact_and_escaped(subject: Any) -> None:
    body = b'{"action":{"kind":"noop","input": {"z": 1.50, "a": [ "<" ] } }} and more'
    text = subject.call("POST", "/adapters/translate", body).text
    assert '"input":{"z":1.50,"a":["\\u003c"]},"execution_category":"os"' in text
    body = json.dumps({"action": {"kind": "file.read", "input": {"z": 1.50, "a": "<", "big": 10**21}}}).encode()
    text = subject.call("POST", "/adapters/translate", body).text
    assert '"input":{"a":"\\u003c","action":"read","big":1e+21,"z":1.5},' in text
