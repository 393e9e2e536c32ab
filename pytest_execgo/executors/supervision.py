"""One execution from its begin to its end: bounded, cancellable, and always a result."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from pytest_execgo.core.errors import ExecGoError, UsageError
from pytest_execgo.plan.executor import ExecutionContext, ExecutionResult, ExecutionStatus, ExecutorBackend

_REMEMBERED = 100  # results of executions that are over
_STOP_GRACE = 10.0  # seconds that a target gets to end once it is told to; a flow's processes are gone long before


@dataclass(frozen=True, slots=True)
class Ending:
    """How a target ended."""

    status: ExecutionStatus
    output: Any = None
    error: str | None = None
    notes: dict[str, Any] = field(default_factory=dict)


Work = Callable[[dict[str, Any]], Awaitable[Ending]]
"""Runs the target; what it writes into the dict is in the result's metadata, however the execution ends."""


class Refusal(Exception):
    """Carries an error of the caller, of ours or of the machine out of the work; anything else raised there is the target's."""

    def __init__(self, error: ExecGoError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(slots=True)
class _Run:
    context: ExecutionContext
    loop: asyncio.AbstractEventLoop
    order: asyncio.Future[None]
    notes: dict[str, Any]
    started_at: float
    started: float


class Executions:
    """The executions of one executor: those that run, and the latest that are over, by run id. Safe to use from any thread."""

    def __init__(self, backend: ExecutorBackend) -> None:
        self._backend = backend
        self._lock = threading.Lock()
        self._running: dict[str, _Run] = {}
        self._over: OrderedDict[str, ExecutionResult] = OrderedDict()

    def cancel(self, run_id: str) -> bool:
        """Order a running execution to end, from any thread; False if there is none under that id."""
        with self._lock:
            run = self._running.get(run_id)
        if run is None:
            return False
        with contextlib.suppress(RuntimeError):  # its loop is closed: it is over
            run.loop.call_soon_threadsafe(_give, run.order)
            return True
        return False

    def result(self, run_id: str) -> ExecutionResult | None:
        """Return what is known of an execution: `running`, or how it ended; None if it isn't known (any more)."""
        with self._lock:
            run = self._running.get(run_id)
            return self._over.get(run_id) if run is None else self._result(run, Ending(ExecutionStatus.RUNNING), over=False)

    async def supervise(self, context: ExecutionContext, target: str, work: Work) -> ExecutionResult:
        """Run `work` until it ends, the context's time is up, or a cancel order comes; nothing that can be stopped runs on then.

        What it raises becomes `failed`. When the caller's own task is cancelled, the work is ended and recorded as `cancelled`,
        and `asyncio.CancelledError` goes on. Raises the error in a `Refusal`; `UsageError` for a run id that already runs.
        """
        run = self._begin(context, target)
        ending = Ending(ExecutionStatus.CANCELLED, error="cancelled with the task that waited for it")
        try:
            ending = await _watched(run, asyncio.ensure_future(_contained(work, run.notes)))
        except Refusal as refusal:
            ending = failure(refusal.error)
            raise refusal.error from None
        finally:
            result = self._finish(run, ending)
        return result

    def _begin(self, context: ExecutionContext, target: str) -> _Run:
        loop = asyncio.get_running_loop()
        notes = {**context.metadata, "thread_id": context.thread_id, "target": target}
        run = _Run(context, loop, loop.create_future(), notes, time.time(), time.monotonic())
        with self._lock:
            if context.run_id in self._running:
                raise UsageError(
                    "run_id_taken", f"an execution with the run id {context.run_id!r} is running", "give each its own run_id"
                )
            self._running[context.run_id] = run
        return run

    def _finish(self, run: _Run, ending: Ending) -> ExecutionResult:
        result = self._result(run, ending, over=True)
        with self._lock:
            del self._running[run.context.run_id]
            self._over[run.context.run_id] = result
            self._over.move_to_end(run.context.run_id)
            while len(self._over) > _REMEMBERED:
                self._over.popitem(last=False)
        return result

    def _result(self, run: _Run, ending: Ending, *, over: bool) -> ExecutionResult:
        return ExecutionResult(
            backend=self._backend,
            run_id=run.context.run_id,
            status=ending.status,
            output=ending.output,
            error=ending.error,
            started_at=run.started_at,
            # the wall clock may be set meanwhile; a duration never shows it
            finished_at=run.started_at + (time.monotonic() - run.started) if over else None,
            metadata={**run.notes, **ending.notes},
        )


def failure(error: BaseException) -> Ending:
    """Return the ending that an exception of the target stands for: its text, its type, where it was raised."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    notes: dict[str, Any] = {"exception_type": name}
    frames = traceback.extract_tb(error.__traceback__)
    if frames:
        notes["raised_at"] = f"{PurePath(frames[-1].filename).name}:{frames[-1].lineno} in {frames[-1].name}"
    if said := getattr(error, "__notes__", None):  # LangGraph tells the failing node so
        notes["exception_notes"] = [str(note) for note in said]
    text = str(error)
    return Ending(ExecutionStatus.FAILED, error=f"{kind.__name__}: {text}" if text else kind.__name__, notes=notes)


def _give(order: asyncio.Future[None]) -> None:
    if not order.done():
        order.set_result(None)


async def _contained(work: Work, notes: dict[str, Any]) -> Ending:
    try:
        return await work(notes)
    except Refusal:
        raise
    except (Exception, SystemExit) as error:  # sys.exit() in a target ends the target, not whoever waits for it
        return failure(error)


async def _watched(run: _Run, task: asyncio.Future[Ending]) -> Ending:
    seconds = run.context.timeout_seconds
    either: list[asyncio.Future[Any]] = [task, run.order]
    try:
        await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        await _stop(task, run.notes)
        raise
    if task.done():
        if task.cancelled():
            return Ending(ExecutionStatus.FAILED, error="CancelledError: the target cancelled itself")
        return task.result()
    ordered = run.order.done()
    await _stop(task, run.notes)
    if ordered:
        return Ending(ExecutionStatus.CANCELLED, error="cancelled on order")
    return Ending(ExecutionStatus.FAILED, error=f"timed out after {seconds:g} s", notes={"timed_out": True})


async def _stop(task: asyncio.Future[Ending], notes: dict[str, Any]) -> None:
    """End the target's task and wait until it has ended; note it if it doesn't."""
    task.cancel()
    await asyncio.wait({task}, timeout=_STOP_GRACE)
    if not task.done():
        notes["still_running"] = True
    elif not task.cancelled() and task.exception() is None and task.result().status is ExecutionStatus.FAILED:
        notes["while_stopping"] = task.result().error
