"""What the adapter answers: the graph of an action, task by task, and the trace of its translation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pytest_execgo.kernel.actions.request import ActionRequest, Invalid, string_map
from pytest_execgo.kernel.golang.text import json_string, json_strings, json_value

_NO_TIME = "0001-01-01T00:00:00Z"  # Go's zero time


def encode_answer(request: ActionRequest, task_ids: list[str], tasks: Iterable[str], accepted: int = 0) -> str:
    """Return the JSON of an answer; `tasks` are the tasks' JSON texts, `accepted` is how many were submitted."""
    return (
        f'{{"accepted":{accepted},"task_ids":{json_strings(task_ids)},"task_graph":{{"tasks":[{",".join(tasks)}]}},'
        f'"translation_trace":{request.trace(task_ids)}}}'
    )


def encode_task(task: dict[str, Any]) -> str:
    """Return the JSON of a task that was translated only: as it was sent, whatever it claims of its own state."""
    parts = [f'"id":{json_string(task["id"])},"type":{json_string(task["type"])}']
    parts += _raw(task, "params") + _text(task, "tool_name") + _raw(task, "input") + _text(task, "execution_category")
    if task["depends_on"]:
        parts.append(f'"depends_on":{json_strings(task["depends_on"])}')
    parts += _number(task, "retry") + _number(task, "timeout")
    if task.get("annotations"):
        parts.append(f'"annotations":{string_map({key: value or "" for key, value in task["annotations"].items()})}')
    parts.append(f'"status":{json_string(task.get("status") or "")}')
    parts += _text(task, "run_status") + _text(task, "handle_id") + _raw(task, "progress") + _raw(task, "result")
    if task.get("runtime") is not None:
        try:
            parts.append(f'"runtime":{_encode_run(task["runtime"])}')
        except RecursionError as error:
            raise Invalid("input is nested too deeply") from error
    parts += _text(task, "error")
    parts += [f'"{name}":"{task.get(name) or _NO_TIME}"' for name in ("created_at", "updated_at")]
    return "{" + ",".join(parts) + "}"


def _encode_run(run: dict[str, Any]) -> str:
    parts = [f'"status":{json_string(run.get("status") or "")}']
    parts += _text(run, "handle_id") + _any(run, "output")
    parts += [f'"{name}":"{run[name]}"' for name in ("started_at", "finished_at") if run.get(name) is not None]
    parts += _number(run, "duration_ms") + _number(run, "attempt") + _any(run, "details")
    if run.get("error") is not None:
        error = run["error"]
        told = [f'"{name}":{json_string(error.get(name) or "")}' for name in ("code", "message")]
        told += ['"retryable":true'] if error.get("retryable") else []
        told += _text(error, "source") + _any(error, "details")
        parts.append('"error":{' + ",".join(told) + "}")
    return "{" + ",".join(parts) + "}"


def _text(fields: dict[str, Any], name: str) -> list[str]:
    return [f'"{name}":{json_string(fields[name])}'] if fields.get(name) else []


def _number(fields: dict[str, Any], name: str) -> list[str]:
    return [f'"{name}":{fields[name]}'] if fields.get(name) else []


def _raw(fields: dict[str, Any], name: str) -> list[str]:
    return [f'"{name}":{fields[name]}'] if fields.get(name) is not None else []


def _any(fields: dict[str, Any], name: str) -> list[str]:
    return [f'"{name}":{json_value(fields[name])}'] if fields.get(name) is not None else []
