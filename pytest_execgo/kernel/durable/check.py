"""Whether a store's file is what was written to it, and what can be kept of one that isn't.

Looked at before anything is served: the store's own state, the commits that it should know of, every task that has not ended.
The rest (SQLite's own structure, the other rows, their number) is looked at then, too, when the file is small, and else in
the background; and a row is checked whenever it is read, so that what was changed is never shown.

A damaged store is moved aside whole, and a new one is made of those of its rows whose checksums are right. They are what was
written, though perhaps not what was written last: a task that has not ended in them runs again, unless it may run only once.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pytest_execgo.kernel.durable.file import DATABASE, WITNESS, StoreFile
from pytest_execgo.kernel.durable.rows import DamagedRow, Row

FILES = (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", WITNESS)
SUSPECT = "kernel.suspect"
"""A file that is there when damage was found in a store in use: the next start looks at everything."""
_SMALL = 4 * 1024 * 1024  # bytes; looking through that much takes a few hundredths of a second
_SELECT = "SELECT seq, id, status, attempts, interruptions, body, crc FROM tasks"


@dataclass(frozen=True, slots=True)
class Damage:
    """A store that was damaged: why it counts as such, the folder that it was moved to, rows kept, rows known to be lost."""

    reason: str
    moved_to: str
    kept: int
    lost: int

    def describe(self) -> str:
        """Return one line for a person."""
        return f"the store was damaged ({self.reason}); moved to {self.moved_to}, {self.kept} tasks kept, {self.lost} lost"


def is_small(folder: Path) -> bool:
    """Tell whether a store is looked through at once, at the start."""
    sizes = [(folder / name).stat().st_size for name in FILES[:2] if (folder / name).exists()]
    return sum(sizes) <= _SMALL or (folder / SUSPECT).exists()


def quick_problem(file: StoreFile) -> str:
    """Return what is wrong with a store, as far as its state and its unfinished tasks tell; empty when nothing is."""
    witnessed = file.witnessed()
    if witnessed is not None and witnessed > file.state.commits:
        return f"it knows of {file.state.commits} commits, and there were {witnessed}"
    try:
        file.unfinished()
    except DamagedRow as error:
        return error.message
    return ""


def full_problem(folder: Path) -> str:
    """Look through all of a store, on a connection of its own; return what is wrong with it, or nothing."""
    try:
        connection = sqlite3.connect(f"file:{folder / DATABASE}?mode=ro", uri=True, isolation_level=None)
        try:
            connection.execute("BEGIN")
            return _problem_in(connection)
        finally:
            connection.close()
    except (sqlite3.Error, UnicodeError, OverflowError) as error:
        return str(error)


def _problem_in(connection: sqlite3.Connection) -> str:
    said = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if said != "ok":
        return " ".join(str(said).split())
    count = 0
    for values in connection.execute(_SELECT):
        count += 1
        try:
            Row._make(values).checked()
        except DamagedRow as error:
            return error.message
    (expected,) = connection.execute("SELECT tasks FROM state").fetchone()
    return "" if count == expected else f"it has {count} tasks, and should have {expected}"


def salvage(store: Path, scratch: Path) -> tuple[list[Row], int]:
    """Return the rows of a damaged store that are what was written, in order, and how many are known not to be.

    A copy in the folder `scratch` is read: opening a database can change it. Of two rows with one number, an ended one counts.
    """
    rows: dict[int, Row] = {}
    bad: set[object] = set()
    for name in FILES[:2]:
        if (store / name).exists():
            shutil.copyfile(store / name, scratch / name)
    for row in _readable(scratch / DATABASE):
        try:
            row.checked()
        except DamagedRow:
            bad.add(row.seq)
            continue
        if row.seq not in rows or row.ended:
            rows[row.seq] = row
    return [rows[seq] for seq in sorted(rows)], len(bad - rows.keys())


def _readable(database: Path) -> Iterator[Row]:
    """Yield what can be read of a table: from its beginning up to where it breaks, then from its end."""
    try:
        connection = sqlite3.connect(database, isolation_level=None)
    except sqlite3.Error:
        return
    connection.text_factory = lambda data: data.decode("utf-8", "replace")
    try:
        for order in ("ASC", "DESC"):
            try:
                for values in connection.execute(f"{_SELECT} NOT INDEXED ORDER BY seq {order}"):
                    yield Row._make(values)
                return
            except (sqlite3.Error, UnicodeError, OverflowError):  # SQLite quotes what it can't read
                continue
    finally:
        connection.close()
