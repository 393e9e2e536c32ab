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

from pytest_execgo.core.folder_lock import FolderHeld, lock_folder

_PREFIX = "execgo-sandbox-"
_LOCK = ".lock"


@contextlib.contextmanager
def private_folder() -> Iterator[Path]:
    """Make a folder that only this user can enter; it is removed at the end, with all that a command made in it."""
    remove_abandoned()
    folder, lock = _locked()
    try:
        yield folder
    finally:
        remove_tree(folder)
        os.close(lock)


def _locked() -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        with contextlib.suppress(FolderHeld):  # somebody took it for abandoned
            lock = lock_folder(folder, _LOCK)
            if (folder / _LOCK).exists():
                return folder, lock
            os.close(lock)


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
            subprocess.run([*words, str(folder)], check=False, stdin=subprocess.DEVNULL, capture_output=True)
    if folder.exists():
        shutil.rmtree(folder)
