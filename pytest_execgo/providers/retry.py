"""When a request to a model is made again, and after how long."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

RETRIED = frozenset({429, 500, 502, 503, 504})
"""Statuses that may be another one in a moment."""

_LONGEST_S = 8.0


def retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Return the seconds that a `Retry-After` header asks for, be it a number or a date; None without a usable one."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
        except ValueError:
            return None
        aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        seconds = (aware - (now or datetime.now(UTC))).total_seconds()
    return max(0.0, seconds) if seconds < float("inf") else None  # NaN is less than nothing


def backoff(first_s: float, tries: int) -> float:
    """Return the seconds to wait after so many tries: twice as long each time, a little apart from what others wait."""
    return float(min(first_s * 2 ** (tries - 1), _LONGEST_S) * random.uniform(0.75, 1.25))  # noqa: S311 - no secret
