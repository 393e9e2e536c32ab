"""Runs task graphs: dependencies, slots, attempts, retries, skipping.

Everything here happens on one event loop, so that no lock is needed: between two awaits the state is consistent.

- A node takes a slot for one attempt only; while it waits for its next attempt, others use the slot.
- Deleting a task that has not ended withdraws it: it never runs, or what runs is ended, and what depends on it is skipped
  (`dependency ID deleted`), so that nothing stays pending for ever. `compat`: what runs goes on, and so do its children.
- Submitting an id again is the same task, or a conflict (`resubmission`). `compat`: it replaces the record. A pending
  earlier incarnation is withdrawn and hands the tasks that wait for it over to the new one; a running one goes on unseen,
  and releases only the children of its own graph.
- What must be durable before something else happens is awaited here; `durable` says what, and why that is enough.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace

from pytest_execgo.kernel.control import CANCELLED, cancelled
from pytest_execgo.kernel.durable.recovery import Resumed, has_effects, leaves_mark, runs_once
from pytest_execgo.kernel.durable.rows import Mark
from pytest_execgo.kernel.executors.executor import Attempt, Executor, Outcome
from pytest_execgo.kernel.graph import Node, Phase, link, skipped_after
from pytest_execgo.kernel.metrics import Metrics
from pytest_execgo.kernel.resubmission import Linked, link_new, newcomers
from pytest_execgo.kernel.store import Store
from pytest_execgo.kernel.task import RunError, RunStatus, TaskRecord, TaskSpec, TaskStatus
from pytest_execgo.kernel.waiting import Waiters

_FIRST_BACKOFF = 0.1  # seconds; doubled after each attempt
_MAX_BACKOFF = 10.0
_LONGEST_TIMEOUT = 365 * 86400.0  # seconds; clocks and sockets below take no more than some decades


def backoff(attempts: int) -> float:
    """Return how long to wait (seconds) after that many failed attempts."""
    return min(_FIRST_BACKOFF * 2.0 ** min(attempts - 1, 16), _MAX_BACKOFF)


class Scheduler:
    """The graphs of one kernel. `executors` maps a task type to what runs it."""

    def __init__(
        self,
        store: Store,
        metrics: Metrics,
        executors: Mapping[str, Executor],
        max_concurrency: int,
        *,
        compat: bool = False,
        waiters: Waiters | None = None,
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._executors = executors
        self._free_slots = max_concurrency
        self._ready: deque[Node] = deque()
        self._live: dict[str, Node] = {}  # the current incarnation of each task that has not ended
        self._attempts: set[asyncio.Task[None]] = set()
        self._timers: dict[Node, asyncio.TimerHandle] = {}
        self._stopped = False
        self._compat = compat
        self._waiters = waiters or Waiters()

    async def accept(self, specs: Iterable[TaskSpec]) -> None:
        """Take over a checked graph and return once it is durable; those that wait for nobody then start, as slots allow.

        `StoreFailed`: it could not be made durable, and is as if it had never been. Cancelling the caller changes nothing.
        """
        nodes = self._admit(list(specs))
        stored = self._store.flushed()
        stored.add_done_callback(lambda done: self._release(nodes) if done.exception() is None else self._withdraw(nodes))
        await asyncio.shield(stored)

    def submit(self, specs: Iterable[TaskSpec]) -> None:
        """Take over a checked graph at once, for callers that need not know when it is durable."""
        self._release(self._admit(list(specs)))

    def resume(self, tasks: Iterable[Resumed]) -> None:
        """Take over what an earlier kernel left: tasks run again, or end, as `recovery` decided."""
        found = {task.record.spec.id: task for task in tasks}
        linked = link_new((task.record for task in found.values()), {}, self._store)
        for task_id, node in linked.nodes.items():
            node.attempts, node.interruptions = found[task_id].attempts, found[task_id].interruptions
        self._enter(linked)
        for task_id, node in linked.nodes.items():
            ending = found[task_id].ending
            if ending is not None:
                self._finish(node, ending)
        self._release(linked.nodes)

    def _admit(self, specs: list[TaskSpec]) -> Mapping[str, Node]:
        """Store a graph's new tasks as pending; each is held by one more than what it waits for, until `_release`."""
        now = time.time_ns()
        with self._store.knowing([spec.id for spec in specs]):
            if self._compat:
                linked = Linked(link(TaskRecord(spec, now, now) for spec in specs), [])
                self._replace(linked.nodes)
            else:
                fresh = newcomers(specs, self._store)
                linked = link_new((TaskRecord(spec, now, now) for spec in fresh), self._live, self._store)
            for node in linked.nodes.values():
                self._store.add(node.record)
        self._enter(linked)
        return linked.nodes

    def _enter(self, linked: Linked) -> None:
        for node in linked.nodes.values():
            node.waiting += 1
            self._metrics.total += 1
            self._metrics.by_type[node.record.spec.type] += 1
        self._live.update(linked.nodes)
        for parent, ending in linked.spent:
            self._skip_after(parent, ending)

    def _release(self, nodes: Mapping[str, Node]) -> None:
        for node in nodes.values():
            node.waiting -= 1
            if not node.waiting and node.phase is Phase.PENDING:
                self._ready.append(node)
        self._fill()

    def _withdraw(self, nodes: Mapping[str, Node]) -> None:
        """Undo `_admit`; what was submitted since and depends on these tasks can't run either."""
        for node in nodes.values():
            self._metrics.total -= 1
            self._metrics.by_type[node.record.spec.type] -= 1
            node.phase = Phase.WITHDRAWN
            if node.current:
                self.delete(node.record.spec.id)
        for node in nodes.values():
            self._skip_after(node, "deleted")

    def delete(self, task_id: str) -> bool:
        """Remove a task's record; tell whether there was one."""
        node = self._live.pop(task_id, None)
        if node is not None:
            node.current = False
            if node.phase is Phase.PENDING:
                node.phase = Phase.WITHDRAWN
                self._skip_after(node, "deleted")
            elif not self._compat:
                self._skip_after(node, "deleted")
                self._interrupt(node)
        deleted = self._store.delete(task_id)
        self._waiters.changed(task_id)
        return deleted

    def cancel(self, task_id: str) -> bool:
        """End a task that has not ended yet; tell whether it has now (False: what it runs is still being ended)."""
        node = self._live.get(task_id)
        if node is not None:
            self._interrupt(node)
        return node is None or node.phase is Phase.DONE

    def flight(self, task_id: str) -> asyncio.Task[None] | None:
        """Return who runs a task's attempt at this moment, if anybody does."""
        node = self._live.get(task_id)
        return None if node is None else node.flight

    def halt(self) -> None:
        """Start nothing more; what waits, for a retry too, is kept for the next kernel."""
        self._stopped = True
        for timer in self._timers.values():
            timer.cancel()

    async def stop(self, grace: float = 0.0) -> None:
        """Start nothing more, let what runs end by itself for `grace` seconds, then interrupt it and wait until it is gone."""
        self.halt()
        if self._attempts and grace > 0:
            await asyncio.wait(self._attempts, timeout=grace)
        for task in self._attempts:
            task.cancel()
        await asyncio.gather(*self._attempts, return_exceptions=True)
        for executor in self._executors.values():
            await executor.close()

    def _replace(self, nodes: Mapping[str, Node]) -> None:
        replaced = [(self._live[task_id], node) for task_id, node in nodes.items() if task_id in self._live]
        for old, _ in replaced:
            old.current = False
            if old.phase is Phase.PENDING:
                old.phase = Phase.WITHDRAWN
        for old, new in replaced:
            if old.phase is Phase.WITHDRAWN:
                new.children.extend(child for child in old.children if child.phase is Phase.PENDING)

    def _fill(self) -> None:
        """Give free slots to those who are ready, in order."""
        while self._free_slots and self._ready and not self._stopped:
            node = self._ready.popleft()
            if node.over:
                continue
            self._free_slots -= 1
            task = asyncio.get_running_loop().create_task(self._attempt(node))
            self._attempts.add(task)
            task.add_done_callback(self._attempt_ended)

    def _attempt_ended(self, task: asyncio.Task[None]) -> None:
        self._attempts.discard(task)
        self._free_slots += 1
        self._fill()
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error  # a defect of ours: let the loop's exception handler say so

    async def _attempt(self, node: Node) -> None:
        if node.over:  # deleted or cancelled between getting the slot and starting
            return
        spec = node.record.spec
        executor = self._executors.get(spec.type)
        now = time.time_ns()
        if executor is None:
            message = f'executor "{spec.type}" is not part of this version'
            self._end(node, Outcome(RunStatus.FAILED, None, False, error=RunError("internal", message, False, "scheduler")), now)
            return
        if not await self._begin(node):
            return
        if node.phase is Phase.PENDING:
            node.phase = Phase.RUNNING
            self._metrics.running += 1
            self._save(node, node.record.started(now))
        attempt = Attempt(
            node.record.spec,
            node.attempts,
            min(spec.timeout / 1000, _LONGEST_TIMEOUT) if spec.timeout > 0 else None,
            lambda outcome: self._show(node, outcome, now),
            lambda: node.cancelled,
            node.interruptions,
        )
        node.flight = asyncio.current_task()
        try:
            outcome = await executor.run(attempt)
        except asyncio.CancelledError:
            if not node.cancelled:
                self._mark(node, Mark.INTERRUPTED)
                raise  # the kernel stops
            outcome = Outcome(RunStatus.CANCELLED, error=CANCELLED)
        except Exception as error:  # whatever an executor raises is its defect; the task must still end, and say why
            message = f"{type(error).__name__}: {error}"
            outcome = Outcome(RunStatus.FAILED, None, False, error=RunError("internal", message, False, "executor"))
        node.flight = None
        if node.cancelled and outcome.error is not None:
            self._end_cancelled(node)
        elif outcome.error is not None and node.attempts - node.interruptions <= spec.retry and not runs_once(spec):
            self._retry_later(node, outcome, now)
        else:
            self._metrics.running -= 1
            self._end(node, outcome, now)

    async def _begin(self, node: Node) -> bool:
        """Count an attempt; where it can have effects, that is durable before it begins. Tell whether it still should begin."""
        spec = node.record.spec
        node.attempts += 1
        if leaves_mark(spec):
            self._mark(node, Mark.RUNNING)
            try:
                if has_effects(spec):
                    await self._store.lasting()
            finally:
                if self._stopped and not node.over:  # it won't begin, and the next kernel must know
                    node.attempts -= 1
                    self._mark(node, Mark.RETRYING if node.attempts else Mark.PENDING)
        return not node.over and not self._stopped

    def _mark(self, node: Node, mark: Mark) -> None:
        if node.current:
            self._store.mark(node.record.spec.id, mark, node.attempts, node.interruptions)

    def _interrupt(self, node: Node) -> None:
        """End a node that has not ended: at once if nothing of it runs, else as soon as its attempt is gone."""
        timer = self._timers.pop(node, None)
        if timer is not None:
            timer.cancel()
        if node.flight is None:
            self._end_cancelled(node)
        elif not node.cancelled:
            node.cancelled = True
            node.flight.cancel()

    def _end_cancelled(self, node: Node) -> None:
        if node.phase is Phase.RUNNING:
            self._metrics.running -= 1
        self._finish(node, cancelled(node.record, node.attempts, time.time_ns()))

    def _retry_later(self, node: Node, outcome: Outcome, started_ns: int) -> None:
        self._show(node, replace(outcome, error=None), started_ns)
        self._mark(node, Mark.RETRYING)

        def requeue() -> None:
            del self._timers[node]
            self._ready.append(node)
            self._fill()

        self._timers[node] = asyncio.get_running_loop().call_later(backoff(node.attempts), requeue)

    def _show(self, node: Node, outcome: Outcome, started_ns: int) -> None:
        """Let the record of a task that is not over show what is known of its run."""
        run = outcome.as_run(started_ns, None, node.attempts)
        self._save(node, node.record._replace(run=run))

    def _end(self, node: Node, outcome: Outcome, started_ns: int) -> None:
        """Put a task's last record together from how its last attempt ended."""
        now = time.time_ns()
        run = outcome.as_run(started_ns, now, node.attempts)
        good = outcome.error is None
        status = TaskStatus.SUCCESS if good else TaskStatus.FAILED
        message = outcome.error.message if outcome.error is not None else ""
        record = node.record
        self._finish(node, TaskRecord(record.spec, record.created_ns, now, status, run, outcome.output, message))

    def _finish(self, node: Node, record: TaskRecord) -> None:
        """Write a task's last record, then release or skip what depends on it."""
        node.phase = Phase.DONE
        self._save(node, record)
        self._forget(node)
        if record.status is not TaskStatus.SUCCESS:
            self._metrics.failed += 1
            self._skip_after(node, "failed")
            return
        self._metrics.succeeded += 1
        for child in node.children:
            child.waiting -= 1
            if not child.waiting and child.phase is Phase.PENDING:
                self._ready.append(child)

    def _skip_after(self, node: Node, ending: str) -> None:
        now = time.time_ns()
        for skipped, reason, is_child in list(skipped_after(node, ending)):
            skipped.phase = Phase.DONE
            self._save(skipped, skipped.record.skipped(now, reason))
            self._forget(skipped)
            if is_child:
                self._metrics.failed += 1

    def _save(self, node: Node, record: TaskRecord) -> None:
        node.record = record
        if node.current:
            self._store.put(record)
            if node.phase is Phase.DONE:
                self._store.when_shown(record.spec.id, self._waiters.changed)

    def _forget(self, node: Node) -> None:
        if node.current:
            del self._live[node.record.spec.id]
