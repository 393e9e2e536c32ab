"""Runs task graphs: dependencies, slots, attempts, retries, skipping.

Everything here happens on one event loop, so that no lock is needed: between two awaits the state is consistent.

- A node takes a slot for one attempt only; while it waits for its next attempt, others use the slot.
- Deleting a task that runs removes its record; the run goes on. Deleting one that is still pending withdraws it: it never
  runs, and what depends on it is skipped (`dependency ID deleted`), so that nothing stays pending for ever.
- Submitting an id again replaces its record. A pending earlier incarnation is withdrawn and hands the tasks that wait for it
  over to the new one; a running one goes on unseen, and releases only the children of its own graph.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace

from pytest_execgo.kernel.executor import Attempt, Executor, Outcome
from pytest_execgo.kernel.gotime import Moment
from pytest_execgo.kernel.graph import Node, Phase, link, skipped_after
from pytest_execgo.kernel.metrics import Metrics
from pytest_execgo.kernel.store import Store
from pytest_execgo.kernel.task import TERMINAL_RUNS, Run, RunError, RunStatus, TaskRecord, TaskSpec, TaskStatus

_FIRST_BACKOFF = 0.1  # seconds; doubled after each attempt
_MAX_BACKOFF = 10.0
_LONGEST_TIMEOUT = 365 * 86400.0  # seconds; clocks and sockets below take no more than some decades


def backoff(attempts: int) -> float:
    """Return how long to wait (seconds) after that many failed attempts."""
    return min(_FIRST_BACKOFF * 2.0 ** min(attempts - 1, 16), _MAX_BACKOFF)


class Scheduler:
    """The graphs of one kernel. `executors` maps a task type to what runs it."""

    def __init__(self, store: Store, metrics: Metrics, executors: Mapping[str, Executor], max_concurrency: int) -> None:
        self._store = store
        self._metrics = metrics
        self._executors = executors
        self._free_slots = max_concurrency
        self._ready: deque[Node] = deque()
        self._live: dict[str, Node] = {}  # the current incarnation of each task that has not ended
        self._attempts: set[asyncio.Task[None]] = set()
        self._timers: dict[Node, asyncio.TimerHandle] = {}
        self._stopped = False

    def submit(self, specs: Iterable[TaskSpec]) -> None:
        """Take over a checked graph: store its tasks as pending and start those that wait for nobody, as slots allow."""
        now = time.time_ns()
        nodes = link(TaskRecord(spec, now, now) for spec in specs)
        self._replace(nodes)
        for node in nodes.values():
            self._store.put(node.record)
            self._metrics.total += 1
            self._metrics.by_type[node.record.spec.type] += 1
        self._live.update(nodes)
        self._ready.extend(node for node in nodes.values() if not node.waiting)
        self._fill()

    def delete(self, task_id: str) -> bool:
        """Remove a task's record; tell whether there was one."""
        node = self._live.pop(task_id, None)
        if node is not None:
            node.current = False
            if node.phase is Phase.PENDING:
                node.phase = Phase.WITHDRAWN
                self._skip_after(node, "deleted")
        return self._store.delete(task_id)

    async def stop(self) -> None:
        """Start nothing more, cancel what runs (commands are killed with their whole group), wait until it is gone."""
        self._stopped = True
        for timer in self._timers.values():
            timer.cancel()
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
            if node.phase is Phase.WITHDRAWN:
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
        if node.phase is Phase.WITHDRAWN:  # deleted between getting the slot and starting
            return
        spec = node.record.spec
        executor = self._executors.get(spec.type)
        now = time.time_ns()
        if executor is None:
            message = f'executor "{spec.type}" is not part of this version'
            self._end(node, Outcome(RunStatus.FAILED, None, False, error=RunError("internal", message, False, "scheduler")), now)
            return
        if node.phase is Phase.PENDING:
            node.phase = Phase.RUNNING
            self._metrics.running += 1
            self._save(node, node.record.started(now))
        node.attempts += 1
        attempt = Attempt(
            node.record.spec,
            node.attempts,
            min(spec.timeout / 1000, _LONGEST_TIMEOUT) if spec.timeout > 0 else None,
            lambda outcome: self._show(node, outcome, now),
        )
        try:
            outcome = await executor.run(attempt)
        except Exception as error:  # whatever an executor raises is its defect; the task must still end, and say why
            message = f"{type(error).__name__}: {error}"
            outcome = Outcome(RunStatus.FAILED, None, False, error=RunError("internal", message, False, "executor"))
        if outcome.error is not None and node.attempts <= spec.retry:
            self._retry_later(node, outcome, now)
        else:
            self._metrics.running -= 1
            self._end(node, outcome, now)

    def _retry_later(self, node: Node, outcome: Outcome, started_ns: int) -> None:
        self._show(node, replace(outcome, error=None), started_ns)

        def requeue() -> None:
            del self._timers[node]
            self._ready.append(node)
            self._fill()

        self._timers[node] = asyncio.get_running_loop().call_later(backoff(node.attempts), requeue)

    def _show(self, node: Node, outcome: Outcome, started_ns: int) -> None:
        """Let the record of a task that is not over show what is known of its run."""
        run = _run(outcome, started_ns, None, node.attempts)
        self._save(node, replace(node.record, run=run))

    def _end(self, node: Node, outcome: Outcome, started_ns: int) -> None:
        """Write a task's last record, then release or skip what depends on it."""
        now = time.time_ns()
        run = _run(outcome, started_ns, now, node.attempts)
        good = outcome.error is None
        status = TaskStatus.SUCCESS if good else TaskStatus.FAILED
        message = outcome.error.message if outcome.error is not None else ""
        record = node.record
        node.phase = Phase.DONE
        self._save(node, TaskRecord(record.spec, record.created_ns, now, status, run, outcome.output, message))
        self._forget(node)
        if not good:
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

    def _forget(self, node: Node) -> None:
        if node.current:
            del self._live[node.record.spec.id]


def _run(outcome: Outcome, started_ns: int, finished_ns: int | None, attempt: int) -> Run:
    started = outcome.started or Moment(started_ns)
    finished = outcome.finished
    if finished is None and finished_ns is not None and outcome.status in TERMINAL_RUNS:
        finished = Moment(finished_ns)
    duration_ms = outcome.duration_ms
    if not duration_ms and finished is not None:
        duration_ms = max(0, (finished.ns - started.ns) // 1_000_000)
    return Run(
        outcome.status,
        outcome.handle_id,
        outcome.output,
        outcome.reported,
        started,
        finished,
        duration_ms,
        attempt,
        outcome.error,
    )
