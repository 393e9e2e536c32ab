"""A bound on what a WASI module writes: the calls that take disk are asked about before they happen.

WASI has no quota, and a caller of its functions is known by the memory that it exports. So each such call goes through two small
modules: the guest calls a `front`, which is there before the guest is, and that calls a `back`, which has the guest's memory and
asks us before it calls the real function. Part of the program in `wasm_engine.py`: standard library only.
"""

from __future__ import annotations

import contextlib
import os
import stat
import struct
from collections.abc import Mapping, Sequence
from typing import Protocol

WASI = "wasi_snapshot_preview1"
WRITES = ("fd_write", "fd_pwrite", "fd_allocate")
MAKES = ("path_open", "path_create_directory", "path_symlink", "path_link")
MOVES = ("fd_close", "fd_renumber")
GATED = (*WRITES, *MAKES, *MOVES)
"""What may take disk, and what may turn one of the standard streams into a file."""

_INVALID, _NO_SPACE = 28, 51  # WASI's EINVAL and ENOSPC
_CREATE = 1  # among the flags of path_open
_MOST_PIECES = 1024  # of one write, as IOV_MAX is
_BLOCK = 4096
_SECTOR = 512  # what st_blocks counts, whatever the file system
_MOST = 2**64 - 1
_ENTRY = 1024  # what a name and its inode are counted as


class Memory(Protocol):
    """The guest's memory, as far as the budget needs it."""

    def read(self, start: int, size: int) -> bytes:
        """Return `size` bytes from `start`, or less where the memory ends before: a multiple of 8."""


class DiskBudget:
    """Counts what is written, never too little, and looks at the folders themselves where that count has reached the bound."""

    def __init__(self, folder: str, bound: int, mounted: Sequence[str] = ()) -> None:
        """Bound, in bytes, what is in `folder` and what others that are `mounted` grow by, together."""
        self._folders = (folder, *mounted)
        self._bound = bound + sum(map(used, mounted)) + nameless()
        self._left = 0
        self._streams = {1, 2}
        self.exhausted = False
        """Whether a call was refused."""

    def admit(self, call: str, arguments: Sequence[int], memory: Memory) -> int:
        """Return the error with which the call is refused, 0 for none. `arguments` are those of the WASI function `call`."""
        if call in MOVES:
            self._streams.difference_update(arguments)
            return 0
        if call == "path_open":
            return self._take(_ENTRY + _BLOCK) if arguments[4] & _CREATE else 0
        if call in MAKES:
            return self._take(_ENTRY + _BLOCK)
        if arguments[0] in self._streams:
            return 0
        if call == "fd_allocate":
            return self._take((arguments[2] & _MOST) + 2 * _BLOCK)
        where, pieces = arguments[1] & 0xFFFFFFFF, arguments[2] & 0xFFFFFFFF
        if pieces > _MOST_PIECES:
            return _INVALID
        lengths = struct.iter_unpack("<4xI", memory.read(where, 8 * pieces))
        return self._take(sum(length for (length,) in lengths) + 2 * _BLOCK)  # it may touch a block at either end

    def _take(self, size: int) -> int:
        if size > self._left:
            self._left = self._room()
        if size > self._left:
            self.exhausted = True
            return _NO_SPACE
        self._left -= size
        return 0

    def _room(self) -> int:
        try:
            return self._bound - sum(map(used, self._folders)) - nameless()
        except OSError:  # a folder that can't be looked into, such as one that is too deep: it may hold anything
            return 0


def nameless() -> int:
    """Return what files take that this process has open and that have no name any more, in bytes."""
    total = 0
    for name in os.listdir("/dev/fd"):  # noqa: PTH208
        with contextlib.suppress(OSError):  # the one by which the names were listed
            about = os.fstat(int(name))
            total += about.st_blocks * _SECTOR if stat.S_ISREG(about.st_mode) and not about.st_nlink else 0
    return total


def used(folder: str) -> int:
    """Return what a folder takes on the disk, in bytes; a name in it is counted too, holes in files are not."""
    total, pending = 0, [folder]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                about = entry.stat(follow_symlinks=False)
                total += about.st_blocks * _SECTOR + _ENTRY
                if stat.S_ISDIR(about.st_mode):
                    pending.append(entry.path)
    return total


def front(signatures: Mapping[str, Sequence[str]]) -> str:
    """Return the text of the module that the guest calls; `signatures` are the parameters' types by function."""
    functions = [
        f'(func (export "{name}") {_type(types)} {_arguments(types)} i32.const {index} call_indirect {_type(types)})'
        for index, (name, types) in enumerate(signatures.items())
    ]
    return f'(module (table (export "gates") {len(signatures)} funcref) {" ".join(functions)})'


def back(signatures: Mapping[str, Sequence[str]]) -> str:
    """Return the text of the module that asks `may` and then WASI; started, it fills the `gates` of the front."""
    imports = [
        f'(import "may" "{name}" (func $may_{name} {_type(types)})) (import "{WASI}" "{name}" (func $wasi_{name} {_type(types)}))'
        for name, types in signatures.items()
    ]
    functions = [
        f"(func ${name} {_type(types)} (local i32) {_arguments(types)} call $may_{name} local.tee {len(types)} "
        f"(if (result i32) (then local.get {len(types)}) (else {_arguments(types)} call $wasi_{name})))"
        for name, types in signatures.items()
    ]
    gates = " ".join(f"${name}" for name in signatures)
    return (
        f'(module (import "guest" "memory" (memory 0)) (import "front" "gates" (table {len(signatures)} funcref)) '
        f'{" ".join(imports)} (export "memory" (memory 0)) {" ".join(functions)} (elem (i32.const 0) {gates}))'
    )


def _type(types: Sequence[str]) -> str:
    return f"(param {' '.join(types)}) (result i32)"


def _arguments(types: Sequence[str]) -> str:
    return " ".join(f"local.get {index}" for index in range(len(types)))
