"""Executes LangGraph graphs, and whatever looks like one; LangGraph itself is never imported here."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from pytest_execgo.core.errors import Unsupported, UsageError
from pytest_execgo.executors.calling import call, is_async, is_function, name_of
from pytest_execgo.executors.supervision import Ending, Executions, Work
from pytest_execgo.plan.executor import ExecutionContext, ExecutionMode, ExecutionResult, ExecutionStatus, ExecutorBackend


class GraphExecutor:
    """Runs a compiled graph, a `StateGraph`, or a callable that takes the inputs (seed 003).

    `compile_options` go to `compile()` of graphs that aren't compiled yet: `checkpointer`, `interrupt_before`, …
    """

    backend = ExecutorBackend.GRAPH

    def __init__(self, *, compile_options: dict[str, Any] | None = None) -> None:
        self._compile_options = dict(compile_options or {})
        self._executions = Executions(self.backend)

    async def execute(self, target: Any, inputs: Any, context: ExecutionContext) -> ExecutionResult:
        """Execute a graph by `ainvoke(inputs, config)`, anything else that can be called by `target(inputs)`.

        The config is the context's, with its `thread_id` under `configurable` and its metadata under `metadata`. A graph that stops
        at an interrupt is `pending`; it goes on under the same thread id, with `Command(resume=…)` as inputs. Raises `UsageError`
        for a target that is neither, `Unsupported` for a mode other than `local`.
        """
        if context.mode is not ExecutionMode.LOCAL:
            raise Unsupported("mode_unsupported", f"graphs run in this process; mode {context.mode.value!r} is for flows")
        return await self._executions.supervise(context, name_of(target), self._work(target, inputs, context))

    def cancel(self, run_id: str) -> bool:
        """Order a running execution to end as `cancelled`, from any thread; False if there is none under that id."""
        return self._executions.cancel(run_id)

    def result(self, run_id: str) -> ExecutionResult | None:
        """Return what is known of an execution, also of a running one; None if it isn't known (any more)."""
        return self._executions.result(run_id)

    def _work(self, target: Any, inputs: Any, context: ExecutionContext) -> Work:
        if not isinstance(target, type):
            if callable(getattr(target, "ainvoke", None)):
                return partial(_invoke, target, inputs, _config(context))
            if callable(getattr(target, "compile", None)):
                return partial(self._compile, target, inputs, context)
            if is_function(target):
                return partial(_call, target, inputs)
        raise UsageError(
            "not_a_graph",
            f"{name_of(target)!r} can't be executed as a graph",
            "give a compiled graph, a StateGraph or a callable that takes the inputs; flows have the backend 'flow'",
        )

    async def _compile(self, builder: Any, inputs: Any, context: ExecutionContext, notes: dict[str, Any]) -> Ending:
        return await _invoke(builder.compile(**self._compile_options), inputs, _config(context), notes)


def _config(context: ExecutionContext) -> dict[str, Any]:
    given = context.config
    return {
        **given,
        "configurable": {**given.get("configurable", {}), "thread_id": context.thread_id},
        "metadata": {**context.metadata, **given.get("metadata", {})},
    }


async def _invoke(graph: Any, inputs: Any, config: dict[str, Any], notes: dict[str, Any]) -> Ending:
    output = await graph.ainvoke(inputs, config)
    waits = isinstance(output, Mapping) and bool(output.get("__interrupt__"))
    # True and False stand for "as the graph around it has it" and "none"
    if getattr(graph, "checkpointer", None) not in (None, True, False):
        state = await graph.aget_state(config)
        notes["checkpoint_id"] = state.config["configurable"].get("checkpoint_id")
        notes["next"] = list(state.next)  # empty when the graph is through; else where it waits, as at `interrupt_before`
        waits = waits or bool(notes["next"])
    return Ending(ExecutionStatus.PENDING if waits else ExecutionStatus.SUCCEEDED, output)


async def _call(target: Any, inputs: Any, notes: dict[str, Any]) -> Ending:
    return Ending(ExecutionStatus.SUCCEEDED, await call(partial(target, inputs), notes, awaited=is_async(target)))
