"""Where task records are kept: what the scheduler and the routes need of a store, and one that keeps them in memory.

A store may know more than it shows: `get` returns what is so, `envelope` what clients may see. An ended task shows as such
only once its end can't be lost any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import islice
from typing import Protocol

from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.kernel.durable.rows import TERMINAL, Mark
from pytest_execgo.kernel.task import TaskRecord

_CACHED_MAX = 64 * 1024  # characters; a larger envelope is put together anew rather than held twice


class StoreFailed(ExecGoError):
    """What was to be stored could not be: the disk is full, say. It is the machine's fault, not the client's."""

    def __init__(self, reason: str) -> None:
        super().__init__("store_unavailable", f"the store can't be written: {reason}")


class Store(Protocol):
    """Task records by id. Everything is called on the event loop."""

    def add(self, record: TaskRecord) -> None:
        """Take a newly submitted task, in place of the one with its id."""

    def put(self, record: TaskRecord) -> None:
        """Replace the record of a task that was added."""

    def mark(self, task_id: str, mark: Mark, attempts: int, interruptions: int) -> None:
        """Note where a task that has not ended is: how many attempts began, how many the kernel's own end interrupted."""

    def get(self, task_id: str) -> TaskRecord | None:
        """Return a record as it is, or None."""

    def delete(self, task_id: str) -> bool:
        """Remove a record; tell whether there was one."""

    def envelope(self, task_id: str) -> str | None:
        """Return a record's JSON as clients may see it, or None."""

    def page(self, after: int, limit: int, status: str) -> list[tuple[int, str]]:
        """Return (number, envelope) of at most `limit` tasks in the order of submission, behind number `after`.

        With a `status`, only those that show it. Fewer than `limit`: there are no more.
        """

    def ended(self, task_id: str) -> bool | None:
        """Tell whether clients see a task as ended; None when there is no such task."""

    async def settled(self, task_id: str) -> None:
        """Wait until clients may see a task's end, if it has one already and the store can be written."""

    def when_shown(self, task_id: str, call: Callable[[str], None]) -> None:
        """Call back with the id of a task whose record was put, as soon as clients may see it; perhaps at once."""

    def flushed(self) -> asyncio.Future[None]:
        """Return a future for when all that was done so far is durable; `StoreFailed` when it can't be made so."""

    async def lasting(self) -> None:
        """Return once all that was done so far is durable, however long that takes."""

    async def close(self) -> None:
        """Make everything durable and let go of the store."""


class MemoryStore:
    """Records for as long as the process lives; envelopes are put together once per change."""

    def __init__(self) -> None:
        self._records: dict[str, TaskRecord] = {}
        self._envelopes: dict[str, str] = {}
        self._numbers: dict[str, int] = {}
        self._count = 0

    def add(self, record: TaskRecord) -> None:
        """Take a newly submitted task, in place of the one with its id."""
        self.delete(record.spec.id)
        self._count += 1
        self._numbers[record.spec.id] = self._count
        self.put(record)

    def put(self, record: TaskRecord) -> None:
        """Replace the record of a task that was added."""
        self._records[record.spec.id] = record
        self._envelopes.pop(record.spec.id, None)

    def mark(self, task_id: str, mark: Mark, attempts: int, interruptions: int) -> None:
        """Do nothing: what happens to the process happens to the record."""

    def get(self, task_id: str) -> TaskRecord | None:
        """Return a record, or None."""
        return self._records.get(task_id)

    def delete(self, task_id: str) -> bool:
        """Remove a record; tell whether there was one."""
        self._envelopes.pop(task_id, None)
        self._numbers.pop(task_id, None)
        return self._records.pop(task_id, None) is not None

    def envelope(self, task_id: str) -> str | None:
        """Return a record's JSON, or None."""
        text = self._envelopes.get(task_id)
        if text is None:
            record = self._records.get(task_id)
            if record is None:
                return None
            text = record.encode()
            if len(text) <= _CACHED_MAX:
                self._envelopes[task_id] = text
        return text

    def page(self, after: int, limit: int, status: str) -> list[tuple[int, str]]:
        """Return (number, envelope) of tasks in the order of submission."""
        found = (
            (number, self.envelope(task_id) or "")
            for task_id, number in self._numbers.items()
            if number > after and status in ("", self._records[task_id].status)
        )
        return list(islice(found, limit))

    def ended(self, task_id: str) -> bool | None:
        """Tell whether a task has ended; None when there is no such task."""
        record = self._records.get(task_id)
        return None if record is None else record.status in TERMINAL

    async def settled(self, task_id: str) -> None:
        """Return at once."""

    def when_shown(self, task_id: str, call: Callable[[str], None]) -> None:
        """Call back at once."""
        call(task_id)

    def flushed(self) -> asyncio.Future[None]:
        """Return a future that is done."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.set_result(None)
        return future

    async def lasting(self) -> None:
        """Return at once."""

    async def close(self) -> None:
        """Nothing is held."""
