from __future__ import annotations

from collections.abc import Callable

import pytest

from pytest_execgo.core.errors import StackError
from pytest_execgo.harness.external import ExternalStack
from pytest_execgo.harness.ports import PortReservation
from pytest_execgo.harness.process_stack import ProcessStack
from pytest_execgo.plan.stack import Service

MakeStack = Callable[..., ProcessStack]


def test_a_stack_that_runs_is_used_and_left_alone(fake_stack: MakeStack) -> None:
    running = fake_stack()
    theirs = running.up()
    stack = ExternalStack(theirs.kernel + "/", theirs.runtime, theirs.fixtures, token="t")
    endpoints = stack.up()
    assert (endpoints.kernel, endpoints.runtime, endpoints.fixtures) == (theirs.kernel, theirs.runtime, theirs.fixtures)
    assert endpoints.token == "t"
    stack.down()
    assert all(status.running for status in running.status())
    running.kill(Service.RUNTIME)
    assert [status.running for status in stack.status()] == [True, False, True]
    assert "refused" in stack.describe_failure(Service.RUNTIME)


def test_each_service_that_can_not_be_reached_is_named_with_its_option(fake_stack: MakeStack) -> None:
    kernel = fake_stack().up().kernel
    nobody = PortReservation()
    with pytest.raises(StackError) as raised:
        ExternalStack(kernel, nobody.url, nobody.url).up()
    nobody.close()
    message = raised.value.message
    assert f"the runtime (--execgo-runtime-url) is not ready: GET {nobody.url}/readyz" in message
    assert f"the fixtures (--execgo-fixtures-url) is not ready: GET {nobody.url}/health" in message
    assert "--execgo-url" not in message


def test_a_service_that_does_not_answer_is_given_up(fake_stack: MakeStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_execgo.harness.external._TIMEOUT", 0.2)
    running = fake_stack()
    theirs = running.up()
    running.pause(Service.KERNEL)
    with pytest.raises(StackError, match=r"the kernel \(--execgo-url\) is not ready: .*timed out"):
        ExternalStack(theirs.kernel, theirs.runtime, theirs.fixtures).up()
