from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

import pytest

from pytest_execgo.core.errors import StackError
from pytest_execgo.harness import container_watch
from pytest_execgo.harness.container_watch import EngineWatch, exit_code, service_process
from pytest_execgo.plan.stack import Service

KERNEL = Service.KERNEL


class FakeEvents:
    """A stream of events that a test feeds: `None` ends it."""

    def __init__(self) -> None:
        self.queue: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        self.closed = False

    def events(self, **options: Any) -> FakeEvents:
        assert options["filters"] == {"label": "stack=one"}
        return self

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.queue.get, None)

    def tell(self, action: str, ident: str = "id1", service: str = "kernel", **about: str) -> None:
        actor = {"ID": ident, "Attributes": {"svc": service, **about}}
        self.queue.put({"Type": "container", "Action": action, "Actor": actor})

    def close(self) -> None:
        self.closed = True
        self.queue.put(None)


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> FakeEvents:
    stream = FakeEvents()
    monkeypatch.setattr(container_watch, "new_client", lambda timeout: stream)
    return stream


@pytest.fixture
def told() -> threading.Semaphore:
    return threading.Semaphore(0)


@pytest.fixture
def watch(events: FakeEvents, told: threading.Semaphore) -> Iterator[EngineWatch]:
    """A watch that knows the kernel's container, which runs."""
    watching = EngineWatch("stack=one", "svc", told.release)
    watching.identify(KERNEL, "id1")
    watching.started(KERNEL, {"Running": True, "ExitCode": 0})
    yield watching
    watching.close()


def settled(watch: EngineWatch, done: Callable[[], bool]) -> None:
    assert watch.wait(done, 10)


def test_what_events_say_is_known_of_the_service(watch: EngineWatch, events: FakeEvents, told: threading.Semaphore) -> None:
    container = watch.containers[KERNEL]
    assert container.live
    assert container.describe() == "it is running"
    watch.found(KERNEL, 42)
    assert container.describe() == "it is running (pid 42)"
    events.tell("pause")
    settled(watch, lambda: container.stopped)
    assert container.describe() == "it is paused (pid 42)"
    events.tell("unpause")
    settled(watch, lambda: not container.stopped)
    events.tell("die", exitCode="3")
    settled(watch, lambda: container.over)
    assert container.describe() == "it ended with exit code 3"
    assert not container.live
    assert all(told.acquire(timeout=10) for _ in range(3))
    assert not watch.containers[Service.RUNTIME].live


def test_a_service_that_ran_out_of_memory_is_said_to_have(watch: EngineWatch, events: FakeEvents) -> None:
    container = watch.containers[KERNEL]
    events.tell("oom")
    settled(watch, lambda: container.oom)
    assert container.describe() == "it is running; memory has run out in it"
    events.tell("die", exitCode="137")
    settled(watch, lambda: container.over)
    assert container.describe() == "it was ended by SIGKILL; it ran out of the memory that it may have"
    container.begin()
    assert container.describe() == "it was never started"


def test_what_happens_to_others_is_nothing_to_it(watch: EngineWatch, events: FakeEvents) -> None:
    events.tell("die", ident="id0", exitCode="1")  # one that another has replaced
    events.tell("die", service="somebody", exitCode="1")
    events.queue.put({"Type": "network", "Action": "destroy", "Actor": {"ID": "id1", "Attributes": {"svc": "kernel"}}})
    events.tell("die", service="runtime", ident="", exitCode="1")
    settled(watch, lambda: watch.containers[Service.RUNTIME].over)
    assert watch.containers[KERNEL].live


def test_an_end_before_it_was_known_whose_it_is_is_not_missed(watch: EngineWatch) -> None:
    watch.identify(Service.RUNTIME, "id2")
    watch.started(Service.RUNTIME, {"Running": False, "ExitCode": 137, "OOMKilled": True})
    container = watch.containers[Service.RUNTIME]
    assert (container.code, container.oom, container.live) == (-9, True, False)


def test_a_late_look_does_not_wake_the_dead(watch: EngineWatch, events: FakeEvents) -> None:
    container = watch.containers[KERNEL]
    events.tell("die", exitCode="1")
    settled(watch, lambda: container.over)
    watch.started(KERNEL, {"Running": True, "ExitCode": 0})
    watch.found(KERNEL, 42)
    assert (container.live, container.pid) == (False, None)


def test_who_waits_is_told_when_the_engine_is_lost(watch: EngineWatch, events: FakeEvents) -> None:
    events.queue.put(None)
    with pytest.raises(StackError, match="engine has ended"):
        watch.wait(lambda: False, 10)
    assert watch.gone
    assert not watch.containers[KERNEL].live
    assert "container engine has ended" in watch.containers[KERNEL].describe()


def test_waiting_ends(watch: EngineWatch) -> None:
    assert not watch.wait(lambda: False, 0)
    asked: list[int] = []
    timer = threading.Timer(0.05, watch.nudge)
    timer.start()
    assert watch.wait(lambda: asked.append(1) or len(asked) > 1, 10)  # type: ignore[func-returns-value]
    timer.join()


def test_what_is_closed_has_lost_nothing(events: FakeEvents) -> None:
    watch = EngineWatch("stack=one", "svc", lambda: None)
    watch.identify(KERNEL, "id1")
    watch.started(KERNEL, {"Running": True, "ExitCode": 0})
    watch.close()
    assert events.closed
    assert watch.containers[KERNEL].failed is None


@pytest.mark.parametrize(("told", "meant"), [(0, 0), (1, 1), (127, 127), (128, 128), (137, -9), (143, -15), (255, 255)])
def test_an_exit_code_above_128_is_a_signal(told: int, meant: int) -> None:
    assert exit_code(told) == meant


def test_a_process_of_no_such_container_is_none() -> None:
    assert service_process("0123456789abcdef" * 4, os.getpid()) is None
    assert service_process("", 2**22 + 1) is None
