"""Faults of services and of the run: done, undone, and seen to have hit or not."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from pytest_execgo.chaos.actions import ACTIONS
from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.plan.chaos import Fault
from pytest_execgo.plan.fault import Action, Applied, Surroundings
from pytest_execgo.plan.stack import Capability, Service

if TYPE_CHECKING:
    from tests.unit.chaos.conftest import Fakes

MakeFault = Callable[..., Fault]
Near = Callable[..., Surroundings]


def action(name: str) -> Action:
    found = ACTIONS[name]
    assert isinstance(found, Action)
    return found


def strike(fault: Fault, fakes: Fakes) -> Applied:
    assert action(fault.action).problems(fault) == []
    return action(fault.action).apply(fault, fakes.world(), random.Random(1))


@pytest.mark.parametrize("service", Service)
def test_a_restart_hits_what_ran(make_fault: MakeFault, fakes: Fakes, service: Service) -> None:
    before = fakes.stack.pids[service]
    applied = strike(make_fault("restart", service), fakes)
    applied.undo()
    assert fakes.stack.calls == [f"restart {service}"]
    assert applied.observed() == {"hit": True, "pid_before": before, "pid_after": (before or 0) + 1000}


def test_while_a_service_is_restarted_the_run_does_not_bring_it_back(make_fault: MakeFault, fakes: Fakes) -> None:
    during: list[list[str]] = []

    def restart(service: Service) -> None:
        during.append(list(fakes.run.calls))
        raise ExecGoError("not_started", "it does not start")

    fakes.stack.restart = restart  # type: ignore[method-assign]
    with pytest.raises(ExecGoError, match="does not start"):
        strike(make_fault("restart", "kernel"), fakes)
    assert (during, fakes.run.calls) == ([["hold kernel"]], ["hold kernel", "let go kernel"])


def test_a_restart_of_what_was_dead_or_is_the_same_process_hit_nothing(make_fault: MakeFault, fakes: Fakes) -> None:
    fakes.stack.pids[Service.KERNEL] = None
    assert strike(make_fault("restart", "kernel"), fakes).observed()["hit"] is False
    fakes.stack.restart = lambda service: None  # type: ignore[method-assign]
    assert strike(make_fault("restart", "runtime"), fakes).observed()["hit"] is False


def test_without_a_duration_a_killed_service_is_the_runs_to_bring_back(make_fault: MakeFault, fakes: Fakes) -> None:
    applied = strike(make_fault("kill", "runtime"), fakes)
    applied.undo()
    assert (fakes.stack.calls, fakes.run.calls) == (["kill runtime"], [])
    assert applied.observed() == {"hit": True, "pid": 101}
    assert strike(make_fault("kill", "runtime"), fakes).observed()["hit"] is False, "it was dead already"


def test_with_a_duration_a_killed_service_is_held_down_until_it_is_undone(make_fault: MakeFault, fakes: Fakes) -> None:
    applied = strike(make_fault("kill", "kernel", duration_ms=50), fakes)
    assert (fakes.run.calls, fakes.stack.calls) == (["hold kernel"], ["kill kernel"])
    applied.undo()
    assert fakes.run.calls == ["hold kernel", "let kernel"]
    assert applied.observed()["hit"] is True


def test_a_service_that_can_not_be_killed_is_let_up_all_the_same(make_fault: MakeFault, fakes: Fakes) -> None:
    fakes.stack.refuses = "kill"
    applied = strike(make_fault("kill", "kernel", duration_ms=50), fakes)
    applied.undo()
    assert applied.observed() == {"hit": False, "error": "kernel can't be killed"}
    assert fakes.run.calls == ["hold kernel", "let kernel"]
    with pytest.raises(ExecGoError, match="can't be killed"):
        strike(make_fault("kill", "kernel"), fakes)


def test_a_paused_service_goes_on_when_it_is_undone(make_fault: MakeFault, fakes: Fakes) -> None:
    applied = strike(make_fault("pause", "runtime", duration_ms=50), fakes)
    assert fakes.stack.paused == {Service.RUNTIME}
    applied.undo()
    assert fakes.stack.paused == set()
    assert applied.observed() == {"hit": True, "pid": 101, "resumed": True}


def test_a_pause_that_did_not_stop_anything_hit_nothing(make_fault: MakeFault, fakes: Fakes) -> None:
    fakes.stack.pause = lambda service: None  # type: ignore[method-assign]
    applied = strike(make_fault("pause", "runtime", duration_ms=50), fakes)
    applied.undo()
    assert applied.observed()["hit"] is False
    assert fakes.stack.calls == []


@pytest.mark.parametrize("pid", [None, 4711])
def test_a_paused_service_that_ended_meanwhile_is_not_resumed(make_fault: MakeFault, fakes: Fakes, pid: int | None) -> None:
    applied = strike(make_fault("pause", "runtime", duration_ms=50), fakes)
    fakes.stack.pids[Service.RUNTIME] = pid
    fakes.stack.paused.clear()
    applied.undo()
    assert "resume runtime" not in fakes.stack.calls
    assert applied.observed() == {"hit": True, "pid": 101, "resumed": False}


@pytest.mark.parametrize("how", ["cancel", "deadline"])
def test_a_stop_hits_when_the_run_obeyed(make_fault: MakeFault, fakes: Fakes, how: str) -> None:
    applied = strike(make_fault("stop", "run", {"how": how}), fakes)
    applied.undo()
    assert fakes.run.calls == [f"stop {how}"]
    assert applied.observed() == {"hit": True, "how": how}
    fakes.run.obeys = False
    assert applied.observed()["hit"] is False


@pytest.mark.parametrize(
    ("name", "parameters", "rest", "said"),
    [
        ("restart", {}, {"duration_ms": 1}, "duration_ms: restart takes no duration"),
        ("restart", {"grace": 1}, {}, "parameters.grace: unknown field 'grace'"),
        ("kill", {"signal": 9}, {}, "parameters.signal: unknown field"),
        ("pause", {}, {}, "duration_ms: pause needs a duration"),
        ("pause", {}, {"duration_ms": 0}, "duration_ms: pause needs a duration"),
        ("stop", {"how": "cancle"}, {}, "did you mean 'cancel'? allowed: cancel, deadline"),
        ("stop", {}, {"duration_ms": 1}, "duration_ms: stop takes no duration"),
    ],
)
def test_what_is_wrong_with_a_fault(make_fault: MakeFault, name: str, parameters: Any, rest: Any, said: str) -> None:
    (sentence,) = action(name).problems(make_fault(name, "kernel", parameters, **rest))
    assert said in sentence


@pytest.mark.parametrize(
    ("name", "lacks"),
    [("restart", "restart"), ("kill", "kill"), ("kill", "restart"), ("pause", "pause"), ("crash_after_accept", "kill")],
)
def test_what_the_backend_lacks_is_said(make_fault: MakeFault, near: Near, name: str, lacks: str) -> None:
    fault = make_fault(name, "kernel")
    assert action(name).unusable(fault, near()) is None
    rest = frozenset(Capability) - {Capability(lacks)}
    assert action(name).unusable(fault, near(capabilities=rest)) == f"the backend can't {lacks} a service"


@pytest.mark.parametrize("name", ["restart", "kill", "pause"])
def test_a_service_that_the_plan_never_uses_can_not_be_hit(
    make_fault: MakeFault, near: Near, plan: dict[str, Any], name: str
) -> None:
    only_noop = {**plan, "stages": plan["stages"][2:]}
    reasons = {s: action(name).unusable(make_fault(name, s), near(plan=only_noop)) for s in Service}
    assert reasons[Service.KERNEL] is None
    assert reasons[Service.RUNTIME] == "no task of the scenario's plan runs in the runtime"
    assert "never talks to the fixtures service" in str(reasons[Service.FIXTURES])
    assert [action(name).unusable(make_fault(name, s), near()) for s in Service] == [None, None, None]
