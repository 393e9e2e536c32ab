"""Stacks of fake services, each misbehaving in one way."""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pytest_execgo.core.errors import StackError
from pytest_execgo.harness.control import Supervised
from pytest_execgo.harness.process_stack import ProcessStack
from pytest_execgo.harness.settings import StackSettings
from pytest_execgo.plan.stack import Service

MakeStack = Callable[..., ProcessStack]
QUICK = StackSettings(shutdown_timeout=0, down_timeout=0.5)


def answers(url: str) -> bool:
    with urllib.request.urlopen(url + "/health", timeout=10) as answer:
        return bool(answer.status == 200)


def refuses(url: str) -> bool:
    try:
        socket.create_connection(("127.0.0.1", urlsplit(url).port or 0), timeout=10).close()
    except ConnectionRefusedError:
        return True
    return False


def wait_readable(fd: int) -> None:
    assert select.select([fd], [], [], 20)[0], "nothing happened"


def status_of(stack: ProcessStack, service: Service) -> tuple[bool, bool, int | None]:
    status = next(status for status in stack.status() if status.service is service)
    return status.running, status.pid is not None, status.exit_code


def test_all_three_come_up_and_go_down(fake_stack: MakeStack) -> None:
    stack = fake_stack()
    endpoints = stack.up()
    urls = [endpoints.kernel, endpoints.runtime, endpoints.fixtures]
    assert len(set(urls)) == 3
    assert all(map(answers, urls))
    assert [(status.running, status.url) for status in stack.status()] == [(True, url) for url in urls]
    assert stack.up() == endpoints
    stack.down()
    stack.down()
    assert all(map(refuses, urls))
    assert [status_of(stack, service) for service in Service] == [(False, False, 0)] * 3
    with pytest.raises(StackError, match="not up"):
        stack.endpoints()


def test_a_stack_comes_up_again_after_down(fake_stack: MakeStack) -> None:
    stack = fake_stack()
    stack.up()
    stack.down()
    assert answers(stack.up().runtime)


def test_a_service_that_ends_at_start_is_told_at_once(fake_stack: MakeStack) -> None:
    stack = fake_stack(runtime="exits", settings=StackSettings(ready_timeout=3600))
    with pytest.raises(StackError) as raised:
        stack.up()
    message = str(raised.value)
    assert "the runtime ended before it was ready" in message
    assert "exit code 7" in message
    assert "| a reason to end" in message
    assert str(stack.folder / "runtime.log") in message
    assert not any(status.running for status in stack.status())


def test_a_program_that_is_not_there_is_told_at_once(fake_stack: MakeStack) -> None:
    with pytest.raises(StackError, match=r"the kernel ended .* could not be started: .*No such file"):
        fake_stack(kernel="is_missing", settings=StackSettings(ready_timeout=3600)).up()


def test_a_service_that_never_gets_ready_is_told_at_the_deadline(fake_stack: MakeStack) -> None:
    # the first one is named, however far the others have come by then
    stack = fake_stack(kernel="never_ready", settings=StackSettings(ready_timeout=5, down_timeout=30))
    with pytest.raises(StackError, match="the kernel was not ready within 5 s: it is running"):
        stack.up()
    assert status_of(stack, Service.KERNEL) == (False, False, -signal.SIGTERM)


def test_an_announcement_that_is_none_is_refused(fake_stack: MakeStack) -> None:
    with pytest.raises(StackError, match="the kernel announced 'hello"):
        fake_stack(kernel="announces_garbage").up()


def test_an_announcement_of_another_port_is_refused(fake_stack: MakeStack) -> None:
    with pytest.raises(StackError, match=r"the runtime announced \{.*\} instead of being ready on port"):
        fake_stack(runtime="announces_another_port").up()


def test_restart_keeps_the_port_and_brings_a_new_process(fake_stack: MakeStack) -> None:
    stack = fake_stack()
    url = stack.up().kernel
    pids = {status.service: status.pid for status in stack.status()}
    stack.restart(Service.KERNEL)
    after = {status.service: status.pid for status in stack.status()}
    assert stack.endpoints().kernel == url
    assert answers(url)
    assert after[Service.KERNEL] not in (None, pids[Service.KERNEL])
    assert after[Service.RUNTIME] == pids[Service.RUNTIME]
    assert "stopping" in stack.logs(Service.KERNEL)
    assert "stopping" not in stack.describe_failure(Service.KERNEL)  # that was the process before


def test_restart_ends_a_service_that_ignores_its_stop(fake_stack: MakeStack) -> None:
    stack = fake_stack(kernel="ignores_sigterm", settings=QUICK)
    url = stack.up().kernel
    stack.restart(Service.KERNEL)
    assert answers(url)
    assert stack.logs(Service.KERNEL).count("fake service") == 2


def test_kill_is_over_on_return_and_restart_brings_the_service_back(fake_stack: MakeStack) -> None:
    stack = fake_stack()
    url = stack.up().runtime
    stack.kill(Service.RUNTIME)
    assert refuses(url)
    assert status_of(stack, Service.RUNTIME) == (False, False, -signal.SIGKILL)
    assert "it was ended by SIGKILL, after the harness sent SIGKILL" in stack.describe_failure(Service.RUNTIME)
    stack.kill(Service.RUNTIME)
    stack.restart(Service.RUNTIME)
    assert answers(url)
    assert status_of(stack, Service.RUNTIME) == (True, True, None)


