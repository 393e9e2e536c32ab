"""Live planning in a run: what it costs is measured, why there is no plan is said, what was planned can be kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_execgo.adapters.langgraph import adapter as langgraph
from pytest_execgo.adapters.replay import ReplayAdapter
from pytest_execgo.plan.adapter import PlannedRun, Planning
from pytest_execgo.plan.cell import Cell
from pytest_execgo.plan.chaos import ChaosProfile
from pytest_execgo.plan.model import ModelProfile, PlanContext
from pytest_execgo.plan.planning import ModelExchange, ModelUsage, PlannerOutput, PlanningFailed, Recording
from pytest_execgo.plan.problems import PlanInvalid, Problem
from pytest_execgo.plan.record import RunRecord
from pytest_execgo.plan.validate import load_plan
from pytest_execgo.plan.verdict import Layer
from pytest_execgo.runner.parts import ModelWay
from pytest_execgo.runner.planning import obtain_plan
from pytest_execgo.runner.run import run_cell
from pytest_execgo.scenarios.recordings import planning_digest, write_recording

if TYPE_CHECKING:
    from tests.unit.runner.conftest import World

CELL = Cell("demo", "langgraph", "live", "none")
EXCHANGE = ModelExchange(path="/v1/chat/completions", request={"messages": []}, status=200, response={"x": 1}, took_ms=3.0)


@dataclass
class Live:
    """An adapter that plans what the world's scenario has, or raises."""

    world: World
    error: Exception | None = None
    contexts: list[PlanContext] = field(default_factory=list)

    def live(self, context: PlanContext, planning: Planning) -> PlannedRun:
        self.contexts.append(context)
        assert planning.model_url == "http://model.test/v1"
        if self.error is not None:
            raise self.error
        plan = load_plan({**self.world.plan, "mode": "live"})
        output = PlannerOutput(framework="langgraph", framework_version="1", raw={"plan": "text"}, trace=[{"a": 1}], repairs=1)
        return PlannedRun(plan, {"source": "live"}, planner_output=output)


@pytest.fixture
def live(world: World) -> Live:
    adapter = world.adapter = Live(world)
    return adapter


@contextmanager
def way(cell: Cell, seed: int) -> Iterator[ModelWay]:
    planning = Planning("http://model.test/v1", 1000, None)  # type: ignore[arg-type]
    opened = ModelWay(planning, ModelProfile(provider="mock", model="m", seed=seed), "mock", "a scripted model")
    try:
        yield opened
    finally:
        opened.exchanges = [EXCHANGE]
        opened.usage = ModelUsage(requests=1, prompt_tokens=10, completion_tokens=5, cost=0.25, model_ms=2.0)


def run(world: World, keep: list[Recording] | None = None) -> Any:
    parts = replace(world.parts(), way=way, keep=None if keep is None else keep.append)
    return run_cell(CELL, parts)


