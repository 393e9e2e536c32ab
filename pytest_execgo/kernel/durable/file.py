"""The store's file: SQLite in WAL mode, every commit synced, and beside it the number of the last commit.

Statements take many rows at once: `sqlite3` lets go of the interpreter while a statement runs, and taking it back for each
row would make the writing thread and the event loop trip over each other.

The file `kernel.commits` holds the number of the last commit, written after it. A store that knows fewer commits than that has
lost some: its log was cut, or an older copy was put in its place. SQLite itself can't tell that from a crash before them.
"""

from __future__ import annotations

import os
import sqlite3
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

from pytest_execgo.kernel.durable.rows import Change, Row
from pytest_execgo.kernel.task import TaskStatus

DATABASE = "kernel.db"
WITNESS = "kernel.commits"
FORMAT = 1
_WITNESS = struct.Struct("<QI")
_CHUNKS = (500, 50, 5, 1)  # rows in one statement: few statements, so that each stays prepared
_EVENTS_MAX = 10_000
_SCHEMA = """
CREATE TABLE tasks (seq INTEGER PRIMARY KEY, id TEXT NOT NULL, status TEXT NOT NULL, attempts INTEGER NOT NULL,
    interruptions INTEGER NOT NULL, body TEXT NOT NULL, crc INTEGER NOT NULL);
CREATE INDEX tasks_id ON tasks (id);
CREATE INDEX tasks_ended ON tasks (status, seq) WHERE status IN ('success', 'failed', 'skipped');
CREATE INDEX tasks_open ON tasks (seq) WHERE status IN ('pending', 'running', 'retrying', 'interrupted');
CREATE TABLE events (n INTEGER PRIMARY KEY, at INTEGER NOT NULL, kind TEXT NOT NULL, seq INTEGER, detail TEXT NOT NULL);
CREATE TABLE state (one INTEGER PRIMARY KEY CHECK (one = 1), format INTEGER NOT NULL, commits INTEGER NOT NULL,
    tasks INTEGER NOT NULL, next_seq INTEGER NOT NULL, crc INTEGER NOT NULL);
"""
# apart from tasks_open, since stores made before there were such rows don't have them in theirs
_CANCELLED_INDEX = "CREATE INDEX IF NOT EXISTS tasks_cancelled ON tasks (seq) WHERE status = 'cancelled'"
_COLUMNS = "seq, id, status, attempts, interruptions, body, crc"
_ENDED = "status IN ('success', 'failed', 'skipped')"
_OPEN = "status IN ('pending', 'running', 'retrying', 'interrupted')"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to the store, or to a task of it: `recover`, `cancel`, `unknown`, `import`, `damage`."""

    at_ns: int
    kind: str
    seq: int | None
    detail: str


@dataclass(frozen=True, slots=True)
class Batch:
    """What one commit writes: rows to make or change, rows to drop, events, and how many of the oldest ended rows must go.

    `rows`: new ones, taken over as they are.
    """

    changes: Sequence[Change] = ()
    rows: Sequence[Row] = ()
    gone: Sequence[int] = ()
    events: Sequence[Event] = ()
    prune: int = 0


@dataclass(frozen=True, slots=True)
class Written:
    """What a commit wrote: the rows of a batch's changes in their order, and the ids that were pruned."""

    rows: list[Row]
    pruned: list[str]


@dataclass(frozen=True, slots=True)
class State:
    """What the store says of itself: its format, how many commits and tasks it has, the next task's number."""

    format: int = FORMAT
    commits: int = 0
    tasks: int = 0
    next_seq: int = 1

    @property
    def crc(self) -> int:
        """Return the checksum of the four."""
        return crc32(repr((self.format, self.commits, self.tasks, self.next_seq)).encode())


