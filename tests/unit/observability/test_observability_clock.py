"""Times as text and back, to the nanosecond."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_execgo.observability.clock import parse_rfc3339, rfc3339

SECOND = 1_000_000_000
FIRST = -62_135_596_800 * SECOND  # the year 1, which Go writes for "no time"
LAST = 253_402_300_799 * SECOND + SECOND - 1


@given(st.integers(FIRST, LAST))
def test_what_is_written_reads_back(ns: int) -> None:
    text = rfc3339(ns)
    assert parse_rfc3339(text) == ns
    assert len(text) == len("2026-01-02T03:04:05.123456789Z")


@given(st.integers(0, 2**33), st.text("0123456789", max_size=9), st.sampled_from("Zz"))
def test_any_number_of_digits_is_read(seconds: int, digits: str, zone: str) -> None:
    whole = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    text = f"{whole}.{digits}{zone}" if digits else f"{whole}{zone}"
    assert parse_rfc3339(text) == seconds * SECOND + int(digits.ljust(9, "0"))


@given(st.integers(0, 2**33), st.integers(-23 * 60 - 59, 23 * 60 + 59), st.sampled_from(["", ".5", ".000000001"]))
def test_an_offset_is_subtracted(seconds: int, minutes: int, fraction: str) -> None:
    whole = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    offset = f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
    expected = (seconds - minutes * 60) * SECOND + int(fraction[1:].ljust(9, "0"))
    assert parse_rfc3339(f"{whole}{fraction}{offset}") == expected


def test_known_times() -> None:
    assert rfc3339(0) == "1970-01-01T00:00:00.000000000Z"
    assert rfc3339(1_767_323_045_123_456_789) == "2026-01-02T03:04:05.123456789Z"
    assert rfc3339(-1) == "1969-12-31T23:59:59.999999999Z"
    assert rfc3339(FIRST) == "0001-01-01T00:00:00.000000000Z"
    assert parse_rfc3339("2026-01-02T05:04:05.1+02:00") == 1_767_323_045_100_000_000


def test_now_is_now() -> None:
    before = time.time_ns()
    assert before <= parse_rfc3339(rfc3339()) <= time.time_ns()


@pytest.mark.parametrize(
    "text",
    [
        *("", "now", "2026-01-02", "20260102T030405Z", "2026-W01-1", "2026-01-02T03:04:05", "2026-01-02T03:04:05.5"),
        *("2026-01-02T03:04Z", "2026-01-02T03:04:05.Z", "2026-01-02T03:04:05,5Z", "2026-01-02T03:04:05.1234567891Z"),
        *("2026-13-02T03:04:05Z", "2026-02-30T03:04:05Z", "2026-01-02T25:04:05Z", "2026-01-02T03:04:05+0100"),
        *("2026-01-02T03:04:05Z\n", " 2026-01-02T03:04:05Z", "2026-01-02T03:04:05ZZ", "\u0662026-01-02T03:04:05Z"),
    ],
)
def test_what_is_no_such_time_is_refused_with_the_text(text: str) -> None:
    with pytest.raises(ValueError, match="RFC 3339") as refused:
        parse_rfc3339(text)
    assert repr(text) in str(refused.value)
