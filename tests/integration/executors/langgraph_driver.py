"""Executes real graphs of LangGraph in a process of its own: `langgraph_driver.py CASE` prints what came of it as JSON."""

from __future__ import annotations

import asyncio
import json
import operator
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from typing import Annotated, Any, TypedDict

from pytest_execgo.executors import ExecutionContext, ExecutionResult, GraphExecutor, UnifiedExecutor

graphs = import_module("langgraph.graph")
types = import_module("langgraph.types")
memory = import_module("langgraph.checkpoint.memory")


class State(TypedDict):
    """What goes through the graphs."""

    said: Annotated[list[str], operator.add]


def context(run_id: str, thread_id: str = "t", **fields: Any) -> ExecutionContext:
    return ExecutionContext(run_id=run_id, thread_id=thread_id, **fields)


def build(*nodes: Callable[..., Any]) -> Any:
    builder = graphs.StateGraph(State)
    before = graphs.START
    for node in nodes:
        builder.add_node(node.__name__, node)
        builder.add_edge(before, node.__name__)
        before = node.__name__
    builder.add_edge(before, graphs.END)
    return builder


def told(result: ExecutionResult) -> dict[str, Any]:
    output = result.output
    kept = {"status": result.status, "error": result.error, "said": output["said"] if isinstance(output, dict) else None}
    return {**kept, "metadata": {key: value for key, value in result.metadata.items() if key != "checkpoint_id"}}


async def first(state: State) -> Any:
    return {"said": [f"first after {len(state['said'])}"]}


def second(state: State, config: Any) -> Any:
    return {"said": [f"second for {config['configurable']['user']} on {config['configurable']['thread_id']}"]}


second.__annotations__["config"] = import_module("langchain_core.runnables").RunnableConfig  # LangGraph goes by the type


def ask(state: State) -> Any:
    return {"said": [f"answered {types.interrupt('which one?')}"]}


def fail(state: State) -> Any:
    raise LookupError("no such tool")


def memory_case() -> Any:
    """Two runs on one thread and one on another, with a checkpointer; the graph is compiled by the executor."""
    unified = UnifiedExecutor(graph_executor=GraphExecutor(compile_options={"checkpointer": memory.InMemorySaver()}))
    graph = build(first, second)
    config = {"configurable": {"user": "ada"}}
    results = [
        unified.execute_sync(graph, {"said": ["hello"]}, backend="graph", context=context(run, thread, config=config))
        for run, thread in (("1", "a"), ("2", "a"), ("3", "b"))
    ]
    checkpoints = [result.metadata["checkpoint_id"] for result in results]
    return [told(result) for result in results], len(set(checkpoints) - {None})


def compiled_case() -> Any:
    """A compiled graph without a checkpointer."""
    config = {"configurable": {"user": "ada"}}
    return told(
        UnifiedExecutor().execute_sync(
            build(first, second).compile(), {"said": []}, backend="graph", context=context("1", config=config)
        )
    )


def interrupt_case() -> Any:
    """A graph that asks, and goes on under the same thread once it is answered."""
    unified = UnifiedExecutor()
    graph = build(first, ask).compile(checkpointer=memory.InMemorySaver())
    asked = unified.execute_sync(graph, {"said": []}, backend="graph", context=context("1"))
    answered = unified.execute_sync(graph, types.Command(resume="B"), backend="graph", context=context("2"))
    breaks = build(first, second).compile(checkpointer=memory.InMemorySaver(), interrupt_before=["second"])
    stopped = unified.execute_sync(breaks, {"said": []}, backend="graph", context=context("3"))
    return [told(asked), told(answered), told(stopped)]


def fail_case() -> Any:
    """A node that raises, and a graph that can't be compiled."""
    unified = UnifiedExecutor()
    failed = unified.execute_sync(build(first, fail), {"said": []}, backend="graph")
    return [told(failed), told(unified.execute_sync(graphs.StateGraph(State), {"said": []}, backend="graph"))]


def ended_case() -> Any:
    """A graph whose asynchronous node never ends: by time, by order, by the task that waits; what runs on is counted."""
    began, running = threading.Event(), []

    async def forever(state: State) -> Any:
        running.append(1)
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            running.pop()

    async def go() -> Any:
        executor, graph = GraphExecutor(), build(forever, first)
        late = await executor.execute(graph, {"said": []}, context("1", timeout_seconds=0.3))
        began.clear()
        waiting = asyncio.ensure_future(executor.execute(graph, {"said": []}, context("2")))
        await asyncio.to_thread(began.wait)
        executor.cancel("2")
        cancelled = await waiting
        began.clear()
        waiting = asyncio.ensure_future(executor.execute(graph, {"said": []}, context("3")))
        await asyncio.to_thread(began.wait)
        waiting.cancel()
        outcome = (await asyncio.gather(waiting, return_exceptions=True))[0]
        recorded = executor.result("3")
        assert recorded is not None
        return [told(late), told(cancelled), told(recorded), type(outcome).__name__, len(running)]

    return asyncio.run(go())


def at_once_case() -> Any:
    """Ten runs of one compiled graph at once, each on a thread of its own."""
    graph = build(first, second).compile(checkpointer=memory.InMemorySaver())
    config = {"configurable": {"user": "u"}}

    async def go() -> list[ExecutionResult]:
        unified = UnifiedExecutor()
        return await asyncio.gather(
            *(
                unified.execute(graph, {"said": []}, backend="graph", context=context(str(n), f"t{n}", config=config))
                for n in range(10)
            )
        )

    return [result.output["said"] for result in asyncio.run(go())]


if __name__ == "__main__":
    print(json.dumps(globals()[f"{sys.argv[1]}_case"](), default=str))  # noqa: T201
