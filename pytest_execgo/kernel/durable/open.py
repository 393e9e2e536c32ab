"""Taking a data folder into use: one kernel at a time; a store that is whole, or replaced; ExecGo's `state.json`.

DIR/kernel.lock      locked by the kernel that uses the folder; holds its process id
DIR/store/           the store
DIR/store.building/  a store that is to take its place; a rename makes it count, so that a crash leaves the one or the other
DIR/damaged-TIME-…/  a damaged store, or state.json, as it was found; never touched again
DIR/state.json       ExecGo's state: imported when there is no store yet, and left as it is
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_execgo.core.errors import ExecGoError, UsageError
from pytest_execgo.core.folder_lock import FolderHeld, lock_folder
from pytest_execgo.kernel.durable.check import Damage, full_problem, is_small, quick_problem, salvage
from pytest_execgo.kernel.durable.file import DATABASE, Batch, Event, StoreFile
from pytest_execgo.kernel.durable.recovery import runs_once, unknown
from pytest_execgo.kernel.durable.rows import Change, Mark, Row
from pytest_execgo.kernel.durable.state_json import BadState, read_state
from pytest_execgo.kernel.envelope import record_of
from pytest_execgo.kernel.task import TaskRecord

LOCK = "kernel.lock"
STORE = "store"
_BUILDING = "store.building"
_STATE = "state.json"
# what SQLite says when the machine is at fault, not the file: permissions, locks, memory, a full disk, ...
_MACHINE = frozenset((sqlite3.SQLITE_PERM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY,
                      sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN))  # fmt: skip
_TORN = frozenset((sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS))
_IN_DOUBT = "the store was damaged, so it may have run"


class FolderInUse(UsageError):
    """Another kernel uses the data folder."""


class DataFolderError(ExecGoError):
    """The data folder can't be used: permissions, a full disk."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Opened:
    """A data folder in use: its store, what was wrong with it, how many tasks were imported, whether it was looked through."""

    file: StoreFile
    damage: Damage | None
    imported: int
    looked_through: bool
    lock: int

    def close(self) -> None:
        """Let go of the folder."""
        self.file.close()
        os.close(self.lock)


def open_folder(folder: Path) -> Opened:
    """Take a data folder into use, for as long as the process lives.

    `FolderInUse` when another kernel has it; `DataFolderError` when the machine won't let us.
    """
    try:
        _make(folder)
        lock = _claim(folder)
        try:
            return _open(folder, lock)
        except BaseException:
            os.close(lock)
            raise
    except OSError as error:
        raise DataFolderError("data_folder", f"data folder {str(folder)!r} can't be used: {error}", _HINT) from error
    except sqlite3.Error as error:
        raise DataFolderError("data_folder", f"the store in {str(folder)!r} can't be used: {error}", _HINT) from error


_HINT = "look at its permissions and the space on its disk, or name another with -data-dir"


def _make(folder: Path) -> None:
    """Make a folder, and those above it that are missing, such that they are still there when the power went."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in made:
        _sync(path.parent)


def _claim(folder: Path) -> int:
    """Lock the folder for as long as this process lives."""
    try:
        return lock_folder(folder, LOCK)
    except FolderHeld as held:
        raise FolderInUse(
            "data_folder_in_use",
            f"data folder {str(folder)!r} is in use by another kernel (pid {held.holder})",
            "stop that one, or name another folder with -data-dir",
        ) from held


def _open(folder: Path, lock: int) -> Opened:
    store, building = folder / STORE, folder / _BUILDING
    if building.exists() and not store.exists():
        _rename(building, store)  # what a crash kept from being finished
    if building.exists():
        shutil.rmtree(building)  # what a crash left half done
    damage, imported = None, 0
    if not store.exists():
        damage, imported = _first(folder)
    small = is_small(store)
    file, problem = _try(store)
    if not problem and small:
        problem = full_problem(store)
    if problem or file is None:
        if file is not None:
            file.close()
        damage = _replace(folder, problem)
        file, problem = _try(store)
        if file is None or problem:
            raise DataFolderError("data_folder", f"the store in {str(folder)!r} can't be used: {problem}", _HINT)
    return Opened(file, damage, imported, small, lock)


def _try(store: Path) -> tuple[StoreFile | None, str]:
    """Open a store; return it, and what is wrong with it. `sqlite3.Error` when the machine is at fault."""
    file = None
    try:
        if not (store / DATABASE).exists():
            return None, f"{DATABASE} is missing"
        file = StoreFile(store)
        return file, quick_problem(file)
    except (sqlite3.Error, UnicodeError, OverflowError) as error:
        if file is not None:
            file.close()
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
        if code & 0xFF in _MACHINE and code not in _TORN:
            raise
        return None, str(error)


def _first(folder: Path) -> tuple[Damage | None, int]:
    """Make the folder's first store, of what a state.json holds if there is one."""
    source, records = folder / _STATE, list[TaskRecord]()
    damage = None
    try:
        records = read_state(source) if source.exists() else []
    except BadState as error:
        aside = _aside(folder)
        _rename(source, aside / _STATE)
        damage = Damage(error.message, str(aside), 0, 0)
    changes = [Change(seq, record, Mark.PENDING, 0, 0, True) for seq, record in enumerate(records, 1)]
    kind, detail = ("damage", damage.describe()) if damage else ("import", f"{len(records)} tasks of {source}")
    events = [Event(time.time_ns(), kind, None, detail)] if damage or records else []
    _build(folder, changes, [], events)
    _rename(folder / _BUILDING, folder / STORE)
    return damage, len(records)


def _replace(folder: Path, problem: str) -> Damage:
    """Make a new store of what can be kept of a damaged one, then let it take the other's place."""
    with tempfile.TemporaryDirectory(prefix="reading-", dir=folder) as scratch:
        rows, lost = salvage(folder / STORE, Path(scratch))
    aside = _aside(folder)
    damage = Damage(problem, str(aside), len(rows), lost)
    now = time.time_ns()
    changes, kept = list[Change](), list[Row]()
    for row in rows:
        if not row.ended and runs_once((record := record_of(row)).spec):
            ending = unknown(record, row.attempts, now, _IN_DOUBT)
            changes.append(Change(row.seq, ending, Mark.PENDING, row.attempts, row.interruptions, True))
        else:
            kept.append(row)
    _build(folder, changes, kept, [Event(now, "damage", None, damage.describe())])
    _rename(folder / STORE, aside / STORE)
    _rename(folder / _BUILDING, folder / STORE)
    return damage


def _build(folder: Path, changes: Sequence[Change], rows: Sequence[Row], events: Sequence[Event]) -> None:
    (folder / _BUILDING).mkdir()
    file = StoreFile(folder / _BUILDING)
    try:
        file.commit(Batch(changes, rows, events=events))
    finally:
        file.close()
    _sync(folder / _BUILDING)


def _aside(folder: Path) -> Path:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    return Path(tempfile.mkdtemp(prefix=f"damaged-{stamp}-", dir=folder))


def _rename(source: Path, target: Path) -> None:
    source.rename(target)
    for folder in {source.parent, target.parent}:
        _sync(folder)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
