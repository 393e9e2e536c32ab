"""Times as text and back, to the nanosecond."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

_RFC3339 = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?([Zz]|[+-][0-9]{2}:[0-9]{2})")


def rfc3339(ns: int | None = None) -> str:
    """Render nanoseconds since the epoch (default: now) as RFC 3339 in UTC, with all nine digits."""
    at = time.time_ns() if ns is None else ns
    seconds, rest = divmod(at, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat()}.{rest:09d}Z"


def parse_rfc3339(text: str) -> int:
    """Return nanoseconds since the epoch for an RFC 3339 time with up to nine fractional digits; `ValueError` if it is none."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no RFC 3339 time")
    whole, fraction, zone = match.groups()
    try:
        seconds = datetime.fromisoformat(whole + zone.upper()).timestamp()
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text!r} is no RFC 3339 time: {error}") from error
    return int(seconds) * 1_000_000_000 + int((fraction or "").ljust(9, "0"))
