"""file: read, write, append, delete, stat; anywhere, or beneath the folders that the kernel was given."""

from __future__ import annotations

import asyncio
import errno
import os
import stat as modes
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

from pytest_execgo.kernel.executors.tools.beneath import Beneath, PathRefused
from pytest_execgo.kernel.executors.tools.tool import DeadlineExceeded, ToolContext, ToolError, parameters
from pytest_execgo.kernel.golang import kinds
from pytest_execgo.kernel.golang.text import decode_utf8, errno_text, json_object, quote
from pytest_execgo.kernel.golang.time import time_text

READ_MAX = 64 * 1024 * 1024  # bytes; ours: the real one reads until memory ends
_PARAMS = kinds.Struct(
    "FileParams",
    "executor.FileParams",
    {"action": kinds.String(), "path": kinds.String(), "content": kinds.String()},
)


class Files(Protocol):
    """Where the tool's files are. Errors are `OSError`s, `ValueError` for a NUL byte."""

    def open(self, path: str, flags: int) -> int:
        """Open a file and return its descriptor."""

    def make_parents(self, path: str) -> None:
        """Make the folders above a path."""

    def remove(self, path: str) -> None:
        """Remove a file or an empty folder."""

    def stat(self, path: str) -> os.stat_result:
        """Describe what is at a path."""


async def file(params: str | None, context: ToolContext) -> str:
    """Do one thing to one file; a relative path starts at the service's working folder."""
    given = parameters("file", params, _PARAMS)
    path: str = given.get("path") or ""
    if not path:
        raise ToolError("path is required")
    path = clean(path)
    action: str = given.get("action") or ""
    content: str = given.get("content") or ""
    roots = context.settings.policy.file_roots
    files: Files = Anywhere() if roots is None else Beneath(roots)
    actions: dict[str, Callable[[], str]] = {
        "read": partial(_read, files, path),
        "write": partial(_write, files, path, content, os.O_TRUNC),
        "append": partial(_write, files, path, content, os.O_APPEND),
        "delete": partial(_delete, files, path),
        "stat": partial(_stat, files, path),
    }
    if action not in actions:
        raise ToolError(f"unknown action {quote(action)} (supported: read, write, append, delete, stat)")
    try:
        async with asyncio.timeout(context.timeout):
            return await context.threads.run(actions[action])
    except TimeoutError as error:
        raise DeadlineExceeded from error


def clean(path: str) -> str:
    """Tidy a path as Go's `filepath.Clean` does: by its text alone; two leading slashes are one."""
    tidy = os.path.normpath(path)
    return tidy[1:] if tidy.startswith("//") else tidy


class Anywhere:
    """Every file that the service itself can reach, as in ExecGo."""

    def open(self, path: str, flags: int) -> int:
        """Open a file; a FIFO without a partner does not hold us up."""
        return os.open(path, flags | os.O_NONBLOCK, 0o644)

    def make_parents(self, path: str) -> None:
        """Make the folders above a path."""
        os.makedirs(os.path.dirname(path) or ".", 0o755, exist_ok=True)  # noqa: PTH103, PTH120

    def remove(self, path: str) -> None:
        """Remove a file or an empty folder; the error is the one that Go would tell."""
        try:
            Path(path).unlink()
        except (OSError, ValueError) as first:
            try:
                Path(path).rmdir()
            except (OSError, ValueError) as second:
                if getattr(second, "errno", None) == errno.ENOTDIR:
                    raise first from None
                raise

    def stat(self, path: str) -> os.stat_result:
        """Describe what is at a path, behind any links."""
        return Path(path).stat()


def _failure(what: str, verb: str, path: str, error: Exception) -> ToolError:
    if isinstance(error, PathRefused):
        return ToolError(f"{what}: {verb} {path}: {error.reason}")
    reason = errno_text(error) if isinstance(error, OSError) else "invalid argument"  # ValueError: a NUL byte
    return ToolError(f"{what}: {verb} {path}: {reason}")


def _read(files: Files, path: str) -> str:
    try:
        with os.fdopen(files.open(path, os.O_RDONLY), "rb") as source:
            data = source.read(READ_MAX + 1) or b""
    except (OSError, ValueError) as error:
        raise _failure("read file", "read" if isinstance(error, IsADirectoryError) else "open", path, error) from error
    if len(data) > READ_MAX:
        raise ToolError(f"read file: {path} is larger than {READ_MAX} bytes")
    return json_object(content=decode_utf8(data), size=len(data))


def _write(files: Files, path: str, content: str, how: int) -> str:
    _make_parents(files, path)
    data = content.encode()
    try:
        target = files.open(path, os.O_WRONLY | os.O_CREAT | how)
    except (OSError, ValueError) as error:
        raise _failure("open file", "open", path, error) from error
    try:
        with os.fdopen(target, "wb") as stream:
            stream.write(data)
    except OSError as error:
        raise _failure("write file", "write", path, error) from error
    return json_object(bytes_written=len(data))


def _make_parents(files: Files, path: str) -> None:
    parent = os.path.dirname(path) or "."  # noqa: PTH120 - texts in errors must be as Go forms them
    try:
        files.make_parents(path)
    except PathRefused as error:
        raise _failure("create directory", "mkdir", parent, error) from error
    except (FileExistsError, NotADirectoryError) as error:
        while not os.path.lexists(parent):
            parent = os.path.dirname(parent)  # noqa: PTH120
        raise ToolError(f"create directory: mkdir {parent}: not a directory") from error
    except (OSError, ValueError) as error:
        raise _failure("create directory", "mkdir", str(getattr(error, "filename", None) or parent), error) from error


def _delete(files: Files, path: str) -> str:
    try:
        files.remove(path)
    except (OSError, ValueError) as error:
        raise _failure("delete file", "remove", path, error) from error
    return json_object(deleted=True)


def _stat(files: Files, path: str) -> str:
    try:
        info = files.stat(path)
    except (OSError, ValueError) as error:
        raise _failure("stat file", "stat", path, error) from error
    return json_object(
        name=os.path.basename(path) or "/",  # noqa: PTH119
        size=info.st_size,
        mode=mode_text(info.st_mode),
        mod_time=time_text(info.st_mtime_ns),
        is_dir=modes.S_ISDIR(info.st_mode),
    )


def mode_text(mode: int) -> str:
    """Return a mode as Go's `fs.FileMode` prints it: letters for what is special, then the nine permission letters."""
    letters = (
        ("d", modes.S_ISDIR(mode)),
        ("L", modes.S_ISLNK(mode)),
        ("D", modes.S_ISBLK(mode) or modes.S_ISCHR(mode)),
        ("p", modes.S_ISFIFO(mode)),
        ("S", modes.S_ISSOCK(mode)),
        ("u", bool(mode & modes.S_ISUID)),
        ("g", bool(mode & modes.S_ISGID)),
        ("c", modes.S_ISCHR(mode)),
        ("t", bool(mode & modes.S_ISVTX)),
    )
    special = "".join(letter for letter, present in letters if present) or "-"
    return special + "".join(letter if mode & (1 << (8 - bit)) else "-" for bit, letter in enumerate("rwxrwxrwx"))
