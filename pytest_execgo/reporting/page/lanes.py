"""What happened in a run, observer by observer, on the run's own clock, as columns that the page draws lanes of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

from pytest_execgo.reporting.page.columns import Texts, columns
from pytest_execgo.reporting.page.said import block
from pytest_execgo.reporting.run_clock import RunClock, wall_ns
from pytest_execgo.reporting.text import one_line
from pytest_execgo.reporting.timeline import detail_text

Row = Mapping[str, Any]
EVENTS = ("t", "q", "k", "g", "a", "s", "x", "c", "n")
"""Columns of an event: time (µs), seq, kind, stage, task, status, what it carries, seq of its cause, attempt."""
KERNEL = ("t", "f", "w", "n", "s")
"""Columns of what the kernel did: time (µs), what, the task's global id without the run's, attempt, outcome."""
SINK = ("t", "f", "w", "s", "x")
"""Columns of what reached the effect sink: time (µs), what, the task's global id without the run's, outcome, key."""
_NAME = 80
_SEEN = frozenset(("ok", "success"))


@lru_cache(maxsize=4096)  # the runs of a sweep share most of their names
def _line(text: str, limit: int = _NAME) -> str:
    return one_line(text, limit)


class Lanes:
    """One run's lanes; `most` bounds the rows of each, `said` the characters of an error.

    `cut` tells how many rows of a lane are not shown.
    """

    def __init__(self, run_id: str, texts: Texts, most: int, said: int) -> None:
        self._prefix = f"{run_id}:"
        self._run_id = run_id
        self._texts = texts
        self._most = most
        self._said = said
        self._offsets: dict[object, int] = {}
        self.cut: dict[str, int] = {}

    def events(self, timeline: Sequence[Row], clock: RunClock) -> dict[str, list[Any]]:
        """Return the run's own events."""
        return columns(EVENTS, self._bounded("events", list(map(self._event, timeline, clock.times))))

    def kernel(self, history: Sequence[Row], clock: RunClock) -> dict[str, list[Any]]:
        """Return what the kernel says it did."""
        number, prefix, rows = self._texts.number, self._prefix, []
        for row in history:
            value, attempt, outcome = row.get("value"), row.get("attempt"), ""
            if isinstance(value, dict):
                outcome = value.get("outcome") or value.get("status") or ""
            rows.append(
                (
                    self._at(row, clock),
                    number(_line(str(row.get("f")))),
                    number(_line(str(row.get("task") or "").removeprefix(prefix), 3 * _NAME)),
                    attempt if isinstance(attempt, int) else 0,
                    number(_line(str(outcome))) if outcome != "success" else 0,
                )
            )
        return columns(KERNEL, self._bounded("kernel", rows))

    def sink(self, history: Sequence[Row], clock: RunClock) -> dict[str, list[Any]]:
        """Return what reached the effect sink."""
        number = self._texts.number
        rows: list[tuple[int, ...]] = []
        for row in history:
            value = row.get("value")
            outcome = str(value.get("outcome") or "") if isinstance(value, dict) else ""
            task = _line(str(row.get("task") or "").removeprefix(self._prefix), 3 * _NAME)
            key = _line(str(row.get("idem_key") or "").removeprefix(f"{self._run_id}-"), _NAME)
            rows.append((self._at(row, clock), number(_line(str(row.get("f")))), number(task), number(_line(outcome)), number(key)))
        return columns(SINK, self._bounded("sink", rows))

    def moment(self, row: Row, clock: RunClock) -> int:
        """Return when a row of the history came about: µs since the run's first event."""
        return self._at(row, clock)

    def _event(self, row: Row, at_ns: int) -> tuple[int, ...]:
        kind, status, metadata = str(row.get("event_type")), str(row.get("status")), row.get("metadata")
        carried: dict[str, Any] = metadata if isinstance(metadata, dict) else {}
        code = row.get("error_code")
        told = _told(kind, carried, self._said)
        said = f"[{_line(str(code))}] {told}".strip() if code else told
        number = self._texts.number
        cause, attempt, seq = carried.get("cause"), carried.get("attempt"), row.get("seq")
        return (
            at_ns // 1000,
            seq if isinstance(seq, int) else 0,
            number(_line(kind)),
            number(_line(str(row.get("stage_id") or ""))),
            number(_line(str(row.get("task_id") or ""))),
            number(_line(status)) if status not in _SEEN else 0,
            number(said),
            cause if isinstance(cause, int) else 0,
            attempt if isinstance(attempt, int) else 0,
        )

    def _at(self, row: Row, clock: RunClock) -> int:
        """Place a row on the run's clock, by its observer's monotonic clock, whose first row the wall clock places."""
        mono, boot = row.get("monotonic_ns"), row.get("boot_id")
        if not isinstance(mono, int) or not isinstance(boot, str | None):
            return 0
        offset = self._offsets.get(boot)
        if offset is None:
            wall = wall_ns(row.get("wall"))
            offset = self._offsets[boot] = clock.of_wall(wall) - mono if wall is not None else -mono
        return (mono + offset) // 1000

    def _bounded(self, lane: str, rows: Sequence[tuple[int, ...]]) -> Sequence[tuple[int, ...]]:
        """Leave out the middle of what is too much: a run's beginning and its end say most."""
        rows = sorted(rows, key=itemgetter(0))
        if len(rows) <= self._most:
            return rows
        self.cut[lane] = len(rows) - self._most
        half = self._most // 2
        return rows[:half] + rows[half - self._most :]


def _told(kind: str, carried: Mapping[str, Any], limit: int) -> str:
    """Say what an event carries, without what the page shows anyway."""
    if kind == "task_observed":
        return block(carried.get("error") or "", limit)
    if kind == "binding_applied":
        return _line(f"{carried.get('source')} → {carried.get('target')}", 2 * _NAME)
    if kind == "stage_started":  # its attempt has a column of its own
        return ""
    if kind == "stage_submitted":
        return f"accepted={carried.get('accepted')}"[:_NAME]
    if kind == "fault_injected":
        return one_line(f"{carried.get('action')} → {carried.get('target')}", 2 * _NAME)
    if kind == "fault_lifted":
        observed = carried.get("observed")
        seen = observed.items() if isinstance(observed, dict) else ()
        hit = "hit" if carried.get("hit") else "hit nothing"
        return one_line("; ".join([f"{carried.get('action')} → {carried.get('target')}", hit, *_seen(seen)]), 2 * _NAME)
    return detail_text({name: value for name, value in carried.items() if name not in ("cell_id", "workspace", "checkpoint_id")})


def _seen(pairs: Any) -> list[str]:
    return [f"{name}={value}" for name, value in pairs if name != "hit"]
