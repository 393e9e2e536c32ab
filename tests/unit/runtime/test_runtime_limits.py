"""What can be told of a limit that was hit, and what can't."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import pytest

from pytest_execgo.runtime.execution import Control
from pytest_execgo.runtime.keeper_records import EndRecord, Reason
from pytest_execgo.runtime.limited import Bounds
from pytest_execgo.runtime.limits import bounds_of, exceeded, unenforced
from pytest_execgo.runtime.models import Limits
from pytest_execgo.runtime.tasks import TaskError


def ended(code: int | None = None, signum: int | None = None, seconds: float = 0.1, **rest: Any) -> EndRecord:
    return EndRecord(exit_code=code, signal=signum, started_ns=0, finished_ns=int(seconds * 1e9), **rest)


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
def test_only_what_is_shown_is_told(limits: Limits, outcome: EndRecord, stderr: str, code: str | None) -> None:
    found = exceeded(limits, outcome, stderr)
    assert (found.code if found else None) == code


def test_what_a_control_group_counted_is_told() -> None:
    limits = Limits(memory_bytes=1, pids_max=1)
    memory = exceeded(limits, ended(code=137, hit={"memory_bytes": "the system killed 1"}), "")
    assert memory is not None
    assert (memory.code, memory.evidence) == ("memory_limit_exceeded", "the system killed 1")
    pids = exceeded(limits, ended(code=2, hit={"pids_max": "max 3"}), "")
    assert pids is not None
    assert (pids.code, pids.limit) == ("resource_limit_exceeded", "pids_max")


def test_a_process_limit_counts_only_where_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    limits, refused = Limits(pids_max=3), "sh: fork: Resource temporarily unavailable"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert unenforced(limits, ()) == {}
    found = exceeded(limits, ended(code=1), refused)
    assert found is not None
    assert (found.code, found.limit, found.evidence) == ("resource_limit_exceeded", "pids_max", refused)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert "root" in unenforced(limits, ())["pids_max"]
    assert unenforced(limits, ("pids",)) == {}
    assert exceeded(limits, ended(code=1), refused) is None


def bounds(limits: Limits) -> Bounds:
    return bounds_of(limits, 1000)


def test_only_limits_that_need_it_pay_for_the_launcher() -> None:
    assert not bounds(Limits(wall_time_ms=5, stdout_max_bytes=5)).needs_launcher
    needy = (Limits(cpu_time_sec=1), Limits(memory_bytes=1), Limits(pids_max=1))
    assert all(bounds(limits).needs_launcher for limits in needy)


def test_ending_an_execution_tells_who_runs_its_command() -> None:
    told: list[Reason] = []

    async def scenario() -> None:
        control = Control()
        control.cancel(TaskError("cancelled", "first"))
        control.on_cancel = told.append
        control.cancel(TaskError("cancelled", "second"))
        assert control.cancelled.is_set()

    asyncio.run(scenario())
    assert told == [Reason("cancelled", "first")]  # the first reason counts
