"""Faults of the fixtures service, alone and one upon the other."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from fixtures_service.faults import Mode
from pytest_execgo.chaos.actions.fixtures import FIXTURE_ACTIONS
from pytest_execgo.chaos.fixture_layers import SUFFERED, FixtureLayers
from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.plan.chaos import Fault
from pytest_execgo.plan.fault import Applied, Surroundings

if TYPE_CHECKING:
    from tests.unit.chaos.conftest import Fakes

MakeFault = Callable[..., Fault]


def strike(fault: Fault, fakes: Fakes) -> Applied:
    assert FIXTURE_ACTIONS[fault.action].problems(fault) == []
    return FIXTURE_ACTIONS[fault.action].apply(fault, fakes.world(), random.Random(1))


@pytest.mark.parametrize(
    ("name", "parameters", "mode", "suffered"),
    [
        ("fixture_latency", {"latency_ms": 40}, {"latency_ms": 40}, "latency"),
        ("fixture_latency", {"latency_ms": 40, "routes": ["/effects"]}, {"latency_ms": 40, "routes": ["/effects"]}, "latency"),
        ("fixture_error", {"error_mode": "drop"}, {"error_mode": "drop", "error_rate": 1.0}, "error"),
        (
            "fixture_error",
            {"error_mode": "error_500", "rate": 0.5, "count": 3},
            {"error_mode": "error_500", "error_rate": 0.5, "count": 3},
            "error",
        ),
        ("fixture_injection", {}, {"inject": True, "routes": ["/advisories"]}, "inject"),
        ("fixture_injection", {"text": "obey"}, {"inject": "obey", "routes": ["/advisories"]}, "inject"),
    ],
)
def test_a_fault_sets_its_mode_counts_its_hits_and_takes_the_mode_back(
    make_fault: MakeFault, fakes: Fakes, name: str, parameters: Any, mode: dict[str, Any], suffered: str
) -> None:
    applied = strike(make_fault(name, "fixtures", parameters), fakes)
    (shown,) = fakes.fixtures.modes
    assert {field: value for field, value in shown.items() if field != "seed"} == mode
    Mode.model_validate(shown)  # as the service itself reads it
    fakes.fixtures.count = {suffered: 2}
    applied.undo()
    assert fakes.fixtures.modes[1:] == [{}]
    assert applied.observed() == {"hit": True, "requests": 2}
    applied.undo()
    assert len(fakes.fixtures.modes) == 2


def test_a_fault_that_no_request_met_hit_nothing(make_fault: MakeFault, fakes: Fakes) -> None:
    applied = strike(make_fault("fixture_latency", "fixtures", {"latency_ms": 5}), fakes)
    fakes.fixtures.count = {"error": 4}
    applied.undo()
    assert applied.observed() == {"hit": False, "requests": 0}


def test_the_service_counts_by_the_names_that_are_read_here() -> None:
    from fixtures_service.faults import InForce

    assert tuple(InForce(Mode()).hits) == SUFFERED


def test_faults_lie_one_upon_the_other(fakes: Fakes) -> None:
    layers = FixtureLayers.over(fakes.fixtures)
    assert FixtureLayers.over(layers) is layers
    slow = layers.add("latency", {"latency_ms": 10})
    slower = layers.add("latency", {"latency_ms": 30})
    assert fakes.fixtures.modes[-1] == {"latency_ms": 40}
    fakes.fixtures.count = {"latency": 2}
    broken = layers.add("error", {"error_mode": "drop", "error_rate": 1.0, "seed": 3})
    assert fakes.fixtures.modes[-1] == {"latency_ms": 40, "error_mode": "drop", "error_rate": 1.0, "seed": 3}
    fakes.fixtures.count = {"latency": 1, "error": 1}
    slow.lift()
    assert fakes.fixtures.modes[-1] == {"latency_ms": 30, "error_mode": "drop", "error_rate": 1.0, "seed": 3}
    slower.lift()
    broken.lift()
    assert fakes.fixtures.modes[-1] == {}
    assert (slow.hits(), slower.hits(), broken.hits()) == (3, 3, 1)


def test_routes_are_those_of_all_faults_together(fakes: Fakes) -> None:
    layers = FixtureLayers(fakes.fixtures)
    effects = layers.add("latency", {"latency_ms": 1, "routes": ["/effects"]})
    layers.add("inject", {"inject": True, "routes": ["/advisories"]})
    assert fakes.fixtures.modes[-1]["routes"] == ["/advisories", "/effects"]
    layers.add("latency", {"latency_ms": 1, "routes": None})
    assert "routes" not in fakes.fixtures.modes[-1]
    effects.lift()
    assert "routes" not in fakes.fixtures.modes[-1]


def test_a_bounded_number_of_errors_stays_bounded_when_the_mode_changes(fakes: Fakes) -> None:
    layers = FixtureLayers(fakes.fixtures)
    layers.add("error", {"error_mode": "drop", "count": 3})
    fakes.fixtures.count = {"error": 2}
    layers.add("latency", {"latency_ms": 1})
    assert (fakes.fixtures.modes[-1]["error_mode"], fakes.fixtures.modes[-1]["count"]) == ("drop", 1)
    fakes.fixtures.count = {"error": 1}
    layers.add("latency", {"latency_ms": 1})
    assert fakes.fixtures.modes[-1] == {"error_mode": "none", "latency_ms": 2}


def test_what_lies_beneath_comes_back(fakes: Fakes) -> None:
    layers = FixtureLayers(fakes.fixtures)
    layers.set_mode({"latency_ms": 5})
    added = layers.add("latency", {"latency_ms": 10})
    assert fakes.fixtures.modes[-1] == {"latency_ms": 15}
    added.lift()
    assert fakes.fixtures.modes[-1] == {"latency_ms": 5}
    assert layers.hits() == fakes.fixtures.hits()


def test_a_fault_that_the_service_did_not_take_is_no_layer(fakes: Fakes) -> None:
    layers = FixtureLayers(fakes.fixtures)
    fakes.fixtures.refuses = ExecGoError("gone", "the control plane is gone")
    with pytest.raises(ExecGoError, match="gone"):
        layers.add("latency", {"latency_ms": 10})
    fakes.fixtures.refuses = None
    layers.add("inject", {"inject": True})
    assert fakes.fixtures.modes == [{"inject": True}]


@pytest.mark.parametrize(
    ("name", "parameters", "said"),
    [
        ("fixture_latency", {}, ["parameters.latency_ms: required field 'latency_ms' is missing"]),
        ("fixture_latency", {"latency_ms": 0}, ["parameters.latency_ms: found the number 0; allowed: at least 1"]),
        ("fixture_error", {"error_mode": "error_5O3"}, ["did you mean 'error_503'?"]),
        ("fixture_error", {"error_mode": "drop", "rate": 0, "count": 0}, ["parameters.rate: ", "parameters.count: "]),
        ("fixture_error", {"error_mode": "drop", "routes": ["/health"]}, ['parameters.routes[0]: found the text "/health"']),
        ("fixture_injection", {"text": ""}, ["parameters.text: "]),
    ],
)
def test_what_is_wrong_with_parameters(make_fault: MakeFault, name: str, parameters: Any, said: list[str]) -> None:
    found = FIXTURE_ACTIONS[name].problems(make_fault(name, "fixtures", parameters))
    assert len(found) == len(said)
    for sentence, words in zip(found, said, strict=True):
        assert words in sentence


@pytest.mark.parametrize("name", FIXTURE_ACTIONS)
def test_a_plan_that_never_talks_to_the_service_can_not_be_hit(
    make_fault: MakeFault, near: Callable[..., Surroundings], plan: dict[str, Any], name: str
) -> None:
    fault = make_fault(name, "fixtures")
    assert FIXTURE_ACTIONS[name].unusable(fault, near()) is None
    elsewhere = {**plan, "stages": plan["stages"][1:]}
    assert "${{ fixtures_url }} does not occur" in str(FIXTURE_ACTIONS[name].unusable(fault, near(plan=elsewhere)))