def trace_of(world: World, result: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((world.out / result.run_id / "adapter_trace.json").read_text())
    return found


def test_a_live_planning_says_what_it_cost_and_who_planned(world: World, live: Live) -> None:
    result = run(world)
    assert (result.outcome, result.plan_source) == ("passed", "live")
    (record,) = world.records
    assert (record.prompt_tokens, record.completion_tokens, record.cost, record.model_ms) == (10, 5, 0.25, 2.0)
    assert record.planning_ms is not None
    assert record.repairs == 1
    trace = trace_of(world, result)
    assert (trace["provider"], trace["model"], trace["model_label"]) == ("mock", "m", "a scripted model")
    assert trace["exchanges"] == [EXCHANGE.model_dump(mode="json")]
    assert live.contexts[0].model_profile.model == "m"


def test_what_was_planned_can_be_kept_and_belongs_to_its_question(world: World, live: Live) -> None:
    kept: list[Recording] = []
    result = run(world, kept)
    (recording,) = kept
    assert recording.output.raw == {"plan": "text"}
    assert recording.output.trace == [], "the run has it"
    assert (recording.provider, recording.model, recording.seed) == ("a scripted model", "m", 7)
    assert recording.scenario_digest == planning_digest(world.scenario())
    assert recording.plan_digest == result.plan_digest


@pytest.mark.parametrize(("layer", "outcome"), [("planner", "failed"), ("adapter", "error")])
def test_why_there_is_no_plan_is_said_with_what_was_exchanged(world: World, live: Live, layer: Layer, outcome: str) -> None:
    live.error = PlanningFailed("planner_refused", "the model refused", layer=layer)
    result = run(world)
    assert (result.outcome, result.plan_source) == (outcome, None)
    assert result.attribution is not None
    assert (result.attribution.layer, result.attribution.code) == (layer, "planner_refused")
    trace = trace_of(world, result)
    assert trace["error"] == "the model refused"
    assert trace["exchanges"] == [EXCHANGE.model_dump(mode="json")]
    assert world.kernel.submitted == []


def test_an_invalid_plan_counts_by_how_much_of_it_is_valid(world: World, live: Live) -> None:
    live.error = PlanInvalid([Problem("$.stages[0]", "unknown_tool", "no such tool")], 0.75)
    result = run(world)
    assert (result.outcome, result.attribution.code) == ("failed", "unknown_tool")
    assert world.records[0].plan_validity == 0.75


@pytest.mark.parametrize(("allowed", "told"), [(None, 60_000), (1000, 1000), (90_000, 60_000)])
def test_a_chaos_profile_may_make_the_planner_less_patient(world: World, live: Live, allowed: int | None, told: int) -> None:
    world.profile = ChaosProfile(id="none", description="x", model_timeout_ms=allowed)
    run(world)
    assert live.contexts[0].model_profile.timeout_ms == told


def test_without_a_way_to_a_model_live_cells_are_skipped(world: World, live: Live) -> None:
    result = run_cell(CELL, world.parts())
    assert result.outcome == "skipped"


def test_what_is_wrong_with_a_reference_plan_is_said_with_its_file(world: World) -> None:
    world.plan["surprise"] = 1
    result = world.run(rejected=True)
    assert result.verdict is not None
    (reason,) = result.verdict.reasons
    assert reason.startswith(f"{world.root}/demo/plan.json: $.surprise: unknown field 'surprise'; ")


def record(world: World, plan: Any) -> Path:
    """Leave the world's scenario a recording of a plan."""
    scenario = world.scenario()
    output = PlannerOutput(framework="langgraph", framework_version="1.2", raw={"plan": plan})
    recording = Recording(
        scenario_id="demo",
        scenario_digest=planning_digest(scenario),
        plan_digest="0" * 64,
        provider="x",
        model="m",
        seed=1,
        recorded_at="now",
        output=output,
    )
    return write_recording(scenario, recording)


def test_where_a_plan_came_from_is_said_whatever_the_adapter_takes_it_for(world: World) -> None:
    world.adapter = ReplayAdapter("langgraph", "langgraph", "langgraph", lambda raw: dict(raw.get("plan", raw)))
    cell = Cell("demo", "langgraph", "replay", "none")
    planned = run_cell(cell, world.parts())
    assert (planned.plan_source, trace_of(world, planned)["source"]) == ("reference", "reference_plan")
    record(world, world.plan)
    again = run_cell(cell, world.parts())
    assert (again.plan_source, trace_of(world, again)["source"]) == ("recording", "recording")
    assert [event.source for event in world.listener.events("plan_obtained")] == ["reference_plan", "recording"]


def test_what_is_wrong_with_a_recording_is_said_with_its_file(world: World) -> None:
    file = record(world, "no plan at all")
    world.adapter = langgraph
    result = world.run(rejected=True)
    assert result.attribution is not None
    assert result.attribution.message.startswith(f"{file}: ")
    file.write_text(file.read_text().replace('"framework": "langgraph"', '"framework": "crewai"'))
    error = world.run(planned=False).error or ""
    assert error.startswith(f"{file}: the recording is one of crewai")


def test_what_a_fault_does_to_a_plan_is_no_fault_of_its_file(world: World) -> None:
    def disturb(plan: dict[str, Any]) -> dict[str, Any]:
        return {**plan, "surprise": 1}

    cell = Cell("demo", "langgraph", "replay", "none")
    with pytest.raises(PlanInvalid) as caught:
        obtain_plan(cell, world.parts(), 7, RunRecord(workspace=world.root), disturb)
    assert all(line.startswith("$.surprise: ") for line in caught.value.lines)
