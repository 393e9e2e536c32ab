"""One process per folder: a lock file that the system lets go of when its holder ends, whatever ends it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class FolderHeld(Exception):
    """Another process holds the lock; `holder` is the pid that it left in the file, "unknown" where there is none."""

    def __init__(self, path: Path, holder: str) -> None:
        super().__init__(f"{path} is locked by process {holder}")
        self.path = path
        self.holder = holder


def lock_folder(folder: Path, name: str, *, mode: int = 0o777) -> int:
    """Make `folder` (with `mode`, less the umask) where there is none, and lock the file `name` in it, without waiting.

    Returns the lock's descriptor, which no child inherits unless it is passed on; the lock lasts until the last copy of it is
    closed. Callers word `FolderHeld` in their own terms; `OSError` when the folder or the file can't be had.
    """
    folder.mkdir(mode, parents=True, exist_ok=True)
    path = folder / name
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError as error:
        holder = os.pread(lock, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(lock)
        raise FolderHeld(path, holder) from error
    except BaseException:
        os.close(lock)
        raise
    return lock
