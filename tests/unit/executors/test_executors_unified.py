"""One entry: routing, contexts, executors of one's own, waiting for the end."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from pydantic import ValidationError

from pytest_execgo.core.errors import UsageError
from pytest_execgo.executors import (
    ExecutionContext,
    ExecutionMode,
    ExecutionResult,
    ExecutionStatus,
    ExecutorBackend,
    FlowExecutor,
    GraphExecutor,
    UnifiedExecutor,
)


class Mine:
    """An executor of one's own: tells what it was given."""

    async def execute(self, target: Any, inputs: Any, context: ExecutionContext) -> ExecutionResult:
        status = ExecutionStatus.SUCCEEDED
        output = (target, inputs)
        return ExecutionResult(backend="mine", run_id=context.run_id, status=status, output=output, started_at=1.0, finished_at=3.5)


def test_backends_are_named_by_enum_or_text(context: Any) -> None:
    unified = UnifiedExecutor()
    for backend in (ExecutorBackend.GRAPH, "graph"):
        result = unified.execute_sync(lambda inputs: inputs, {"a": 1}, backend=backend)
        assert (result.backend, result.output) == (ExecutorBackend.GRAPH, {"a": 1})
    result = unified.execute_sync(lambda a: a, {"a": 1}, backend="flow", context=context())
    assert (result.backend, result.output, result.run_id) == (ExecutorBackend.FLOW, 1, "run-1")


def test_an_unknown_backend_is_an_error_with_the_nearest_match() -> None:
    with pytest.raises(UsageError, match="unknown backend 'grap'") as caught:
        UnifiedExecutor(executors={"mine": Mine()}).execute_sync(len, backend="grap")
    assert caught.value.hint == "did you mean 'graph'? allowed: flow, graph, mine"


def test_executors_can_be_given(context: Any) -> None:
    graph, flow = GraphExecutor(), FlowExecutor()
    unified = UnifiedExecutor(graph_executor=graph, flow_executor=flow, executors={"mine": Mine()})
    assert (unified.graph, unified.flow) == (graph, flow)
    result = unified.execute_sync("target", backend="mine", context=context())
    assert (result.backend, result.output, result.duration_seconds) == ("mine", ("target", {}), 2.5)


def test_each_execution_without_a_context_has_ids_of_its_own() -> None:
    unified = UnifiedExecutor()
    results = [unified.execute_sync(lambda inputs: 1, backend="graph") for _ in range(2)]
    assert len({result.run_id for result in results} | {result.metadata["thread_id"] for result in results}) == 4


def test_execute_sync_works_where_a_loop_runs() -> None:
    async def target(inputs: Any) -> int:
        await asyncio.sleep(0)
        return threading.get_ident()

    async def inside() -> Any:
        return UnifiedExecutor().execute_sync(target, backend="graph")

    result = asyncio.run(inside())
    assert result.status is ExecutionStatus.SUCCEEDED
    assert result.output != threading.get_ident()
    with pytest.raises(UsageError, match="unknown backend"):
        asyncio.run(_unknown())


async def _unknown() -> None:
    UnifiedExecutor().execute_sync(len, backend="none such")


def test_execute_sync_does_not_wait_for_a_thread_that_runs_on(context: Any) -> None:
    release = threading.Event()

    async def target(inputs: Any) -> None:
        await asyncio.to_thread(release.wait, 60)  # as a graph runs its synchronous nodes

    began = time.monotonic()
    result = UnifiedExecutor().execute_sync(target, backend="graph", context=context(timeout_seconds=0.05))
    assert result.error == "timed out after 0.05 s"
    assert time.monotonic() - began < 30
    release.set()


def test_cancel_reaches_whoever_runs_it(graph: Any, context: Any) -> None:
    unified, target = UnifiedExecutor(executors={"mine": Mine()}), graph(forever=True)

    async def go() -> ExecutionResult:
        waiting = asyncio.ensure_future(unified.execute(target, backend="graph", context=context()))
        await target.began.wait()
        assert unified.cancel("another") is False
        assert unified.cancel("run-1") is True
        return await waiting

    assert asyncio.run(go()).status is ExecutionStatus.CANCELLED


def test_contexts_take_modes_as_text_and_refuse_others() -> None:
    made = ExecutionContext(run_id="r", thread_id="t", mode="remote")  # type: ignore[arg-type]
    assert made.mode is ExecutionMode.REMOTE
    for wrong in ({"mode": "cloud"}, {"timeout_seconds": 0}, {"unknown": 1}):
        with pytest.raises(ValidationError):
            ExecutionContext.model_validate({"run_id": "r", "thread_id": "t", **wrong})
