"""Any string becomes one printable line; figures read the same everywhere."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_execgo.reporting.text import counted, duration, fit, one_line, share, times, wrapped

ANYTHING = st.text(st.characters(), max_size=400)


@settings(deadline=None)
@given(ANYTHING)
def test_any_text_becomes_one_printable_line(text: str) -> None:
    line = one_line(text)
    assert len(line.splitlines()) <= 1
    assert not any(ord(character) < 32 or 0x7F <= ord(character) < 0xA0 for character in line)
    line.encode()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain", "plain"),
        (" two  blanks\tand a tab ", "two blanks and a tab"),
        ("first \n\n  second\r\nthird", "first ⏎ second ⏎ third"),
        ("\x1b[31mred\x00", "\ufffd[31mred\ufffd"),
        ("a\u202eb\ud800", "a\ufffdb\ufffd"),
        ("Größe 中文 ✓", "Größe 中文 ✓"),
        (17, "17"),
    ],
)
def test_one_line(text: object, line: str) -> None:
    assert one_line(text) == line


def test_a_cut_says_how_much_was_cut() -> None:
    assert one_line("x" * 30, 10) == "x" * 10 + "… (+20 characters)"
    assert one_line("x" * 10, 10) == "x" * 10
    assert one_line("x" * 1_000_000, 10) == "x" * 10 + "… (+999990 characters)"


@settings(deadline=None)
@given(ANYTHING, st.integers(40, 60), st.integers(1, 3))
def test_wrapped_lines_stay_within_bounds(text: str, width: int, most: int) -> None:
    lines = wrapped(text, width, most)
    assert len(lines) <= most
    assert all(len(line) <= width and len(line.splitlines()) == 1 for line in lines)


def test_wrapping_says_how_much_was_cut_wherever_words_break() -> None:
    words = " ".join(["w" * 60] * 50)
    lines = wrapped(words, 100, 3)
    assert lines[:2] == ["w" * 60, "w" * 60]
    shown = lines[2].partition("…")[0]
    assert lines[2] == f"{shown}… (+{len(words) - len(' '.join([*lines[:2], shown]))} characters)"
    assert wrapped("short", 100, 3) == ["short"]


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (None, "n/a"),
        (0.0, "0.00 ms"),
        (0.0704, "0.07 ms"),
        (0.99949, "1.00 ms"),
        (1.0, "1.0 ms"),
        (12.34, "12.3 ms"),
        (914.2, "914 ms"),
        (999.6, "1.00 s"),
        (8200, "8.20 s"),
        (59_994, "59.99 s"),
        (59_999, "1 min 0 s"),
        (125_400, "2 min 5 s"),
    ],
)
def test_duration(ms: float | None, text: str) -> None:
    assert duration(ms) == text


@pytest.mark.parametrize(
    ("rate", "text"),
    [(None, "n/a"), (1.0, "100%"), (0.0, "0%"), (2 / 3, "66.7%"), (0.99999, "99.9%"), (0.00001, "0.1%")],
)
def test_a_share_is_whole_only_when_it_is(rate: float | None, text: str) -> None:
    assert share(rate) == text


def test_small_words() -> None:
    assert (times(2.85), times(None)) == ("2.9x", "n/a")
    assert (counted(1, "cell"), counted(2, "cell"), counted(0, "cell")) == ("1 cell", "2 cells", "0 cells")
    assert (fit("abcdef", 6), fit("abcdef", 4), fit("abcdef", 0)) == ("abcdef", "abc…", "…")
