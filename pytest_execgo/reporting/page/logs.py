"""The ends of the services' logs, as far as they are a run's."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from pathlib import Path

from pytest_execgo.reporting.text import one_line

SERVICES = ("kernel", "runtime", "fixtures", "supervisor")
_MOST = 4 * 1024 * 1024
"""Bytes at a log's end that are looked at."""
_LINE = 240
_STAMP = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:]{8}(?:\.[0-9]+)?)Z?")
_LOOK = 80  # characters of a line in which its time is


class Logs:
    """The logs of a sweep's stacks, each read once."""

    def __init__(self, stacks: Path) -> None:
        self._stacks = stacks
        self._read: dict[Path, tuple[list[str], list[str]]] = {}

    def tails(self, stack: str, began: str, ended: str, most: int) -> dict[str, list[str]]:
        """Return, by service, the last `most` lines that a stack's services wrote between two RFC 3339 times in UTC.

        A line without a time of its own belongs to the one before it. Services that said nothing are left out.
        """
        found = {}
        for service in SERVICES:
            stamps, lines = self._lines(self._stacks / stack / f"{service}.log")
            first, end = bisect_left(stamps, _comparable(began)), bisect_right(stamps, _comparable(ended))
            if told := [one_line(line, _LINE) for line in lines[max(first, end - most) : end]]:
                found[service] = told
        return found

    def _lines(self, file: Path) -> tuple[list[str], list[str]]:
        if file not in self._read:
            self._read[file] = _stamped(_end_of(file))
        return self._read[file]


def _end_of(file: Path) -> str:
    if not file.is_file():
        return ""
    with file.open("rb") as log:
        log.seek(max(log.seek(0, 2) - _MOST, 0))
        return log.read().decode("utf-8", "replace")


def _stamped(text: str) -> tuple[list[str], list[str]]:
    """Return a log's lines, and the time of each: its own, or the last one before it, so that they never fall."""
    stamps, lines, last = [], [], ""
    for line in text.splitlines():
        match = _STAMP.search(line, 0, _LOOK)
        if match is not None:
            last = max(last, _comparable(match[1]))
        stamps.append(last)
        lines.append(line)
    return stamps, lines


def _comparable(stamp: str) -> str:
    """Return a time in UTC such that a later one is a greater text: fractions may have any number of digits."""
    whole, _, fraction = stamp.rstrip("Z").replace(" ", "T").partition(".")
    return f"{whole}.{fraction:0<9}"
