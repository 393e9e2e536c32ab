"""A stack that comes up is held by somebody, or taken down again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.client.kernel import KernelUnreachable
from pytest_execgo.plan.sandbox import SandboxPolicy
from pytest_execgo.plan.stack import Endpoints
from pytest_execgo.wiring.live import LiveStack

NOWHERE = Endpoints("http://127.0.0.1:1", "http://127.0.0.1:1", "http://127.0.0.1:1")


class FakeStack:
    """A stack of nothing; its kernel answers nobody."""

    backend = "fake"
    capabilities: frozenset[Any] = frozenset()

    def __init__(self) -> None:
        self.calls: list[str] = []

    def up(self) -> Endpoints:
        self.calls.append("up")
        return NOWHERE

    def down(self) -> None:
        self.calls.append("down")


def test_a_stack_whose_kernel_does_not_answer_is_taken_down_again(tmp_path: Path) -> None:
    stack: Any = FakeStack()
    with pytest.raises(KernelUnreachable):
        LiveStack(lambda legs: stack, tmp_path)
    assert stack.calls == ["up", "down"]


def test_a_client_that_can_not_be_closed_keeps_no_stack_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack: Any = FakeStack()
    monkeypatch.setattr("pytest_execgo.client.kernel.KernelClient.capabilities", lambda self: frozenset())
    live = LiveStack(lambda legs: stack, tmp_path)

    def broken() -> None:
        raise OSError("it is stuck")

    monkeypatch.setattr(live.fixtures, "close", broken)
    with pytest.raises(OSError, match="stuck"):
        live.down()
    assert stack.calls == ["up", "down"]


@pytest.mark.parametrize(("backend", "begins"), [("containers", "use --execgo-backend embedded"), ("embedded", "no bwrap")])
def test_a_sandbox_that_a_container_lacks_may_be_had_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str, begins: str
) -> None:
    stack: Any = FakeStack()
    stack.backend = backend
    monkeypatch.setattr("pytest_execgo.client.kernel.KernelClient.capabilities", lambda self: frozenset())
    monkeypatch.setattr("pytest_execgo.wiring.live.sandbox_problem", lambda *_: "no bwrap")
    live = LiveStack(lambda legs: stack, tmp_path)
    use = live.sandbox(SandboxPolicy(mode="native"))
    live.down()
    assert use.effective is None
    assert use.reason is not None
    assert use.reason.startswith(begins)
    assert use.reason.endswith("no bwrap")
