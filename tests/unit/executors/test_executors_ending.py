"""Executions that are ended: by time, by order, with the task that waits for them."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from pytest_execgo.core.errors import UsageError
from pytest_execgo.executors import ExecutionStatus, GraphExecutor
from pytest_execgo.executors import supervision as supervision_module


def test_when_the_time_is_up_the_graph_is_stopped_and_has_failed(graph: Any, context: Any) -> None:
    target = graph(forever=True)

    async def go() -> Any:
        ended = await GraphExecutor().execute(target, {}, context(timeout_seconds=0.05))
        assert target.stopped  # before the loop ends: that would stop it too
        return ended

    result = asyncio.run(go())
    assert (result.status, result.error) == (ExecutionStatus.FAILED, "timed out after 0.05 s")
    assert result.metadata["timed_out"] is True
    assert "still_running" not in result.metadata


def test_an_order_from_another_thread_cancels_and_nothing_runs_on(graph: Any, context: Any) -> None:
    executor, target = GraphExecutor(), graph(forever=True)

    async def go() -> Any:
        waiting = asyncio.ensure_future(executor.execute(target, {}, context()))
        await target.began.wait()
        assert executor.result("run-1").status is ExecutionStatus.RUNNING  # type: ignore[union-attr]
        assert executor.result("run-1").duration_seconds is None  # type: ignore[union-attr]
        told: list[bool] = []
        thread = threading.Thread(target=lambda: told.append(executor.cancel("run-1")))
        thread.start()
        result = await waiting
        thread.join()
        assert told == [True]
        return result

    result = asyncio.run(go())
    assert (result.status, result.error, target.stopped) == (ExecutionStatus.CANCELLED, "cancelled on order", True)
    assert executor.result("run-1") == result
    assert executor.cancel("run-1") is False
    assert executor.result("unknown") is None


def test_a_cancelled_caller_is_recorded_and_its_cancellation_goes_on(graph: Any, context: Any) -> None:
    executor, target = GraphExecutor(), graph(forever=True)

    async def go() -> None:
        waiting = asyncio.ensure_future(executor.execute(target, {}, context()))
        await target.began.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert target.stopped  # before the loop ends: that would stop it too

    asyncio.run(go())
    recorded = executor.result("run-1")
    assert recorded is not None
    assert (recorded.status, recorded.error) == (ExecutionStatus.CANCELLED, "cancelled with the task that waited for it")
    assert recorded.finished_at is not None


def test_a_thread_can_not_be_stopped_and_the_result_says_so(context: Any) -> None:
    go_on, over = threading.Event(), threading.Event()

    def stubborn(inputs: Any) -> None:
        go_on.wait(30)
        over.set()

    result = asyncio.run(GraphExecutor().execute(stubborn, {}, context(timeout_seconds=0.05)))
    assert (result.error, result.metadata["still_running"], over.is_set()) == ("timed out after 0.05 s", True, False)
    go_on.set()
    assert over.wait(30)


def test_a_target_that_will_not_end_is_left_behind_and_the_result_says_so(context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision_module, "_STOP_GRACE", 0.05)

    async def go() -> Any:
        release = asyncio.Event()

        async def deaf(inputs: Any) -> None:
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    continue

        result = await GraphExecutor().execute(deaf, {}, context(timeout_seconds=0.05))
        release.set()
        return result

    assert asyncio.run(go()).metadata["still_running"] is True


def test_what_goes_wrong_while_stopping_is_noted(context: Any) -> None:
    async def untidy(inputs: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise OSError("could not close")

    result = asyncio.run(GraphExecutor().execute(untidy, {}, context(timeout_seconds=0.05)))
    assert (result.error, result.metadata["while_stopping"]) == ("timed out after 0.05 s", "OSError: could not close")


def test_a_run_id_is_one_execution_at_a_time(graph: Any, context: Any) -> None:
    executor, target = GraphExecutor(), graph(forever=True)

    async def go() -> None:
        waiting = asyncio.ensure_future(executor.execute(target, {}, context()))
        await target.began.wait()
        with pytest.raises(UsageError, match="'run-1' is running"):
            await executor.execute(graph(), {}, context())
        executor.cancel("run-1")
        assert (await waiting).status is ExecutionStatus.CANCELLED
        assert (await executor.execute(graph(), {}, context())).status is ExecutionStatus.SUCCEEDED

    asyncio.run(go())


def test_only_the_latest_results_are_remembered(graph: Any, context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision_module, "_REMEMBERED", 2)
    executor = GraphExecutor()
    for number in range(4):
        asyncio.run(executor.execute(graph(number), {}, context(run_id=str(number))))
    assert [executor.result(str(number)) is not None for number in range(4)] == [False, False, True, True]
