"""How Go prints."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_execgo.kernel.golang import text as gotext
from pytest_execgo.kernel.golang.time import Moment, parse_time, time_text


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("plain", '"plain"'),
        ('a"b\\c', r'"a\"b\\c"'),
        ("\a\b\f\n\r\t\v", r'"\a\b\f\n\r\t\v"'),
        ("\x00\x7f", r'"\x00\x7f"'),
        ("\x85\xad\u200b", r'"\u0085\u00ad\u200b"'),
        ("\U000e0001", r'"\U000e0001"'),
        ("中 é 😀\ufffd", '"中 é 😀\ufffd"'),
        ("\u3000", r'"\u3000"'),
    ],
)
def test_quote(text: str, quoted: str) -> None:
    assert gotext.quote(text) == quoted


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (5.0, "5"),
        (-0.0, "-0"),
        (1.5, "1.5"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (1.25e-7, "1.25e-7"),
        (1e-6, "0.000001"),
        (-2.5e300, "-2.5e+300"),
        (123456789.123, "123456789.123"),
    ],
)
def test_float_text(number: float, text: str) -> None:
    assert gotext.float_text(number) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_float_text_loses_nothing(number: float) -> None:
    assert float(gotext.float_text(number)) == number


@pytest.mark.parametrize(("seconds", "text"), [(0, "0s"), (9, "9s"), (65, "1m5s"), (3600, "1h0m0s"), (90061, "25h1m1s")])
def test_duration_text(seconds: int, text: str) -> None:
    assert gotext.duration_text(seconds) == text


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (Moment(0), "1970-01-01T00:00:00Z"),
        (Moment(1_700_000_000_100_000_000), "2023-11-14T22:13:20.1Z"),
        (Moment(1_700_000_000_000_000_001), "2023-11-14T22:13:20.000000001Z"),
        (Moment(1_700_000_000_123_456_780, 8 * 3600), "2023-11-15T06:13:20.12345678+08:00"),
        (Moment(1_700_000_000_000_000_000, -(3 * 3600 + 1800)), "2023-11-14T18:43:20-03:30"),
    ],
)
def test_times_are_trimmed_and_read_back(moment: Moment, text: str) -> None:
    assert str(moment) == text
    assert parse_time(text) == moment


def test_a_zero_offset_becomes_z() -> None:
    assert str(parse_time("2026-01-01T00:00:00.500+00:00")) == "2026-01-01T00:00:00.5Z"


def test_time_text_of_early_years() -> None:
    assert time_text(parse_time("0001-01-01T00:00:00Z").ns) == "0001-01-01T00:00:00Z"


def test_json_string_escapes_what_go_escapes() -> None:
    assert gotext.json_string('<a&b>\u2028"\\\n\x01\x7fé') == ('"\\u003ca\\u0026b\\u003e\\u2028\\"\\\\\\n\\u0001\x7fé"')
    assert gotext.json_string("a\ud800b") == '"a\ufffdb"'


@given(st.text())
def test_json_string_is_read_back(text: str) -> None:
    assert json.loads(gotext.json_string(text)) == gotext.sane(text)


def test_json_value_sorts_keys_and_makes_floats() -> None:
    assert gotext.json_value({"b": [1, 2.0, None, True], "a": 1e21}) == '{"a":1e+21,"b":[1,2,null,true]}'


def test_json_object_keeps_integers() -> None:
    assert gotext.json_object(size=2**60 + 1, name="x", ok=True) == '{"name":"x","ok":true,"size":1152921504606846977}'


def test_each_invalid_byte_is_one_replacement() -> None:
    assert gotext.decode_utf8(b"a\xe4\xb8b\xff\xed\xa0\x80") == "a\ufffd\ufffdb\ufffd\ufffd\ufffd\ufffd"


def test_trim_space_is_gos() -> None:
    assert gotext.trim_space("\u3000\x85 noop\n") == "noop"
    assert gotext.trim_space("\x1fnoop") == "\x1fnoop"