class StoreFile:
    """An open store. `commit` is for one thread, everything else for another; `sqlite3.Error` when the file can't be used."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writer = _connect(folder / DATABASE)
        self._reader: sqlite3.Connection | None = None
        self._witness = -1
        try:
            self._prepare()
            self._reader = _connect(folder / DATABASE)
            self.state = self._read_state()
            self._witness = os.open(folder / WITNESS, os.O_RDWR | os.O_CREAT, 0o644)
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        mode = self._writer.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        if mode != "wal":
            raise sqlite3.DatabaseError(f"this folder can't hold a store: its file system gives journal mode {mode}, not wal")
        self._writer.execute("PRAGMA synchronous=FULL")
        self._writer.execute("PRAGMA wal_autocheckpoint=2000")
        if not self._writer.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            first = State()
            row = (first.format, first.commits, first.tasks, first.next_seq, first.crc)
            for statement in ("BEGIN IMMEDIATE", *_SCHEMA.split(";")):
                self._writer.execute(statement)
            self._writer.execute("INSERT INTO state VALUES (1, ?, ?, ?, ?, ?)", row)
            self._writer.execute("COMMIT")
        self._writer.execute(_CANCELLED_INDEX)

    def _read_state(self) -> State:
        found = self._writer.execute("SELECT format, commits, tasks, next_seq, crc FROM state WHERE one = 1").fetchone()
        state = State(*found[:-1]) if found is not None else None
        if state is None or state.crc != found[-1]:
            raise sqlite3.DatabaseError("the store's own state is not what was written")
        return state

    def commit(self, batch: Batch) -> Written:
        """Write a batch and return once it is on disk; all of it is there, or, after an exception, nothing."""
        rows = [change.row() for change in batch.changes]
        writer = self._writer
        writer.execute("BEGIN IMMEDIATE")
        try:
            state = self._write(batch, rows)
            pruned = self._prune(batch.prune)
            state = State(state.format, state.commits + 1, state.tasks - len(pruned), state.next_seq)
            writer.execute(
                "UPDATE state SET commits = ?, tasks = ?, next_seq = ?, crc = ? WHERE one = 1",
                (state.commits, state.tasks, state.next_seq, state.crc),
            )
            writer.execute("COMMIT")
        except BaseException:
            if writer.in_transaction:
                writer.execute("ROLLBACK")
            raise
        self.state = state
        os.pwrite(self._witness, _WITNESS.pack(state.commits, crc32(state.commits.to_bytes(8, "little"))), 0)
        return Written(rows, pruned)

    def _write(self, batch: Batch, rows: list[Row]) -> State:
        writer, state = self._writer, self.state
        tasks, next_seq = state.tasks, state.next_seq
        for chunk in _chunks(list(batch.gone)):
            marks = ",".join("?" * len(chunk))
            tasks -= writer.execute(f"DELETE FROM tasks WHERE seq IN ({marks})", chunk).rowcount  # noqa: S608 - marks only
        new = [*batch.rows, *(row for row, change in zip(rows, batch.changes, strict=True) if change.new)]
        old = [row for row, change in zip(rows, batch.changes, strict=True) if not change.new]
        self._insert(f"INSERT INTO tasks ({_COLUMNS})", new, "")
        self._insert(
            f"INSERT INTO tasks ({_COLUMNS})",
            old,
            "ON CONFLICT (seq) DO UPDATE SET status = excluded.status, attempts = excluded.attempts, "
            "interruptions = excluded.interruptions, body = excluded.body, crc = excluded.crc",
        )
        self._insert("INSERT INTO events (at, kind, seq, detail)", [(e.at_ns, e.kind, e.seq, e.detail) for e in batch.events], "")
        if batch.events:
            writer.execute("DELETE FROM events WHERE n <= (SELECT max(n) FROM events) - ?", (_EVENTS_MAX,))
        return State(state.format, state.commits, tasks + len(new), max([next_seq, *(row.seq + 1 for row in new)]))

    def _insert(self, into: str, rows: Sequence[tuple[Any, ...]], clause: str) -> None:
        for chunk in _chunks(rows):
            one = "(" + ",".join("?" * len(chunk[0])) + ")"
            values = [value for row in chunk for value in row]
            self._writer.execute(f"{into} VALUES {','.join([one] * len(chunk))} {clause}", values)

    def _prune(self, count: int) -> list[str]:
        if not count:
            return []
        oldest = f"SELECT seq FROM tasks WHERE {_ENDED} ORDER BY seq LIMIT ?"  # noqa: S608 - a constant
        return [task_id for (task_id,) in self._writer.execute(f"DELETE FROM tasks WHERE seq IN ({oldest}) RETURNING id", (count,))]  # noqa: S608

    def unfinished(self) -> list[Row]:
        """Return the checked rows of the tasks that have not ended, in order."""
        found = [*self._rows(f"WHERE {_OPEN} ORDER BY seq"), *self._rows("WHERE status = 'cancelled' ORDER BY seq")]
        return [row.checked() for row in sorted(found)]

    def find(self, task_id: str) -> Row | None:
        """Return the checked row of an id, or None."""
        for row in self._rows("WHERE id = ? ORDER BY seq DESC LIMIT 1", task_id):
            return row.checked()
        return None

    def ids(self) -> list[str]:
        """Return the ids of all rows."""
        return [task_id for (task_id,) in self._read("SELECT id FROM tasks")]

    def page(self, after: int, limit: int, status: str = "") -> list[Row]:
        """Return checked rows in order, those behind `after`; of one terminal status, if one is given."""
        # written out, since SQLite can't tell of a parameter whether the partial index has it
        of_status = f"AND status = '{TaskStatus(status)}'" if status else ""
        return [row.checked() for row in self._rows(f"WHERE seq > ? {of_status} ORDER BY seq LIMIT ?", after, limit)]

    def witnessed(self) -> int | None:
        """Return the number of commits that the witness knows of; None when it says nothing that can be trusted."""
        data = os.pread(self._witness, _WITNESS.size + 1, 0)
        if len(data) != _WITNESS.size:
            return None
        commits, crc = _WITNESS.unpack(data)
        return commits if crc == crc32(commits.to_bytes(8, "little")) else None

    def _rows(self, where: str, *values: object) -> Iterator[Row]:
        return map(Row._make, self._read(f"SELECT {_COLUMNS} FROM tasks {where}", *values))  # noqa: S608 - our own text

    def _read(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        reader = self._reader if self._reader is not None else self._writer
        return reader.execute(statement, values).fetchall()

    def close(self) -> None:
        """Close the file; its log is merged into it."""
        if self._reader is not None:
            self._reader.close()
        self._writer.close()
        if self._witness >= 0:
            os.close(self._witness)
            self._witness = -1


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False, cached_statements=64)
    connection.execute("PRAGMA cache_size=-8000")
    return connection


def _chunks(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Cut rows into pieces of the sizes for which statements are kept."""
    at = 0
    for size in _CHUNKS:
        while len(rows) - at >= size:
            yield rows[at : at + size]
            at += size
