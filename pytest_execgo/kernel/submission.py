"""What POST /tasks accepts: the types of a task graph, and the rules in the order in which ExecGo checks them."""

from __future__ import annotations

from typing import Any

from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.kernel import gojson, gokinds
from pytest_execgo.kernel.goformat import json_string, quote
from pytest_execgo.kernel.gosyntax import GoJSONError
from pytest_execgo.kernel.normalise import CANONICAL_TYPES, normalise
from pytest_execgo.kernel.task import TaskSpec

_RUN_ERROR = gokinds.Struct(
    "RuntimeError",
    "models.RuntimeError",
    {
        "code": gokinds.String("models.ErrorCode"),
        "message": gokinds.String(),
        "retryable": gokinds.Bool(),
        "source": gokinds.String(),
        "details": gokinds.Anything(),
    },
    pointer=True,
)
_RUN = gokinds.Struct(
    "RuntimeResult",
    "models.RuntimeResult",
    {
        "status": gokinds.String("models.RuntimeStatus"),
        "handle_id": gokinds.String(),
        "output": gokinds.Anything(),
        "started_at": gokinds.Time(),
        "finished_at": gokinds.Time(),
        "duration_ms": gokinds.Int("int64"),
        "attempt": gokinds.Int(),
        "details": gokinds.Anything(),
        "error": _RUN_ERROR,
    },
    pointer=True,
)
# what the service itself sets must still be of the right type when a client sends it; then it is dropped
TASK = gokinds.Struct(
    "Task",
    "models.Task",
    {
        "id": gokinds.String(),
        "type": gokinds.String(),
        "params": gokinds.Raw(),
        "tool_name": gokinds.String(),
        "input": gokinds.Raw(),
        "execution_category": gokinds.String(),
        "depends_on": gokinds.Slice(gokinds.String(), "[]string"),
        "retry": gokinds.Int(),
        "timeout": gokinds.Int("int64"),
        "annotations": gokinds.StringMap(gokinds.String(), "map[string]string"),
        "status": gokinds.String("models.TaskStatus"),
        "run_status": gokinds.String(),
        "handle_id": gokinds.String(),
        "progress": gokinds.Raw(),
        "result": gokinds.Raw(),
        "runtime": _RUN,
        "error": gokinds.String(),
        "created_at": gokinds.Time(),
        "updated_at": gokinds.Time(),
    },
    pointer=True,
)
TASKS = gokinds.Slice(TASK, "[]*models.Task")
_GRAPH = gokinds.Struct("TaskGraph", "models.TaskGraph", {"tasks": TASKS})


class Refused(ExecGoError):
    """A submission that breaks a rule; the message is ExecGo's."""

    def __init__(self, message: str) -> None:
        super().__init__("submission_refused", message)


def read_graph(body: bytes) -> list[TaskSpec]:
    """Read, check and normalise a task graph; `Refused` with the first rule that it breaks.

    A task that is `null` has neither id nor type and is refused for that (the real service crashes on it).
    """
    try:
        graph = gojson.decode_first(body, _GRAPH) or {}
    except GoJSONError as error:
        raise Refused(f"invalid JSON: {error}") from error
    return specs_of(checked(graph.get("tasks") or []))


def checked(decoded: list[dict[str, Any] | None]) -> list[dict[str, Any]]:
    """Hold decoded tasks to the rules of a graph; return them with ids, types and dependencies filled in. `Refused` if broken."""
    tasks = [_with_zeros(task) for task in decoded]
    if not tasks:
        raise Refused("task graph is empty")
    _check_names(tasks)
    _check_dependencies(tasks)
    return tasks


def specs_of(tasks: list[dict[str, Any]]) -> list[TaskSpec]:
    """Normalise checked tasks, in place, and return what the scheduler takes; `Refused` for an unknown type."""
    for task in tasks:
        normalise(task)
        if task["type"] not in CANONICAL_TYPES:
            raise Refused(f"unknown task type: {task['type']} (available: {', '.join(CANONICAL_TYPES)})")
    return [_spec(task) for task in tasks]


def _with_zeros(task: dict[str, Any] | None) -> dict[str, Any]:
    task = task or {}
    task["id"] = task.get("id") or ""
    task["type"] = task.get("type") or ""
    task["depends_on"] = [dependency or "" for dependency in task.get("depends_on") or ()]
    return task


def _check_names(tasks: list[dict[str, Any]]) -> None:
    seen: set[str] = set()
    for task in tasks:
        if not task["id"]:
            raise Refused("task id is required")
        if not task["type"]:
            raise Refused(f"task {quote(task['id'])}: type is required")
        if task["id"] in seen:
            raise Refused(f"duplicate task id: {quote(task['id'])}")
        seen.add(task["id"])


def _check_dependencies(tasks: list[dict[str, Any]]) -> None:
    waiting = {task["id"]: len(task["depends_on"]) for task in tasks}
    dependants: dict[str, list[str]] = {}
    for task in tasks:
        for dependency in task["depends_on"]:
            if dependency not in waiting:
                raise Refused(f"task {quote(task['id'])} depends on unknown task {quote(dependency)}")
            if dependency == task["id"]:
                raise Refused(f"task {quote(task['id'])} cannot depend on itself")
            dependants.setdefault(dependency, []).append(task["id"])
    free = [task_id for task_id, count in waiting.items() if not count]
    for task_id in free:
        for dependant in dependants.get(task_id, ()):
            waiting[dependant] -= 1
            if not waiting[dependant]:
                free.append(dependant)
    if len(free) != len(tasks):
        raise Refused("cycle detected in task graph")


def _spec(task: dict[str, Any]) -> TaskSpec:
    annotations = task.get("annotations")
    return TaskSpec(
        id=task["id"],
        type=task["type"],
        params=task.get("params"),
        tool_name=task.get("tool_name") or "",
        input=task.get("input"),
        category=task.get("execution_category") or "",
        depends_on=tuple(task["depends_on"]),
        retry=task.get("retry") or 0,
        timeout=task.get("timeout") or 0,
        annotations=_string_map(annotations) if annotations else None,
    )


def _string_map(values: dict[str, str | None]) -> str:
    members = (f"{json_string(key)}:{json_string(value or '')}" for key, value in sorted(values.items()))
    return "{" + ",".join(members) + "}"
