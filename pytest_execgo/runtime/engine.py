"""Takes tasks, runs so many of them at once, ends them on demand, and tells who waits."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Awaitable, Coroutine, Mapping
from typing import Any

from pytest_execgo.core.bodies import HttpError
from pytest_execgo.runtime.capacity import Capacity, Ledger
from pytest_execgo.runtime.execution import SANDBOX_PROFILES, CommandRunner, Control, execute
from pytest_execgo.runtime.interpreters import Interpreters
from pytest_execgo.runtime.isolation import Isolator
from pytest_execgo.runtime.keeper_records import Reason, boot_id
from pytest_execgo.runtime.limits import unenforced
from pytest_execgo.runtime.models import Script, TaskRequest
from pytest_execgo.runtime.sandboxed import Sandboxes, asked_mode, unbounded
from pytest_execgo.runtime.store import KEPT, StoreError, TaskStore, conflict
from pytest_execgo.runtime.tasks import Outcome, TaskError, TaskRecord

logger = logging.getLogger("pytest_execgo.runtime")
_MAX_QUEUED_BYTES = 256 * 1024 * 1024
_STORE_PAUSE = 1.0  # seconds between tries to keep an end in a store that refuses
_KILLED = TaskError("cancelled", "the task was killed on request")
_STOPPED = TaskError("cancelled", "the runtime service was stopped", retryable=True)


class Engine:
    """The tasks of one service process. All methods belong to the event loop's thread."""

    def __init__(self, store: TaskStore, runner: CommandRunner, capacity: Capacity, environment: Mapping[str, str]) -> None:
        self.store = store
        self.runner = runner
        self.capacity = capacity
        self.ledger = Ledger(capacity)
        self.environment = environment
        self.interpreters = Interpreters(environment)
        self.boot = boot_id()
        self.isolator = Isolator()
        self.sandboxes: Sandboxes | None = None
        self.counts: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.stopping = False
        self.queued_bytes = 0
        self.waiting: dict[str, TaskRecord] = {}
        self.running: dict[str, Control] = {}
        self._jobs: set[asyncio.Task[None]] = set()
        self._unfinished: dict[str, asyncio.Event] = {}
        self._changed: dict[str, asyncio.Event] = {}
        self._keeping: dict[str, Awaitable[None]] = {}

    async def submit(self, request: TaskRequest, body: bytes, digest: str = "") -> TaskRecord:
        """Accept a task made of `body`, and return once it is kept.

        409 when its id exists, 429 when the queue is full, 400 when it could never run, 503 when it can't be kept.
        """
        await self._settled(request.task_id)  # what has this id already is there for good before anybody hears of a conflict
        record = self._admit(request, len(body), digest)
        self.counts["submitted"] += 1
        self._unfinished[record.task_id] = asyncio.Event()
        at_once = not self.waiting and self._may_start(record)
        if at_once:
            self._begin(record)  # so that acceptance and start share one commit
        else:
            self._queue(record)
        kept = self._keeping[record.task_id] = asyncio.ensure_future(_awaited(self.store.add(record, body)))
        if at_once:
            self._spawn_job(record, kept, KEPT)
        try:
            await asyncio.shield(kept)
        except StoreError as error:
            self._undo(record)
            raise HttpError(503, "unavailable", f"the task can't be kept: {error}") from None
        finally:
            self._keeping.pop(record.task_id, None)
        return record

    async def find(self, key: str) -> TaskRecord | None:
        """Return the task with this id or handle, once it is kept."""
        record = self.store.find(key)
        if record is not None and record.task_id in self._keeping:
            await self._settled(record.task_id)
            record = self.store.find(key)
        return record

    async def open(self) -> None:
        """Take up what an earlier service left: go on with what ran, run what waits."""
        records = self.store.unfinished()
        begun = {record.handle_id for record in records if record.started_ns}
        if self.sandboxes is not None:
            self.sandboxes.keep_only(begun)
        await self.runner.connect(lambda: begun | self._commands())
        for record in records:
            self._unfinished[record.task_id] = asyncio.Event()
            record.note("recovered")
            if record.started_ns:
                self._occupy(record)
                self._spawn_job(record, KEPT, KEPT, fresh=False)
            else:
                self._queue(record)
        begun.clear()
        self._start_next()

    def _commands(self) -> set[str]:
        """Return the handles of what runs: those whose results the keeper is asked for."""
        found = (self.store.find(task_id) for task_id in self.running)
        return {record.handle_id for record in found if record is not None}

    def kill(self, record: TaskRecord) -> None:
        """End a task and everything it started; one that is finished stays as it is."""
        if record.status.terminal:
            return
        record.note("cancel_requested")
        self._notify(record)
        self._end(record.task_id, _KILLED)

    async def wait(self, record: TaskRecord, seconds: float) -> None:
        """Return when the task is terminal, when so many seconds have passed, or when it will not run in this process."""
        await _within(self._unfinished.get(record.task_id), seconds)

    async def wait_for_event(self, record: TaskRecord, after: int, seconds: float) -> None:
        """Return when the task has an event beyond `after`, when it is terminal, or when so many seconds have passed."""
        if len(record.events) <= after and not record.status.terminal:
            await _within(self._changed.setdefault(record.task_id, asyncio.Event()), seconds)

    def stop(self) -> None:
        """Take nothing more and end what runs; returns before it has ended. What waits is kept, if the store keeps."""
        self.stopping = True
        for task_id in [*self.running]:
            self._end(task_id, _STOPPED)
        for task_id in [*self.waiting]:
            if self.store.durable:
                self._unfinished[task_id].set()  # it stays accepted; who waits for it here has to ask again
            else:
                self._end(task_id, _STOPPED)

    async def close(self) -> None:
        """Stop, and return when no command is left and everything is kept."""
        self.stop()
        while self._jobs:
            await asyncio.wait(self._jobs)
        await self.runner.stop(Reason("cancelled", _STOPPED.message, True))
        if self.sandboxes is not None and self.sandboxes.servers is not None:
            await asyncio.to_thread(self.sandboxes.servers.close)
        self.store.close()

    def _admit(self, request: TaskRequest, size: int, digest: str) -> TaskRecord:
        handle = f"rt-{os.urandom(12).hex()}"
        task_id = request.task_id or f"task-{os.urandom(12).hex()}"
        if self.stopping:
            raise HttpError(503, "unavailable", "the runtime service is stopping")
        if isinstance(request.execution, Script):
            self.interpreters.check(request.execution.interpreter or "sh")
        self.ledger.refuse_impossible(request.limits)
        if (known := self.store.find(task_id)) is not None:
            raise conflict(known)
        if self._full(request, size):
            limit = self.capacity.queue_limit
            raise HttpError(429, "queue_full", f"{len(self.waiting)} tasks wait already", {"queue_limit": limit})
        record = TaskRecord(task_id, handle, request, size, digest)
        record.note("accepted")
        self._note_fallbacks(record)
        return record

    def _full(self, request: TaskRequest, size: int) -> bool:
        tenant = request.control_context.tenant
        if not self.waiting and self.ledger.has_room(request.limits) and self.ledger.tenant_may(tenant):
            return False
        return len(self.waiting) >= self.capacity.queue_limit or self.queued_bytes + size > _MAX_QUEUED_BYTES

    def _note_fallbacks(self, record: TaskRecord) -> None:
        request = record.request
        mode = asked_mode(request, self.sandboxes.mode) if self.sandboxes is not None else None
        missing = unenforced(request.limits, self.runner.groups) if mode is None else unbounded(request, mode)
        for limit, reason in missing.items():
            record.note("limit_unenforced", limit=limit, reason=reason)
        sandbox = request.sandbox
        if sandbox.profile not in SANDBOX_PROFILES and not sandbox.strict:
            reasons = ["there is no profile of this name"]
            record.note("sandbox_fallback", requested=sandbox.profile, effective="process", fallback_reasons=reasons)

    async def _settled(self, task_id: str) -> None:
        keeping = self._keeping.get(task_id)
        if keeping is not None:
            await asyncio.wait([asyncio.ensure_future(keeping)])

    def _undo(self, record: TaskRecord) -> None:
        self.store.drop(record)
        self.counts["submitted"] -= 1
        if record.task_id in self.waiting:
            self._take(record.task_id)
        self._unfinished.pop(record.task_id).set()

    def _may_start(self, record: TaskRecord) -> bool:
        return self.ledger.next_of([record]) is record and not self.stopping

    def _queue(self, record: TaskRecord) -> None:
        self.waiting[record.task_id] = record
        self.queued_bytes += record.size
        self.ledger.count(record, queued=1)

    def _take(self, task_id: str) -> TaskRecord:
        record = self.waiting.pop(task_id)
        self.queued_bytes -= record.size
        self.ledger.count(record, queued=-1)
        return record

    def _occupy(self, record: TaskRecord) -> None:
        self.running[record.task_id] = Control()
        self.ledger.count(record, running=1)

    def _begin(self, record: TaskRecord) -> None:
        self._occupy(record)
        record.start(self.boot)
        self._notify(record)

    def _start_next(self) -> None:
        while not self.stopping and (record := self.ledger.next_of(self.waiting.values())) is not None:
            kept = self._keeping.get(record.task_id)
            self._take(record.task_id)
            self._begin(record)
            started = self.store.save(record)
            self._spawn_job(record, kept or KEPT, started)

    def _spawn_job(self, record: TaskRecord, accepted: Awaitable[None], started: Awaitable[None], *, fresh: bool = True) -> None:
        self._track(self._run(record, accepted, started, fresh))

    def _track(self, work: Coroutine[Any, Any, None]) -> None:
        job = asyncio.get_running_loop().create_task(work)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    async def _run(self, record: TaskRecord, accepted: Awaitable[None], started: Awaitable[None], fresh: bool) -> None:
        """Run a task once its acceptance and its start are kept, and keep its end. `fresh`: no earlier service has begun it."""
        control = self.running[record.task_id]
        try:
            await accepted
        except StoreError:  # `submit` says so; nothing was started
            self._leave(record)
            return
        try:
            await started
            if fresh and control.reason is not None:  # ended before it began: nothing may be started any more
                outcome = Outcome(control.reason)
            else:
                outcome = await self._execute(record, control)
        except StoreError as error:
            outcome = Outcome(TaskError("internal", f"its start can't be kept: {error}", retryable=True))
        await self._finish(record, outcome)
        self.runner.forget(record.handle_id)
        if self.sandboxes is not None:
            self.sandboxes.forget(record.handle_id)
        self._leave(record)

    def _leave(self, record: TaskRecord) -> None:
        del self.running[record.task_id]
        self.ledger.count(record, running=-1)
        self._start_next()

    async def _execute(self, record: TaskRecord, control: Control) -> Outcome:
        try:
            return await execute(record, self.runner, self.environment, control, self.isolator, self.sandboxes)
        except Exception as error:  # a defect of ours must end this task, visibly, and no other
            logger.exception("task %r could not be executed", record.task_id)
            return Outcome(TaskError("internal", f"{type(error).__name__}: {error}", retryable=True))

    def _end(self, task_id: str, reason: TaskError) -> None:
        if task_id in self.running:
            self.running[task_id].cancel(reason)
        elif task_id in self.waiting:
            self._track(self._finish(self._take(task_id), Outcome(reason)))

    async def _finish(self, record: TaskRecord, outcome: Outcome) -> None:
        """Make a task terminal: first it is kept, then anybody may know."""
        ended = record.ended(outcome)
        while True:
            try:
                await self.store.save(ended)
                break
            except StoreError:
                if self.stopping:  # it stays unfinished, and the next service takes it up
                    self._unfinished.pop(record.task_id).set()
                    return
                await asyncio.sleep(_STORE_PAUSE)
        record.become(ended)
        self.counts[str(record.status)] += 1
        if outcome.error is not None:
            self.errors[outcome.error.code] += 1
        self._unfinished.pop(record.task_id).set()
        self._notify(record)
        self._changed.pop(record.task_id, None)

    def _notify(self, record: TaskRecord) -> None:
        changed = self._changed.pop(record.task_id, None)
        if changed is not None:
            changed.set()


async def _awaited(kept: Awaitable[None]) -> None:
    await kept


async def _within(event: asyncio.Event | None, seconds: float) -> None:
    if event is None:
        return
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
