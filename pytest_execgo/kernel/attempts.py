"""Runs nodes that are ready: slots, attempts, retries.

- A node takes a slot for one attempt only; while it waits for its next attempt, others use the slot.
- An attempt that is over at once and leaves no trace (a `noop`) needs neither a task of the event loop nor a turn of it: a
  whole chain of such nodes runs where its first one became ready. After `_TURN` of them others get their turn.
- What must be durable before an attempt begins is awaited here; `durable` says what, and why that is enough.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from pytest_execgo.kernel.control import CANCELLED
from pytest_execgo.kernel.durable.recovery import has_effects, leaves_mark, runs_once
from pytest_execgo.kernel.durable.rows import Mark
from pytest_execgo.kernel.executors.executor import Attempt, Executor, Immediate, Outcome, Withdrawing
from pytest_execgo.kernel.graph import Node
from pytest_execgo.kernel.history.observer import SILENT, Observer
from pytest_execgo.kernel.ledger import Ledger
from pytest_execgo.kernel.store import Store
from pytest_execgo.kernel.task import RunError, RunStatus

_FIRST_BACKOFF = 0.1  # seconds; doubled after each attempt
_MAX_BACKOFF = 10.0
_LONGEST_TIMEOUT = 365 * 86400.0  # seconds; clocks and sockets below take no more than some decades
_TURN = 200  # attempts that are over at once, one after the other: about 2 ms


def backoff(attempts: int) -> float:
    """Return how long to wait (seconds) after that many failed attempts."""
    return min(_FIRST_BACKOFF * 2.0 ** min(attempts - 1, 16), _MAX_BACKOFF)


def _defect(error: Exception) -> Outcome:
    """Return the outcome of an attempt whose executor raised: that is its defect, but the task must still end, and say why."""
    message = f"{type(error).__name__}: {error}"
    return Outcome(RunStatus.FAILED, None, False, error=RunError("internal", message, False, "executor"))


class Attempts:
    """The slots of one kernel, and who is in them. `executors` maps a task type to what runs it."""

    def __init__(
        self, ledger: Ledger, store: Store, executors: Mapping[str, Executor], slots: int, observer: Observer = SILENT
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._executors = executors
        self._immediate = {kind: executor for kind, executor in executors.items() if isinstance(executor, Immediate)}
        self._observer = observer
        self._free_slots = slots
        self._going_on = False
        self._running: set[asyncio.Task[None]] = set()
        self._timers: dict[Node, asyncio.TimerHandle] = {}
        self._stopped = False

    def fill(self) -> None:
        """Give free slots to those who are ready, in order."""
        ready, left = self._ledger.ready, _TURN
        while self._free_slots and ready and not self._stopped:
            if not left:
                if not self._going_on:
                    self._going_on = True
                    asyncio.get_running_loop().call_soon(self._go_on)
                return
            node = ready.popleft()
            if node.over:
                continue
            if self._run_at_once(node):
                left -= 1
                continue
            self._free_slots -= 1
            task = asyncio.get_running_loop().create_task(self._attempt(node))
            self._running.add(task)
            task.add_done_callback(self._attempt_ended)

    def _go_on(self) -> None:
        self._going_on = False
        self.fill()

    def interrupt(self, node: Node) -> None:
        """End a node that has not ended: at once if nothing of it runs, else as soon as its attempt is gone."""
        timer = self._timers.pop(node, None)
        if timer is not None:
            timer.cancel()
        if node.flight is None:
            self._ledger.end_cancelled(node)
        elif not node.cancelled:
            node.cancelled = True
            self._ledger.mark(node, Mark.CANCELLED)
            node.flight.cancel()

    def withdraw(self, node: Node) -> None:
        """Where the attempt of a task that is cancelled goes on without the kernel that began it, have it ended."""
        executor = self._executors.get(node.record.spec.type)
        if node.cancelled and isinstance(executor, Withdrawing):
            executor.withdraw(Attempt(node.record.spec, node.attempts, None, lambda _: None, interruptions=node.interruptions - 1))

    def halt(self) -> None:
        """Start nothing more; what waits, for a retry too, is kept for the next kernel."""
        self._stopped = True
        for timer in self._timers.values():
            timer.cancel()

    async def stop(self, grace: float) -> None:
        """Start nothing more, let what runs end by itself for `grace` seconds, then interrupt it and wait until it is gone."""
        self.halt()
        if self._running and grace > 0:
            await asyncio.wait(self._running, timeout=grace)
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        for executor in self._executors.values():
            await executor.close()

    def _attempt_ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._free_slots += 1
        self.fill()
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error  # a defect of ours: let the loop's exception handler say so

    def _run_at_once(self, node: Node) -> bool:
        """Run an attempt from its beginning to its end, if it is one that is over at once; tell whether it is."""
        spec = node.record.spec
        executor = self._immediate.get(spec.type)
        if executor is None or not executor.is_immediate(spec) or leaves_mark(spec):
            return False
        now = time.time_ns()
        node.attempts += 1
        self._observer.attempt_counted(node)
        self._observer.attempt_spawned(node)
        try:
            outcome = executor.at_once(spec, now)
        except Exception as error:
            outcome = _defect(error)
        if outcome.error is not None:  # it may be tried again, and shows meanwhile
            self._ledger.begin(node, now)
        self._settle(node, outcome, now, now)
        return True

    async def _attempt(self, node: Node) -> None:
        if node.over:  # deleted or cancelled between getting the slot and starting
            return
        spec = node.record.spec
        executor = self._executors.get(spec.type)
        now = time.time_ns()
        if executor is None:
            message = f'executor "{spec.type}" is not part of this version'
            problem = RunError("internal", message, False, "scheduler")
            self._ledger.end(node, Outcome(RunStatus.FAILED, None, False, error=problem), now, now)
            return
        if not await self._begin(node):
            return
        self._ledger.begin(node, now)
        attempt = Attempt(
            node.record.spec,
            node.attempts,
            min(spec.timeout / 1000, _LONGEST_TIMEOUT) if spec.timeout > 0 else None,
            lambda outcome: self._ledger.show(node, outcome, now),
            lambda: node.cancelled,
            node.interruptions,
        )
        node.flight = asyncio.current_task()
        self._observer.attempt_spawned(node)
        try:
            outcome = await executor.run(attempt)
        except asyncio.CancelledError:
            if not node.cancelled:
                self._ledger.mark(node, Mark.INTERRUPTED)
                raise  # the kernel stops
            outcome = Outcome(RunStatus.CANCELLED, error=CANCELLED)
        except Exception as error:
            outcome = _defect(error)
        node.flight = None
        self._settle(node, outcome, now, time.time_ns())

    async def _begin(self, node: Node) -> bool:
        """Count an attempt; where it can have effects, that is durable before it begins. Tell whether it still should begin."""
        spec = node.record.spec
        node.attempts += 1
        self._observer.attempt_counted(node)
        if leaves_mark(spec):
            self._ledger.mark(node, Mark.RUNNING)
            try:
                if has_effects(spec):
                    await self._store.lasting()
            finally:
                if self._stopped and not node.over:  # it won't begin, and the next kernel must know
                    node.attempts -= 1
                    self._ledger.mark(node, Mark.RETRYING if node.attempts else Mark.PENDING)
        return not node.over and not self._stopped

    def _settle(self, node: Node, outcome: Outcome, started_ns: int, now_ns: int) -> None:
        """Do what the end of an attempt asks for: the task has ended, or is tried again."""
        spec = node.record.spec
        if outcome.error is None:
            self._observer.attempt_ended(node, "success")
            self._ledger.end(node, outcome, started_ns, now_ns)
        elif node.cancelled:
            self._observer.attempt_ended(node, "cancelled")
            self._ledger.end_cancelled(node)
        elif node.attempts - node.interruptions <= spec.retry and not runs_once(spec):
            self._observer.attempt_ended(node, "retry")
            self._retry_later(node, outcome, started_ns)
        else:
            self._observer.attempt_ended(node, "failed")
            self._ledger.end(node, outcome, started_ns, now_ns)

    def _retry_later(self, node: Node, outcome: Outcome, started_ns: int) -> None:
        self._ledger.show(node, outcome._replace(error=None), started_ns)
        self._ledger.mark(node, Mark.RETRYING)

        def requeue() -> None:
            del self._timers[node]
            self._ledger.ready.append(node)
            self.fill()

        self._timers[node] = asyncio.get_running_loop().call_later(backoff(node.attempts), requeue)
