"""Executes Metaflow flows, each in a process of its own, and light stand-ins for them in this one."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pytest_execgo.core.errors import MissingDependency, Unsupported, UsageError
from pytest_execgo.core.optional import installed
from pytest_execgo.executors.calling import call, is_async, is_function, name_of
from pytest_execgo.executors.flow_process import FlowSettings, run_flow
from pytest_execgo.executors.flow_source import FlowSource, find_source
from pytest_execgo.executors.supervision import Ending, Executions, Work
from pytest_execgo.plan.executor import ExecutionContext, ExecutionMode, ExecutionResult, ExecutionStatus, ExecutorBackend


class FlowExecutor:
    """Runs Metaflow flows through `metaflow.Runner` (seed 003).

    `mode`: where flows run unless the context says it. `max_workers`: tasks at a time (Metaflow's default is 16).
    `datastore`: folder that keeps what local runs leave; without one it is thrown away. `include`: files and folders that are
    put beside the flow's file. `environment`: variables for the flow's process (None removes one). `unpickle`: take artifacts
    that aren't plain data as well, by unpickling them here; only for flows whose code you would run in this process.
    """

    backend = ExecutorBackend.FLOW

    def __init__(
        self,
        *,
        mode: ExecutionMode = ExecutionMode.LOCAL,
        max_workers: int | None = None,
        datastore: Path | None = None,
        include: Sequence[Path] = (),
        environment: Mapping[str, str | None] | None = None,
        unpickle: bool = False,
    ) -> None:
        self._mode = ExecutionMode(mode)
        self._settings = FlowSettings(max_workers, datastore, tuple(include), dict(environment or {}), unpickle)
        self._executions = Executions(self.backend)

    async def execute(self, target: Any, inputs: dict[str, Any], context: ExecutionContext) -> ExecutionResult:
        """Execute a flow class or a flow file with `inputs` as its parameters; the output is the end step's artifacts by name.

        Anything with an asynchronous `arun` or `run`, and any callable, is called here instead: with the inputs by name where it
        takes those, else with the dict. Raises `UsageError` for other targets and mistaken parameters, `MissingDependency` where
        Metaflow isn't installed, `Unsupported` and `StackError` for a mode that can't be had.
        """
        mode = context.mode if "mode" in context.model_fields_set else self._mode
        source = find_source(target)
        if source is None:
            return await self._executions.supervise(context, name_of(target), _light(target, inputs, mode))
        return await self._run(source, inputs, {}, context, mode)

    async def execute_texts(self, target: str | Path, texts: Mapping[str, str], context: ExecutionContext) -> ExecutionResult:
        """Execute a flow file with parameters as they are typed on a command line; else as `execute`."""
        source = find_source(target)
        assert source is not None
        return await self._run(source, {}, dict(texts), context, context.mode)

    def cancel(self, run_id: str) -> bool:
        """Order a running execution to end as `cancelled`, from any thread; False if there is none under that id."""
        return self._executions.cancel(run_id)

    def result(self, run_id: str) -> ExecutionResult | None:
        """Return what is known of an execution, also of a running one; None if it isn't known (any more)."""
        return self._executions.result(run_id)

    async def _run(
        self, source: FlowSource, inputs: dict[str, Any], texts: dict[str, str], context: ExecutionContext, mode: ExecutionMode
    ) -> ExecutionResult:
        if not installed("metaflow"):
            raise MissingDependency("package_missing", "metaflow is not installed", "pip install 'pytest-execgo[metaflow]'")
        work = partial(run_flow, source, inputs, texts, mode, self._settings)
        return await self._executions.supervise(context, source.name, work)


def _light(target: Any, inputs: dict[str, Any], mode: ExecutionMode) -> Work:
    functions = [getattr(target, name, None) for name in ("arun", "run")]
    function = next((found for found in functions if found is not None and is_async(found)), target)
    if isinstance(target, type) or not is_function(function):
        raise UsageError(
            "not_a_flow",
            f"{name_of(target)!r} can't be executed as a flow",
            "give a Metaflow flow class, the path of a flow file, something with an async run, or a callable; "
            "graphs have the backend 'graph'",
        )
    if mode is not ExecutionMode.LOCAL:
        raise Unsupported("mode_unsupported", f"{name_of(target)!r} is no Metaflow flow, so it can't run in mode {mode.value!r}")
    return partial(_call, function, inputs)


async def _call(function: Any, inputs: dict[str, Any], notes: dict[str, Any]) -> Ending:
    bound = partial(function, **inputs) if _takes(function, inputs) else partial(function, inputs)
    return Ending(ExecutionStatus.SUCCEEDED, await call(bound, notes, awaited=is_async(function)))


def _takes(function: Any, inputs: dict[str, Any]) -> bool:
    """Tell whether a function takes the inputs by name."""
    try:
        inspect.signature(function).bind(**inputs)
    except (TypeError, ValueError):  # it does not, or it is built in and has no signature
        return False
    return True
