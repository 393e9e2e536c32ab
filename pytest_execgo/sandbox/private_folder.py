"""Folders of ours among the temporary files, each for one command: gone afterwards, and what a killed process left is gone, too."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from pytest_execgo.core.errors import SandboxError
from pytest_execgo.core.folder_lock import FolderHeld, lock_folder

_PREFIX = "execgo-sandbox-"
_LOCK = ".lock"


@contextlib.contextmanager
def private_folder() -> Iterator[Path]:
    """Make a folder that only this user can enter; it is removed at the end, with all that a command made in it.

    `SandboxError` where the system refuses either.
    """
    remove_abandoned()
    folder, lock = _locked()
    try:
        yield folder
    finally:
        try:
            remove_tree(folder)
        except OSError as error:
            raise SandboxError("folder_left", f"the sandbox's folder {folder} could not be removed: {error}") from error
        finally:
            os.close(lock)


def _locked() -> tuple[Path, int]:
    while True:
        try:
            folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
            with contextlib.suppress(FolderHeld):  # somebody took it for abandoned
                lock = _lock(folder)
                if (folder / _LOCK).exists():
                    return folder, lock
                os.close(lock)
        except OSError as error:
            message = f"the sandbox can't have a folder among the temporary files: {error}"
            raise SandboxError("no_folder", message, "TMPDIR has to name a folder in which files can be made") from error


def _lock(folder: Path) -> int:
    try:
        return lock_folder(folder, _LOCK)
    except OSError:
        with contextlib.suppress(OSError):  # else it is another's by now
            folder.rmdir()
        raise


@cache
def remove_abandoned() -> None:
    """Remove the folders of this user's processes that were killed; once in a process."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError, FolderHeld):
            if folder.lstat().st_uid == os.getuid() and (folder / _LOCK).exists():
                lock = lock_folder(folder, _LOCK)
                remove_tree(folder)
                os.close(lock)


def remove_tree(folder: Path) -> None:
    """Remove a folder in which a command could write, however deep it made it and whatever it forbade; `OSError` if that fails."""
    for words in (["rm", "-rf", "--"], ["chmod", "-R", "u+rwx", "--"], ["rm", "-rf", "--"]):
        if folder.exists():  # Python's own way fails below a thousand folders
            with contextlib.suppress(OSError):  # there is no room for a process: then that way may do
                subprocess.run([*words, str(folder)], check=False, stdin=subprocess.DEVNULL, capture_output=True)
    if folder.exists():
        shutil.rmtree(folder)
