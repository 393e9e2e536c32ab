"""System calls that Python has no names for. Linux, standard library only: used between fork and exec, by a bare interpreter."""

from __future__ import annotations

import ctypes
import os

TYPE_CHECKING = False  # the one in `typing` costs time
if TYPE_CHECKING:
    from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)

# these numbers are the same on every architecture
OPEN_TREE, MOVE_MOUNT, MOUNT_SETATTR = 428, 429, 442
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}

NEW_MOUNTS, NEW_UTS, NEW_IPC, NEW_USER, NEW_PID, NEW_NETWORK = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000


def _checked(what: str, result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _argument(value: Any) -> Any:
    if value is None:
        return ctypes.c_void_p(None)
    if isinstance(value, int):
        return ctypes.c_long(value)  # a bare int would be passed as 32 bits
    return ctypes.c_char_p(os.fsencode(value)) if isinstance(value, str) else value


def system_call(what: str, number: int, *arguments: Any) -> int:
    """Make a system call; `OSError` that names `what` when it fails. Numbers, text, bytes, None and ctypes' own are arguments."""
    return _checked(what, int(_libc.syscall(ctypes.c_long(number), *map(_argument, arguments))))


def prctl(what: str, option: int, first: Any = 0, second: int = 0) -> int:
    """Call `prctl`; `OSError` that names `what` when it fails."""
    arguments = (_argument(value) for value in (first, second, 0, 0))
    return _checked(what, int(_libc.prctl(ctypes.c_int(option), *arguments)))


def mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    """Mount a file system, or change how one is mounted (man 2 mount)."""
    texts = [_argument(text) for text in (source, target, kind)]
    _checked(f"mount {target}", int(_libc.mount(*texts, ctypes.c_ulong(flags), _argument(data))))


def unmount(target: str) -> None:
    """Take a mount away at once; it ends when its last user does."""
    _checked(f"umount {target}", int(_libc.umount2(_argument(target), ctypes.c_int(2))))


def pivot_root(new_root: str, put_old: str) -> None:
    """Make a mount the root, and put the old one below it."""
    system_call("pivot_root", _PIVOT_ROOT[os.uname().machine], new_root, put_old)


def unshare(flags: int) -> None:
    """Give this process namespaces of its own; the one for pids is its children's."""
    _checked("unshare", int(_libc.unshare(ctypes.c_int(flags))))
