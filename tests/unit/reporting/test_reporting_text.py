"""Any string becomes one printable line; figures read the same everywhere."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_execgo.reporting.text import abridged, counted, duration, fit, lines_of, one_line, share, times, wrapped

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
@given(ANYTHING, st.integers(1, 90), st.integers(0, 90))
def test_a_cut_makes_a_text_shorter(text: str, limit: int, blanks: int) -> None:
    text = f"x{text}{' ' * blanks}y"
    whole, cut = one_line(text), one_line(text, limit)
    assert cut == whole or len(cut) < len(text)
    assert len(cut) <= limit + len("… (+1234567 characters)")


def test_what_is_no_longer_than_its_note_is_not_cut() -> None:
    assert one_line("dependency people:1 failed", 21) == "dependency people:1 failed"
    note = "… (+19 characters)"
    assert one_line("x" * 10 + "y" * len(note), 10).endswith("xy" + "y" * (len(note) - 1))
    assert one_line("x" * 10 + "y" * 19, 10) == "x" * 10 + note
    assert one_line("x" + " " * 60 + "y", 10) == "x y", "what is not looked at is more than a note"


def test_lines_keep_their_indentation() -> None:
    assert lines_of("expected:\n  a: 1\n  b: 2\ngot:\n  a: 1") == ["expected:", "  a: 1", "  b: 2", "got:", "  a: 1"]
    assert lines_of(" it died\n    hint: do   this\n\n \n      then that\n") == ["it died", "hint: do   this", "", "  then that"]
    assert lines_of("a\n\tb\r\n\t\tc\x1b\u2028\t d ") == ["a", "b", "        c\ufffd", " d"]
    assert lines_of("") == [""]


@settings(deadline=None)
@given(st.text("ab \n\t\x0b", max_size=400) | ANYTHING, st.integers(7, 12))
def test_abridged_lines_stay_within_bounds(text: str, most: int) -> None:
    lines = abridged(lines_of(text), most, 60, 3)
    assert 1 <= len(lines) <= most
    assert all(len(line) <= 60 and len(line.splitlines()) <= 1 for line in lines)


def test_of_many_lines_the_first_and_the_last_are_left() -> None:
    lines = [f"line {number}" for number in range(20)]
    assert abridged(lines[:7], 7, 60, 3) == lines[:7]
    assert abridged(lines[:8], 7, 60, 3) == [*lines[:3], "… 2 more lines, in result.json", *lines[5:8]]
    assert abridged(lines, 7, 60, 3) == [*lines[:3], "… 14 more lines, in result.json", *lines[-3:]]


def test_a_long_line_is_folded_at_its_own_depth() -> None:
    lines = abridged(["a", f"    {'word ' * 14}end", f"{' ' * 50}^^^"], 7, 60, 3)
    assert lines == ["a", f"    {'word ' * 11}".rstrip(), f"    {'word ' * 3}end", f"{' ' * 50}^^^"]
    deep = abridged([f"{' ' * 3_000}{'word ' * 999}end"], 7, 60, 3)
    assert [len(line) - len(line.lstrip()) for line in deep] == [30] * 3
    shown = " ".join(line.strip() for line in deep).partition("…")[0]
    assert deep[2].endswith(f"… (+{len('word ' * 999 + 'end') - len(shown)} characters)")


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
