"""How far a sweep is, and how long it will still take, in one line."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Collection
from statistics import median

from pytest_execgo.reporting.text import one_line

_OUTCOMES = ("passed", "failed", "error", "inconclusive", "skipped")
_ENOUGH = 3  # runs before an estimate is worth showing
_WORTH_SAYING_S = 5
_CELL = re.compile(r"/?(?P<scenario>[^/]+)/[^/]+::test_plan\[(?P<axes>.*)\]$")


def is_cell(test_id: str) -> bool:
    """Tell whether a test's id is one that a scenario's file has."""
    return _CELL.search(test_id) is not None and ".py::" not in test_id


def name_of(test_id: str) -> str:
    """Return what a test is called here: `vuln_scan[crewai-replay-none-0]` for a scenario's, else what follows its file."""
    cell = _CELL.search(test_id)
    return f"{cell['scenario']}[{cell['axes']}]" if cell and is_cell(test_id) else test_id.rpartition("::")[2]


class SweepProgress:
    """The cells of a sweep, by the ids of their tests: which are running, how the others ended, what they took."""

    def __init__(self, cells: Collection[str]) -> None:
        self._left = Counter(map(_kind, cells))
        self._total = len(cells)
        self._open = set(cells)
        self._running: dict[str, None] = {}
        self._lanes = 1
        self._ended: Counter[str] = Counter()
        self._took: dict[str, list[float]] = {}
        self._gone: Counter[str] = Counter()

    def started(self, cell: str) -> bool:
        """Note that a cell runs; tell whether it is one of the sweep's that had not ended."""
        if cell not in self._open:
            return False
        self._running[cell] = None
        self._lanes = max(self._lanes, len(self._running))
        return True

    def ended(self, cell: str, outcome: str, seconds: float) -> bool:
        """Note how a cell ended and what it took; tell whether it was one of the sweep's that had not ended."""
        if cell not in self._open:
            return False
        self._open.discard(cell)
        self._running.pop(cell, None)
        self._ended[outcome] += 1
        kind = _kind(cell)
        self._left[kind] -= 1
        self._gone[kind] += 1
        if outcome != "skipped":
            self._took.setdefault(kind, []).append(seconds)
        return True

    def seconds_left(self) -> float | None:
        """Estimate how long the rest will take; None while there is too little to say.

        A cell takes the median of its scenario's, or of all where it has none yet, as often as such cells were not skipped. As
        many run at once as did so far.
        """
        every = [seconds for took in self._took.values() for seconds in took]
        if len(every) < _ENOUGH:
            return None
        usual = median(every) * len(every) / sum(self._gone.values())
        total = 0.0
        for kind, count in self._left.items():
            took = self._took.get(kind, [])
            each = median(took) * len(took) / self._gone[kind] if took else 0.0 if self._gone[kind] else usual
            total += count * each
        return total / self._lanes

    def line(self, width: int, now: float) -> str:
        """Return the line, ASCII and at most `width` characters long: what is done, how long it takes, what runs.

        `now` is the time since the epoch in seconds; the line says until when it will take, since it is not redrawn by itself.
        """
        done = sum(self._ended.values())
        ends = ", ".join(_counted(self._ended[outcome], outcome) for outcome in _OUTCOMES if self._ended[outcome])
        parts = [f"execgo {done}/{self._total}{f': {ends}' if ends else ''}"]
        left = self.seconds_left()
        if left is not None and left >= _WORTH_SAYING_S:
            parts.append(f"{_about(left)} left, until {time.strftime('%H:%M', time.localtime(now + left))}")
        if self._running:
            first, *others = self._running
            parts.append(f"{name_of(first)}{f' and {len(others)} more' if others else ''}")
        return one_line(" | ".join(parts)).encode("ascii", "replace").decode("ascii")[:width]


def _kind(test_id: str) -> str:
    return name_of(test_id).partition("[")[0]


def _counted(count: int, outcome: str) -> str:
    return f"{count} {outcome}s" if outcome == "error" and count > 1 else f"{count} {outcome}"


def _about(seconds: float) -> str:
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
