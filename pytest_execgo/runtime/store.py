"""Where tasks are kept. The engine changes records and saves each change; a store decides what that means."""

from __future__ import annotations

from collections.abc import Awaitable, Generator, Iterator
from typing import Any, Protocol

from pytest_execgo.core.bodies import HttpError
from pytest_execgo.runtime.tasks import TaskRecord


class TaskStore(Protocol):
    """Keeps task records. What is awaited from `add` and `save` raises `StoreError` when the store could not keep it."""

    durable: bool

    def add(self, record: TaskRecord, body: bytes) -> Awaitable[None]:
        """Take in a new record and the body it was made of; `HttpError` 409 `conflict` when its id exists.

        It is found from now on; once the result has been awaited, it is kept.
        """

    def save(self, record: TaskRecord) -> Awaitable[None]:
        """Keep a record's state as it is now; once the result has been awaited, anybody may be told of it."""

    def drop(self, record: TaskRecord) -> None:
        """Forget a record that could not be kept."""

    def find(self, key: str) -> TaskRecord | None:
        """Return the record with this task id, else the one with this handle, else None."""

    def unfinished(self) -> list[TaskRecord]:
        """Return what an earlier service left unfinished, in the order of acceptance; called once, before anything else."""

    def close(self) -> None:
        """Keep what is still to be kept, and let go."""


class StoreError(Exception):
    """The store could not keep a change; the message says why."""


def conflict(known: TaskRecord) -> HttpError:
    """Return the 409 of a submission whose id another task has; `digest` tells whether it is the same submission again."""
    details = {"task_id": known.task_id, "handle_id": known.handle_id, "digest": known.digest}
    return HttpError(409, "conflict", f"task {known.task_id!r} exists", details)


class _Kept:
    """Awaited, it is over at once."""

    def __await__(self) -> Generator[Any, None, None]:
        return
        yield


KEPT = _Kept()


class MemoryStore:
    """Keeps records in memory; of finished ones the newest, up to a number and a total size in bytes."""

    durable = False

    def __init__(self, max_finished: int = 10_000, max_finished_bytes: int = 256 * 1024 * 1024) -> None:
        self.max_finished = max_finished
        self.max_finished_bytes = max_finished_bytes
        self.finished_bytes = 0
        self._records: dict[str, TaskRecord] = {}
        self._handles: dict[str, str] = {}
        self._finished: dict[str, tuple[str, int]] = {}

    def add(self, record: TaskRecord, body: bytes) -> Awaitable[None]:
        """Take in a new record; an id that names a task or a handle already is a 409 that tells which."""
        known = self.find(record.task_id)
        if known is not None:
            raise conflict(known)
        self._records[record.task_id] = record
        self._handles[record.handle_id] = record.task_id
        return KEPT

    def save(self, record: TaskRecord) -> Awaitable[None]:
        """Keep a record's state; one that is finished counts, and beyond the limits the oldest finished ones are forgotten."""
        if record.status.terminal and record.task_id not in self._finished:
            self._count_finished(record.task_id, record.handle_id, record.size)
        return KEPT

    def drop(self, record: TaskRecord) -> None:
        """Forget a record that could not be kept."""
        self._records.pop(record.task_id, None)
        self._handles.pop(record.handle_id, None)

    def find(self, key: str) -> TaskRecord | None:
        """Return the record with this task id, else the one with this handle, else None."""
        return self._records.get(key) or self._records.get(self._handles.get(key, ""))

    def unfinished(self) -> list[TaskRecord]:
        """Return nothing: memory does not outlive a service."""
        return []

    def close(self) -> None:
        """Let go; there is nothing to keep."""

    def _count_finished(self, task_id: str, handle_id: str, size: int) -> None:
        self._finished[task_id] = (handle_id, size)
        self.finished_bytes += size
        for oldest in self._beyond():
            handle, weight = self._finished.pop(oldest)
            self.finished_bytes -= weight
            self._forget(oldest, handle)

    def _beyond(self) -> Iterator[str]:
        while len(self._finished) > self.max_finished or (
            self.finished_bytes > self.max_finished_bytes and len(self._finished) > 1
        ):
            yield next(iter(self._finished))

    def _forget(self, task_id: str, handle_id: str) -> None:
        self._records.pop(task_id, None)
        self._handles.pop(handle_id, None)
