"""What is tried again, how often, and what is not; who brings a lost service back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from pytest_execgo.client.kernel import KernelRefused, KernelUnreachable
from pytest_execgo.core.errors import StackError
from pytest_execgo.plan.events import Event
from pytest_execgo.plan.scenario import RecoveryPolicy
from pytest_execgo.plan.stack import Capability, Service, ServiceStatus
from pytest_execgo.plan.verdict import Attribution
from pytest_execgo.runner.guard import ServiceGuard
from pytest_execgo.runner.recovery import Recovery
from pytest_execgo.runner.stopping import RunStopped, StopOrder

PASSING = Attribution(layer="runtime", code="external_failure", message="gone", retryable=True)


@dataclass
class Stack:
    """A stack whose services end when a test says so; `broken` ones can't be brought back."""

    capabilities: frozenset[Capability] = frozenset(Capability)
    ended: set[Service] = field(default_factory=set)
    paused: set[Service] = field(default_factory=set)
    broken: set[Service] = field(default_factory=set)
    revived: list[Service] = field(default_factory=list)

    def status(self) -> list[ServiceStatus]:
        return [
            ServiceStatus(one, one not in self.ended | self.paused, "http://x", pid=None if one in self.ended else 1)
            for one in Service
        ]

    def revive(self, service: Service) -> bool:
        if service in self.broken:
            raise StackError("not_started", f"the {service} does not start")
        self.revived.append(service)
        self.ended.discard(service)
        return True


@dataclass
class Scene:
    stack: Stack = field(default_factory=Stack)
    events: list[Event] = field(default_factory=list)
    stopped: Callable[[], None] = lambda: None

    def emit(self, event: Event) -> int:
        self.events.append(event)
        return len(self.events)

    def guard(self, restarts: int = 5) -> ServiceGuard:
        return ServiceGuard(self.stack, self.emit, restarts=restarts)  # type: ignore[arg-type]

    def recovery(self, guard: ServiceGuard, **policy: Any) -> Recovery:
        return Recovery(RecoveryPolicy(**policy), guard, self.emit, self.stopped)

    def said(self) -> list[tuple[str, str]]:
        return [(event.action, event.reason) for event in self.events if event.event_type == "recovery_decided"]  # type: ignore[attr-defined]

    def kinds(self) -> list[str]:
        return [event.event_type for event in self.events]


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_what_may_have_passed_is_tried_again_as_often_as_the_policy_says(scene: Scene) -> None:
    with scene.guard() as guard:
        recovery = scene.recovery(guard, stage_attempts=3)
        assert [recovery.after_failure("s", attempt, PASSING, ended=True) for attempt in (1, 2, 3)] == [True, True, False]
    assert [action for action, _ in scene.said()] == ["retry_stage", "retry_stage", "give_up"]
    assert "all 3 attempts are spent" in scene.said()[-1][1]


@pytest.mark.parametrize(
    ("failure", "policy", "ended", "why"),
    [
        (PASSING.model_copy(update={"retryable": False}), {}, True, "trying again can't help"),
        (PASSING, {"give_up_on": ["external_failure"]}, True, "the scenario gives up on external_failure"),
        (PASSING, {"stage_attempts": 1}, True, "all 1 attempts are spent"),
        (PASSING, {}, False, "must run once alone, and might run twice"),
    ],
)
def test_what_is_given_up_says_why(scene: Scene, failure: Attribution, policy: dict[str, Any], ended: bool, why: str) -> None:
    with scene.guard() as guard:
        assert not scene.recovery(guard, **policy).after_failure("s", 1, failure, ended=ended)
    assert why in scene.said()[-1][1]


