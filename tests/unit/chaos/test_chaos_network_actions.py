"""Faults of the network: handed to the right leg with the proxy's own words, lifted, and counted by the proxy."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from pytest_execgo.chaos.actions.network import NETWORK_ACTIONS
from pytest_execgo.chaos.network.parameters import KINDS, checked
from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.plan.chaos import Fault
from pytest_execgo.plan.fault import Surroundings
from pytest_execgo.plan.stack import Service

if TYPE_CHECKING:
    from tests.unit.chaos.conftest import Fakes

MakeFault = Callable[..., Fault]
KIND_OF: dict[str, tuple[str, dict[str, Any]]] = {
    "network_reset": ("reset", {"limit": 2}),
    "network_latency": ("latency", {"ms": 5, "jitter_ms": 2}),
    "network_slice": ("slice", {"bytes": 16}),
    "network_half_open": ("half_open", {"direction": "response"}),
    "response_lost": ("lose_response", {"method": "POST", "path": "/tasks"}),
    "duplicate_delivery": ("duplicate", {"count": 2}),
}


@pytest.mark.parametrize("leg", ["client-kernel", "kernel-runtime", "kernel-fixtures"])
@pytest.mark.parametrize("name", KIND_OF)
def test_a_leg_is_disturbed_until_it_is_lifted(make_fault: MakeFault, fakes: Fakes, name: str, leg: str) -> None:
    kind, parameters = KIND_OF[name]
    fault = make_fault(name, leg, parameters, duration_ms=100)
    assert NETWORK_ACTIONS[name].problems(fault) == []
    checked(kind, parameters)  # as the proxy itself reads it
    applied = NETWORK_ACTIONS[name].apply(fault, fakes.world(), random.Random(1))
    assert {other: len(link.disturbances) for other, link in fakes.links.items()} == {
        other: int(other == leg) for other in fakes.links
    }
    (disturbance,) = fakes.links[leg].disturbances
    assert (disturbance.kind, disturbance.parameters, disturbance.lifted) == (kind, parameters, 0)
    applied.undo()
    assert disturbance.lifted == 1
    assert applied.observed() == {"hit": False, "suffered": 0}
    disturbance.suffered = 3
    assert applied.observed() == {"hit": True, "suffered": 3}


def test_every_kind_of_the_proxy_but_refusing_has_its_action() -> None:
    assert {kind for kind, _ in KIND_OF.values()} | {"on_response", "refuse"} == set(KINDS)
    assert KIND_OF.keys() | {"crash_after_accept"} == NETWORK_ACTIONS.keys()


@pytest.mark.parametrize(
    ("name", "parameters", "said"),
    [
        ("network_latency", {}, ["parameters.ms: required field 'ms' is missing"]),
        ("network_latency", {"ms": "5"}, ['parameters.ms: found the text "5"']),
        ("network_slice", {"bytes": 1, "pause": 2}, ["parameters.pause: unknown field 'pause'; did you mean 'pause_ms'?"]),
        ("network_reset", {}, ["duration_ms: network_reset needs a duration"]),
        ("network_half_open", {"direction": "back"}, ["parameters.direction: ", "duration_ms: "]),
        ("response_lost", {"path": "tasks"}, ["parameters.path: "]),
        ("crash_after_accept", {"path": "/tasks"}, ["parameters.path: unknown field"]),
    ],
)
def test_what_is_wrong_with_a_fault(make_fault: MakeFault, name: str, parameters: Any, said: list[str]) -> None:
    found = NETWORK_ACTIONS[name].problems(make_fault(name, "client-kernel", parameters))
    assert len(found) == len(said)
    for sentence, words in zip(found, said, strict=True):
        assert words in sentence


@pytest.mark.parametrize("name", KIND_OF)
def test_a_leg_without_a_proxy_or_without_traffic_can_not_be_hit(
    make_fault: MakeFault, near: Callable[..., Surroundings], plan: dict[str, Any], name: str
) -> None:
    only_client = near(links=frozenset({"client-kernel"}))
    unusable = NETWORK_ACTIONS[name].unusable
    assert unusable(make_fault(name, "client-kernel"), only_client) is None
    assert unusable(make_fault(name, "kernel-runtime"), only_client) == (
        "the network between kernel and runtime leads through no proxy here"
    )
    silent = near(plan={**plan, "stages": plan["stages"][2:]})
    assert unusable(make_fault(name, "client-kernel"), silent) is None
    assert "runs in the runtime" in str(unusable(make_fault(name, "kernel-runtime"), silent))
    assert "fixtures service" in str(unusable(make_fault(name, "kernel-fixtures"), silent))


def test_without_links_nothing_is_disturbed(make_fault: MakeFault, fakes: Fakes) -> None:
    fakes.links.clear()
    for name in NETWORK_ACTIONS:
        with pytest.raises(ExecGoError, match="can't be disturbed here"):
            NETWORK_ACTIONS[name].apply(make_fault(name, "client-kernel"), fakes.world(), random.Random(1))


def test_the_kernel_is_killed_when_the_answer_to_a_submission_comes_by(
    make_fault: MakeFault, near: Callable[..., Surroundings], fakes: Fakes
) -> None:
    fault = make_fault("crash_after_accept", "kernel")
    assert NETWORK_ACTIONS["crash_after_accept"].problems(fault) == []
    applied = NETWORK_ACTIONS["crash_after_accept"].apply(fault, fakes.world(), random.Random(1))
    (disturbance,) = fakes.links["client-kernel"].disturbances
    terms = checked("on_response", disturbance.parameters)
    assert (disturbance.kind, terms.terms.model_dump()) == ("on_response", {"method": "POST", "path": "/tasks", "exact": True})
    assert fakes.stack.calls == []
    assert applied.observed()["hit"] is False
    disturbance.parameters["call"]()
    fakes.stack.pids[Service.KERNEL] = 5
    disturbance.parameters["call"]()
    applied.undo()
    assert fakes.stack.calls == ["kill kernel"]
    assert disturbance.lifted == 1
    assert applied.observed() == {"hit": True, "pid": 100, "answers": 0}
    assert "no proxy" in str(NETWORK_ACTIONS["crash_after_accept"].unusable(fault, near(links=frozenset())))


def test_a_kernel_that_can_not_be_killed_was_not_hit(make_fault: MakeFault, fakes: Fakes) -> None:
    fakes.stack.refuses = "kill"
    applied = NETWORK_ACTIONS["crash_after_accept"].apply(
        make_fault("crash_after_accept", "kernel"), fakes.world(), random.Random(1)
    )
    fakes.links["client-kernel"].disturbances[0].parameters["call"]()
    assert applied.observed() == {"hit": False, "pid": None, "answers": 0, "error": "kernel can't be killed"}