def test_a_death_that_nobody_asked_for_is_seen_with_its_last_words(fake_stack: MakeStack) -> None:
    stack = fake_stack()
    stack.up()
    pid = stack.status()[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGSEGV)
    while stack.status()[0].running:
        wait_readable(stack.fileno())
    assert status_of(stack, Service.KERNEL) == (False, False, -signal.SIGSEGV)
    text = stack.describe_failure(Service.KERNEL)
    assert text.startswith("it was ended by SIGSEGV; log: ")
    assert "| fake service, mode behaves" in text


def test_a_paused_service_is_there_but_does_not_run(fake_stack: MakeStack) -> None:
    stack = fake_stack()
    url = stack.up().fixtures
    stack.pause(Service.FIXTURES)
    assert status_of(stack, Service.FIXTURES) == (False, True, None)
    assert stack.describe_failure(Service.FIXTURES).startswith("it is paused")
    stack.resume(Service.FIXTURES)
    assert status_of(stack, Service.FIXTURES) == (True, True, None)
    assert answers(url)


def test_a_paused_service_can_be_restarted_and_taken_down(fake_stack: MakeStack) -> None:
    stack = fake_stack()
    url = stack.up().kernel
    stack.pause(Service.KERNEL)
    stack.restart(Service.KERNEL)
    assert answers(url)
    assert stack.logs(Service.KERNEL).count("stopping") == 1
    stack.pause(Service.KERNEL)
    stack.down()
    assert status_of(stack, Service.KERNEL) == (False, False, 0)


@pytest.mark.parametrize("act", ["pause", "resume"])
def test_what_ended_can_not_be_paused(fake_stack: MakeStack, act: str) -> None:
    stack = fake_stack()
    stack.up()
    stack.kill(Service.KERNEL)
    with pytest.raises(StackError, match="the kernel can't get SIG"):
        getattr(stack, act)(Service.KERNEL)


def test_down_ends_what_ignores_its_stop(fake_stack: MakeStack) -> None:
    stack = fake_stack(kernel="ignores_sigterm", settings=StackSettings(down_timeout=5))  # all of which it takes
    url = stack.up().kernel
    stack.down()
    assert refuses(url)
    assert status_of(stack, Service.KERNEL) == (False, False, -signal.SIGKILL)
    assert status_of(stack, Service.RUNTIME) == (False, False, 0)


def test_logs_give_the_last_lines_only(fake_stack: MakeStack) -> None:
    stack = fake_stack()
    url = stack.up().kernel
    for _ in range(5):
        answers(url)
    assert stack.logs(Service.KERNEL, tail=3) == "asked /health\n" * 3
    assert stack.logs(Service.KERNEL).startswith("fake service, mode behaves")


def test_a_killed_supervisor_takes_the_services_with_it(fake_stack: MakeStack) -> None:
    stack = fake_stack()
    urls = stack.up()
    pids = [status.pid for status in stack.status()]
    handles = [os.pidfd_open(pid) for pid in pids if pid is not None]
    os.kill(stack.supervisor_pid, signal.SIGKILL)
    for handle in handles:
        wait_readable(handle)
        os.close(handle)
    assert refuses(urls.kernel)
    wait_readable(stack.fileno())
    assert stack.lost
    assert not any(status.running for status in stack.status())
    with pytest.raises(StackError, match="supervisor"):
        stack.restart(Service.KERNEL)
    stack.down()


def test_threads_may_act_on_different_services_at_once(fake_stack: MakeStack) -> None:
    stack = fake_stack()
    stack.up()
    problems: list[BaseException] = []

    def churn(service: Service) -> None:
        try:
            for _ in range(5):
                stack.pause(service)
                stack.resume(service)
                stack.kill(service)
                stack.restart(service)
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=churn, args=(service,)) for service in Service]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert len(stack.status()) == 3
        threads[0].join(0.01)
    assert problems == []
    assert [status_of(stack, service) for service in Service] == [(True, True, None)] * 3


def test_services_get_default_signals_whatever_their_owner_does_with_its_own(fake_stack: MakeStack) -> None:
    stack = fake_stack()
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    ignored = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        stack.up()
    finally:
        signal.signal(signal.SIGINT, ignored)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    pid = stack.status()[0].pid
    mask = {line.split(":")[0]: int(line.split()[1], 16) for line in status_lines(pid) if line.startswith("Sig")}
    assert not mask["SigBlk"] & (1 << signal.SIGTERM - 1)
    assert not mask["SigIgn"] & (1 << signal.SIGINT - 1)
    stack.down()
    assert status_of(stack, Service.KERNEL) == (False, False, 0)


def status_lines(pid: int | None) -> list[str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return [line for line in lines if line.startswith(("SigBlk", "SigIgn"))]


def test_a_supervisor_that_has_just_ended_is_not_taken_for_one_that_lives(
    fake_stack: MakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = Supervised._end

    def ends_late(supervised: Supervised) -> None:
        time.sleep(0.5)  # in the reader's thread: the news are on their way for so long
        end(supervised)

    monkeypatch.setattr(Supervised, "_end", ends_late)
    stack = fake_stack()
    stack.up()
    pid = stack._live().pid
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert [status.running for status in stack.status()] == [False] * 3
