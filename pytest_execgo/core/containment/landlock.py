"""Gives up the right to change files outside of a few folders, then becomes the command. Run as a file, never imported.

By Landlock, which needs no privileges: changing, making and removing files is left for the working folder, the folder for
temporary files, /dev and /proc; reading and executing are as before. Arguments: the command. Exits with 126 and one line on
standard error when the system won't.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import tempfile
from typing import Any

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_VERSION_FLAG = 1
_PATH_BENEATH = 1
_NO_NEW_PRIVS = 38
_WRITE_FILE = 1 << 1
_REMOVE_AND_MAKE = sum(1 << bit for bit in range(4, 13))
_REFER, _TRUNCATE = 1 << 13, 1 << 14  # since versions 2 and 3


class _Ruleset(ctypes.Structure):
    _fields_ = (("handled_access_fs", ctypes.c_uint64),)


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


_libc = ctypes.CDLL(None, use_errno=True)


def _call(what: str, *arguments: Any) -> int:
    result = int(_libc.syscall(*arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
    return result


def restrict(folders: list[str]) -> None:
    """Keep this process, and all that it becomes or starts, from changing files outside of `folders`."""
    version = _call("landlock", _CREATE_RULESET, None, 0, _VERSION_FLAG)
    access = _WRITE_FILE | _REMOVE_AND_MAKE | (_REFER if version > 1 else 0) | (_TRUNCATE if version > 2 else 0)
    rules = _Ruleset(access)
    ruleset = _call("landlock_create_ruleset", _CREATE_RULESET, ctypes.byref(rules), ctypes.sizeof(rules), 0)
    for folder in folders:
        fd = os.open(folder, os.O_PATH | os.O_CLOEXEC)
        rule = _PathBeneath(access, fd)
        _call("landlock_add_rule", _ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)
        os.close(fd)
    if _libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_NO_NEW_PRIVS)")
    _call("landlock_restrict_self", _RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def main(command: list[str]) -> None:
    """Restrict this process and replace it."""
    for ignored_by_python in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(ignored_by_python, signal.SIG_DFL)
    try:
        restrict([os.getcwd(), tempfile.gettempdir(), "/dev", "/proc"])  # noqa: PTH109
        os.execvp(command[0], command)  # noqa: S606 - becoming the command is the purpose
    except OSError as error:
        sys.stderr.write(f"landlock: {error.args[-1] if len(error.args) == 2 else error}\n")
    os._exit(126)


if __name__ == "__main__":
    main(sys.argv[1:])
