"""One entry for every kind of execution."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Mapping
from typing import Any

from pytest_execgo.core.errors import UsageError
from pytest_execgo.executors.flow import FlowExecutor
from pytest_execgo.executors.graph import GraphExecutor
from pytest_execgo.plan.executor import ExecutionContext, ExecutionResult, Executor, ExecutorBackend

_END_GRACE = 15.0  # seconds that what an interrupt left gets to end; ending a flow's processes takes less


class UnifiedExecutor:
    """Hands targets to the executor of the backend that is named (seed 003).

    `executors` adds backends by name, or replaces the built-in ones behind `graph` and `flow`.
    """

    def __init__(
        self,
        *,
        graph_executor: GraphExecutor | None = None,
        flow_executor: FlowExecutor | None = None,
        executors: Mapping[str, Executor] | None = None,
    ) -> None:
        self._graph = graph_executor or GraphExecutor()
        self._flow = flow_executor or FlowExecutor()
        built_in: dict[str, Executor] = {ExecutorBackend.GRAPH.value: self._graph, ExecutorBackend.FLOW.value: self._flow}
        self._executors = {**built_in, **{str(name): executor for name, executor in (executors or {}).items()}}

    @property
    def graph(self) -> GraphExecutor:
        """The executor of graphs."""
        return self._graph

    @property
    def flow(self) -> FlowExecutor:
        """The executor of flows."""
        return self._flow

    async def execute(
        self,
        target: Any,
        inputs: Any = None,
        *,
        backend: ExecutorBackend | str,
        context: ExecutionContext | None = None,
    ) -> ExecutionResult:
        """Execute `target` on a backend; no inputs are an empty dict, and no context is one with ids of its own.

        Raises `UsageError` for an unknown backend and what else is the caller's mistake; what the target raises is in the result.
        """
        executor = self._executors.get(str(backend))
        if executor is None:
            raise UsageError.unknown("backend", str(backend), self._executors)
        context = context or ExecutionContext(run_id=uuid.uuid4().hex, thread_id=uuid.uuid4().hex)
        return await executor.execute(target, {} if inputs is None else inputs, context)

    def execute_sync(
        self,
        target: Any,
        inputs: Any = None,
        *,
        backend: ExecutorBackend | str,
        context: ExecutionContext | None = None,
    ) -> ExecutionResult:
        """Do the same and wait for it. Where a loop already runs in this thread, that loop is held up meanwhile."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return _in_own_loop(self, target, inputs, backend, context)
        return _in_own_thread(self, target, inputs, backend, context)

    def cancel(self, run_id: str) -> bool:
        """Order the executions with that run id to end, from any thread; False if no backend runs one (or can end one)."""
        ends = [getattr(executor, "cancel", None) for executor in self._executors.values()]
        return any([bool(end(run_id)) for end in ends if end is not None])  # a list: all of them are told


def _in_own_loop(
    executor: UnifiedExecutor, target: Any, inputs: Any, backend: str, context: ExecutionContext | None
) -> ExecutionResult:
    # not asyncio.run(): it would wait for the threads in which a graph runs its synchronous nodes, also for one that timed out
    loop = asyncio.new_event_loop()
    main = loop.create_task(executor.execute(target, inputs, backend=backend, context=context))
    try:
        return loop.run_until_complete(main)
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=_END_GRACE))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def _in_own_thread(
    executor: UnifiedExecutor, target: Any, inputs: Any, backend: str, context: ExecutionContext | None
) -> ExecutionResult:
    results: list[ExecutionResult] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(_in_own_loop(executor, target, inputs, backend, context))
        except BaseException as error:  # raised again where it is waited for
            errors.append(error)

    thread = threading.Thread(target=run, name="execgo-execute", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
