"""Checkpoints in a SQLite file.

The file is in WAL mode with `synchronous=NORMAL`: what was put survives the death of the process at any moment; a loss of
power can take the last checkpoints with it, never the file's consistency. Each row carries a checksum. A file that is damaged
is moved aside and said, once, when it is opened: nobody goes on as if there had been nothing.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self
from zlib import crc32

from pytest_execgo.core.errors import ExecGoError, UsageError
from pytest_execgo.plan.checkpoint import Checkpoint, CheckpointerConfig, ListOptions
from pytest_execgo.runner.checkpoints.codec import Codec, already_there

FORMAT = 1
_APPLICATION = 0x45584350  # "EXCP" in the file's header: whose it is
_SCHEMA = """
CREATE TABLE checkpoints (seq INTEGER PRIMARY KEY AUTOINCREMENT, thread TEXT NOT NULL, id TEXT NOT NULL,
    created_us INTEGER NOT NULL, body BLOB NOT NULL, crc INTEGER NOT NULL, UNIQUE (thread, id));
CREATE INDEX checkpoints_in_order ON checkpoints (thread, seq);
"""
Values = list[str | int]
_NOT_THE_FILES_FAULT = {
    *(sqlite3.SQLITE_PERM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY),
    *(sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_AUTH),
}
_LEAST = 512  # bytes: no page of SQLite is smaller
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Damaged(Exception):
    """What is in the file is not what was written."""


class SqliteCheckpointer:
    """A `Checkpointer` in one file. `now` is its clock; `create` tells whether a file that is not there is made.

    Raises `UsageError` when the file can't be opened, or is none of ours; `ExecGoError` (`checkpoints_damaged`) when it is
    damaged: it says where the file was moved to.
    """

    def __init__(
        self,
        path: Path,
        config: CheckpointerConfig | None = None,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        create: bool = True,
    ) -> None:
        self.path = path
        self.config = config or CheckpointerConfig()
        self._codec = Codec(self.config, now)
        self._lock = threading.Lock()
        try:
            if create and not path.exists():
                _make(path)
            self._file = _open(path)
        except (OSError, sqlite3.Error) as error:
            if isinstance(error, OSError) or error.sqlite_errorcode & 0xFF in _NOT_THE_FILES_FAULT:
                said = f"can't open the checkpoints in {path}: {error}"
                raise UsageError("checkpoints_unusable", said, "the folder must be there, and yours to write to") from error
            raise _moved_aside(path, str(error)) from error
        except _Damaged as damaged:
            raise _moved_aside(path, str(damaged)) from damaged

    def put(self, checkpoint: Checkpoint) -> None:
        """Keep one more checkpoint; see `Checkpointer.put`."""
        body = self._codec.encode(checkpoint)
        row = (checkpoint.thread_id, checkpoint.id, _micros(checkpoint.created_at), body)
        with self._using() as file, file:
            self._forget_old(file, checkpoint.thread_id)
            kept = file.execute("SELECT body FROM checkpoints WHERE thread = ? AND id = ?", row[:2]).fetchone()
            if kept is not None:
                if kept[0] != body:
                    raise already_there(checkpoint)
                return
            file.execute("INSERT INTO checkpoints (thread, id, created_us, body, crc) VALUES (?, ?, ?, ?, ?)", (*row, _crc(*row)))
            file.execute(
                "DELETE FROM checkpoints WHERE thread = ?1 AND seq <= "
                "(SELECT seq FROM checkpoints WHERE thread = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)",
                (checkpoint.thread_id, self.config.max_checkpoints_per_thread),
            )

    def get(self, thread_id: str, checkpoint_id: str) -> Checkpoint | None:
        """Return one checkpoint; None if there is none, or it is too old."""
        found = self._read("id = ?", [thread_id, checkpoint_id])
        return found[0] if found else None

    def get_latest(self, thread_id: str) -> Checkpoint | None:
        """Return the checkpoint of a thread that was put last; None if there is none."""
        found = self._read("1", [thread_id], limit=1)
        return found[0] if found else None

    def list(self, thread_id: str, options: ListOptions | None = None) -> list[Checkpoint]:
        """Return the checkpoints of a thread in the order of their creation, the oldest first."""
        wanted = options or ListOptions()
        where = "1"
        values: Values = [thread_id]
        for sign, moment in (("<", wanted.before), (">", wanted.after)):
            if moment is not None:
                where += f" AND created_us {sign} ?"
                values.append(_micros(moment))
        return [*reversed(self._read(where, values, wanted.limit))]

    def delete(self, thread_id: str, checkpoint_id: str) -> None:
        """Forget one checkpoint, if it is there."""
        with self._using() as file, file:
            file.execute("DELETE FROM checkpoints WHERE thread = ? AND id = ?", (thread_id, checkpoint_id))

    def delete_thread(self, thread_id: str) -> None:
        """Forget every checkpoint of a thread."""
        with self._using() as file, file:
            file.execute("DELETE FROM checkpoints WHERE thread = ?", (thread_id,))

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        with self._lock:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @contextlib.contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        """Let one thread use the file; what SQLite can't do is an `ExecGoError` that names it."""
        with self._lock:
            try:
                yield self._file
            except sqlite3.Error as error:
                raise ExecGoError("checkpoints_failed", f"the checkpoints in {self.path} can't be used: {error}") from error

    def _read(self, where: str, values: Values, limit: int | None = None) -> Sequence[Checkpoint]:
        """Return a thread's checkpoints that fulfil a condition, the newest first; `values` begins with the thread."""
        oldest = self._codec.oldest()
        if oldest is not None:
            where, values = f"{where} AND created_us >= ?", [*values, _micros(oldest)]
        query = f"SELECT body FROM checkpoints WHERE thread = ? AND {where} ORDER BY seq DESC LIMIT ?"  # noqa: S608 - no input
        with self._using() as file:
            bodies = [body for (body,) in file.execute(query, (*values, -1 if limit is None else limit))]
        return [self._codec.decode(body) for body in bodies]

    def _forget_old(self, file: sqlite3.Connection, thread_id: str) -> None:
        oldest = self._codec.oldest()
        if oldest is not None:
            file.execute("DELETE FROM checkpoints WHERE thread = ? AND created_us < ?", (thread_id, _micros(oldest)))


