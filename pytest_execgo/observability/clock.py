"""Times as text and back, to the nanosecond."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def rfc3339(ns: int | None = None) -> str:
    """Render nanoseconds since the epoch (default: now) as RFC 3339 in UTC, with all nine digits."""
    at = time.time_ns() if ns is None else ns
    seconds, rest = divmod(at, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def parse_rfc3339(text: str) -> int:
    """Return nanoseconds since the epoch for an RFC 3339 time with up to nine fractional digits; `ValueError` if it is none."""
    head, dot, tail = text.partition(".")
    if not dot:
        return int(datetime.fromisoformat(text).timestamp()) * 1_000_000_000
    digits = tail[: len(tail) - len(tail.lstrip("0123456789"))]
    whole = datetime.fromisoformat(head + tail[len(digits) :])
    return int(whole.timestamp()) * 1_000_000_000 + int(digits[:9].ljust(9, "0"))
