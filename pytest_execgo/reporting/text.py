"""Strings that may hold anything, made fit for a line of a report."""

from __future__ import annotations

import re
import textwrap

NOT_APPLICABLE = "n/a"

# C0 and C1 controls, lone surrogates, non-characters, and what reorders the text around it (bidirectional controls)
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
_LINE_BREAKS = re.compile("[ \t]*(?:\r\n|[\n\r\x0b\x0c\x85\u2028\u2029])\\s*")
_SPACES = re.compile("[ \t]+")
_READ_AHEAD = 4  # how many times its limit of a text is looked at: what is beyond that can't be seen


def one_line(value: object, limit: int = 0) -> str:
    """Render a value as one line that nothing in it can break out of.

    Line breaks become `⏎`, runs of blanks one blank, other control characters, lone surrogates and text direction
    controls `�`. With a `limit`, longer texts are cut and end with how many characters were.
    """
    text = str(value).strip()
    shown = text[: limit * _READ_AHEAD] if limit else text
    line = _LINE_BREAKS.sub(" ⏎ ", shown)
    line = _UNPRINTABLE.sub("\ufffd", _SPACES.sub(" ", line))
    hidden = len(text) - len(shown)
    if not limit or (len(line) <= limit and not hidden):
        return line
    kept = line[:limit]
    return f"{kept.rstrip()}… (+{len(line) - len(kept) + hidden} characters)"


def inert(line: str) -> str:
    """Return a line of which GitHub's runner, which reads the log, takes nothing for an order (`::error::`, `##[error]`)."""
    line = line.replace("##[", "# #[")
    return line.replace("::", ": :", 1) if line.lstrip().startswith("::") else line


def wrapped(value: object, width: int, most: int) -> list[str]:
    """Render a value as at most `most` lines of `width` characters; when cut, the last ends with how many characters were."""
    text = str(value).strip()
    shown = text[: width * most * _READ_AHEAD]
    line = one_line(shown)
    lines = textwrap.wrap(line, width, break_on_hyphens=False)
    if len(lines) <= most and len(shown) == len(text):
        return lines
    lines = lines[:most]
    note = "… (+{} characters)"
    lines[-1] = lines[-1][: width - len(note) - 8].rstrip()
    seen = 0
    for part in lines:  # wrapping drops blanks, and breaks within long words
        seen = line.index(part, seen) + len(part)
    return [*lines[:-1], lines[-1] + note.format(len(line) - seen + len(text) - len(shown))]


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
