"""From a framework's raw plan document to a StandardPlan, noting every repair."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_execgo.plan.model import PlanContext, StandardPlan
from pytest_execgo.plan.tools import RUNTIME_KINDS
from pytest_execgo.plan.validate import load_plan


def normalize(document: Mapping[str, Any], context: PlanContext, *, trace_ref: str) -> StandardPlan:
    """Return the plan that `document` describes, belonging to `context`.

    Repairs, each with a line in `normalization_warnings`: framework and mode relabelled, a missing scenario id or plan id
    filled in, a tool kind such as `runtime.command` or `os.file` used as a task type split into what the kernel takes.
    Anything else that is wrong raises `PlanInvalid` with every problem.
    """
    warnings = [str(line) for line in document.get("normalization_warnings", ()) if isinstance(line, str)]
    plan = dict(document)
    for name, value in (("framework", context.framework), ("mode", context.mode)):
        if plan.get(name) != value:
            warnings.append(f"$.{name}: {plan.get(name)!r} became {value!r}")
            plan[name] = value
    for name, value in (("scenario_id", context.scenario_id), ("plan_id", f"{context.scenario_id}-plan")):
        if name not in plan:
            warnings.append(f"$.{name}: missing, became {value!r}")
            plan[name] = value
    if isinstance(plan.get("stages"), list):
        plan["stages"] = [_stage(stage, f"$.stages[{i}]", warnings) for i, stage in enumerate(plan["stages"])]
    plan["normalization_warnings"] = warnings
    plan["raw_trace_ref"] = trace_ref
    return load_plan(plan, allowed_tools=context.allowed_tools, max_tasks=context.max_tasks)


def _stage(stage: Any, where: str, warnings: list[str]) -> Any:
    graph = stage.get("task_graph") if isinstance(stage, Mapping) else None
    if not isinstance(graph, Mapping) or not isinstance(tasks := graph.get("tasks"), list):
        return stage
    repaired = [_task(task, f"{where}.task_graph.tasks[{i}]", warnings) for i, task in enumerate(tasks)]
    return {**stage, "task_graph": {**graph, "tasks": repaired}}


def _task(task: Any, where: str, warnings: list[str]) -> Any:
    kind = task.get("type") if isinstance(task, Mapping) else None
    if not isinstance(kind, str) or "." not in kind:
        return task
    family, _, name = kind.partition(".")
    if family == "os" and "tool_name" not in task:
        warnings.append(f"{where}.type: {kind!r} became {name!r}")
        return {**task, "type": name}
    if family == "runtime" and name in RUNTIME_KINDS:
        field = "input" if isinstance(task.get("input"), Mapping) else "params"
        payload = task.get(field)
        execution = payload.get("execution") if isinstance(payload, Mapping) else None
        if isinstance(execution, Mapping):
            warnings.append(f"{where}.type: {kind!r} became 'runtime' with execution.kind {name!r}")
            return {**task, "type": "runtime", field: {**payload, "execution": {**execution, "kind": name}}}
    return task
