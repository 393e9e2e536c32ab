"""The effect sink's memory on disk: one JSON line per delivery, in a folder that one service holds.

DIR/lock              locked by the service that uses the folder; holds its process id
DIR/deliveries.jsonl  appended to only, each line by one write, before its delivery is answered

What was written outlives the service, however that ends; it is not forced to the disk, so the machine's end may take the last
lines. A line that a killed service left half written was never answered: it is cut off, and a line of its own says so.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pytest_execgo.core.errors import ExecGoError, UsageError
from pytest_execgo.core.folder_lock import FolderHeld, lock_folder
from pytest_execgo.core.jsonio import dumps

FILE = "deliveries.jsonl"
_MARK = re.compile(rb'\{"torn":[0-9]+\}\n')
_MOVE = "move the file away to begin with an empty sink"


class Journal:
    """The lines of one folder, held until `close` or the end of the process."""

    def __init__(self, folder: Path) -> None:
        """Take the folder, making it where there is none; `UsageError` when it can't be had, or another service has it."""
        self.path = folder.absolute() / FILE
        try:
            self._lock = lock_folder(folder.absolute(), "lock")
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            hint = "name a folder that can be written to"
            raise UsageError("bad_data_dir", f"-data-dir {folder}: {error.strerror or error}", hint) from error
        except FolderHeld as held:
            message = f"-data-dir {folder} is in use by another fixtures service (pid {held.holder})"
            raise UsageError("data_dir_in_use", message, "stop that one, or give this one a folder of its own") from held
        self._size = os.fstat(self._fd).st_size
        self.torn = 0

    def rows(self) -> Iterator[tuple[int, bytes]]:
        """Read every delivery's line, with its number from 1; a last one that has no end is cut off, and `torn` counts it."""
        whole = 0
        with self.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    break
                whole += len(line)
                if _MARK.fullmatch(line):
                    self.torn += 1
                else:
                    yield number, line
        if whole < self._size:
            lost, self._size = self._size - whole, whole
            os.ftruncate(self._fd, whole)
            self.append({"torn": lost})
            self.torn += 1

    def append(self, row: Any) -> None:
        """Write one line whole, or not at all and raise `OSError`."""
        line = dumps(row).encode() + b"\n"
        written = os.write(self._fd, line)
        if written != len(line):
            os.ftruncate(self._fd, self._size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        self._size += written

    def clear(self) -> None:
        """Forget every line."""
        os.ftruncate(self._fd, 0)
        self._size = self.torn = 0

    def corrupt(self, number: int, problem: str) -> ExecGoError:
        """Build the error for a line that can't be believed."""
        return ExecGoError("corrupt_journal", f"{self.path}, line {number}: {problem}", _MOVE)

    def close(self) -> None:
        """Let go of the file and the folder."""
        os.close(self._fd)
        os.close(self._lock)
