"""Where tasks are kept. The engine changes records and saves each change; a store decides what that means."""

from __future__ import annotations

from typing import Protocol

from pytest_execgo.core.bodies import HttpError
from pytest_execgo.runtime.tasks import TaskRecord


class TaskStore(Protocol):
    """Keeps task records."""

    def add(self, record: TaskRecord) -> None:
        """Keep a new record before its acceptance is answered; `HttpError` 409 `conflict` when its id exists."""

    def save(self, record: TaskRecord) -> None:
        """Keep a record's new state, before anybody is told of it."""

    def find(self, key: str) -> TaskRecord | None:
        """Return the record with this task id, else the one with this handle, else None."""


class MemoryStore:
    """Keeps records in memory; of finished ones the newest, up to a number and a total size in bytes."""

    def __init__(self, max_finished: int = 10_000, max_finished_bytes: int = 256 * 1024 * 1024) -> None:
        self.max_finished = max_finished
        self.max_finished_bytes = max_finished_bytes
        self.finished_bytes = 0
        self._records: dict[str, TaskRecord] = {}
        self._handles: dict[str, TaskRecord] = {}
        self._finished: dict[str, TaskRecord] = {}

    def add(self, record: TaskRecord) -> None:
        """Keep a new record; an id that names a task or a handle already is a 409."""
        if self.find(record.task_id) is not None:
            raise HttpError(409, "conflict", f"task {record.task_id!r} exists", {"task_id": record.task_id})
        self._records[record.task_id] = record
        self._handles[record.handle_id] = record

    def save(self, record: TaskRecord) -> None:
        """Count a record that is finished now, and forget the oldest finished ones beyond the limits."""
        if not record.status.terminal or record.task_id in self._finished:
            return
        self._finished[record.task_id] = record
        self.finished_bytes += record.size
        while len(self._finished) > self.max_finished or (
            self.finished_bytes > self.max_finished_bytes and len(self._finished) > 1
        ):
            self._forget(next(iter(self._finished.values())))

    def find(self, key: str) -> TaskRecord | None:
        """Return the record with this task id, else the one with this handle, else None."""
        return self._records.get(key) or self._handles.get(key)

    def _forget(self, record: TaskRecord) -> None:
        del self._finished[record.task_id], self._records[record.task_id], self._handles[record.handle_id]
        self.finished_bytes -= record.size
