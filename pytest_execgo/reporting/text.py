"""Strings that may hold anything, made fit for a line of a report."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

NOT_APPLICABLE = "n/a"

# C0 and C1 controls, lone surrogates, non-characters, and what reorders the text around it (bidirectional controls)
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
_LINE_BREAKS = re.compile("[ \t]*(?:\r\n|[\n\r\x0b\x0c\x85\u2028\u2029])\\s*")
_SPACES = re.compile("[ \t]+")
_READ_AHEAD = 4  # how many times its limit of a text is looked at: what is beyond that can't be seen
_LONGEST_NOTE = 40  # characters: what is not looked at is more than the note that says so


def one_line(value: object, limit: int = 0) -> str:
    """Render a value as one line that nothing in it can break out of.

    Line breaks become `⏎`, runs of blanks one blank, other control characters, lone surrogates and text direction
    controls `�`. With a `limit`, longer texts are cut and end with how many characters were, unless that is no shorter.
    """
    text = str(value).strip()
    shown = _start(text, limit * _READ_AHEAD) if limit else text
    line = _LINE_BREAKS.sub(" ⏎ ", shown)
    line = printable(_SPACES.sub(" ", line))
    kept = line[:limit]
    hidden = len(line) - len(kept) + len(text) - len(shown)
    note = f"… (+{hidden} characters)"
    return f"{kept.rstrip()}{note}" if limit and hidden > len(note) else line


def printable(text: str) -> str:
    """Replace control characters, lone surrogates and text direction controls by `�`; blanks stay as they are."""
    return _UNPRINTABLE.sub("\ufffd", text)


def lines_of(value: object) -> list[str]:
    """Split a value into its lines, each printable as in `one_line`, but with its blanks; tabs become blanks.

    The lines after the first keep their indentation relative to one another. Empty lines in a row are one.
    """
    first, *others = [line.expandtabs() for line in str(value).strip().splitlines()] or [""]
    dedented = textwrap.dedent("\n".join(others)).split("\n") if others else []
    lines = [printable(line).rstrip() for line in (first, *dedented)]
    return [line for index, line in enumerate(lines) if line or index == 0 or lines[index - 1]]


def abridged(lines: Sequence[str], most: int, width: int, fold: int) -> list[str]:
    """Return lines (of `lines_of`), each folded to at most `fold` of `width` characters; `most` in all, 2 * fold + 1 or more.

    Of too many, the first ones and the last ones are left, which say most; between them, how many more there are.
    """
    if len(lines) <= most:
        whole = [part for line in lines for part in _laid_out(line, width, fold)]
        if len(whole) <= most:
            return whole
    tail = _leading(lines[::-1], most // 2, width, fold)
    room = most - 1 - sum(map(len, tail))
    head = _leading(lines[: len(lines) - len(tail)], room, width, fold)
    note = f"… {counted(len(lines) - len(head) - len(tail), 'more line')}, in result.json"
    return [*(part for parts in head for part in parts), note, *(part for parts in tail[::-1] for part in parts)]


def _leading(lines: Sequence[str], room: int, width: int, fold: int) -> list[list[str]]:
    """Return the first lines, each folded, as many as there is room for."""
    found: list[list[str]] = []
    for line in lines:
        parts = _laid_out(line, width, fold)
        room -= len(parts)
        if room < 0:
            break
        found.append(parts)
    return found


def inert(line: str) -> str:
    """Return a line of which GitHub's runner, which reads the log, takes nothing for an order (`::error::`, `##[error]`)."""
    line = line.replace("##[", "# #[")
    return line.replace("::", ": :", 1) if line.lstrip().startswith("::") else line


def wrapped(value: object, width: int, most: int) -> list[str]:
    """Render a value as at most `most` lines of `width` characters; when cut, the last ends with how many characters were."""
    text = str(value).strip()
    shown = _start(text, width * most * _READ_AHEAD)
    return _folded(one_line(shown), width, most, len(text) - len(shown))


def _laid_out(line: str, width: int, most: int) -> list[str]:
    """Fold a line that keeps its blanks: what goes on is as deep as its first."""
    if len(line) <= width:
        return [line]
    body = line.lstrip(" ")
    shown = _start(body, width * most * _READ_AHEAD)
    return _folded(shown, width, most, len(body) - len(shown), " " * min(len(line) - len(body), width // 2))


def _folded(line: str, width: int, most: int, hidden: int, indent: str = "") -> list[str]:
    lines = textwrap.wrap(line, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
    if len(lines) <= most and not hidden:
        return lines
    lines = lines[:most]
    note = "… (+{} characters)"
    lines[-1] = lines[-1][: width - len(note) - 8].rstrip()
    seen = 0
    for part in lines:  # wrapping drops blanks, and breaks within long words
        kept = part[len(indent) :]
        seen = line.index(kept, seen) + len(kept)
    return [*lines[:-1], lines[-1] + note.format(len(line) - seen + hidden)]


def _start(text: str, most: int) -> str:
    """Return what of a text is looked at: all, or so many characters of it."""
    return text if len(text) <= most + _LONGEST_NOTE else text[:most]


def fit(text: str, width: int) -> str:
    """Shorten a one-line text to `width` characters, the last of which is then `…`."""
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"


def duration(ms: float | None) -> str:
    """Render milliseconds for people: `0.07 ms`, `12.3 ms`, `914 ms`, `8.20 s`, `2 min 5 s`; `n/a` for None."""
    if ms is None:
        return NOT_APPLICABLE
    if ms < 0.9995:
        return f"{ms:.2f} ms"
    if ms < 99.95:
        return f"{ms:.1f} ms"
    if ms < 999.5:
        return f"{ms:.0f} ms"
    if ms < 59_995:
        return f"{ms / 1000:.2f} s"
    minutes, seconds = divmod(round(ms / 1000), 60)
    return f"{minutes} min {seconds} s"


def times(ratio: float | None) -> str:
    """Render a ratio: `2.9x`; `n/a` for None."""
    return NOT_APPLICABLE if ratio is None else f"{ratio:.1f}x"


def share(rate: float | None) -> str:
    """Render a rate of 0..1 as a percentage: `66.7%`; `n/a` for None. What is not all or nothing never reads as that."""
    if rate is None:
        return NOT_APPLICABLE
    text = f"{rate:.1%}"
    if text == "100.0%":
        return "100%" if rate >= 1 else "99.9%"
    if text == "0.0%":
        return "0%" if rate <= 0 else "0.1%"
    return text


def counted(count: int, noun: str) -> str:
    """Render a count with its noun: `1 cell`, `2 cells`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
