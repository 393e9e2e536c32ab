"""Threads that act on one stack at once, and those that only watch it."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from pytest_execgo.core.errors import StackError
from pytest_execgo.harness.process_stack import ProcessStack
from pytest_execgo.harness.settings import StackSettings
from pytest_execgo.plan.stack import Service

MakeStack = Callable[..., Any]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    threads = ThreadPoolExecutor(8)
    yield threads
    threads.shutdown(wait=False)  # a thread that still waits for its stack is told when that goes down, after this


def pids(stack: ProcessStack) -> dict[Service, int | None]:
    return {status.service: status.pid for status in stack.status()}


def starts(stack: ProcessStack, service: Service) -> int:
    return stack.logs(service, tail=1000).count("fake service, mode")


@pytest.mark.parametrize("how", ["kill", "by itself"])
def test_revive_brings_back_what_ended_and_nothing_else(fake_stack: MakeStack, how: str) -> None:
    stack = fake_stack()
    stack.up()
    before = pids(stack)
    assert not any(stack.revive(service) for service in Service)
    stack.pause(Service.FIXTURES)
    assert not stack.revive(Service.FIXTURES)
    stack.resume(Service.FIXTURES)
    assert pids(stack) == before
    if how == "kill":
        stack.kill(Service.RUNTIME)
    else:
        os.kill(before[Service.RUNTIME] or 0, signal.SIGSEGV)
        while pids(stack)[Service.RUNTIME] is not None:
            assert select.select([stack.fileno()], [], [], 20)[0]
    assert stack.revive(Service.RUNTIME)
    assert not stack.revive(Service.RUNTIME)
    after = pids(stack)
    assert after.pop(Service.RUNTIME) not in (None, before.pop(Service.RUNTIME))
    assert after == before
    assert starts(stack, Service.RUNTIME) == 2


def test_whoever_revives_first_is_the_only_one(fake_stack: MakeStack, pool: ThreadPoolExecutor) -> None:
    stack = fake_stack()
    stack.up()
    stack.kill(Service.KERNEL)
    revived = [pool.submit(stack.revive, Service.KERNEL) for _ in range(8)]
    assert sorted(future.result(60) for future in revived) == [False] * 7 + [True]
    assert starts(stack, Service.KERNEL) == 2


def test_a_revival_never_races_a_restart(fake_stack: MakeStack, pool: ThreadPoolExecutor) -> None:
    stack = fake_stack()
    stack.up()
    restarts = 10
    over = threading.Event()

    def guard() -> int:
        """Bring back whatever is seen to have ended, as fast as can be."""
        revived = 0
        while not over.is_set():
            for status in stack.status():
                if status.exit_code is not None:
                    revived += stack.revive(status.service)
        return revived

    guards = [pool.submit(guard) for _ in range(2)]
    try:
        for _ in range(restarts):
            stack.restart(Service.KERNEL)
    finally:
        over.set()
    assert [future.result(60) for future in guards] == [0, 0]
    assert starts(stack, Service.KERNEL) == restarts + 1


def test_a_thread_that_watches_is_told_although_another_one_looked_first(fake_stack: MakeStack, pool: ThreadPoolExecutor) -> None:
    stack = fake_stack()
    stack.up()
    watching, looked = threading.Event(), threading.Event()

    def watch() -> bool:
        stack.status()
        assert not select.select([stack.fileno()], [], [], 0)[0]
        watching.set()
        assert looked.wait(30)
        assert select.select([stack.fileno()], [], [], 30)[0]
        return bool(stack.revive(Service.KERNEL))

    watcher = pool.submit(watch)
    assert watching.wait(30)
    stack.kill(Service.KERNEL)  # this thread waits for the end, and takes in all that is told
    assert not stack.status()[0].running
    looked.set()
    assert watcher.result(60)


def test_who_watches_is_told_when_the_stack_goes_down(fake_stack: MakeStack, pool: ThreadPoolExecutor) -> None:
    stack = fake_stack()
    stack.up()
    watching = threading.Event()

    def watch() -> list[bool]:
        while all(running := [status.running for status in stack.status()]):
            watching.set()
            assert select.select([stack.fileno()], [], [], 60)[0]
        return running

    watcher: Future[list[bool]] = pool.submit(watch)
    assert watching.wait(30)
    stack.down()
    assert not all(watcher.result(60))


def test_down_does_not_wait_for_a_service_that_never_gets_ready(fake_stack: MakeStack, pool: ThreadPoolExecutor) -> None:
    stack = fake_stack(settings=StackSettings(ready_timeout=3600, down_timeout=0.5))
    stack.up()
    stack.kill(Service.KERNEL)
    stack.modes[Service.KERNEL] = "never_ready"
    coming = pool.submit(stack.revive, Service.KERNEL)
    while stack.status()[0].pid is None:
        assert select.select([stack.fileno()], [], [], 60)[0]
    stack.down()
    with pytest.raises(StackError) as told:
        coming.result(60)
    assert told.value.code == "stack_down"
    assert not any(status.running for status in stack.status())
