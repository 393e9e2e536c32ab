"""What can be told of a limit that was hit, and what can't."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from pytest_execgo.core.process import CommandOutcome
from pytest_execgo.runtime.execution import Control, execute
from pytest_execgo.runtime.limits import exceeded, needs_launcher, unenforced
from pytest_execgo.runtime.models import Limits, parse_task
from pytest_execgo.runtime.tasks import TaskError


def ended(code: int | None = None, signum: int | None = None, seconds: float = 0.1) -> CommandOutcome:
    return CommandOutcome(code, signum, b"", b"", False, False, False, 0, int(seconds * 1e9))


@pytest.mark.parametrize(
    ("limits", "outcome", "stderr", "code"),
    [
        (Limits(cpu_time_sec=1), ended(signum=signal.SIGXCPU), "", "cpu_limit_exceeded"),
        (Limits(cpu_time_sec=1), ended(code=128 + signal.SIGXCPU), "", "cpu_limit_exceeded"),
        (Limits(cpu_time_sec=1), ended(signum=signal.SIGKILL, seconds=2.1), "", "resource_limit_exceeded"),
        (Limits(cpu_time_sec=1), ended(signum=signal.SIGKILL, seconds=0.1), "", None),
        (Limits(), ended(signum=signal.SIGXCPU), "", None),
        (Limits(memory_bytes=1), ended(code=1), "Traceback\nMemoryError\n", "memory_limit_exceeded"),
        (Limits(memory_bytes=1), ended(code=1), "sh: xmalloc: cannot allocate memory", "memory_limit_exceeded"),
        (Limits(memory_bytes=1), ended(code=1), "no such file", None),
        (Limits(memory_bytes=1), ended(signum=signal.SIGSEGV), "", None),
        (Limits(), ended(code=1), "MemoryError", None),
    ],
)
def test_only_what_is_shown_is_told(limits: Limits, outcome: CommandOutcome, stderr: str, code: str | None) -> None:
    found = exceeded(limits, outcome, stderr)
    assert (found.code if found else None) == code


def test_a_process_limit_counts_only_where_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    limits, refused = Limits(pids_max=3), "sh: fork: Resource temporarily unavailable"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert unenforced(limits) == {}
    found = exceeded(limits, ended(code=1), refused)
    assert found is not None
    assert (found.code, found.limit, found.evidence) == ("resource_limit_exceeded", "pids_max", refused)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert "root" in unenforced(limits)["pids_max"]
    assert exceeded(limits, ended(code=1), refused) is None


def test_only_limits_that_need_it_pay_for_the_launcher() -> None:
    assert not needs_launcher(Limits(wall_time_ms=5, stdout_max_bytes=5))
    assert all(map(needs_launcher, (Limits(cpu_time_sec=1), Limits(memory_bytes=1), Limits(pids_max=1))))


def test_a_command_that_was_cancelled_while_it_started_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ended_groups: list[int] = []
    monkeypatch.setattr("pytest_execgo.runtime.execution.kill_group", ended_groups.append)
    control = Control()
    control.cancel(TaskError("cancelled", "first"))
    assert ended_groups == []
    control.spawned(17)
    assert ended_groups == [17]
    control.cancel(TaskError("cancelled", "second"))
    assert ended_groups == [17, 17]
    assert control.reason == TaskError("cancelled", "first")


def test_a_task_that_was_cancelled_before_it_began_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def started(*_: object, **__: object) -> CommandOutcome:
        raise AssertionError("a command was started")

    monkeypatch.setattr("pytest_execgo.runtime.execution.run_limited", started)

    async def scenario() -> None:
        control = Control()
        control.cancel(TaskError("cancelled", "early"))
        outcome = await execute(parse_task({"execution": {"kind": "command", "program": "true"}}), {}, control)
        assert outcome.error == TaskError("cancelled", "early")

    asyncio.run(scenario())
