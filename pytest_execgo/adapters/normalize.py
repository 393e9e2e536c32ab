"""From a framework's raw plan document to a StandardPlan, noting every repair."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_execgo.core.jsonvalue import describe
from pytest_execgo.plan.model import PlanContext, StandardPlan
from pytest_execgo.plan.tools import RUNTIME_KINDS
from pytest_execgo.plan.validate import load_plan


def normalize(document: Mapping[str, Any], context: PlanContext, *, trace_ref: str) -> StandardPlan:
    """Return the plan that `document` describes, belonging to `context`.

    Repairs, each with a line in `normalization_warnings`: scenario, framework and mode relabelled, a missing plan id filled
    in, a tool kind such as `runtime.command` or `os.file` used as a task type split into what the kernel takes.
    Anything else that is wrong raises `PlanInvalid` with every problem.
    """
    warnings = _given_warnings(document.get("normalization_warnings"))
    plan = dict(document)
    labels = {"scenario_id": context.scenario_id, "framework": context.framework, "mode": context.mode}
    for name, value in labels.items():
        if plan.get(name) != value:
            found = describe(plan[name]) if name in plan else "missing"
            warnings.append(f"$.{name}: {found} became {value!r}")
            plan[name] = value
    if "plan_id" not in plan:
        plan["plan_id"] = f"{context.scenario_id}-plan"
        warnings.append(f"$.plan_id: missing became {plan['plan_id']!r}")
    if isinstance(plan.get("stages"), list):
        plan["stages"] = [_stage(stage, f"$.stages[{i}]", warnings) for i, stage in enumerate(plan["stages"])]
    plan["normalization_warnings"] = warnings
    plan["raw_trace_ref"] = trace_ref
    return load_plan(plan, allowed_tools=context.allowed_tools, max_tasks=context.max_tasks)


def _given_warnings(given: Any) -> list[str]:
    lines = given if isinstance(given, list) else []
    warnings = [line for line in lines if isinstance(line, str)]
    if given is not None and (not isinstance(given, list) or len(warnings) < len(lines)):
        warnings.append(f"$.normalization_warnings: {describe(given)} lost what is no list of texts")
    return warnings


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
        if isinstance(execution, Mapping) and execution.get("kind", name) == name:
            warnings.append(f"{where}.type: {kind!r} became 'runtime' with execution.kind {name!r}")
            return {**task, "type": "runtime", field: {**payload, "execution": {**execution, "kind": name}}}
    return task
