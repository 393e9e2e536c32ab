"""The durable store: SQLite in the data folder, written by one thread that shares each commit among all who wait for it."""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.runtime.record_json import events_text, outcome_text, read_record
from pytest_execgo.runtime.store import MemoryStore, StoreError
from pytest_execgo.runtime.tasks import TaskRecord

logger = logging.getLogger("pytest_execgo.runtime")
_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS tasks (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, task_id TEXT NOT NULL UNIQUE, handle TEXT NOT NULL UNIQUE,
    digest TEXT NOT NULL, body BLOB NOT NULL, body_bytes INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS states (
    handle TEXT PRIMARY KEY, status TEXT NOT NULL, boot TEXT NOT NULL, started_ns INTEGER NOT NULL, finished_ns INTEGER NOT NULL,
    size INTEGER NOT NULL, outcome TEXT, events TEXT NOT NULL
) WITHOUT ROWID;
"""
_JOINED = "FROM tasks JOIN states USING (handle)"
_COLUMNS = "task_id, handle, digest, body, status, boot, started_ns, finished_ns, size, outcome, events"
_TERMINAL = "('success', 'failed', 'cancelled')"
Write = Callable[[sqlite3.Connection], None]


@dataclass(frozen=True, slots=True)
class _Job:
    """A change to write, and who is told that it is kept."""

    write: Write
    kept: asyncio.Future[None] | None


class SqliteStore(MemoryStore):
    """Keeps records in memory and in a database; finished ones of an earlier service are read when they are asked for."""

    durable = True

    def __init__(self, path: Path, max_finished: int = 10_000, max_finished_bytes: int = 256 * 1024 * 1024) -> None:
        super().__init__(max_finished, max_finished_bytes)
        self.path = path
        self.unreadable: list[str] = []
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._reader = _connect(path)
        self._reader.executescript(_SCHEMA)
        found = self._reader.execute("PRAGMA user_version").fetchone()[0]
        if found not in (0, _VERSION):
            raise ExecGoError("other_version", f"{path} was written by another version ({found})", "use another -data-dir")
        self._reader.execute(f"PRAGMA user_version = {_VERSION}")
        self._load_finished()
        self._thread = threading.Thread(target=self._write_all, name="task-store", daemon=True)
        self._thread.start()

    def add(self, record: TaskRecord, body: bytes) -> Awaitable[None]:
        """Take in a new record and the body it was made of; 409 `conflict` when its id exists."""
        super().add(record, body)
        values = (record.task_id, record.handle_id, record.digest, body, len(body))
        state = _state(record)

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT INTO tasks (task_id, handle, digest, body, body_bytes) VALUES (?, ?, ?, ?, ?)", values)
            _write_state(connection, state)

        return self._enqueue(write)

    def save(self, record: TaskRecord) -> Awaitable[None]:
        """Keep a record's state as it is now."""
        super().save(record)
        state = _state(record)
        return self._enqueue(lambda connection: _write_state(connection, state))

    def drop(self, record: TaskRecord) -> None:
        """Forget a record that could not be kept."""
        super().drop(record)
        self._delete(record.handle_id)

    def find(self, key: str) -> TaskRecord | None:
        """Return the record with this task id, else the one with this handle, else None."""
        found = super().find(key)
        if found is not None:
            return found
        task_id = key if key in self._finished else self._handles.get(key, "")
        return self._read("task_id = ?", task_id) if task_id in self._finished else None

    def unfinished(self) -> list[TaskRecord]:
        """Return what an earlier service left unfinished, in the order of acceptance; they are found from now on."""
        rows = self._reader.execute(f"SELECT {_COLUMNS} {_JOINED} WHERE status NOT IN {_TERMINAL} ORDER BY seq").fetchall()
        records = [record for row in rows if (record := self._checked(row)) is not None]
        for record in records:
            self._records[record.task_id] = record
            self._handles[record.handle_id] = record.task_id
        return records

    def close(self) -> None:
        """Keep what is still to be kept, and let go; blocks until that is done."""
        self._jobs.put(None)
        self._thread.join()
        self._reader.close()

    def _read(self, condition: str, *values: Any) -> TaskRecord | None:
        row = self._reader.execute(f"SELECT {_COLUMNS} {_JOINED} WHERE {condition}", values).fetchone()
        return None if row is None else self._checked(row)

    def _checked(self, row: tuple[Any, ...]) -> TaskRecord | None:
        """Make a record of a row; one that no longer holds what was written stays in the database and is said."""
        try:
            return read_record(*row)
        except (ExecGoError, ValueError, TypeError, KeyError, AttributeError) as error:
            self.unreadable.append(f"task {row[0]!r} can't be read: {error}")
            logger.error("%s", self.unreadable[-1])
            return None

    def _load_finished(self) -> None:
        rows = self._reader.execute(f"SELECT task_id, handle, size {_JOINED} WHERE status IN {_TERMINAL} ORDER BY finished_ns")
        for task_id, handle, size in rows.fetchall():
            self._handles[handle] = task_id
            self._finished[task_id] = (handle, size)
            self.finished_bytes += size

    def _forget(self, task_id: str, handle_id: str) -> None:
        super()._forget(task_id, handle_id)
        self._delete(handle_id)

    def _delete(self, handle_id: str) -> None:
        def write(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM tasks WHERE handle = ?", (handle_id,))
            connection.execute("DELETE FROM states WHERE handle = ?", (handle_id,))

        self._jobs.put(_Job(write, None))

    def _enqueue(self, write: Write) -> asyncio.Future[None]:
        kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._jobs.put(_Job(write, kept))
        return kept

    def _write_all(self) -> None:
        connection = _connect(self.path)
        over = False
        while not over:
            batch = [self._jobs.get()]
            while not self._jobs.empty():
                batch.append(self._jobs.get())
            over = None in batch
            jobs = [job for job in batch if job is not None]
            if _commit(connection, jobs) is None:
                _tell(jobs, None)
                continue
            for job in jobs:  # one by one, so that what can't be kept fails nobody else
                _tell([job], _commit(connection, [job]))
        connection.close()


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA busy_timeout = 10000")
    return connection


def _commit(connection: sqlite3.Connection, jobs: list[_Job]) -> Exception | None:
    """Write a batch in one transaction: all of it or nothing."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        for job in jobs:
            job.write(connection)
        connection.execute("COMMIT")
    except Exception as error:  # whatever it is, who waits must hear of it, and the thread must go on
        logger.warning("tasks could not be kept: %s", error)
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        return error
    return None


def _tell(jobs: list[_Job], error: Exception | None) -> None:
    """Tell who waits for these jobs, in the event loop that they belong to."""
    waiting = [job.kept for job in jobs if job.kept is not None]

    def settle() -> None:
        for kept in waiting:
            if kept.done():
                continue
            if error is None:
                kept.set_result(None)
            else:
                kept.set_exception(StoreError(str(error)))

    if waiting:
        waiting[0].get_loop().call_soon_threadsafe(settle)


def _state(record: TaskRecord) -> tuple[Any, ...]:
    """Take what a record is now; its outcome never changes, so that its text may be made later, in the writer's thread."""
    events = list(record.events)
    fixed = (record.handle_id, str(record.status), record.boot, record.started_ns, record.finished_ns, record.size)
    return (*fixed, record.outcome, events)


def _write_state(connection: sqlite3.Connection, state: tuple[Any, ...]) -> None:
    *fixed, outcome, events = state
    text = None if outcome is None else outcome_text(outcome)
    connection.execute("INSERT OR REPLACE INTO states VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*fixed, text, events_text(events)))
