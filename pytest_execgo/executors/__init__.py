"""Layer 4: executes agent graphs and flows, each in its own way, under one roof (docs/executors.md).

Imported when first used: `UnifiedExecutor`, `GraphExecutor`, `FlowExecutor`, and the shapes of `plan/executor.py`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_execgo.executors.flow import FlowExecutor
    from pytest_execgo.executors.graph import GraphExecutor
    from pytest_execgo.executors.unified import UnifiedExecutor
    from pytest_execgo.plan.executor import (
        ExecutionContext,
        ExecutionMode,
        ExecutionResult,
        ExecutionStatus,
        Executor,
        ExecutorBackend,
    )

__all__ = [
    "ExecutionContext",
    "ExecutionMode",
    "ExecutionResult",
    "ExecutionStatus",
    "Executor",
    "ExecutorBackend",
    "FlowExecutor",
    "GraphExecutor",
    "UnifiedExecutor",
]

_HOMES = {"FlowExecutor": "executors.flow", "GraphExecutor": "executors.graph", "UnifiedExecutor": "executors.unified"}


def __getattr__(name: str) -> Any:
    """Import a public name from its home when it is first asked for; a flow's own process needs none of them."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"pytest_execgo.{_HOMES.get(name, 'plan.executor')}"), name)
