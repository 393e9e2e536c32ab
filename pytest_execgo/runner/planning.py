"""From a cell to its plan: obtained from the framework's adapter, live or by replay, then disturbed by faults that strike plans."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pytest_execgo.core.errors import ExecGoError, Unsupported, UsageError
from pytest_execgo.observability.clock import rfc3339
from pytest_execgo.plan.adapter import PlannedRun
from pytest_execgo.plan.cell import Cell
from pytest_execgo.plan.model import ModelProfile, PlanContext
from pytest_execgo.plan.planning import PlanningFailed, PlanSource, Recording
from pytest_execgo.plan.problems import PlanInvalid, located
from pytest_execgo.plan.record import RunRecord
from pytest_execgo.plan.validate import load_plan
from pytest_execgo.runner.ending import plan_digest
from pytest_execgo.runner.parts import ModelWay, RunParts
from pytest_execgo.scenarios.recordings import planning_digest, recording_file, recording_of

Disturb = Callable[[dict[str, Any]], dict[str, Any]]


def obtain_plan(cell: Cell, parts: RunParts, seed: int, record: RunRecord, disturb: Disturb) -> PlannedRun:
    """Return what the adapter plans, after `disturb` had its way with the document.

    `record` takes where the plan came from, and what the planning cost.

    `PlanInvalid` lists what is wrong with the plan, `PlanningFailed` says why there is none; an adapter's own crash is an
    `ExecGoError`.
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
    source: PlanSource
    try:
        if cell.mode == "live":
            planned, source = _live(cell, parts, context, record), "live"
        else:
            planned, source = _replayed(cell, parts, context)
    except (ExecGoError, OSError):
        raise
    except Exception as error:  # adapters come from other packages too; theirs is no crash of the sweep
        what = f"the adapter of {cell.framework} raised {error!r}"
        raise ExecGoError("adapter_raised", what, "the adapter is broken, not the plan") from error
    record.plan_source = source
    told = "reference_plan" if source == "reference" else source  # an adapter sees a document, and not whence it is
    planned = replace(planned, trace={**planned.trace, "source": told})
    made = planned.planner_output.repairs if planned.planner_output is not None else 0
    record.repairs = made + len(planned.plan.normalization_warnings) if planned.planner_output is not None else None
    document = planned.plan.model_dump(mode="json", exclude_unset=True)
    disturbed = disturb(document)
    if disturbed is document:
        return planned
    return replace(planned, plan=load_plan(disturbed, allowed_tools=context.allowed_tools, max_tasks=context.max_tasks))


def _replayed(cell: Cell, parts: RunParts, context: PlanContext) -> tuple[PlannedRun, PlanSource]:
    """Replay the framework's recording, or else the reference plan, and tell which; what is wrong with it is said with its file."""
    scenario = parts.scenario
    recording = recording_of(scenario, cell.framework)
    if recording is None:
        file, source = scenario.folder / scenario.spec.reference_plan, scenario.reference_source
    else:
        file, source = recording_file(scenario, cell.framework), None  # the plan is within what the framework gave
    try:
        if recording is None:
            return parts.adapter.replay(context, scenario.reference_plan), "reference"
        return parts.adapter.replay(context, recording), "recording"
    except PlanInvalid as invalid:
        lines = located(source, invalid.problems) if source else [f"{file}: {problem}" for problem in invalid.problems]
        raise PlanInvalid(invalid.problems, invalid.validity, lines) from invalid
    except PlanningFailed as failed:
        said = f"{file}: {failed.message}"
        raise PlanningFailed(failed.code, said, failed.hint, layer=failed.layer, retryable=failed.retryable) from failed
    except UsageError as error:
        raise UsageError(error.code, f"{file}: {error.message}", error.hint) from error


def _live(cell: Cell, parts: RunParts, context: PlanContext, record: RunRecord) -> PlannedRun:
    if parts.way is None:
        raise Unsupported("live_unsupported", "live planning is not possible here", "use --execgo-mode replay")
    started = time.monotonic()
    way = None
    try:
        with parts.way(cell, context.seed) as way:
            planned = parts.adapter.live(context.model_copy(update={"model_profile": _as_patient(way, parts)}), way.planning)
            record.planning_ms = (time.monotonic() - started) * 1000
    finally:
        record.planning_ms = record.planning_ms or (time.monotonic() - started) * 1000
        if way is not None:
            record.model_ms, record.cost = way.usage.model_ms, way.usage.cost
            record.prompt_tokens, record.completion_tokens = way.usage.prompt_tokens, way.usage.completion_tokens
            record.exchanges = list(way.exchanges)
    if parts.keep is not None and planned.planner_output is not None:
        parts.keep(_recording(cell, parts, context, way, planned))
    trace = {**planned.trace, "provider": way.provider, "model": way.profile.model, "model_label": way.label}
    usage = way.usage.model_dump(mode="json")
    return replace(planned, trace={**trace, "usage": usage, "exchanges": [one.model_dump(mode="json") for one in way.exchanges]})


def _as_patient(way: ModelWay, parts: RunParts) -> ModelProfile:
    """Return what the planner is told of its model: not to wait longer for an answer than the chaos profile allows."""
    allowed = parts.profile.model_timeout_ms
    if allowed is None or allowed >= way.profile.timeout_ms:
        return way.profile
    return way.profile.model_copy(update={"timeout_ms": allowed})


def _recording(cell: Cell, parts: RunParts, context: PlanContext, way: ModelWay, planned: PlannedRun) -> Recording:
    assert planned.planner_output is not None  # asked for by the caller
    return Recording(
        scenario_id=cell.scenario,
        scenario_digest=planning_digest(parts.scenario),
        provider=way.label,
        model=way.profile.model,
        seed=context.seed,
        recorded_at=rfc3339(),
        output=planned.planner_output.model_copy(update={"trace": []}),  # the run keeps it; a replay has no use for it
        exchanges=way.exchanges,
        usage=way.usage,
        plan_digest=plan_digest(planned.plan),
    )
