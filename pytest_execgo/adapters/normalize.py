"""From what a framework gave to a StandardPlan, noting every repair."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_execgo.adapters.extract import find_plan
from pytest_execgo.adapters.identifiers import mend_ids
from pytest_execgo.adapters.mend import Mender
from pytest_execgo.core.jsonvalue import describe
from pytest_execgo.plan.model import PlanContext, StandardPlan
from pytest_execgo.plan.validate import load_plan


def normalize(found: Mapping[str, Any] | str, context: PlanContext, *, trace_ref: str) -> StandardPlan:
    """Return the plan that a document or a model's text holds, belonging to `context`.

    Repairs, each with a line in `normalization_warnings`: what stands around a plan taken off (`extract`), scenario, framework and
    mode relabelled, a missing plan id filled in, other names and forms of fields (`mend`), ids (`identifiers`). Anything else
    that is wrong raises `PlanInvalid` with every problem; a text without a plan raises `PlanningFailed`.
    """
    taken = find_plan(found)
    document = taken.document
    warnings = _given_warnings(document.get("normalization_warnings")) + taken.warnings
    plan = Mender(warnings).plan(document)
    labels = {"scenario_id": context.scenario_id, "framework": context.framework, "mode": context.mode}
    for name, value in labels.items():
        if plan.get(name) != value:
            said = describe(plan[name]) if name in plan else "missing"
            warnings.append(f"$.{name}: {said} became {value!r}")
            plan[name] = value
    if "plan_id" not in plan:
        plan["plan_id"] = f"{context.scenario_id}-plan"
        warnings.append(f"$.plan_id: missing became {plan['plan_id']!r}")
    plan = mend_ids(plan, warnings)
    plan["normalization_warnings"] = warnings
    plan["raw_trace_ref"] = trace_ref
    return load_plan(plan, allowed_tools=context.allowed_tools, max_tasks=context.max_tasks)


def _given_warnings(given: Any) -> list[str]:
    lines = given if isinstance(given, list) else []
    warnings = [line for line in lines if isinstance(line, str)]
    if given is not None and (not isinstance(given, list) or len(warnings) < len(lines)):
        warnings.append(f"$.normalization_warnings: {describe(given)} lost what is no list of texts")
    return warnings
