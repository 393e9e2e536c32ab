"""Files that are absent or whole, and names that may become paths."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from pytest_execgo.core.errors import UsageError

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,119}\Z")


def write_atomic(path: Path, data: str | bytes) -> None:
    r"""Write a file whole or not at all: a temporary neighbour, synced, then renamed over the target.

    Text is UTF-8; lone surrogates, which UTF-8 can't carry, become `\udXXX` escapes.
    """
    raw = data.encode("utf-8", "backslashreplace") if isinstance(data, str) else data
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, temporary = tempfile.mkstemp(prefix=f".{path.name[:60]}.", dir=path.parent)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def checked_name(what: str, name: str) -> str:
    """Return `name` if it may become part of a path, else raise `UsageError`.

    Letters, digits, `_`, `-` and `.`, not starting with `.` or `-`, at most 120 characters.
    """
    if not _NAME.match(name):
        raise UsageError(
            "bad_name",
            f"{what} {name[:80]!r} can't be used as a name",
            "use 1 to 120 letters, digits, '_', '-' and '.', starting with a letter, a digit or '_'",
        )
    return name
