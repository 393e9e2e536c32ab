"""Graphs, and callables in their place, without LangGraph."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_execgo.core.errors import Unsupported, UsageError
from pytest_execgo.executors import ExecutionResult, ExecutionStatus, GraphExecutor


def run(target: Any, inputs: Any, context: Any, executor: GraphExecutor | None = None) -> ExecutionResult:
    return asyncio.run((executor or GraphExecutor()).execute(target, inputs, context))


def test_a_graph_gets_inputs_thread_config_and_metadata(graph: Any, context: Any) -> None:
    target = graph({"done": True})
    given = {"recursion_limit": 7, "configurable": {"user": "u", "thread_id": "other"}, "metadata": {"a": 2}}
    result = run(target, {"x": 1}, context(config=given, metadata={"a": 1, "b": 1}))
    assert (result.status, result.output, result.error) == (ExecutionStatus.SUCCEEDED, {"done": True}, None)
    assert target.invoked == [
        (
            {"x": 1},
            {"recursion_limit": 7, "configurable": {"user": "u", "thread_id": "thread-1"}, "metadata": {"a": 2, "b": 1}},
        )
    ]
    assert (result.run_id, result.backend, result.metadata["thread_id"]) == ("run-1", "graph", "thread-1")
    assert result.metadata["b"] == 1
    assert result.finished_at is not None
    assert result.duration_seconds == result.finished_at - result.started_at >= 0


def test_a_state_graph_is_compiled_first_with_the_options(graph: Any, context: Any) -> None:
    told: list[dict[str, Any]] = []

    class Builder:
        def compile(self, **options: Any) -> Any:
            told.append(options)
            return graph("compiled")

    assert run(Builder(), {}, context(), GraphExecutor(compile_options={"checkpointer": "c"})).output == "compiled"
    assert told == [{"checkpointer": "c"}]


def test_a_checkpointed_graph_tells_its_checkpoint_and_one_that_stops_midway_is_pending(graph: Any, context: Any) -> None:
    target = graph({})
    target.checkpointer = object()
    state = SimpleNamespace(config={"configurable": {"checkpoint_id": "c1"}}, next=("review",))

    async def aget_state(config: dict[str, Any]) -> Any:
        assert config["configurable"]["thread_id"] == "thread-1"
        return state

    target.aget_state = aget_state
    result = run(target, {}, context())
    assert result.status is ExecutionStatus.PENDING
    assert (result.metadata["checkpoint_id"], result.metadata["next"]) == ("c1", ["review"])
    state.next = ()
    assert run(target, {}, context()).status is ExecutionStatus.SUCCEEDED


def test_an_interrupt_without_checkpoints_is_pending(graph: Any, context: Any) -> None:
    assert run(graph({"__interrupt__": ["which one?"]}), {}, context()).status is ExecutionStatus.PENDING


def test_callables_take_the_inputs_async_here_others_in_a_thread(context: Any) -> None:
    async def here(inputs: dict[str, Any]) -> Any:
        return threading.get_ident(), inputs

    class There:
        def __call__(self, inputs: dict[str, Any]) -> Any:
            return threading.get_ident(), inputs

    class Here:
        async def __call__(self, inputs: dict[str, Any]) -> Any:
            return threading.get_ident(), inputs

    own = threading.get_ident()
    assert run(here, {"a": 1}, context()).output == (own, {"a": 1})
    assert run(Here(), {"a": 1}, context()).output == (own, {"a": 1})
    ident, inputs = run(There(), {"a": 1}, context()).output
    assert inputs == {"a": 1}
    assert ident != own
    assert run(lambda inputs: here(inputs), {"a": 1}, context()).output == (own, {"a": 1})


@pytest.mark.parametrize("target", [3, None, object(), dict, "graph.py"])
def test_anything_else_is_one_clear_error(target: Any, context: Any) -> None:
    with pytest.raises(UsageError, match="can't be executed as a graph") as caught:
        run(target, {}, context())
    assert "StateGraph" in caught.value.hint


def test_graphs_run_here_only(graph: Any, context: Any) -> None:
    target = graph()
    with pytest.raises(Unsupported, match="mode 'batch' is for flows"):
        run(target, {}, context(mode="batch"))
    assert target.invoked == []


def boom(inputs: Any) -> None:
    raise LookupError("no such tool")


def leave(inputs: Any) -> None:
    raise SystemExit(3)


def stop(inputs: Any) -> None:
    raise StopIteration


async def give_up(inputs: Any) -> None:
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("target", "error", "kind"),
    [
        (boom, "LookupError: no such tool", "LookupError"),
        (leave, "SystemExit: 3", "SystemExit"),
        (stop, "RuntimeError: coroutine raised StopIteration", "RuntimeError"),
        (give_up, "CancelledError: the target cancelled itself", None),
    ],
)
def test_what_a_target_raises_is_a_failed_result(target: Any, error: str, kind: str | None, context: Any) -> None:
    result = run(target, {}, context())
    assert (result.status, result.error, result.metadata.get("exception_type")) == (ExecutionStatus.FAILED, error, kind)


def test_a_failure_tells_where_it_came_from_and_what_was_added_to_it(graph: Any, context: Any) -> None:
    error = KeyError("x")
    error.add_note("During task with name 'plan'")
    result = run(graph(error), {}, context())
    assert result.metadata["exception_notes"] == ["During task with name 'plan'"]
    assert result.metadata["raised_at"].endswith("in ainvoke")


def test_a_compile_error_is_the_targets(context: Any) -> None:
    class Builder:
        def compile(self) -> None:
            raise ValueError("no entry point")

    assert run(Builder(), {}, context()).error == "ValueError: no entry point"
