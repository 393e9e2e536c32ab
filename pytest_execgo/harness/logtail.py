"""The end of a log file."""

from __future__ import annotations

from pathlib import Path

_BLOCK = 64 * 1024
_MOST = 4 * 1024 * 1024
_QUOTED = 20


def quoted_end(path: Path, *, since: int = 0) -> str:
    """Return the last 20 lines written at or after byte `since`, marked as a quotation, for the text of an error."""
    lines = last_lines(path, _QUOTED, since=since).splitlines()
    return "\n".join(f"  | {line}" for line in lines) or "  (nothing was written)"


def last_lines(path: Path, count: int, *, since: int = 0) -> str:
    """Return the last `count` lines written at or after byte `since`, at most 4 MiB; "" when there is no such file.

    Bytes that are not UTF-8 become U+FFFD.
    """
    if count <= 0 or not path.exists():
        return ""
    with path.open("rb") as file:
        position = file.seek(0, 2)
        since = max(since, position - _MOST)
        data = b""
        while position > since and data.count(b"\n") <= count:
            start = max(since, position - _BLOCK)
            file.seek(start)
            data = file.read(position - start) + data
            position = start
    return b"".join(data.splitlines(keepends=True)[-count:]).decode("utf-8", "replace")
