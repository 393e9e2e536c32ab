"""Faults of services in containers: done, undone, and seen to have hit or not."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from pytest_execgo.chaos.actions.containers import Disconnect, OutOfMemory
from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.plan.chaos import Fault
from pytest_execgo.plan.fault import Surroundings, World
from pytest_execgo.plan.stack import Capability, Service

if TYPE_CHECKING:
    from tests.unit.chaos.conftest import Fakes

MakeFault = Callable[..., Fault]
Near = Callable[..., Surroundings]
DRAW = random.Random(1)


@pytest.mark.parametrize("answered", [True, False])
def test_a_service_off_the_network_is_hit_if_it_does_not_answer(make_fault: MakeFault, fakes: Fakes, answered: bool) -> None:
    fault = make_fault("disconnect", "runtime", duration_ms=10)
    action = Disconnect(answers=lambda url: answered)
    assert action.problems(fault) == []
    applied = action.apply(fault, fakes.world(), DRAW)
    assert fakes.stack.calls == ["disconnect runtime"]
    applied.undo()
    assert fakes.stack.calls == ["disconnect runtime", "connect runtime"]
    assert applied.observed() == {"hit": not answered, "answered": answered}


def test_a_service_that_did_not_run_was_not_hit(make_fault: MakeFault, fakes: Fakes) -> None:
    fakes.stack.pids[Service.KERNEL] = None
    applied = Disconnect(answers=lambda url: False).apply(make_fault("disconnect", "kernel", duration_ms=1), fakes.world(), DRAW)
    assert applied.observed()["hit"] is False


def test_when_nobody_can_tell_the_service_is_put_back_at_once(make_fault: MakeFault, fakes: Fakes) -> None:
    def broken(url: str) -> bool:
        raise ExecGoError("blind", "nothing can be seen")

    with pytest.raises(ExecGoError, match="nothing can be seen"):
        Disconnect(answers=broken).apply(make_fault("disconnect", "kernel", duration_ms=1), fakes.world(), DRAW)
    assert fakes.stack.calls == ["disconnect kernel", "connect kernel"]


def test_a_disconnect_without_a_duration_would_never_end(make_fault: MakeFault) -> None:
    assert "duration_ms" in Disconnect().problems(make_fault("disconnect", "kernel"))[0]


def test_a_service_is_loaded_until_memory_ends_it_and_has_its_own_back_before_it_is_let_go(
    make_fault: MakeFault, fakes: Fakes
) -> None:
    def load(world: World, service: Service, name: str) -> None:
        fakes.stack.calls.append("load")
        if fakes.stack.calls.count("load") == 3:
            fakes.stack.pids[service] = None
            raise ExecGoError("reset", "the connection was reset")

    fault = make_fault("out_of_memory", "kernel")
    action = OutOfMemory(load=load)
    assert action.problems(fault) == []
    applied = action.apply(fault, fakes.world(), DRAW)
    bound = applied.observed()["bound_bytes"]
    assert bound >= fakes.stack.needs
    assert fakes.stack.calls == [f"limit to {bound} kernel", "load", "load", "load", "lift kernel"]
    assert fakes.run.calls == ["hold kernel", "let go kernel"]
    assert applied.observed() == {"hit": True, "bound_bytes": bound, "loads": 3, "exit_code": -9}


def test_a_service_that_outlives_every_load_was_not_hit(make_fault: MakeFault, fakes: Fakes) -> None:
    clock = itertools.count(step=10)
    action = OutOfMemory(load=lambda world, service, name: None, clock=lambda: float(next(clock)))
    applied = action.apply(make_fault("out_of_memory", "runtime"), fakes.world(), DRAW)
    assert applied.observed()["hit"] is False
    assert fakes.stack.calls[-1] == "lift runtime"


def test_memory_that_can_not_be_bounded_is_an_error_and_the_service_is_let_go(make_fault: MakeFault, fakes: Fakes) -> None:
    fakes.stack.needs = 1 << 60
    with pytest.raises(ExecGoError, match=r"the memory of the kernel can.t be bounded: .*has more than that"):
        OutOfMemory().apply(make_fault("out_of_memory", "kernel"), fakes.world(), DRAW)
    assert fakes.run.calls == ["hold kernel", "let go kernel"]


def test_the_kernel_is_loaded_with_tasks_that_carry_much(make_fault: MakeFault, fakes: Fakes) -> None:
    clock = itertools.count(step=10)
    OutOfMemory(clock=lambda: float(next(clock))).apply(make_fault("out_of_memory", "kernel"), fakes.world(), DRAW)
    names = [str(task["id"]) for task in fakes.kernel.submitted]
    assert len(set(names)) == len(names) > 1
    assert all(name.startswith("nemesis:run-1:memory:") for name in names)
    assert all(len(task["params"]["message"]) == 4 << 20 for task in fakes.kernel.submitted)


@pytest.mark.parametrize(
    ("action", "lacking"),
    [(Disconnect(), Capability.DISCONNECT), (OutOfMemory(), Capability.LIMIT), (OutOfMemory(), Capability.RESTART)],
)
def test_they_need_a_backend_that_can(make_fault: MakeFault, near: Near, action: Any, lacking: Capability) -> None:
    fault = make_fault("x", "kernel", duration_ms=1)
    assert action.unusable(fault, near()) is None
    assert str(lacking) in str(action.unusable(fault, near(capabilities=frozenset(Capability) - {lacking})))
    assert "runtime" in str(action.unusable(make_fault("x", "runtime"), near(plan={"stages": []})))
