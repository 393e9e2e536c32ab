"""Files beneath given folders, and nothing else: every step of a path is opened by itself, without following links.

Links are followed, but by us, one at a time and only to where the folders allow. What is checked is what is held open, so a
name that is swapped for a link meanwhile leads to an error, never to the outside.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat as modes
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_MAX_LINKS = 40
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SAFE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class PathRefused(OSError):
    """A path that leads to where it must not; `reason` says why, in the place of an error number's text."""

    def __init__(self, reason: str) -> None:
        super().__init__(errno.EACCES, reason)
        self.reason = reason

    @classmethod
    def outside(cls) -> PathRefused:
        """Build the error for a path that leaves the folders."""
        return cls("path escapes from the file roots")

    @classmethod
    def special(cls) -> PathRefused:
        """Build the error for a FIFO, a device, a socket."""
        return cls("not a regular file")


@dataclass(frozen=True, slots=True)
class _Place:
    """A name in a folder that is held open; the name was no link when it was looked at, unless links were not asked after."""

    folder: int
    name: str


class Beneath:
    """The file tool's files, beneath `roots` (absolute paths). Errors are `OSError`s; `ValueError` for a NUL byte."""

    def __init__(self, roots: Sequence[str]) -> None:
        self._roots = sorted(roots, key=len, reverse=True)

    def open(self, path: str, flags: int) -> int:
        """Open a regular file and return its descriptor; one that is to be made gets mode 0644."""
        with self._place(path) as place:
            fd = os.open(place.name, flags | _SAFE, 0o644, dir_fd=place.folder)
        try:
            kind = os.fstat(fd).st_mode
            if modes.S_ISDIR(kind):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            if not modes.S_ISREG(kind):
                raise PathRefused.special()
        except OSError:
            os.close(fd)
            raise
        return fd

    def make_parents(self, path: str) -> None:
        """Make the folders above a path."""
        with self._place(path, make=True):
            return

    def remove(self, path: str) -> None:
        """Remove a file, a link itself, or an empty folder; never a root."""
        with self._place(path, follow=False) as place:
            if place.name == ".":
                raise PathRefused("a file root can't be removed")
            kind = os.stat(place.name, dir_fd=place.folder, follow_symlinks=False).st_mode
            if modes.S_ISDIR(kind):
                os.rmdir(place.name, dir_fd=place.folder)
            else:
                os.unlink(place.name, dir_fd=place.folder)

    def stat(self, path: str) -> os.stat_result:
        """Describe a regular file or a folder."""
        with self._place(path) as place:
            info = os.stat(place.name, dir_fd=place.folder, follow_symlinks=False)
        if not (modes.S_ISREG(info.st_mode) or modes.S_ISDIR(info.st_mode)):
            raise PathRefused.special()
        return info

    @contextlib.contextmanager
    def _place(self, path: str, *, follow: bool = True, make: bool = False) -> Iterator[_Place]:
        """Walk to the folder that a path's last name is in, and hold it open."""
        with contextlib.ExitStack() as held:
            yield self._walk(held, path, follow, make)

    def _walk(self, held: contextlib.ExitStack, path: str, follow: bool, make: bool) -> _Place:
        if "\0" in path:
            raise ValueError("embedded null byte")
        root, steps = self._start(os.path.join(os.getcwd(), path))  # noqa: PTH109, PTH118
        folders = [_opened(held, root, None)]
        ahead = deque(steps)
        links = 0
        while ahead:
            name = ahead.popleft()
            if name in ("", "."):
                continue
            if name == "..":
                if len(folders) == 1:
                    raise PathRefused.outside()
                folders.pop()
                continue
            last = not any(step not in ("", ".") for step in ahead)
            target = _link(folders[-1], name)
            if target is not None and (follow or not last):
                links += 1
                if links > _MAX_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                if target.startswith("/"):
                    root, steps = self._start(target)
                    folders = [_opened(held, root, None)]
                    ahead = deque([*steps, *ahead])
                else:
                    ahead.extendleft(reversed(target.split("/")))
            elif last:
                return _Place(folders[-1], name)
            else:
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(name, 0o755, dir_fd=folders[-1])
                folders.append(_opened(held, name, folders[-1]))
        return _Place(folders[-1], ".")

    def _start(self, absolute: str) -> tuple[str, list[str]]:
        """Return the root that a path begins with and the steps from there; what `..` does to them is seen on the way."""
        steps = [step for step in absolute.split("/") if step not in ("", ".")]
        for root in self._roots:
            prefix = [step for step in root.split("/") if step]
            if steps[: len(prefix)] == prefix:
                return root, steps[len(prefix) :]
        raise PathRefused.outside()


def _opened(held: contextlib.ExitStack, name: str, folder: int | None) -> int:
    fd = os.open(name, _FOLDER if folder is not None else _FOLDER & ~os.O_NOFOLLOW, dir_fd=folder)
    held.callback(os.close, fd)
    return fd


def _link(folder: int, name: str) -> str | None:
    """Return where a link leads; None for what is no link, or is not there."""
    try:
        return os.readlink(name, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):
            return None
        raise
