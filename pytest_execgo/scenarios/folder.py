"""A scenario's folder: paths that stay within it, and a digest of what it holds."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_BYPRODUCTS = frozenset({"__pycache__", ".git", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis", ".DS_Store"})


def outside(relative: str) -> str | None:
    """Say why a relative path can't be meant to lie beneath a folder, or None if it can."""
    path = PurePosixPath(relative)
    if not relative.strip() or "\0" in relative:
        return "names no file"
    if path.is_absolute():
        return "is absolute"
    return "contains '..'" if ".." in path.parts else None


def leaves(folder: Path, path: Path) -> bool:
    """Tell whether a path, its symbolic links followed, lies outside of a folder."""
    return not path.resolve().is_relative_to(folder.resolve())


def files_of(folder: Path) -> Iterator[Path]:
    """Yield every file and symbolic link in a folder that matters to its meaning, sorted; byproducts of tools are left out."""
    found = []
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in _BYPRODUCTS]
        linked = [name for name in folders if (Path(root) / name).is_symlink()]
        found += [Path(root) / name for name in [*files, *linked] if name not in _BYPRODUCTS and not name.endswith(".pyc")]
    plain = (path for path in found if path.is_symlink() or path.is_file())  # a pipe or a socket has no content
    yield from sorted(plain, key=lambda path: path.relative_to(folder).as_posix())


def digest_of(folder: Path) -> str:
    """Return the SHA-256 (hex) over the relative path and the bytes of each file of a folder."""
    total = hashlib.sha256()
    for path in files_of(folder):
        for part in (path.relative_to(folder).as_posix().encode("utf-8", "surrogateescape"), _content(path)):
            total.update(len(part).to_bytes(8, "big"))  # lengths keep the parts apart
            total.update(part)
    return total.hexdigest()


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else os.fsencode(path.readlink())
