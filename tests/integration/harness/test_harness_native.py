"""A given binary as the kernel; the other two services are fakes that behave."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pytest_execgo.core.errors import StackError
from pytest_execgo.harness.native import NativeStack
from pytest_execgo.harness.ports import free_port
from pytest_execgo.harness.settings import StackSettings
from pytest_execgo.plan.stack import Service

pytestmark = pytest.mark.usefixtures("fake_services")
FakeBinary = Callable[[str], Path]
MakeNative = Callable[..., NativeStack]


@pytest.fixture
def native(tmp_path: Path, fake_binary: FakeBinary) -> Iterator[MakeNative]:
    made: list[NativeStack] = []

    def make(mode: str, settings: StackSettings | None = None) -> NativeStack:
        made.append(NativeStack(fake_binary(mode), tmp_path / "stack", settings))
        return made[-1]

    yield make
    for stack in made:
        stack.down()


def command_of_kernel(stack: NativeStack) -> list[str]:
    return Path(f"/proc/{stack.status()[0].pid}/cmdline").read_text().split("\0")


def answers(url: str) -> bool:
    with urllib.request.urlopen(url + "/health", timeout=10) as answer:
        return bool(answer.status == 200)


@pytest.mark.parametrize(("mode", "starts"), [("reuses_address", 1), ("shares_nothing", 2)])
def test_a_binary_comes_up_beside_its_reservation_or_without_it(native: MakeNative, mode: str, starts: int) -> None:
    stack = native(mode)
    endpoints = stack.up()
    assert all(map(answers, (endpoints.kernel, endpoints.runtime, endpoints.fixtures)))
    assert stack.logs(Service.KERNEL).count("fake service") == starts


def test_a_binary_restarts_on_its_port(native: MakeNative) -> None:
    stack = native("reuses_address")
    endpoints = stack.up()
    command = command_of_kernel(stack)
    assert ["-data-dir", str(stack.folder / "kernel-data")] == command[command.index("-data-dir") :][:2]
    stack.restart(Service.KERNEL)
    assert stack.endpoints() == endpoints
    assert answers(endpoints.kernel)
    assert command_of_kernel(stack) == command  # the same port and data folder, that is


def test_a_given_port_that_can_not_be_shared_is_given_up_to_the_binary(native: MakeNative) -> None:
    port = free_port()
    stack = native("shares_nothing", StackSettings(ports={Service.KERNEL: port}))
    assert urlsplit(stack.up().kernel).port == port


def test_a_binary_that_ends_is_told_at_once_and_not_tried_again(native: MakeNative) -> None:
    stack = native("exits", StackSettings(ready_timeout=3600))
    with pytest.raises(StackError, match="the kernel ended before it was ready: it ended with exit code 7"):
        stack.up()
    assert stack.logs(Service.KERNEL).count("fake service") == 1


def test_a_binary_that_never_answers_is_told_at_the_deadline(native: MakeNative) -> None:
    stack = native("never_ready", StackSettings(ready_timeout=0.5))
    with pytest.raises(StackError, match=r"the kernel was not ready within 0\.5 s \(GET http://127\.0\.0\.1:\d+/health"):
        stack.up()


def test_only_the_fixtures_service_has_the_token(native: MakeNative) -> None:
    stack = native("reuses_address", StackSettings(token="canary"))
    endpoints = stack.up()
    assert endpoints.token == "canary"
    assert "canary" not in stack.environment(Service.KERNEL).values()
    assert "canary" not in stack.environment(Service.RUNTIME).values()
    assert stack.environment(Service.FIXTURES)["EXECGO_FIXTURES_TOKEN"] == "canary"
    assert stack.environment(Service.KERNEL)["EXECGO_RUNTIME_URL"] == endpoints.runtime
