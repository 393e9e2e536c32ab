"""What happens to nodes, written down: their records in the store, the counters, who waits; and who is ready or skipped by it.

Everything happens on one event loop, and nothing here waits: between two calls the store, the counters and the graph agree.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping

from pytest_execgo.kernel.control import cancelled
from pytest_execgo.kernel.durable.rows import Mark
from pytest_execgo.kernel.executors.executor import Outcome
from pytest_execgo.kernel.graph import Node, Phase, skipped_after
from pytest_execgo.kernel.history.observer import SILENT, Observer
from pytest_execgo.kernel.metrics import Metrics
from pytest_execgo.kernel.resubmission import Linked
from pytest_execgo.kernel.store import Store
from pytest_execgo.kernel.task import TaskRecord, TaskStatus
from pytest_execgo.kernel.waiting import Waiters


class Ledger:
    """The nodes of one kernel. `live`: the current incarnation of each task that has not ended. `ready`: who may start."""

    def __init__(self, store: Store, metrics: Metrics, waiters: Waiters, observer: Observer = SILENT) -> None:
        self.live: dict[str, Node] = {}
        self.ready: deque[Node] = deque()
        self._store = store
        self._metrics = metrics
        self._waiters = waiters
        self._observer = observer

    def enter(self, linked: Linked) -> None:
        """Take in nodes whose records the store has; each is held by one more than what it waits for, until `release`."""
        self._metrics.total += len(linked.nodes)
        for node in linked.nodes.values():
            node.waiting += 1
            self._metrics.by_type[node.record.spec.type] += 1
        self.live.update(linked.nodes)
        for parent, ending in linked.spent:
            self.skip_after(parent, ending)

    def release(self, nodes: Iterable[Node]) -> None:
        """Hold nodes no longer; those that wait for nobody are ready."""
        for node in nodes:
            node.waiting -= 1
            if not node.waiting and node.phase is Phase.PENDING:
                self.ready.append(node)

    def withdraw(self, nodes: Mapping[str, Node]) -> None:
        """Undo the counting of nodes that were never durable. Their records are left to whoever removes them."""
        self._metrics.total -= len(nodes)
        for node in nodes.values():
            self._metrics.by_type[node.record.spec.type] -= 1
            node.phase = Phase.WITHDRAWN

    def remove(self, task_id: str) -> tuple[Node | None, bool]:
        """Remove a task's record; return its node, if it has not ended, and whether there was a record."""
        node = self.live.pop(task_id, None)
        if node is not None:
            node.current = False
        return node, self._store.delete(task_id)

    def mark(self, node: Node, mark: Mark) -> None:
        """Note where a node that has not ended is."""
        if node.current:
            self._store.mark(node.record.spec.id, mark, node.attempts, node.interruptions)

    def begin(self, node: Node, now_ns: int) -> None:
        """Let a node that has not begun show as running."""
        if node.phase is Phase.PENDING:
            node.phase = Phase.RUNNING
            self._metrics.running += 1
            self._save(node, node.record.started(now_ns))

    def show(self, node: Node, outcome: Outcome, started_ns: int) -> None:
        """Let the record of a task that is not over show what is known of its run."""
        run = outcome.as_run(started_ns, None, node.attempts)
        self._save(node, node.record._replace(run=run))

    def end(self, node: Node, outcome: Outcome, started_ns: int, now_ns: int) -> None:
        """Put a task's last record together from how its last attempt ended."""
        if node.phase is Phase.RUNNING:
            self._metrics.running -= 1
        run = outcome.as_run(started_ns, now_ns, node.attempts)
        error = outcome.error
        status = TaskStatus.SUCCESS if error is None else TaskStatus.FAILED
        message = "" if error is None else error.message
        spec, created_ns = node.record[:2]
        self.finish(node, TaskRecord(spec.as_run(), created_ns, now_ns, status, run, outcome.output, message))

    def end_cancelled(self, node: Node) -> None:
        """Write the last record of a task that was cancelled."""
        if node.phase is Phase.RUNNING:
            self._metrics.running -= 1
        self.finish(node, cancelled(node.record, node.attempts, time.time_ns()))

    def finish(self, node: Node, record: TaskRecord) -> None:
        """Write a task's last record, then release or skip what depends on it."""
        node.phase = Phase.DONE
        self._save(node, record)
        self._forget(node)
        if record.status is not TaskStatus.SUCCESS:
            self._metrics.failed += 1
            self.skip_after(node, "failed")
            return
        self._metrics.succeeded += 1
        self.release(node.children)

    def skip_after(self, node: Node, ending: str) -> None:
        """Skip what depends on a node that did not succeed."""
        now = time.time_ns()
        for skipped, reason, is_child in list(skipped_after(node, ending)):
            skipped.phase = Phase.DONE
            self._observer.skipped(skipped, node)
            self._save(skipped, skipped.record.skipped(now, reason))
            self._forget(skipped)
            if is_child:
                self._metrics.failed += 1

    def _save(self, node: Node, record: TaskRecord) -> None:
        node.record = record
        if node.current:
            self._store.put(record)
            if node.phase is Phase.DONE:
                self._observer.ending(node, self._store)
                self._store.when_shown(record.spec.id, self._waiters.changed)

    def _forget(self, node: Node) -> None:
        if node.current:
            del self.live[node.record.spec.id]
