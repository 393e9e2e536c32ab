"""Tells threads that something has happened: a descriptor each, so that none takes another's news away."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref


class Watchers:
    """Descriptors of the threads that watch. They are closed when this object is thrown away, not before."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends: dict[int, tuple[int, int]] = {}
        self._news = 0
        self._known: dict[int, int] = {}
        weakref.finalize(self, _close_all, self._ends)

    def fileno(self) -> int:
        """Return the calling thread's descriptor: readable when `tell` was called since its `seen`, or it never called that."""
        with self._lock:
            me = threading.get_ident()
            if me not in self._ends:
                reading, writing = os.pipe()
                os.set_blocking(reading, False)
                os.set_blocking(writing, False)
                self._ends[me] = (reading, writing)
            if self._known.get(me) != self._news:
                self._tell(self._ends[me][1])
            return self._ends[me][0]

    def seen(self) -> None:
        """Empty the calling thread's descriptor, if it has one."""
        with self._lock:
            me = threading.get_ident()
            self._known[me] = self._news
            ends = self._ends.get(me)
            if ends is not None:
                with contextlib.suppress(BlockingIOError):  # empty already
                    os.read(ends[0], 4096)

    def tell(self) -> None:
        """Make every descriptor readable."""
        with self._lock:
            self._news += 1
            for _, writing in self._ends.values():
                self._tell(writing)

    @staticmethod
    def _tell(writing: int) -> None:
        with contextlib.suppress(BlockingIOError):  # full: it is readable, which is all that counts
            os.write(writing, b"x")


def _close_all(ends: dict[int, tuple[int, int]]) -> None:
    for pair in ends.values():
        for end in pair:
            os.close(end)
