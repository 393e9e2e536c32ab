"""Takes tasks, runs so many of them at once, ends them on demand, and tells who waits."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from pytest_execgo.core.bodies import HttpError
from pytest_execgo.runtime.execution import SANDBOX_PROFILES, Control, execute
from pytest_execgo.runtime.limits import unenforced
from pytest_execgo.runtime.models import TaskRequest
from pytest_execgo.runtime.store import TaskStore
from pytest_execgo.runtime.tasks import Outcome, TaskError, TaskRecord

logger = logging.getLogger("pytest_execgo.runtime")
_MAX_QUEUED_BYTES = 256 * 1024 * 1024
_KILLED = TaskError("cancelled", "the task was killed on request")
_STOPPED = TaskError("cancelled", "the runtime service was stopped", retryable=True)


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many tasks run at once, and how many may wait for their turn."""

    max_concurrency: int
    queue_limit: int


class Engine:
    """The tasks of one service process. All methods belong to the event loop's thread."""

    def __init__(self, store: TaskStore, capacity: Capacity, environment: Mapping[str, str]) -> None:
        self.store = store
        self.capacity = capacity
        self.environment = environment
        self.counts: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.stopping = False
        self.queued_bytes = 0
        self.waiting: dict[str, TaskRecord] = {}
        self.running: dict[str, Control] = {}
        self._jobs: set[asyncio.Task[None]] = set()
        self._unfinished: dict[str, asyncio.Event] = {}

    def submit(self, request: TaskRequest, size: int) -> TaskRecord:
        """Accept a task whose body weighs `size` bytes; 409 when its id exists, 429 when the queue is full."""
        handle = f"rt-{os.urandom(12).hex()}"
        task_id = request.task_id or f"task-{os.urandom(12).hex()}"
        if self.stopping:
            raise HttpError(503, "unavailable", "the runtime service is stopping")
        if self._full(size) and self.store.find(task_id) is None:
            limit = self.capacity.queue_limit
            raise HttpError(429, "queue_full", f"{len(self.waiting)} tasks wait already", {"queue_limit": limit})
        record = TaskRecord(task_id, handle, request, size)
        record.note("accepted")
        self._note_fallbacks(record)
        self.store.add(record)
        self.counts["submitted"] += 1
        self._unfinished[task_id] = asyncio.Event()
        self.waiting[task_id] = record
        self.queued_bytes += size
        self._start_next()
        return record

    def kill(self, record: TaskRecord) -> None:
        """End a task and everything it started; one that is finished stays as it is."""
        if record.status.terminal:
            return
        record.note("cancel_requested")
        self._end(record.task_id, _KILLED)

    async def wait(self, record: TaskRecord, seconds: float) -> None:
        """Return when the task is terminal, or when so many seconds have passed."""
        finished = self._unfinished.get(record.task_id)
        if finished is None:
            return
        try:
            async with asyncio.timeout(seconds):
                await finished.wait()
        except TimeoutError:
            return

    def stop(self) -> None:
        """Take nothing more and end everything; returns before it has ended."""
        self.stopping = True
        for task_id in [*self.waiting, *self.running]:
            self._end(task_id, _STOPPED)

    async def close(self) -> None:
        """Stop, and return when no command is left."""
        self.stop()
        if self._jobs:
            await asyncio.wait(self._jobs)

    def _full(self, size: int) -> bool:
        if len(self.running) < self.capacity.max_concurrency:
            return False
        return len(self.waiting) >= self.capacity.queue_limit or self.queued_bytes + size > _MAX_QUEUED_BYTES

    def _note_fallbacks(self, record: TaskRecord) -> None:
        for limit, reason in unenforced(record.request.limits).items():
            record.note("limit_unenforced", limit=limit, reason=reason)
        sandbox = record.request.sandbox
        if sandbox.profile not in SANDBOX_PROFILES and not sandbox.strict:
            reasons = ["this version has the process profile only"]
            record.note("sandbox_fallback", requested=sandbox.profile, effective="process", fallback_reasons=reasons)

    def _start_next(self) -> None:
        while self.waiting and len(self.running) < self.capacity.max_concurrency:
            record = self._take(next(iter(self.waiting)))
            control = Control()
            self.running[record.task_id] = control
            record.start()
            self.store.save(record)
            job = asyncio.get_running_loop().create_task(self._run(record, control))
            self._jobs.add(job)
            job.add_done_callback(self._jobs.discard)

    def _take(self, task_id: str) -> TaskRecord:
        record = self.waiting.pop(task_id)
        self.queued_bytes -= record.size
        return record

    async def _run(self, record: TaskRecord, control: Control) -> None:
        try:
            outcome = await execute(record.request, self.environment, control)
        except Exception as error:  # a defect of ours must end this task, visibly, and no other
            logger.exception("task %r could not be executed", record.task_id)
            outcome = Outcome(TaskError("internal", f"{type(error).__name__}: {error}", retryable=True))
        del self.running[record.task_id]
        self._finish(record, outcome)
        self._start_next()

    def _end(self, task_id: str, reason: TaskError) -> None:
        if task_id in self.waiting:
            self._finish(self._take(task_id), Outcome(reason))
        else:
            self.running[task_id].cancel(reason)

    def _finish(self, record: TaskRecord, outcome: Outcome) -> None:
        record.finish(outcome)
        self.counts[str(record.status)] += 1
        if outcome.error is not None:
            self.errors[outcome.error.code] += 1
        self.store.save(record)
        self._unfinished.pop(record.task_id).set()
