"""From an action to the tasks that do it. Tasks are dicts as `submission.TASK` decodes them, so that one set of rules holds."""

from __future__ import annotations

import json
import time
from typing import Any

from pytest_execgo.kernel.actions.request import ActionRequest, Invalid, merged
from pytest_execgo.kernel.golang import decoding, kinds
from pytest_execgo.kernel.golang.syntax import GoJSONError
from pytest_execgo.kernel.golang.text import json_value, trim_space
from pytest_execgo.kernel.submission import TASKS, Refused, checked

_OBJECT = kinds.StringMap(kinds.Anything(), "map[string]interface {}")
_GRAPH = kinds.Struct(
    "",
    'struct { TaskGraph *models.TaskGraph "json:\\"task_graph,omitempty\\""; Tasks []*models.Task "json:\\"tasks,omitempty\\"" }',
    {"task_graph": kinds.Struct("TaskGraph", "models.TaskGraph", {"tasks": TASKS}, pointer=True), "tasks": TASKS},
)
_FILE_ACTIONS = {"file.read": "read", "file.write": "write"}
_DEPTH_SUSPECT = 200  # brackets
_FORWARDED = ("limits", "sandbox", "policy", "control_context")


def translate(request: ActionRequest) -> list[dict[str, Any]]:
    """Return the tasks of an action, held to the rules of a graph; `Refused` in ExecGo's words if they break one."""
    try:
        tasks = _tasks(request)
    except RecursionError as error:
        raise Invalid("input is nested too deeply") from error
    try:
        return checked(tasks)
    except Refused as error:
        raise Invalid(error.message) from error


def _tasks(request: ActionRequest) -> list[Any]:
    match request.kind.category:
        case "task-dsl":
            return _graph(request.input)
        case "runtime":
            return [_runtime_task(request)]
        case "mcp":
            return [_task(request, tool_name=_mcp_tool(request), input=request.input)]
        case "cli-skills":
            return [_task(request, tool_name="cli.run", input=request.input)]
        case _:
            return [_task(request, tool_name=request.kind.name.removeprefix("os."), input=_os_input(request))]


def _task(request: ActionRequest, task_id: str = "", **fields: Any) -> dict[str, Any]:
    return {
        "id": task_id or _task_id(request.action_id),
        "type": request.kind.category,
        **fields,
        "execution_category": request.kind.category,
        "depends_on": list(request.depends_on),
        "retry": request.retry,
        "timeout": request.timeout,
        "annotations": request.provenance(),
    }


def _task_id(action_id: str) -> str:
    return trim_space(action_id) or f"adapter-{time.time_ns()}"


def _os_input(request: ActionRequest) -> str | None:
    action = _FILE_ACTIONS.get(request.source_kind.lower())
    return request.input if action is None else json_value({"action": action, **_members(request.input)})


def _mcp_tool(request: ActionRequest) -> str:
    name = request.tool_name or _members(request.input).get("tool_name")
    if not isinstance(name, str) or not trim_space(name):
        raise Invalid("tool_name is required for mcp.call")
    return name


def _runtime_task(request: ActionRequest) -> dict[str, Any]:
    given = _members(request.input)
    task_id = _task_id(request.action_id)
    if not request.action_id:
        task_id = _text(given.get("task_id")) or task_id
    payload: dict[str, Any] = {"task_id": task_id, "execution": _execution(request, given)}
    payload.update({name: given[name] for name in _FORWARDED if name in given})
    payload["metadata"] = merged(_strings(given.get("metadata")), request.metadata, request.provenance())
    return _task(request, task_id, input=json_value(payload))


def _execution(request: ActionRequest, given: dict[str, Any]) -> dict[str, Any]:
    """Return the runtime's `execution`: the one that was given, else one built from the flat fields."""
    kind = request.kind.name.removeprefix("runtime.")
    if isinstance(given.get("execution"), dict):
        return {"kind": kind, **given["execution"]}
    subject, arguments = ("program", "args") if kind == "command" else ("script", "interpreter")
    text = _text(given.get(subject))
    if not text:
        raise Invalid(f"input.{subject} is required for {request.kind.name}")
    execution: dict[str, Any] = {"kind": kind, subject: text}
    words = given.get(arguments)
    if isinstance(words, list) and all(isinstance(word, str) for word in words):
        execution[arguments] = words
    environment = _strings(given.get("env"))
    if environment:
        execution["env"] = environment
    return execution


def _graph(text: str | None) -> list[Any]:
    if text is None:
        raise Invalid("input is required for task_graph.submit")
    try:
        given: dict[str, Any] = decoding.decode(text, _GRAPH) or {}
    except GoJSONError as error:
        raise Invalid(f"parse task graph input: {error}") from error
    graph = given.get("task_graph")
    tasks = given.get("tasks") if graph is None else graph.get("tasks") or []
    if tasks is None:
        raise Invalid("input must contain tasks or task_graph")
    found: list[Any] = tasks
    return found


def _members(text: str | None) -> dict[str, Any]:
    """Return an input's members, numbers as floats; no input and null have none."""
    if text is not None and text.count("{") + text.count("[") > _DEPTH_SUSPECT:
        json.loads(text)  # RecursionError when it is too deep to be taken apart; decoding would leave out what is too deep
    try:
        return {} if text is None else decoding.decode(text, _OBJECT) or {}
    except GoJSONError as error:
        raise Invalid(f"input must be a JSON object: {error}") from error


def _text(value: Any) -> str:
    return trim_space(value) if isinstance(value, str) else ""


def _strings(value: Any) -> dict[str, str]:
    return {key: item for key, item in value.items() if isinstance(item, str)} if isinstance(value, dict) else {}
