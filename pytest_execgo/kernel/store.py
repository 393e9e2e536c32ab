"""Where task records are kept: what the kernel needs of a store, and the one in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from pytest_execgo.kernel.task import TaskRecord

_CACHED_MAX = 64 * 1024  # characters; a larger envelope is put together anew rather than held twice


class Store(Protocol):
    """Task records by id."""

    def put(self, record: TaskRecord) -> None:
        """Store a record in place of the one with its id."""

    def get(self, task_id: str) -> TaskRecord | None:
        """Return a record, or None."""

    def delete(self, task_id: str) -> bool:
        """Remove a record; tell whether there was one."""

    def envelope(self, task_id: str) -> str | None:
        """Return a record's JSON, or None."""

    def ids(self) -> Iterator[str]:
        """Iterate over the ids, oldest first. The store must not change meanwhile."""


class MemoryStore:
    """Records for as long as the process lives; envelopes are put together once per change."""

    def __init__(self) -> None:
        self._records: dict[str, TaskRecord] = {}
        self._envelopes: dict[str, str] = {}

    def put(self, record: TaskRecord) -> None:
        """Store a record in place of the one with its id."""
        self._records[record.spec.id] = record
        self._envelopes.pop(record.spec.id, None)

    def get(self, task_id: str) -> TaskRecord | None:
        """Return a record, or None."""
        return self._records.get(task_id)

    def delete(self, task_id: str) -> bool:
        """Remove a record; tell whether there was one."""
        self._envelopes.pop(task_id, None)
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

    def ids(self) -> Iterator[str]:
        """Iterate over the ids, oldest first. The store must not change meanwhile."""
        return iter(self._records)
