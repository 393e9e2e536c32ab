"""Faults of the scripted model: what is ordered, what counts as a hit, where there is nobody to be misled."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, get_args

import pytest

from fixtures_service.model import faults
from pytest_execgo.chaos.actions.model import MODEL_ACTIONS, OWN_PARAMETERS, FaultName, PlanFault
from pytest_execgo.chaos.fixture_layers import FixtureLayers
from pytest_execgo.chaos.loader import discover_profiles, load_profile
from pytest_execgo.core.bodies import HttpError
from pytest_execgo.core.bundle import bundled
from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.plan.chaos import Fault
from pytest_execgo.plan.fault import Applied, Surroundings

if TYPE_CHECKING:
    from tests.unit.chaos.conftest import Fakes

MakeFault = Callable[..., Fault]
ACTION: Any = MODEL_ACTIONS["model_fault"]
STARTED = {"phase": "plan", "event": "run_started"}
NAMES = get_args(FaultName)
PROFILES = [name for name in discover_profiles([bundled("chaos")]) if name.startswith("llm_")]


@pytest.fixture
def order(make_fault: MakeFault) -> Callable[..., Fault]:
    """Make a fault of the model: `order(fault="dropped", count=2)`."""
    return lambda **parameters: make_fault("model_fault", "model", parameters, trigger=STARTED)


def strike(fault: Fault, fakes: Fakes) -> Applied:
    assert ACTION.problems(fault) == []
    applied: Applied = ACTION.apply(fault, fakes.world(), random.Random(1))
    return applied


@pytest.mark.parametrize(
    ("parameters", "ordered"),
    [
        ({"fault": "dropped"}, {"fault": "dropped", "count": 1, "role": "any", "parameters": {}}),
        (
            {"fault": "status_429", "seconds": 0, "count": None, "role": "reviewer"},
            {"fault": "status_429", "count": None, "role": "reviewer", "parameters": {"seconds": 0}},
        ),
        (
            {"fault": "refusal", "text": "no", "plain": False, "count": 3},
            {"fault": "refusal", "count": 3, "role": "any", "parameters": {"text": "no", "plain": False}},
        ),
        (
            {"fault": "stalled_stream", "ms": 5, "chunks": 0},
            {"fault": "stalled_stream", "count": 1, "role": "any", "parameters": {"ms": 5, "chunks": 0}},
        ),
    ],
)
def test_a_fault_is_ordered_counted_and_lifted(order: MakeFault, fakes: Fakes, parameters: Any, ordered: dict[str, Any]) -> None:
    applied = strike(order(**parameters), fakes)
    assert fakes.fixtures.orders == [ordered]
    faults.parse_fault(dict(fakes.fixtures.orders[0]))  # as the service itself reads it
    fakes.fixtures.spoiled = {"reviewer": 2}
    applied.undo()
    assert fakes.fixtures.orders[1:] == [{}]
    assert applied.observed() == {"hit": True, "planner": 0, "reviewer": 2}


@pytest.mark.parametrize(
    ("role", "suffered", "hit"),
    [
        ("any", {}, False),
        ("any", {"planner": 1}, True),
        ("planner", {"planner": 1}, True),
        ("planner", {"reviewer": 1}, False),
        ("reviewer", {"planner": 1}, False),
    ],
)
def test_only_answers_in_the_ordered_role_are_hits(
    order: MakeFault, fakes: Fakes, role: str, suffered: dict[str, int], hit: bool
) -> None:
    applied = strike(order(fault="dropped", role=role), fakes)
    fakes.fixtures.spoiled = suffered
    applied.undo()
    assert applied.observed()["hit"] is hit


def test_a_fault_is_lifted_even_when_it_can_not_be_counted(order: MakeFault, fakes: Fakes, monkeypatch: pytest.MonkeyPatch) -> None:
    applied = strike(order(fault="dropped"), fakes)

    def silent() -> dict[str, int]:
        raise ExecGoError("gone", "no answer")

    monkeypatch.setattr(fakes.fixtures, "model_hits", silent)
    with pytest.raises(ExecGoError, match="no answer"):
        applied.undo()
    assert fakes.fixtures.orders[-1] == {}
    assert applied.observed() == {"hit": False}


def test_it_passes_through_other_faults_of_the_service(order: MakeFault, fakes: Fakes) -> None:
    layers = FixtureLayers.over(fakes.fixtures)
    slow = layers.add("latency", {"latency_ms": 10})
    layers.set_model({"fault": "dropped"})
    fakes.fixtures.spoiled = {"planner": 4}
    slow.lift()
    assert fakes.fixtures.orders == [{"fault": "dropped"}]
    assert layers.model_hits() == {"planner": 4, "reviewer": 0}


def test_the_names_and_their_parameters_are_those_of_the_service() -> None:
    known = {name for kind in get_args(faults.FaultName) for name in get_args(kind) or (kind,)}
    assert set(NAMES) == known
    assert set(get_args(PlanFault)) == set(faults.OF_PLANS)
    for name in NAMES:
        for parameter in faults.Parameters.model_fields:
            given = {"seconds": 1, "ms": 1, "chunks": 1, "text": "x", "plain": True, "tool": "x", "does": "tool"}[parameter]
            document = {"fault": name, "parameters": {parameter: given}}
            if parameter in OWN_PARAMETERS.get(name, ()):
                assert faults.parse_fault(document).fault == name
            else:
                with pytest.raises(HttpError):
                    faults.parse_fault(document)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({}, ["parameters.fault: required field 'fault' is missing"]),
        ({"fault": "refusl"}, ["did you mean 'refusal'?"]),
        ({"fault": "dropped", "count": 0}, ["parameters.count: found the number 0; allowed: at least 1"]),
        ({"fault": "dropped", "role": "critic"}, ["parameters.role: "]),
        ({"fault": "dropped", "seconds": 1}, ["parameters.seconds: dropped takes none but count and role"]),
        (
            {"fault": "stalled_stream", "seconds": 1, "tool": "x"},
            ["parameters.seconds: stalled_stream takes chunks, ms", "parameters.tool: stalled_stream takes chunks, ms"],
        ),
        ({"fault": "fenced_json", "role": "reviewer"}, ["parameters.role: fenced_json spoils a plan"]),
    ],
)
def test_what_is_wrong_with_parameters(order: MakeFault, parameters: Any, said: list[str]) -> None:
    found = ACTION.problems(order(**parameters))
    assert len(found) == len(said)
    for sentence, words in zip(found, said, strict=True):
        assert words in sentence


@pytest.mark.parametrize("trigger", [{"phase": "plan"}, {"phase": "plan", "event": "plan_obtained"}, {"phase": "submit"}])
def test_once_there_is_a_plan_a_fault_comes_too_late(make_fault: MakeFault, trigger: dict[str, Any]) -> None:
    fault = make_fault("model_fault", "model", {"fault": "dropped"}, trigger=trigger)
    assert [sentence.partition(":")[0] for sentence in ACTION.problems(fault)] == ["trigger"]


@pytest.mark.parametrize("name", PROFILES)
def test_a_shipped_profile_is_for_live_cells_with_the_scripted_model(name: str, near: Callable[..., Surroundings]) -> None:
    (fault,) = load_profile(name, [bundled("chaos")]).faults
    assert ACTION.unusable(fault, near(mode="live", provider="mock")) is None
    assert ACTION.unusable(fault, near()) == "nobody asks a model in replay; use --execgo-mode live"
    for provider in ("openai", None):
        assert "use --execgo-provider mock" in str(ACTION.unusable(fault, near(mode="live", provider=provider)))


def test_a_plan_may_have_nothing_that_a_fault_could_spoil(
    order: MakeFault, near: Callable[..., Surroundings], plan: dict[str, Any]
) -> None:
    around = near(mode="live", provider="mock", plan={**plan, "stages": plan["stages"][2:]})
    assert "no binding" in str(ACTION.unusable(order(fault="missing_binding"), around))
    assert "never talks to the fixtures service" in str(ACTION.unusable(order(fault="injected"), around))
    assert ACTION.unusable(order(fault="injected", does="tool"), around) is None


def test_every_fault_of_the_model_has_a_profile() -> None:
    used = {load_profile(name, [bundled("chaos")]).faults[0].parameters["fault"] for name in PROFILES}
    assert used == set(NAMES)
