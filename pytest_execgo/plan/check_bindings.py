"""Checks of bindings: do both tasks exist, in the right stages, and can both paths exist."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator
from typing import Any

from pytest_execgo.core.jsonvalue import shortened
from pytest_execgo.plan.paths import (
    ARGUMENT_ROOTS,
    Path,
    PathBlocked,
    PathMalformed,
    bind_value,
    format_path,
    parse_path,
    parse_target,
)
from pytest_execgo.plan.problems import Problem, Suggester
from pytest_execgo.plan.view import PlanView, StageView, TaskView, listed

_RUNTIME_ERROR: dict[str, Any] = {"code": None, "message": None, "retryable": None, "source": None, "details": Any}
_RUNTIME: dict[str, Any] = {
    "status": None,
    "handle_id": None,
    "output": Any,
    "started_at": None,
    "finished_at": None,
    "duration_ms": None,
    "attempt": None,
    "details": Any,
    "error": _RUNTIME_ERROR,
}
ENVELOPE: dict[str, Any] = {
    "output": Any,
    "id": None,
    "type": None,
    "params": Any,
    "tool_name": None,
    "input": Any,
    "execution_category": None,
    "depends_on": Any,
    "retry": None,
    "timeout": None,
    "annotations": Any,
    "status": None,
    "run_status": None,
    "handle_id": None,
    "progress": Any,
    "result": Any,
    "runtime": _RUNTIME,
    "error": None,
    "created_at": None,
    "updated_at": None,
}
"""Where a `source_path` can lead: the fields of a finished task's envelope, and `output`, its portable view.

None is a plain value (nothing beneath it), `Any` is open, a dict names all its fields.
"""


def check_bindings(plan: PlanView, suggest: Suggester) -> Iterator[Problem]:
    """Find bindings whose tasks or paths can't exist, and those that would change which tool a task uses."""
    earlier: dict[str, TaskView] = {}
    for stage in plan.stages:
        local = {task.id: task for task in stage.tasks if task.id}
        arguments: dict[str, dict[str, Any]] = {}
        for index, binding in enumerate(listed(stage.raw.get("bindings"))):
            if isinstance(binding, dict):
                path = f"{stage.path}.bindings[{index}]"
                yield from _check_source(plan, stage, path, binding, earlier, suggest)
                yield from _check_source_path(path, binding, suggest)
                target, problem = _find_target(plan, path, binding, local, suggest)
                if problem:
                    yield problem
                yield from _check_target_path(path, binding, target, arguments)
        earlier |= local


def _check_source(
    plan: PlanView, stage: StageView, path: str, binding: dict[str, Any], earlier: Collection[str], suggest: Suggester
) -> Iterator[Problem]:
    name = binding.get("source_task_id")
    if not isinstance(name, str) or not name or name in earlier:
        return
    source = plan.tasks.get(name)
    if source is None:
        yield Problem(f"{path}.source_task_id", "binding_source_unknown", suggest.unknown("task", name, earlier))
    else:
        place = "this same stage" if source.stage == stage.index else f"the later stage {plan.stage_of(source).label}"
        what = f"task {shortened(name, 80)!r} belongs to {place}; allowed: tasks of earlier stages, which have finished"
        yield Problem(f"{path}.source_task_id", "binding_source_not_earlier", what)


def _check_source_path(path: str, binding: dict[str, Any], suggest: Suggester) -> Iterator[Problem]:
    source_path = binding.get("source_path")
    if isinstance(source_path, str) and source_path:
        try:
            reason = _impossible(parse_path(source_path), suggest)
        except PathMalformed as error:
            reason = error.message
        if reason:
            yield Problem(f"{path}.source_path", "binding_source_path", reason)


def _impossible(parts: Path, suggest: Suggester) -> str | None:
    """Say why a finished task can't have anything at a path, or None."""
    fields: Any = ENVELOPE
    for depth, part in enumerate(parts):
        if fields is Any:
            return None
        if fields is None:
            return f"path {format_path(parts)!r} can't exist: {format_path(parts[:depth])!r} is a plain value"
        if part not in fields:
            shown = shortened(format_path(parts[: depth + 1]), 80)
            return f"a finished task has no {shown!r}; {suggest.allowed(part, list(fields))}"
        fields = fields[part]
    return None


def _find_target(
    plan: PlanView, path: str, binding: dict[str, Any], local: dict[str, TaskView], suggest: Suggester
) -> tuple[TaskView | None, Problem | None]:
    name = binding.get("target_task_id")
    if not isinstance(name, str) or not name or name in local:
        return (local.get(name) if isinstance(name, str) else None), None
    elsewhere = plan.tasks.get(name)
    if elsewhere is None:
        what = suggest.unknown("task", name, local)
    else:
        other = plan.stage_of(elsewhere).label
        what = f"task {shortened(name, 80)!r} belongs to stage {other}; {suggest.allowed(None, local)}"
    return None, Problem(f"{path}.target_task_id", "binding_target_unknown", what)


def _check_target_path(
    path: str, binding: dict[str, Any], target: TaskView | None, arguments: dict[str, dict[str, Any]]
) -> Iterator[Problem]:
    target_path = binding.get("target_param_path")
    if not isinstance(target_path, str) or not target_path:
        return
    fault = None
    try:
        parts = parse_target(target_path)
        if target is not None:
            fault = _unusable(target, parts)
            # bindings of one task build on each other, so each is tried on what those before it left
            bind_value(arguments.setdefault(target.id or "", _arguments(target)), target_path, {})
    except (PathMalformed, PathBlocked) as error:
        fault = ("binding_target_path", error.message)
    if fault:
        yield Problem(f"{path}.target_param_path", *fault)


def _arguments(task: TaskView) -> dict[str, Any]:
    """Copy what a binding can change in a task; what has the wrong shape is told elsewhere and counts as absent."""
    return {root: copy.deepcopy(task.raw[root]) for root in ARGUMENT_ROOTS if isinstance(task.raw.get(root), dict)}


def _unusable(task: TaskView, parts: Path) -> tuple[str, str] | None:
    """Say (code, message) why a value at the path would be ignored or would make the task another one, or None."""
    given = [root for root in ARGUMENT_ROOTS if task.raw.get(root) is not None]
    if given and parts[0] != given[0]:  # the kernel takes `input` alone when there is one
        what = f"starts with {parts[0]!r}, but the task's arguments are in {given[0]!r}; only `input` counts where both are given"
        return "binding_target_path", what
    if task.raw.get("type") == "runtime" and ("execution", "kind")[: len(parts) - 1] == parts[1:]:
        return "binding_changes_tool", "would change which tool the task uses; bind beneath `execution`, but not its `kind`"
    return None
