"""Copies the files that a command begins with, and gives them to its user. Standard library only."""

from __future__ import annotations

import os
import stat

_PIECE = 1 << 20


def copy(source: str, target: str) -> int:
    """Copy a folder's files, folders and links, links as what they are, and return how many bytes the files have.

    `OSError` for anything else in it, and for a full disk.
    """
    copied = 0
    os.mkdir(target, 0o700)  # noqa: PTH102 - pathlib would double the start-up
    with os.scandir(source) as entries:
        for entry in entries:
            inside = f"{target}/{entry.name}"
            if entry.is_symlink():
                os.symlink(os.readlink(entry.path), inside)  # noqa: PTH115, PTH211
            elif entry.is_dir(follow_symlinks=False):
                copied += copy(entry.path, inside)
            elif entry.is_file(follow_symlinks=False):
                copied += _copy_file(entry.path, inside)
            else:
                raise OSError(22, f"{entry.path} is neither a file nor a folder")
    return copied


def _copy_file(source: str, target: str) -> int:
    copied = 0
    reading = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        mode = stat.S_IMODE(os.fstat(reading).st_mode) & 0o777
        writing = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            while piece := memoryview(os.read(reading, _PIECE)):
                copied += len(piece)
                while piece:
                    piece = piece[os.write(writing, piece) :]
        finally:
            os.close(writing)
    finally:
        os.close(reading)
    return copied


def give(path: str, uid: int | None) -> None:
    """Make a user the owner of a folder and of all beneath it; None changes nothing."""
    if uid is None:
        return
    os.chown(path, uid, uid, follow_symlinks=False)
    if os.path.isdir(path) and not os.path.islink(path):  # noqa: PTH112, PTH114
        with os.scandir(path) as entries:
            for entry in entries:
                give(entry.path, uid)