def _make(path: Path) -> None:
    """Make an empty file, such that it is never seen half-made: what is there and has no tables is damaged."""
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with contextlib.closing(sqlite3.connect(new, isolation_level=None)) as file:
            file.executescript(
                f"PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA application_id={_APPLICATION}; "
                f"PRAGMA user_version={FORMAT}; BEGIN; {_SCHEMA} COMMIT;"
            )
        with contextlib.suppress(FileExistsError):  # somebody else was faster
            os.link(new, path)
    finally:
        new.unlink(missing_ok=True)


def _open(path: Path) -> sqlite3.Connection:
    """Open a file and look through it; `sqlite3.Error` or `_Damaged` when that shows damage."""
    if path.stat().st_size < _LEAST and path.is_file():
        raise _Damaged("the file is cut short" if path.stat().st_size else "the file is empty")
    file = sqlite3.connect(path, check_same_thread=False, timeout=10)
    try:
        _check(file, path)
        file.execute("PRAGMA synchronous=NORMAL")
    except BaseException:
        file.close()
        raise
    return file


def _check(file: sqlite3.Connection, path: Path) -> None:
    problem = file.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if problem != "ok":
        raise _Damaged(problem)
    if file.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION:
        raise UsageError("checkpoints_unusable", f"{path} is a SQLite file, but none of checkpoints", "give the path of another")
    version = file.execute("PRAGMA user_version").fetchone()[0]
    if version > FORMAT:
        said = f"{path} has format {version}; this version of pytest-execgo reads up to {FORMAT}"
        raise UsageError("checkpoints_too_new", said, "use the version that wrote it")
    for thread, name, created_us, body, crc in file.execute("SELECT thread, id, created_us, body, crc FROM checkpoints"):
        if not isinstance(body, bytes) or crc != _crc(thread, name, created_us, body):
            raise _Damaged(f"checkpoint {name} is not what was written")


def _moved_aside(path: Path, problem: str) -> ExecGoError:
    """Give a damaged file, and its log, another name; return the error that says so."""
    aside = next(name for n in itertools.count(1) if not (name := path.with_name(f"{path.name}.damaged-{n}")).exists())
    for suffix in ("-wal", "-shm", ""):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    said = f"the checkpoints in {path} are damaged: {problem}; the file was moved to {aside}"
    return ExecGoError("checkpoints_damaged", said, "what it was needed for can't go on from there; begin anew")


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _crc(thread: str, name: str, created_us: int, body: bytes) -> int:
    return crc32(body, crc32(f"{thread}\0{name}\0{created_us}".encode()))
