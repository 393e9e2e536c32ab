"""A journal read back: in pieces for clients, and its end for the next life of the kernel. Files are given as descriptors."""

from __future__ import annotations

import json
import os
import re

from pytest_execgo.core.errors import UsageError

MAX_ANSWER = 4 * 1024 * 1024
"""Bytes of lines in one answer, unless a single line has more."""
_TAIL = 4 * 1024 * 1024  # bytes; what ended in the last commit of a life has rows within its last moments
_BEGINNING = b'{"seq":'
_MAX_AFTER = 2**63 - 1
# a quote inside of a string is escaped, so that this can't be part of one
_ROW = re.compile(rb'"f":"(accept|recover|end|skip|cancel|persist|delete|stop)","task":("(?:[^"\\]|\\.)*"|null)')
_SETTLED = (b"persist", b"delete")


def looks_like_history(file: int) -> bool:
    """Tell whether a file that is not empty begins as a journal does, as far as it goes."""
    start = os.pread(file, len(_BEGINNING), 0)
    return _BEGINNING.startswith(start)


def last_line_end(file: int) -> int:
    """Return where the last whole line of a file ends."""
    end = os.fstat(file).st_size
    while end:
        begin = max(0, end - 65_536)
        at = os.pread(file, end - begin, begin).rfind(b"\n")
        if at >= 0:
            return begin + at + 1
        end = begin
    return 0


def unsettled(file: int) -> list[str]:
    """Return the tasks that the last life said something of without saying that they are over; none after a clean stop."""
    size = os.fstat(file).st_size
    tasks: dict[bytes, None] = {}
    for f, task in _ROW.findall(os.pread(file, _TAIL, max(0, size - _TAIL))):
        if f == b"stop":
            tasks.clear()
        elif f in _SETTLED:
            tasks.pop(task, None)
        else:
            tasks[task] = None
    return [json.loads(task) for task in tasks]


def read_after(text: str) -> int:
    """Read the number of bytes that a client has already; `UsageError` if it is none."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 19 and int(text) <= _MAX_AFTER):
        raise UsageError("bad_after", f"after must be a whole number from 0 to {_MAX_AFTER} (got {text[:40]!r})")
    return int(text)


def read_lines(file: int, after: int) -> tuple[list[str], int]:
    """Return the whole lines behind byte `after`, as many as go into an answer, and where they end.

    `UsageError` when no line begins there.
    """
    size = os.fstat(file).st_size
    if after > size or (after and os.pread(file, 1, after - 1) != b"\n"):
        raise UsageError("bad_after", f"after={after} is not where a line of the history begins ({size} bytes)")
    most = MAX_ANSWER
    while True:
        data = os.pread(file, min(most, size - after), after)
        end = data.rfind(b"\n") + 1
        if end or most >= size - after:
            return data[:end].decode().split("\n")[:-1], after + end
        most *= 2
