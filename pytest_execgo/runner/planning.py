"""From a cell to its plan: obtained from the framework's adapter, then disturbed by the faults that strike plans."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.plan.adapter import PlannedRun
from pytest_execgo.plan.cell import Cell
from pytest_execgo.plan.model import PlanContext
from pytest_execgo.plan.validate import load_plan
from pytest_execgo.runner.parts import RunParts


def obtain_plan(cell: Cell, parts: RunParts, seed: int, disturb: Callable[[dict[str, Any]], dict[str, Any]]) -> PlannedRun:
    """Return what the adapter plans, after `disturb` had its way with the document.

    `PlanInvalid` lists what is wrong with the plan; an adapter's own crash is an `ExecGoError`.
    """
    scenario = parts.scenario
    context = PlanContext(
        scenario_id=cell.scenario,
        framework=cell.framework,
        mode=cell.mode,
        seed=seed,
        objective=scenario.spec.objective,
        scenario_input=scenario.spec.input,
        prompt_pack=scenario.prompt_pack,
        allowed_tools=scenario.spec.allowed_tools,
        max_tasks=scenario.spec.effect_budget.max_tasks,
        chaos_profile=cell.chaos,
    )
    adapter = parts.adapter
    try:
        planned = adapter.live(context) if cell.mode == "live" else adapter.replay(context, scenario.reference_plan)
    except (ExecGoError, OSError):
        raise
    except Exception as error:  # adapters come from other packages too; theirs is no crash of the sweep
        what = f"the adapter of {cell.framework} raised {error!r}"
        raise ExecGoError("adapter_raised", what, "the adapter is broken, not the plan") from error
    document = planned.plan.model_dump(mode="json", exclude_unset=True)
    disturbed = disturb(document)
    if disturbed is document:
        return planned
    return replace(planned, plan=load_plan(disturbed, allowed_tools=context.allowed_tools, max_tasks=context.max_tasks))
