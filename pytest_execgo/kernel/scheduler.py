"""Takes task graphs in, and orders about them: accept, submit again, cancel, delete, stop.

`attempts` runs what is ready, `ledger` writes down what happens. Everything is on one event loop, so that no lock is needed:
between two awaits the state is consistent.

- Deleting a task that has not ended withdraws it: it never runs, or what runs is ended, and what depends on it is skipped
  (`dependency ID deleted`), so that nothing stays pending for ever. `compat`: what runs goes on, and so do its children.
- Submitting an id again is the same task, or a conflict (`resubmission`). `compat`: it replaces the record. A pending
  earlier incarnation is withdrawn and hands the tasks that wait for it over to the new one; a running one goes on unseen,
  and releases only the children of its own graph.
- What must be durable before something else happens is awaited; `durable` says what, and why that is enough.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping

from pytest_execgo.kernel.attempts import Attempts
from pytest_execgo.kernel.durable.recovery import Resumed
from pytest_execgo.kernel.executors.executor import Executor
from pytest_execgo.kernel.graph import Node, Phase, link
from pytest_execgo.kernel.history.observer import SILENT, Observer
from pytest_execgo.kernel.ledger import Ledger
from pytest_execgo.kernel.metrics import Metrics
from pytest_execgo.kernel.resubmission import Linked, link_new, newcomers
from pytest_execgo.kernel.store import Store
from pytest_execgo.kernel.task import TaskRecord, TaskSpec
from pytest_execgo.kernel.waiting import Waiters


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
        observer: Observer = SILENT,
    ) -> None:
        self._store = store
        self._compat = compat
        self._waiters = waiters or Waiters()
        self._observer = observer
        self._ledger = Ledger(store, metrics, self._waiters, observer)
        self._attempts = Attempts(self._ledger, store, executors, max_concurrency, observer)

    async def accept(self, specs: Iterable[TaskSpec]) -> None:
        """Take over a checked graph and return once it is durable; those that wait for nobody then start, as slots allow.

        `StoreFailed`: it could not be made durable, and is as if it had never been. Cancelling the caller changes nothing.
        """
        nodes = self._admit(list(specs))
        stored = self._store.flushed()
        stored.add_done_callback(lambda done: self._accepted(nodes, done))
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
            node.cancelled = found[task_id].cancelled
        self._observer.recovered(linked.nodes.values())
        self._ledger.enter(linked)
        for task_id, node in linked.nodes.items():
            ending = found[task_id].ending
            if ending is not None:
                self._attempts.withdraw(node)
                self._ledger.finish(node, ending)
        self._release(linked.nodes)

    def delete(self, task_id: str) -> bool:
        """Remove a task's record; tell whether there was one."""
        node, deleted = self._ledger.remove(task_id)
        if node is not None:
            if node.phase is Phase.PENDING:
                node.phase = Phase.WITHDRAWN
                self._ledger.skip_after(node, "deleted")
            elif not self._compat:
                self._ledger.skip_after(node, "deleted")
                self._attempts.interrupt(node)
        self._waiters.changed(task_id)
        if deleted:
            self._observer.deleting(task_id, self._store)
        return deleted

    def cancel(self, task_id: str) -> bool:
        """End a task that has not ended yet; tell whether it has now (False: what it runs is still being ended)."""
        node = self._ledger.live.get(task_id)
        if node is not None:
            self._attempts.interrupt(node)
            self._observer.cancelling(node, self._store)
        return node is None or node.phase is Phase.DONE

    def flight(self, task_id: str) -> asyncio.Task[None] | None:
        """Return who runs a task's attempt at this moment, if anybody does."""
        node = self._ledger.live.get(task_id)
        return None if node is None else node.flight

    def halt(self) -> None:
        """Start nothing more; what waits, for a retry too, is kept for the next kernel."""
        self._attempts.halt()

    async def stop(self, grace: float = 0.0) -> None:
        """Start nothing more, let what runs end by itself for `grace` seconds, then interrupt it and wait until it is gone."""
        await self._attempts.stop(grace)

    def _admit(self, specs: list[TaskSpec]) -> Mapping[str, Node]:
        """Store a graph's new tasks as pending; they are held until `_release`."""
        now = time.time_ns()
        if self._compat:
            linked = Linked(link(TaskRecord(spec, now, now) for spec in specs), [])
            self._replace(linked.nodes)
        else:
            fresh = newcomers(specs, self._store)
            linked = link_new((TaskRecord(spec, now, now) for spec in fresh), self._ledger.live, self._store)
        for node in linked.nodes.values():
            self._store.add(node.record)
        self._observer.admitted(linked.nodes.values())
        self._ledger.enter(linked)
        return linked.nodes

    def _release(self, nodes: Mapping[str, Node]) -> None:
        self._ledger.release(nodes.values())
        self._attempts.fill()

    def _accepted(self, nodes: Mapping[str, Node], stored: asyncio.Future[None]) -> None:
        refused = stored.exception() is not None
        if refused:
            self._withdraw(nodes)  # first: what is skipped by that is not to be told of a task that never was
        self._observer.accepted(nodes.values(), stored)
        if not refused:
            self._release(nodes)

    def _withdraw(self, nodes: Mapping[str, Node]) -> None:
        """Undo `_admit`; what was submitted since and depends on these tasks can't run either."""
        self._ledger.withdraw(nodes)
        for task_id, node in nodes.items():
            if node.current:
                self._ledger.remove(task_id)
                self._waiters.changed(task_id)
        for node in nodes.values():
            self._ledger.skip_after(node, "deleted")

    def _replace(self, nodes: Mapping[str, Node]) -> None:
        live = self._ledger.live
        replaced = [(live[task_id], node) for task_id, node in nodes.items() if task_id in live]
        for old, _ in replaced:
            old.current = False
            if old.phase is Phase.PENDING:
                old.phase = Phase.WITHDRAWN
        for old, new in replaced:
            if old.phase is Phase.WITHDRAWN:
                new.children.extend(child for child in old.children if child.phase is Phase.PENDING)