def test_no_attempt_begins_when_the_time_for_recovery_is_spent(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("pytest_execgo.runner.recovery.time.monotonic", lambda: now[0])
    with scene.guard() as guard:
        recovery = scene.recovery(guard, budget_ms=1000, stage_attempts=20)
        assert recovery.after_failure("s", 1, PASSING, ended=True)
        now[0] += 0.9
        assert recovery.after_failure("s", 2, PASSING, ended=True)
        now[0] += 0.2
        assert not recovery.after_failure("s", 3, PASSING, ended=True)
    assert "the budget of 1000 ms for recovery is spent" in scene.said()[-1][1]


def test_a_dead_kernel_is_brought_back_and_the_call_gets_through(scene: Scene) -> None:
    scene.stack.ended.add(Service.KERNEL)

    def call() -> str:
        if Service.KERNEL in scene.stack.ended:
            raise KernelUnreachable("kernel_unreachable", "Connection refused")
        return "answer"

    with scene.guard() as guard:
        assert scene.recovery(guard).through(call, "s") == "answer"
        assert guard.restarts == 1
    assert scene.stack.revived == [Service.KERNEL]
    assert {"service_lost", "service_restarted", "recovery_decided"} <= set(scene.kinds())


def test_a_kernel_in_trouble_is_asked_again_and_a_refusal_is_final(scene: Scene) -> None:
    answers: list[Exception | str] = [
        KernelRefused("refused", "disk full", status_code=503),
        KernelUnreachable("k", "reset"),
        "done",
    ]

    def call() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with scene.guard() as guard:
        recovery = scene.recovery(guard)
        assert recovery.through(call, "s") == "done"
        answers[:] = [KernelRefused("refused", "unknown", status_code=404), "never asked for"]
        with pytest.raises(KernelRefused, match="unknown"):
            recovery.through(call, "s")
        assert answers == ["never asked for"]


@pytest.mark.parametrize("able", [True, False])
def test_a_kernel_that_nobody_can_bring_back_is_given_up(scene: Scene, able: bool) -> None:
    scene.stack.ended.add(Service.KERNEL)
    scene.stack.broken.add(Service.KERNEL)
    scene.stack.capabilities = frozenset(Capability) if able else frozenset()

    def call() -> str:
        raise KernelUnreachable("kernel_unreachable", "Connection refused")

    with scene.guard() as guard, pytest.raises(KernelUnreachable):
        scene.recovery(guard).through(call, "s")
    assert scene.said()[-1][0] == "give_up"
    assert scene.stack.revived == []


def test_a_run_that_was_stopped_waits_for_nobody(scene: Scene) -> None:
    def stopped() -> None:
        raise RunStopped("cancel")

    def call() -> str:
        raise KernelUnreachable("kernel_unreachable", "Connection refused")

    scene.stopped = stopped
    with scene.guard() as guard, pytest.raises(RunStopped):
        scene.recovery(guard).through(call, "s")


def test_the_guard_leaves_alone_what_is_paused_or_held_down(scene: Scene) -> None:
    scene.stack.paused.add(Service.RUNTIME)
    with scene.guard() as guard:
        guard.hold_down(Service.KERNEL)
        scene.stack.ended.add(Service.KERNEL)
        assert guard.settle()
        assert scene.stack.revived == []
        guard.let_up(Service.KERNEL)
        assert scene.stack.revived == [Service.KERNEL]


def test_what_two_hold_down_is_brought_back_when_both_let_go(scene: Scene) -> None:
    with scene.guard(restarts=0) as guard:
        guard.hold_down(Service.KERNEL)
        guard.hold_down(Service.KERNEL)
        scene.stack.ended.add(Service.KERNEL)
        guard.let_go(Service.KERNEL)
        assert guard.settle(), "what others restart costs no restart of the run's"
        guard.let_go(Service.KERNEL)
        assert not guard.settle()
        guard.let_go(Service.KERNEL)
        guard.hold_down(Service.KERNEL)
        assert guard._held[Service.KERNEL] == 1


def test_the_guard_brings_back_so_many_and_no_more(scene: Scene) -> None:
    with scene.guard(restarts=1) as guard:
        scene.stack.ended.add(Service.RUNTIME)
        assert guard.settle()
        scene.stack.ended.add(Service.RUNTIME)
        assert not guard.settle()
        assert guard.failure is not None
        assert "more than the scenario's policy allows" in guard.failure.message
    assert scene.stack.revived == [Service.RUNTIME]


def test_the_guard_leaves_no_thread(scene: Scene) -> None:
    def guards() -> int:
        return sum(thread.name == "service-guard" for thread in threading.enumerate())  # others' threads come and go

    with scene.guard():
        assert guards() == 1
    assert guards() == 0


@dataclass
class Cancelling:
    cancelled: list[str] = field(default_factory=list)

    def capabilities(self) -> frozenset[str]:
        return frozenset({"cancel"})

    def cancel(self, task_id: str) -> dict[str, Any]:
        self.cancelled.append(task_id)
        return {}


def test_an_order_to_stop_cancels_what_goes_on_once_and_lets_nothing_begin(scene: Scene) -> None:
    kernel, noted = Cancelling(), list[str]()
    order = StopOrder(kernel, scene.emit, noted.append)  # type: ignore[arg-type]
    order.check()
    order.going(["a", "b"])
    order.order("deadline")
    order.order("cancel")
    assert (kernel.cancelled, noted, scene.kinds()) == (["a", "b"], ["deadline"], ["stop_ordered"])
    for late in (order.check, lambda: order.going(["c"])):
        with pytest.raises(RunStopped, match="deadline"):
            late()
    assert kernel.cancelled == ["a", "b"]
    assert order.obeyed() >= 0


def test_an_order_that_the_kernel_did_not_hear_is_for_those_who_wait(scene: Scene) -> None:
    kernel, away = Cancelling(), [KernelUnreachable("kernel_unreachable", "timed out")]

    def cancel(task_id: str) -> dict[str, Any]:
        raise away[0]

    heard = StopOrder(kernel, scene.emit, lambda how: None)  # type: ignore[arg-type]
    heard.going(["a"])
    heard.heed()
    heard.order("deadline")
    heard.heed()
    kernel.cancel = cancel  # type: ignore[method-assign]
    lost = StopOrder(kernel, scene.emit, lambda how: None)  # type: ignore[arg-type]
    lost.going(["a"])
    lost.order("deadline")
    with pytest.raises(RunStopped):
        lost.heed()
