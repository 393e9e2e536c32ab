"""RFC 3339 times as Go reads and prints them: nanoseconds, trailing zeros trimmed, an offset or Z."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from pytest_execgo.kernel.golang.text import quote

_LAYOUT = '"2006-01-02T15:04:05Z07:00"'
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = 1_000_000_000
_PARTS = (  # what Go's parser looks for, piece by piece: pattern, the layout element named in the error
    (re.compile(r"\d{4}"), "2006"),
    (re.compile(r"-"), "-"),
    (re.compile(r"\d{2}"), "01"),
    (re.compile(r"-"), "-"),
    (re.compile(r"\d{2}"), "02"),
    (re.compile(r"T"), "T"),
    (re.compile(r"\d{2}"), "15"),
    (re.compile(r":"), ":"),
    (re.compile(r"\d{2}"), "04"),
    (re.compile(r":"), ":"),
    (re.compile(r"\d{2}(?:[.,]\d+)?"), "05"),
    (re.compile(r"Z|[+-]\d{2}:\d{2}"), "Z07:00"),
)
_LIMITS = {"01": (1, 12, "month"), "02": (1, 31, "day"), "15": (0, 23, "hour"), "04": (0, 59, "minute"), "05": (0, 59, "second")}


class GoTimeError(ValueError):
    """A text is not a time; the message is Go's."""


class Moment(NamedTuple):
    """A point in time: nanoseconds since 1970 (UTC), and the offset (seconds east) that it is shown in."""

    ns: int
    offset: int = 0

    def __str__(self) -> str:
        return time_text(self.ns, self.offset)


@lru_cache(maxsize=256)
def time_text(ns: int, offset: int = 0) -> str:
    """Format nanoseconds since 1970 as RFC 3339, as precise as needed. Kept for a while: tasks of a graph share theirs."""
    seconds, fraction = divmod(ns, _SECOND)
    text = _second_text(seconds + offset)
    if fraction:
        text += f".{fraction:09d}".rstrip("0")
    if not offset:
        return text + "Z"
    sign, minutes = ("-", -offset // 60) if offset < 0 else ("+", offset // 60)
    return f"{text}{sign}{minutes // 60:02d}:{minutes % 60:02d}"


@lru_cache(maxsize=256)
def _second_text(seconds: int) -> str:
    """Format whole seconds; one after the other, thousands of records fall into the same one."""
    local = _EPOCH + timedelta(seconds=seconds)
    return local.strftime("%Y-%m-%dT%H:%M:%S") if local.year >= 1000 else local.replace(tzinfo=None).isoformat()


def parse_time(text: str) -> Moment:
    """Read an RFC 3339 time; `GoTimeError` with Go's words otherwise."""
    pieces: dict[str, str] = {}
    at = 0
    for pattern, element in _PARTS:
        found = pattern.match(text, at)
        if found is None:
            raise GoTimeError(f"parsing time {quote(text)} as {_LAYOUT}: cannot parse {quote(text[at:])} as {quote(element)}")
        if element in _LIMITS:
            low, high, name = _LIMITS[element]
            if not low <= int(found[0][:2]) <= high:
                raise GoTimeError(f"parsing time {quote(text)}: {name} out of range")
        pieces[element] = found[0]
        at = found.end()
    if at < len(text):
        raise GoTimeError(f"parsing time {quote(text)}: extra text: {quote(text[at:])}")
    try:
        day = datetime(int(pieces["2006"]) or 1, int(pieces["01"]), int(pieces["02"]), tzinfo=UTC)
    except ValueError as error:
        raise GoTimeError(f"parsing time {quote(text)}: day out of range") from error
    return _moment(day, pieces)


def _moment(day: datetime, pieces: dict[str, str]) -> Moment:
    zone = pieces["Z07:00"]
    offset = 0 if zone == "Z" else (int(zone[1:3]) * 60 + int(zone[4:6])) * (-60 if zone[0] == "-" else 60)
    seconds, fraction = pieces["05"][:2], pieces["05"][3:12]
    whole = (day - _EPOCH) // timedelta(seconds=1) + int(pieces["15"]) * 3600 + int(pieces["04"]) * 60 + int(seconds)
    return Moment((whole - offset) * _SECOND + int((fraction or "0").ljust(9, "0")), offset)
