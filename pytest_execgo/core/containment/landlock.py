"""Landlock: a process gives up what it may do with files, without any privileges. Standard library and no imports of ours.

Run as a file it gives up the right to change files outside of a few folders, then becomes the command.

By Landlock, which needs no privileges: changing, making and removing files is left for the working folder, the folder for
temporary files, /dev and /proc; reading and executing are as before. Arguments: the command. Exits with 126 and one line on
standard error when the system won't.
"""

from __future__ import annotations

import ctypes
import os
import stat
import sys

TYPE_CHECKING = False  # the one in `typing` costs time
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_VERSION_FLAG = 1
_PATH_BENEATH = 1
_NO_NEW_PRIVS = 38
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = (1 << bit for bit in range(4))
_REMOVE_AND_MAKE = sum(1 << bit for bit in range(4, 13))
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15  # since versions 2, 3 and 5
_OF_A_FILE = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV

READ = _EXECUTE | _READ_FILE | _READ_DIR
CHANGE = _WRITE_FILE | _REMOVE_AND_MAKE | _REFER | _TRUNCATE
EVERYTHING = READ | CHANGE | _IOCTL_DEV
SIGNALS_AND_ABSTRACT_SOCKETS = 3
"""What can be kept to the processes that are restricted together, since version 6."""


class _Ruleset(ctypes.Structure):
    _fields_ = (("handled_access_fs", ctypes.c_uint64), ("handled_access_net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


_libc = ctypes.CDLL(None, use_errno=True)


def _call(what: str, *arguments: Any) -> int:
    result = int(_libc.syscall(*arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
    return result


def version() -> int:
    """Return which version of Landlock the system has; `OSError` when it has none."""
    return _call("landlock", _CREATE_RULESET, None, 0, _VERSION_FLAG)


def restrict(allowed: Mapping[str, int], handled: int, scoped: int = 0) -> None:
    """Keep this process, and all that it becomes or starts, from every access of `handled` that is not allowed.

    `allowed` maps files and folders (and all beneath them) to accesses. `OSError` for what the system does not know: an access or
    a `scoped` that a later version brought.
    """
    rules = _Ruleset(handled, 0, scoped)
    size = ctypes.sizeof(rules) if scoped else ctypes.sizeof(ctypes.c_uint64)  # an older system takes no longer ones
    ruleset = _call("landlock_create_ruleset", _CREATE_RULESET, ctypes.byref(rules), size, 0)
    for path, access in allowed.items():
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        kept = access & handled
        rule = _PathBeneath(kept if stat.S_ISDIR(os.fstat(fd).st_mode) else kept & _OF_A_FILE, fd)
        _call("landlock_add_rule", _ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)
        os.close(fd)
    if _libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_NO_NEW_PRIVS)")
    _call("landlock_restrict_self", _RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def keep_changes_to(folders: list[str]) -> None:
    """Keep this process, and all that it becomes or starts, from changing files outside of `folders`."""
    known = version()
    access = _WRITE_FILE | _REMOVE_AND_MAKE | (_REFER if known > 1 else 0) | (_TRUNCATE if known > 2 else 0)
    restrict(dict.fromkeys(folders, access), access)


def main(command: list[str]) -> None:
    """Restrict this process and replace it."""
    import signal
    import tempfile

    for ignored_by_python in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(ignored_by_python, signal.SIG_DFL)
    try:
        keep_changes_to([os.getcwd(), tempfile.gettempdir(), "/dev", "/proc"])  # noqa: PTH109
        os.execvp(command[0], command)  # noqa: S606 - becoming the command is the purpose
    except OSError as error:
        sys.stderr.write(f"landlock: {error.args[-1] if len(error.args) == 2 else error}\n")
    os._exit(126)


if __name__ == "__main__":
    main(sys.argv[1:])
