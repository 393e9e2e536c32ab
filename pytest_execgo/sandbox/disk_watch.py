"""Measures what a command has written where no file system of a fixed size bounds it. Standard library only."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Callable, Iterable
from pathlib import Path

_LEAST = 0.05  # seconds between two looks
_SHARE = 10  # a look may take a tenth of the time
_BLOCK = 512


class DiskWatch:
    """Compares what folders hold with what they held when it was made.

    Counted are files by name, and those that `processes` have open without one. What can't be looked into and was not there
    before counts as too much, since a command could hide anything in it. Between two looks passes at least a twentieth of a second.
    """

    def __init__(self, folders: Iterable[Path], most: int, processes: Callable[[], Iterable[int]]) -> None:
        self._folders = [str(folder) for folder in folders]
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
        held, closed, ahead = 0, set(), list(self._folders)
        while ahead:
            folder = ahead.pop()
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        with contextlib.suppress(FileNotFoundError):  # it was removed meanwhile
                            info = entry.stat(follow_symlinks=False)
                            held += info.st_blocks * _BLOCK
                            if stat.S_ISDIR(info.st_mode):
                                ahead.append(entry.path)
            except FileNotFoundError:
                continue
            except OSError:
                closed.add(folder)
        return held, closed

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
