"""The folder that holds what a runtime service must not lose: locked by one service, parts that are damaged moved aside."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from pytest_execgo.core.errors import UsageError
from pytest_execgo.core.folder_lock import FolderHeld, lock_folder

DATABASE = "tasks.db"


@dataclass(slots=True)
class DataFolder:
    """A folder that this process holds. `moved_aside` names what was found damaged, and why."""

    path: Path
    lock: int
    moved_aside: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, path: Path) -> DataFolder:
        """Make or take the folder; `UsageError` when it can't be had, or another service has it."""
        path = path.absolute()
        try:
            return cls(path, lock_folder(path, "lock", mode=0o700))
        except OSError as error:
            raise UsageError(
                "bad_data_dir", f"-data-dir {path}: {error.strerror}", "name a folder that can be written to"
            ) from error
        except FolderHeld as held:
            hint = "stop that one, or give this one a folder of its own with -data-dir (EXECGO_RUNTIME_DATA_DIR)"
            message = f"-data-dir {path} is in use by another runtime service (pid {held.holder})"
            raise UsageError("data_dir_in_use", message, hint) from held

    def checked_database(self) -> Path:
        """Return where the database is; a damaged one is moved aside first, with its journal, and `moved_aside` says so."""
        path = self.path / DATABASE
        if path.exists() and (problem := _problem(path)):
            stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
            for suffix in ("", "-wal", "-shm"):
                part = path.with_name(path.name + suffix)
                if part.exists():
                    part.rename(_free(path.with_name(f"{path.name}.damaged-{stamp}{suffix}")))
            self.moved_aside.append(f"{DATABASE} was damaged ({problem}) and is {DATABASE}.damaged-{stamp} now")
        return path

    def close(self) -> None:
        """Give the folder back."""
        os.close(self.lock)


def _problem(path: Path) -> str:
    try:
        with closing(sqlite3.connect(path)) as connection:
            answer = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            return "" if answer == "ok" else str(answer)
    except sqlite3.OperationalError as error:  # the disk or its permissions, not what the file holds
        raise UsageError(
            "bad_data_dir", f"{path} can't be opened: {error}", "see to the disk and the folder's permissions"
        ) from error
    except sqlite3.DatabaseError as error:
        return str(error)


def _free(path: Path) -> Path:
    number = 1
    found = path
    while found.exists():
        number += 1
        found = path.with_name(f"{path.name}.{number}")
    return found
