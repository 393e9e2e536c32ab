"""One clock for all that a run's artifacts tell: nanoseconds since the run's first event."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

from pytest_execgo.observability.clock import parse_rfc3339


class RunClock:
    """The run's own clock, as the rows of its `timeline.jsonl` tell it, and other clocks mapped onto it.

    Between events of one life of the run the monotonic clock counts; where a run was resumed, perhaps after the machine had been
    started anew, the wall clock does. `times` holds the time of each row, never falling; `began_ns` is the first event's wall
    time (ns since the epoch), `end_ns` the last event's time on this clock.
    """

    def __init__(self, timeline: Sequence[Mapping[str, Any]]) -> None:
        self.times: list[int] = []
        self._anchors: list[tuple[int, int]] = []
        last_wall: int | None = None
        last_mono: int | None = None
        for row in timeline:
            wall, mono = wall_ns(row.get("timestamp")), row.get("monotonic_ns")
            mono = mono if isinstance(mono, int) and not isinstance(mono, bool) else None
            at = self.times[-1] if self.times else 0
            if mono is not None and last_mono is not None and mono >= last_mono and row.get("event_type") != "run_resumed":
                at += mono - last_mono
            elif wall is not None and last_wall is not None:
                at += max(wall - last_wall, 0)
            self.times.append(at)
            if wall is not None:
                self._anchors.append((wall, at))
            last_wall, last_mono = wall if wall is not None else last_wall, mono if mono is not None else last_mono
        self.began_ns = self._anchors[0][0] - self._anchors[0][1] if self._anchors else 0
        self.end_ns = self.times[-1] if self.times else 0
        self._anchors.sort()
        self._walls = [wall for wall, _ in self._anchors]

    def of_wall(self, ns: int) -> int:
        """Map a wall clock's time (ns since the epoch) onto this clock, by the event that was nearest to it."""
        if not self._anchors:
            return ns
        after = min(bisect_left(self._walls, ns), len(self._walls) - 1)
        before = max(after - 1, 0)
        nearest = before if ns - self._walls[before] < self._walls[after] - ns else after
        wall, at = self._anchors[nearest]
        return at + ns - wall


def wall_ns(text: object) -> int | None:
    """Return ns since the epoch for an RFC 3339 time; None for what is none."""
    if not isinstance(text, str):
        return None
    try:
        return parse_rfc3339(text)
    except ValueError:
        return None
