"""The mcp executor, without sockets: handles in their stages, and how many are kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from pytest_execgo.kernel.executors import mcp
from pytest_execgo.kernel.executors.executor import Attempt, Outcome
from pytest_execgo.kernel.executors.mcp import McpExecutor
from pytest_execgo.kernel.submission import Refused
from pytest_execgo.kernel.task import TaskSpec


def attempt(report: Callable[[Outcome], None], **spec: Any) -> Attempt:
    return Attempt(TaskSpec("t", "mcp", **spec), 1, None, report)


def test_a_task_is_shown_accepted_before_it_ends() -> None:
    async def scenario() -> tuple[list[Outcome], Outcome, dict[str, Any]]:
        executor, shown = McpExecutor(), list[Outcome]()
        outcome = await executor.run(attempt(shown.append, tool_name="x", input='{"a":1}', params="2"))
        return shown, outcome, json.loads(executor.get(outcome.handle_id) or "null")

    shown, outcome, handle = asyncio.run(scenario())
    (accepted,) = shown
    assert (accepted.status, accepted.output, accepted.finished) == ("accepted", None, None)
    assert accepted.handle_id == outcome.handle_id == handle["handle_id"]
    assert [step["message"] for step in json.loads(accepted.progress or "[]")] == ["task accepted"]
    assert (outcome.status, outcome.output) == ("success", '{"echo":{"a":1},"tool_name":"x"}')
    assert handle["progress"] == json.loads(outcome.progress or "[]")
    assert (handle["task_id"], len(handle["progress"])) == ("t", 3)


def test_a_call_is_answered_before_it_runs() -> None:
    async def scenario() -> tuple[dict[str, Any], dict[str, Any]]:
        executor = McpExecutor()
        taken = json.loads(executor.call(b'{"id":"<","input":[1]}'))
        before = json.loads(executor.get(taken["handle_id"]) or "null")
        assert before == taken
        await asyncio.sleep(0)
        return taken, json.loads(executor.get(taken["handle_id"]) or "null")

    taken, ended = asyncio.run(scenario())
    assert (taken["task_id"], taken["status"]) == ("<", "accepted")
    assert (ended["status"], ended["output"]) == ("success", {"echo": [1], "tool_name": ""})


def test_handles_differ_though_the_clock_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time_ns", lambda: 1_700_000_000_000_000_000)

    async def scenario() -> set[str]:
        executor = McpExecutor()
        return {json.loads(executor.call(b"{}"))["handle_id"] for _ in range(50)}

    assert len(asyncio.run(scenario())) == 50


def test_the_oldest_handles_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp, "_KEPT", 3)

    async def scenario() -> list[bool]:
        executor = McpExecutor()
        handles = [json.loads(executor.call(b"{}"))["handle_id"] for _ in range(5)]
        await asyncio.sleep(0)
        return [executor.get(handle) is not None for handle in handles]

    assert asyncio.run(scenario()) == [False, False, True, True, True]


def test_a_call_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(Refused, match="invalid JSON: EOF"):
        McpExecutor().call(b" ")
