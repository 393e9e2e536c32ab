"""Checks of what a plan would do: its tools, its placeholders, its limits, the artifacts that it promises."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from pytest_execgo.core.jsonvalue import describe, step_text
from pytest_execgo.plan.placeholders import PLACEHOLDERS, placeholders_in
from pytest_execgo.plan.problems import Problem, Suggester
from pytest_execgo.plan.tools import OS_TOOLS, RUNTIME_KINDS, tool_of
from pytest_execgo.plan.view import PlanView, TaskView, listed

TASK_TYPES = (*OS_TOOLS, "os", "runtime", "mcp", "cli-skills")
_DAY_MS = 86_400_000


def check_tools(plan: PlanView, allowed: Collection[str] | None, suggest: Suggester) -> Iterator[Problem]:
    """Find tasks whose tool does not exist, and those whose tool the scenario does not allow."""
    for stage in plan.stages:
        for task in stage.tasks:
            if not isinstance(task.raw.get("type"), str) or not task.raw["type"]:
                continue
            tool = tool_of(task.raw)
            if tool is None:
                yield _unknown_tool(task, suggest)
            elif allowed is not None and tool not in allowed:
                what = f"tool {tool!r} is not allowed by the scenario; {suggest.allowed(tool, sorted(allowed))}"
                yield Problem(f"{task.path}.type", "tool_not_allowed", what)


def _unknown_tool(task: TaskView, suggest: Suggester) -> Problem:
    kind = task.raw["type"].strip()
    if kind == "os":
        return Problem(f"{task.path}.tool_name", "unknown_tool", _named("os tool", task.raw.get("tool_name"), OS_TOOLS, suggest))
    if kind == "runtime":
        root = "params" if task.raw.get("input") is None and task.raw.get("params") is not None else "input"
        payload = task.raw.get(root)
        execution = payload.get("execution") if isinstance(payload, dict) else None
        given = execution.get("kind") if isinstance(execution, dict) else None
        return Problem(f"{task.path}.{root}.execution.kind", "unknown_tool", _named("runtime kind", given, RUNTIME_KINDS, suggest))
    return Problem(f"{task.path}.type", "unknown_tool", suggest.unknown("task type", task.raw["type"], TASK_TYPES))


def _named(what: str, given: Any, names: Collection[str], suggest: Suggester) -> str:
    if given is None:
        return f"the {what} is missing; {suggest.allowed(given, names)}"
    return suggest.unknown(what, given, names)


def check_placeholders(plan: PlanView, suggest: Suggester) -> Iterator[Problem]:
    """Find `${{ name }}` that nothing will replace: unknown names, and any placeholder in a field's name."""
    for stage in plan.stages:
        pending: list[tuple[str, Any]] = [(stage.path, stage.raw)]
        while pending:
            path, value = pending.pop()
            if isinstance(value, str):
                for name in sorted(placeholders_in(value) - PLACEHOLDERS.keys()) if "${{" in value else ():
                    yield Problem(path, "unknown_placeholder", suggest.unknown("placeholder", name, list(PLACEHOLDERS)))
            elif isinstance(value, list):
                pending.extend((f"{path}[{index}]", item) for index, item in enumerate(value))
            elif isinstance(value, dict):
                for key, item in value.items():
                    place = path + step_text(key)
                    if "${{" in key and placeholders_in(key):
                        what = "holds a placeholder in its name; placeholders are replaced in values only"
                        yield Problem(place, "placeholder_in_name", what)
                    pending.append((place, item))


def check_limits(plan: PlanView, max_tasks: int | None) -> Iterator[Problem]:
    """Find more tasks than the scenario allows, and stages that would be watched for more than a day."""
    count = sum(len(stage.tasks) for stage in plan.stages)
    if max_tasks is not None and count > max_tasks:
        yield Problem("$.stages", "too_many_tasks", f"the plan has {count} tasks; allowed: at most {max_tasks}")
    for stage in plan.stages:
        given = stage.raw.get("submit_policy")
        policy = given if isinstance(given, dict) else {}
        interval, attempts = policy.get("poll_interval_ms"), policy.get("max_attempts")
        if isinstance(interval, int) and isinstance(attempts, int) and interval * attempts > _DAY_MS:
            what = f"poll_interval_ms x max_attempts is {interval * attempts} ms; allowed: a day, {_DAY_MS} ms"
            yield Problem(f"{stage.path}.submit_policy", "budget_too_long", what)


def check_artifacts(plan: PlanView) -> Iterator[Problem]:
    """Find promised artifacts that are no name and no path beneath the workspace."""
    for stage in plan.stages:
        for index, name in enumerate(listed(stage.raw.get("expected_artifacts"))):
            if isinstance(name, str) and (not name.strip() or name.startswith("/") or ".." in name.split("/")):
                what = f"found {describe(name)}; allowed: a name, or a relative path beneath the workspace"
                yield Problem(f"{stage.path}.expected_artifacts[{index}]", "artifact_outside", what)
