"""Measures what a command has written where no file system of a fixed size bounds it. Standard library only."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterable
from pathlib import Path

_LEAST = 0.05  # seconds between two looks
_SHARE = 10  # a look may take a tenth of the time
_BLOCK = 512
_ENTRY = 1024  # what a name is counted as: an empty file takes a place on the disk, too
_DEEPEST = 200  # folders in each other; each takes a descriptor while it is looked into
_TRIES = 10  # to find what is renamed all the time


class DiskWatch:
    """Compares what folders hold with what they held when it was made.

    Counted are files by name, each with a KiB for the name, and those that `processes` have open without one. What can't be looked
    into and was not there before counts as too much, since a command could hide anything in it. Folders are looked into, never
    what they were replaced by meanwhile. Between two looks passes at least a twentieth of a second.
    """

    def __init__(self, folders: Iterable[Path], most: int, processes: Callable[[], Iterable[int]]) -> None:
        self._folders = [os.path.realpath(folder) for folder in folders]
        self._most = most
        self._processes = processes
        self._devices = {os.stat(folder).st_dev for folder in self._folders}  # noqa: PTH116
        self._before, self._closed_before = self._measure()
        self.next = time.monotonic()

    def exceeded(self) -> bool:
        """Look, and tell whether it is too much by now."""
        began = time.monotonic()
        held, closed = self._measure()
        too_much = bool(closed - self._closed_before) or held + self._nameless() - self._before > self._most
        now = time.monotonic()
        self.next = now + max(_LEAST, _SHARE * (now - began))
        return too_much

    def _measure(self) -> tuple[int, set[str]]:
        """Return the bytes that the folders hold, and which folders in them can't be looked into."""
        closed: set[str] = set()
        return sum(_held_by(folder, folder, None, 0, closed) or 0 for folder in self._folders), closed

    def _nameless(self) -> int:
        """Return the bytes of removed files that the command's processes keep open."""
        found: dict[tuple[int, int], int] = {}
        for pid in self._processes():
            try:
                with os.scandir(f"/proc/{pid}/fd") as entries:
                    for entry in entries:
                        info = entry.stat()
                        if info.st_nlink == 0 and info.st_dev in self._devices and stat.S_ISREG(info.st_mode):
                            found[info.st_dev, info.st_ino] = info.st_blocks * _BLOCK
            except OSError:  # it ended meanwhile
                continue
        return sum(found.values())


def _held_by(name: str, path: str, above: int | None, depth: int, closed: set[str]) -> int | None:
    """Return the bytes beneath the folder `name` of the open folder `above`, None where there is none by that name any more.

    `closed` gets the paths of what can't be looked into.

    By descriptors: whoever writes there may put a link to the host's root in any name's place at any moment.
    """
    try:
        folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
    except (FileNotFoundError, NotADirectoryError):  # a link is no directory either
        return None
    except OSError:
        closed.add(path)
        return 0
    try:
        if depth > _DEEPEST:
            closed.add(path)
            return 0
        return _held_in(folder, path, depth, closed)
    except OSError:
        closed.add(path)
        return 0
    finally:
        os.close(folder)


def _held_in(folder: int, path: str, depth: int, closed: set[str]) -> int:
    """Return the bytes in an open folder. Where a file had another name by the time it was looked at, the folder is read again."""
    held: dict[int, int] = {}
    missed: set[int] | None = None
    for _ in range(_TRIES):
        gone, names = set(), 0
        with os.scandir(folder) as entries:
            for entry in entries:
                names += 1
                if entry.inode() in held:
                    continue
                size = _size(entry, folder, path, depth, closed)
                if size is None:
                    gone.add(entry.inode())
                else:
                    held[entry.inode()] = size
        missed = gone if missed is None else missed & gone
        if not missed:
            break
    else:
        closed.add(path)  # something is there all the time and never seen
    return sum(held.values()) + names * _ENTRY


def _size(entry: os.DirEntry[str], folder: int, path: str, depth: int, closed: set[str]) -> int | None:
    """Return the bytes that one entry of an open folder takes, None where it has gone meanwhile."""
    try:
        info = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    own = info.st_blocks * _BLOCK
    if not stat.S_ISDIR(info.st_mode):
        return own
    inside = _held_by(entry.name, f"{path}/{entry.name}", folder, depth + 1, closed)
    return None if inside is None else own + inside
