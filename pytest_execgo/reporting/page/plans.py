"""A run's plan as the page draws it: stages, tasks, what they wait for, what is bound where."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pytest_execgo.plan.model import Binding, StandardPlan, Task
from pytest_execgo.plan.tools import tool_of
from pytest_execgo.reporting.text import one_line

_NAME = 80
_INPUT = 400
_MOST_TASKS = 500
_NOTES, _NOTE = 20, 200


def plan_view(plan: StandardPlan) -> dict[str, Any]:
    """Return a plan's stages with their tasks and bindings; texts are cut, and so is what comes after 500 tasks."""
    shown, stages = 0, []
    for stage in plan.stages:
        tasks = stage.task_graph.tasks[: max(_MOST_TASKS - shown, 0)]
        shown += len(tasks)
        view: dict[str, Any] = {"id": one_line(stage.stage_id, _NAME), "tasks": [_task(task) for task in tasks]}
        if stage.bindings:
            view["bindings"] = [_binding(binding) for binding in stage.bindings[:_MOST_TASKS]]
        if stage.expected_artifacts:
            view["artifacts"] = [one_line(name, _NAME) for name in stage.expected_artifacts[:_NOTES]]
        stages.append(view)
    total = sum(len(stage.task_graph.tasks) for stage in plan.stages)
    found: dict[str, Any] = {"id": one_line(plan.plan_id, _NAME), "stages": stages, "left_out": total - shown}
    if plan.normalization_warnings:
        found["notes"] = [one_line(note, _NOTE) for note in plan.normalization_warnings[:_NOTES]]
    return found


def _task(task: Task) -> dict[str, Any]:
    given = task.params if task.params is not None else task.input
    view: dict[str, Any] = {"id": one_line(task.id, _NAME), "tool": one_line(tool_of(task.model_dump()) or task.type, _NAME)}
    if task.depends_on:
        view["after"] = [one_line(name, _NAME) for name in task.depends_on]
    if task.retry:
        view["retry"] = task.retry
    if task.timeout is not None:
        view["timeout"] = task.timeout
    if given:
        view["input"] = _short(given)
    return view


def _short(given: Mapping[str, Any]) -> str:
    return one_line(json.dumps(given, ensure_ascii=False, separators=(", ", ": ")), _INPUT)


def _binding(binding: Binding) -> list[Any]:
    texts = (binding.source_task_id, binding.source_path, binding.target_task_id, binding.target_param_path)
    return [*(one_line(text, _NAME) for text in texts), binding.required]
