"""The durable store: what is on disk when, and why that is enough.

One thread writes. Whatever changed while it was busy goes to it as one batch, which it writes in one synced transaction; so
requests and attempts that come together share one wait for the disk, and the event loop never waits for it.

What is durable when:

- Submission: its rows are on disk before 202 is answered, and before anything of it starts. When they can't be written,
  the answer is 503 and the submission is as if it had never been. (G1)
- An attempt that can have effects: that it begins is on disk before it begins. Batches are written in order, so the ends of
  what it depends on are then on disk, too. `noop` and `sleep` have no effects; they begin at once and have no such record,
  and after a crash they simply run again. (G2)
- An end: written as soon as the disk is free, a few milliseconds later at most when nobody waits for it and other tasks are
  under way whose ends could share the write. Until then clients are shown the task as it was before. A terminal state that
  was seen is therefore on disk, and no crash can take it back. (G4)
- A task that is skipped or cancelled because another one ended is in the same batch as that end.
- An order to cancel what runs: before 202 is answered. Should its end never get there, it ends as cancelled after the crash.
- Removal: before 204 is answered.

After a crash, a task without an end on disk runs again, at least once in total; one that is annotated `effect: once` does so
only if its attempt never began, and else fails as `unknown`. Such a task has one attempt, whatever its `retry` says. (G2)

A write that fails is tried again, a few times a second, until the disk takes it; new submissions are refused meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterable

from pytest_execgo.kernel.durable.cache import EnvelopeCache, IdFilter
from pytest_execgo.kernel.durable.file import Batch, Event, StoreFile, Written
from pytest_execgo.kernel.durable.flight import Entry, Flight, Writer
from pytest_execgo.kernel.durable.rows import TERMINAL, Change, Mark, Row
from pytest_execgo.kernel.envelope import record_of
from pytest_execgo.kernel.store import StoreFailed
from pytest_execgo.kernel.task import TaskRecord, TaskStatus

_PAUSE = 0.003  # seconds between two writes that nobody waits for
_RETRY = 0.25  # seconds between tries while the disk refuses
_PRUNE_SLACK = 64  # parts: so much of what is retained may be over the limit before it is cut back
_CLOSE_TRIES = 4


class DurableStore:
    """A store in a file; made and used on one event loop. `retain`: how many ended tasks are kept, or a few more."""

    def __init__(self, file: StoreFile, unfinished: Iterable[Row], retain: int, on_failure: Callable[[str], None]) -> None:
        self._file = file
        self._retain = retain
        self._on_failure = on_failure
        self._loop = asyncio.get_running_loop()
        self._entries: dict[str, Entry] = {}
        self._cache = EnvelopeCache()
        self._ids = IdFilter(_ids(file))
        self._next_seq = file.state.next_seq
        self._adopt(unfinished)
        self._ended = file.state.tasks - len(self._entries)
        self._dirty: dict[int, Entry] = {}
        self._gone: dict[int, None] = {}  # a set that keeps its order
        self._events: list[Event] = []
        self._waiting: list[asyncio.Future[None]] = []
        self._flying: Flight | None = None
        self._wake: asyncio.Handle | None = None
        self._paused = False  # whether `_wake` is some time away
        self._last_write = 0.0
        self.failure = ""
        """Why the last write failed; empty when it did not."""
        self._writer = Writer(file, self._landed)

    def _adopt(self, rows: Iterable[Row]) -> None:
        for row in rows:
            record = record_of(row)
            mark = Mark(row.status)
            self._entries[row.id] = Entry(row.seq, record, record, mark, row.attempts, row.interruptions, True)

    def add(self, record: TaskRecord) -> None:
        """Take a newly submitted task, in place of the one with its id."""
        task_id = record.spec.id
        if task_id in self._ids:
            self.delete(task_id)
        self._ids.add(task_id)
        entry = self._entries[task_id] = Entry(self._next_seq, record, record)
        self._next_seq += 1
        self._change(entry)

    def put(self, record: TaskRecord) -> None:
        """Replace the record of a task that was added. An end is written; anything else is for clients to see."""
        entry = self._entries[record.spec.id]
        entry.record = record
        if record.status in TERMINAL:
            self._change(entry)
        else:
            entry.shown = record

    def mark(self, task_id: str, mark: Mark, attempts: int, interruptions: int) -> None:
        """Note where a task that has not ended is."""
        entry = self._entries[task_id]
        entry.mark, entry.attempts, entry.interruptions = mark, attempts, interruptions
        self._change(entry)

    def note(self, kind: str, task_id: str, detail: str) -> None:
        """Record an event of a task that has not ended."""
        self._events.append(Event(time.time_ns(), kind, self._entries[task_id].seq, detail))
        self._schedule()

    def get(self, task_id: str) -> TaskRecord | None:
        """Return a record as it is, or None."""
        entry = self._entries.get(task_id)
        if entry is not None:
            return entry.record
        row = self._row(task_id)
        return None if row is None else record_of(row)

    def delete(self, task_id: str) -> bool:
        """Remove a record; tell whether there was one."""
        entry = self._entries.pop(task_id, None)
        if entry is None:
            row = self._row(task_id)
            if row is None:
                return False
            seq = row.seq
            self._ended -= 1
        else:
            seq = entry.seq
            self._dirty.pop(seq, None)
        self._cache.drop(task_id)
        self._gone[seq] = None
        self._schedule()
        return True

    def envelope(self, task_id: str) -> str | None:
        """Return a record's JSON as clients may see it, or None."""
        entry = self._entries.get(task_id)
        if entry is not None:
            return entry.envelope()
        text = self._cache.get(task_id)
        if text is None:
            row = self._row(task_id)
            text = row.body if row is not None else None
        return text

    def page(self, after: int, limit: int, status: str) -> list[tuple[int, str]]:
        """Return (number, envelope) of at most `limit` tasks in the order of submission, behind number `after`."""
        if status in (TaskStatus.PENDING, TaskStatus.RUNNING):
            return self._unfinished_page(after, limit, status)
        found: list[tuple[int, str]] = []
        while len(found) < limit:
            rows = self._file.page(after, limit - len(found), status)
            for row in rows:
                entry = self._entries.get(row.id)
                if entry is not None and entry.seq == row.seq:
                    if status in ("", entry.shown.status):
                        found.append((row.seq, entry.envelope()))
                elif row.ended and not self._is_gone(row.seq):
                    found.append((row.seq, row.body))
            if not rows:
                break
            after = rows[-1].seq
        return found

    def _unfinished_page(self, after: int, limit: int, status: str) -> list[tuple[int, str]]:
        found: list[tuple[int, str]] = []
        for entry in self._entries.values():  # in the order of their numbers
            if entry.seq > after and entry.shown.status == status and entry.stored:
                found.append((entry.seq, entry.envelope()))
                if len(found) == limit:
                    break
        return found

    def ended(self, task_id: str) -> bool | None:
        """Tell whether clients see a task as ended; None when there is no such task."""
        entry = self._entries.get(task_id)
        if entry is not None:
            return entry.shown.status in TERMINAL
        return True if task_id in self._cache or self._row(task_id) is not None else None

    async def settled(self, task_id: str) -> None:
        """Wait until clients may see a task's end, if it has one already and the store can be written."""
        entry = self._entries.get(task_id)
        if entry is not None and entry.shown is not entry.record:
            # while the disk refuses, the task shows as it was last known to be
            with contextlib.suppress(StoreFailed):
                await self.flushed()

    def when_shown(self, task_id: str, call: Callable[[str], None]) -> None:
        """Call back with the id of a task whose record was put, as soon as clients may see it."""
        entry = self._entries.get(task_id)
        if entry is None or entry.shown is entry.record:
            call(task_id)
        else:
            entry.calls.append(call)

    def flushed(self) -> asyncio.Future[None]:
        """Return a future for when all that was done so far is durable; `StoreFailed` when it can't be made so."""
        return self._flush(urgent=True)

    async def lasting(self) -> None:
        """Return once all that was done so far is durable, however long that takes."""
        urgent = True
        while True:
            try:
                return await self._flush(urgent=urgent)
            except StoreFailed:
                urgent = False  # the store tries again by itself

    async def close(self) -> None:
        """Make everything durable and let go of the file."""
        for _ in range(_CLOSE_TRIES):
            try:
                await self.flushed()
                break
            except StoreFailed:
                continue
        self._writer.close()
        self._file.close()

    def _row(self, task_id: str) -> Row | None:
        if task_id not in self._ids:
            return None
        row = self._file.find(task_id)
        # a row without an entry that has not ended is one whose removal is on its way
        return None if row is None or not row.ended or self._is_gone(row.seq) else row

    def _is_gone(self, seq: int) -> bool:
        return seq in self._gone or (self._flying is not None and seq in self._flying.batch.gone)

    def _change(self, entry: Entry) -> None:
        self._dirty[entry.seq] = entry
        if self._flying is None and (self._wake is None or self._alone()):
            self._schedule()

    def _alone(self) -> bool:
        """Tell whether everything under way is to be written: nobody is left whose end could share the write."""
        return len(self._dirty) == len(self._entries) and not self.failure

    def _flush(self, *, urgent: bool) -> asyncio.Future[None]:
        future: asyncio.Future[None] = self._loop.create_future()
        if self._dirty or self._gone or self._events:
            self._waiting.append(future)
            self._schedule(urgent=urgent)
        elif self._flying is not None:
            self._flying = Flight(self._flying.batch, self._flying.entries, [*self._flying.waiting, future])
        else:
            future.set_result(None)
        return future

    def _schedule(self, *, urgent: bool = False) -> None:
        """See to it that what changed is written: now if somebody waits for it or nothing can join it, else after a pause."""
        if self._flying is not None:
            return  # when it has landed, the next one starts
        if urgent or self._alone():
            if self._wake is not None and self._paused:
                self._wake.cancel()
                self._wake = None
            pause = 0.0
        else:
            pause = _RETRY if self.failure else self._last_write + _PAUSE - self._loop.time()
        if self._wake is None:
            self._paused = pause > 0
            self._wake = self._loop.call_later(pause, self._start) if self._paused else self._loop.call_soon(self._start)

    def _start(self) -> None:
        """Hand what changed to the thread that writes."""
        self._wake = None
        entries = list(self._dirty.values())
        changes = [Change(e.seq, e.record, e.mark, e.attempts, e.interruptions, not e.stored) for e in entries]
        over = self._ended - self._retain
        prune = over if over > self._retain // _PRUNE_SLACK else 0
        batch = Batch(changes, gone=tuple(self._gone), events=tuple(self._events), prune=prune)
        self._flying = Flight(batch, entries, self._waiting)
        self._dirty, self._gone, self._events, self._waiting = {}, {}, [], []
        self._writer.write(batch)

    def _landed(self, written: Written | None, reason: str) -> None:
        job, self._flying = self._flying, None
        if job is None:
            raise RuntimeError("a batch that nobody handed over was written")
        self._last_write = self._loop.time()
        if written is None:
            self._take_back(job, reason)
        else:
            self._settle(job, written)
        if self._dirty or self._gone or self._events or self._waiting:
            self._schedule(urgent=bool(self._waiting) and written is not None)

    def _settle(self, job: Flight, written: Written) -> None:
        self.failure = ""
        for entry in job.entries:
            entry.stored = True
        for entry, change, row in zip(job.entries, job.batch.changes, written.rows, strict=True):
            if row.ended:
                entry.shown = change.record
                if self._entries.get(row.id) is entry:  # else it was removed meanwhile
                    self._ended += 1
                    del self._entries[row.id]
                    self._cache.put(row.id, row.body)
                for call in entry.calls:
                    call(row.id)
        for task_id in written.pruned:
            self._cache.drop(task_id)
        self._ended -= len(written.pruned)
        for future in job.waiting:
            if not future.done():
                future.set_result(None)

    def _take_back(self, job: Flight, reason: str) -> None:
        """Keep what could not be written for the next try; who waited for it is told."""
        if not self.failure:
            self._on_failure(reason)
        self.failure = reason
        for entry in job.entries:
            # a new task that could not be stored is dropped by who added it
            if self._entries.get(entry.record.spec.id) is entry and entry.seq not in self._dirty and entry.stored:
                self._dirty[entry.seq] = entry
        self._gone = {**dict.fromkeys(job.batch.gone), **self._gone}
        self._events = [*job.batch.events, *self._events]
        for future in job.waiting:
            if not future.done():
                future.set_exception(StoreFailed(reason))


def _ids(file: StoreFile) -> Iterable[str] | None:
    """Return the ids of all rows; None when damage keeps them from being read (whoever looks through the store will say so)."""
    try:
        return file.ids()
    except (sqlite3.Error, UnicodeError):
        return None
