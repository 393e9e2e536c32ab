"""What POST /tasks accepts: the types of a task graph, and the rules in the order in which ExecGo checks them."""

from __future__ import annotations

from typing import Any

from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.kernel.golang import decoding, kinds
from pytest_execgo.kernel.golang.syntax import GoJSONError
from pytest_execgo.kernel.golang.text import json_string, quote
from pytest_execgo.kernel.normalise import CANONICAL_TYPES, normalise
from pytest_execgo.kernel.task import TaskSpec

_RUN_ERROR = kinds.Struct(
    "RuntimeError",
    "models.RuntimeError",
    {
        "code": kinds.String("models.ErrorCode"),
        "message": kinds.String(),
        "retryable": kinds.Bool(),
        "source": kinds.String(),
        "details": kinds.Anything(),
    },
    pointer=True,
)
_RUN = kinds.Struct(
    "RuntimeResult",
    "models.RuntimeResult",
    {
        "status": kinds.String("models.RuntimeStatus"),
        "handle_id": kinds.String(),
        "output": kinds.Anything(),
        "started_at": kinds.Time(),
        "finished_at": kinds.Time(),
        "duration_ms": kinds.Int("int64"),
        "attempt": kinds.Int(),
        "details": kinds.Anything(),
        "error": _RUN_ERROR,
    },
    pointer=True,
)
# what the service itself sets must still be of the right type when a client sends it; then it is dropped
TASK = kinds.Struct(
    "Task",
    "models.Task",
    {
        "id": kinds.String(),
        "type": kinds.String(),
        "params": kinds.Raw(),
        "tool_name": kinds.String(),
        "input": kinds.Raw(),
        "execution_category": kinds.String(),
        "depends_on": kinds.Slice(kinds.String(), "[]string"),
        "retry": kinds.Int(),
        "timeout": kinds.Int("int64"),
        "annotations": kinds.StringMap(kinds.String(), "map[string]string"),
        "status": kinds.String("models.TaskStatus"),
        "run_status": kinds.String(),
        "handle_id": kinds.String(),
        "progress": kinds.Raw(),
        "result": kinds.Raw(),
        "runtime": _RUN,
        "error": kinds.String(),
        "created_at": kinds.Time(),
        "updated_at": kinds.Time(),
    },
    pointer=True,
    often_plain=True,
)
TASKS = kinds.Slice(TASK, "[]*models.Task")
_GRAPH = kinds.Struct("TaskGraph", "models.TaskGraph", {"tasks": TASKS})


class Refused(ExecGoError):
    """A submission that breaks a rule; the message is ExecGo's."""

    def __init__(self, message: str) -> None:
        super().__init__("submission_refused", message)


def read_graph(body: bytes) -> list[TaskSpec]:
    """Read, check and normalise a task graph; `Refused` with the first rule that it breaks.

    A task that is `null` has neither id nor type and is refused for that (the real service crashes on it).
    """
    try:
        graph = decoding.decode_first(body, _GRAPH) or {}
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
        task["id"],
        task["type"],
        task.get("params"),
        task.get("tool_name") or "",
        task.get("input"),
        task.get("execution_category") or "",
        tuple(task["depends_on"]),
        task.get("retry") or 0,
        task.get("timeout") or 0,
        _string_map(annotations) if annotations else None,
    )


def _string_map(values: dict[str, str | None]) -> str:
    members = (f"{json_string(key)}:{json_string(value or '')}" for key, value in sorted(values.items()))
    return "{" + ",".join(members) + "}"
