"""Ending what is only being confined: nothing of it stays, at whatever moment it is ended."""

from __future__ import annotations

import os
import shutil
import signal
import time
from typing import Any

import pytest

from pytest_execgo.sandbox import supervision
from pytest_execgo.sandbox.supervision import Supervision

PLACE = "--unshare-pid --unshare-ipc --unshare-uts --unshare-net --die-with-parent --as-pid-1 --ro-bind / / --proc /proc"


@pytest.fixture
def words() -> list[str]:
    program = shutil.which("bwrap")
    if program is None:
        reason = "bubblewrap is not installed"
        (pytest.fail if os.environ.get("EXECGO_TEST_SANDBOX") == "required" else pytest.skip)(reason)
    return [program, *PLACE.split(), "sleep"]


def begun(words: list[str]) -> Supervision:
    orders: Any = {"rung": "bubblewrap"}
    return Supervision(words, orders, stdin=b"", output_bytes=1000, on_listener=lambda _: None)


def test_bubblewrap_leaves_no_child_behind_that_waits_for_it(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "_END", 30.0)
    for number in range(60):
        one = begun([*words, "600"])
        time.sleep(number / 5000)  # up to the time that it takes to make the place
        one.close()  # `SandboxError` when something holds its streams
        assert one._process.returncode is not None


def test_a_signal_that_comes_while_it_is_started_waits_and_then_ends_it(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []
    start = Supervision._start

    def told_in_between(self: Supervision, *arguments: Any) -> None:
        signal.raise_signal(signal.SIGIO)
        start(self, *arguments)
        started.append(self._process.pid)

    def end(*_: object) -> None:
        raise SystemExit(125)

    monkeypatch.setattr(Supervision, "_start", told_in_between)
    before = signal.signal(signal.SIGIO, end)
    try:
        with pytest.raises(SystemExit):
            begun([*words, "600"])
    finally:
        signal.signal(signal.SIGIO, before)
    (pid,) = started
    with pytest.raises(ChildProcessError):  # it was ended, and reaped
        os.waitpid(pid, os.WNOHANG)
