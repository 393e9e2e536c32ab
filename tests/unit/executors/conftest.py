"""What the tests of executors share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from pytest_execgo.plan.executor import ExecutionContext

MakeContext = Callable[..., ExecutionContext]


@pytest.fixture
def context() -> MakeContext:
    """Makes a context; its ids are `run-1` and `thread-1` unless said otherwise."""

    def make(**fields: Any) -> ExecutionContext:
        return ExecutionContext(**{"run_id": "run-1", "thread_id": "thread-1", **fields})

    return make


class Graph:
    """A graph's outside: keeps what it was invoked with, answers what it was given, or waits until it is stopped."""

    def __init__(self, answer: Any = None, *, forever: bool = False) -> None:
        self.answer = answer
        self.forever = forever
        self.invoked: list[tuple[Any, dict[str, Any]]] = []
        self.began = asyncio.Event()
        self.stopped = False

    async def ainvoke(self, inputs: Any, config: dict[str, Any]) -> Any:
        self.invoked.append((inputs, config))
        self.began.set()
        try:
            if self.forever:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.stopped = True
            raise
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


@pytest.fixture
def graph() -> type[Graph]:
    """The class of graphs that only look like one."""
    return Graph
