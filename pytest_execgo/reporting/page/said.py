"""What was said, in its own lines or in one. What is too long loses its middle: the last line of a traceback tells most."""

from __future__ import annotations

from pytest_execgo.reporting.text import one_line, printable

_BREAK = " ⏎ "
_TAB = 4


def ends(value: object, limit: int) -> str:
    """Render a value as one line; of more than `limit` characters head and tail, and between them how many were left out."""
    line = one_line(value)
    if len(line) <= limit:
        return line
    half = limit // 2
    head, tail = line[: limit - half], line[-half:]
    tail = tail.partition(_BREAK)[2] or tail
    return f"{head.rstrip()} … (+{len(line) - len(head) - len(tail)} characters) … {tail.lstrip()}"


def block(value: object, limit: int) -> str:
    r"""Render a value in its own lines, parted by `\n`; of more than `limit` characters the first and the last lines."""
    text = "\n".join(printable(line.expandtabs(_TAB).rstrip()) for line in str(value).strip().splitlines())
    if len(text) <= limit:
        return text
    if "\n" not in text:
        return ends(text, limit)
    half = limit // 2
    head, tail = text[: limit - half], text[-half:]
    head, tail = head.rpartition("\n")[0] or head, tail.partition("\n")[2] or tail
    return f"{head}\n… (+{len(text) - len(head) - len(tail)} characters)\n{tail}"
