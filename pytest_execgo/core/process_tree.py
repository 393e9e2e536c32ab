"""Everything a command started: found by the marks that it carries and by its lineage, ended, and reaped.

Standard library only and free of imports from this package, so that a bare interpreter (`python -I -S`) can use it.

A command carries two marks that its descendants inherit: a variable in its environment, and a number as its soft
`RLIMIT_RTTIME` (microseconds that a real-time process may run without a pause; so large that it bounds nothing), which
survives `env -i`, `setsid`, a double fork, and can be read of a zombie too. Where the limit can't be set, the variable
and the lineage (parents while they live, sessions) are what is left to go by.

In a process that is a subreaper each orphan of a command becomes its child; so one look at its children tells whether
anything is left, and the whole of /proc is read only then.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import secrets
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MARK_VARIABLE = "COMMAND_MARK"
_PR_SET_CHILD_SUBREAPER = 36
_PR_GET_CHILD_SUBREAPER = 37
_NUMBERS = range(2**60, 2**61)  # what a marked limit may be; in microseconds, 36,000 years and more
_RTTIME: int | None = getattr(resource, "RLIMIT_RTTIME", None)
_ZOMBIE = ("Z", "X")
_POLL = 0.005  # seconds; only where there are no pidfds


@dataclass(frozen=True, slots=True)
class Mark:
    """What tells the processes of one command from all others."""

    text: str
    number: int

    @classmethod
    def new(cls) -> Mark:
        """Make a mark that no other command has."""
        number = _NUMBERS.start + secrets.randbelow(len(_NUMBERS) - 1)
        return cls(f"{number:x}", number)

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """Return an environment with the mark in it."""
        return {**base, MARK_VARIABLE: self.text}


@dataclass(frozen=True, slots=True)
class Process:
    """A line of the process table."""

    pid: int
    parent: int
    group: int
    session: int
    zombie: bool


def _prctl(option: int, argument: Any) -> int:
    return int(ctypes.CDLL(None, use_errno=True).prctl(option, argument, 0, 0, 0)) if sys.platform == "linux" else -1


def become_subreaper() -> bool:
    """Make orphaned descendants of this process its children; False where the system knows no such thing."""
    return _prctl(_PR_SET_CHILD_SUBREAPER, 1) == 0


def is_reaper() -> bool:
    """Tell whether orphaned descendants of this process become its children."""
    if os.getpid() == 1:
        return True
    value = ctypes.c_int(0)
    return _prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(value)) == 0 and value.value == 1


def spawn(argv: Sequence[str], mark: Mark, env: Mapping[str, str], **options: Any) -> subprocess.Popen[bytes]:
    """Start a command that carries `mark`, in a session of its own; `options` are `Popen`'s. `OSError`, `ValueError` as there."""
    with _limit_marked(mark):
        return subprocess.Popen(list(argv), env=mark.environment(env), start_new_session=True, **options)


@contextlib.contextmanager
def _limit_marked(mark: Mark) -> Iterator[None]:
    """Let this process have the marked limit while it forks; the child inherits it, so there is no moment without it."""
    if _RTTIME is None:
        yield
        return
    before = resource.getrlimit(_RTTIME)
    try:
        resource.setrlimit(_RTTIME, (mark.number, before[1]))
    except (OSError, ValueError):  # a lower hard limit holds, or the sandbox around us allows no change
        yield
        return
    try:
        yield
    finally:
        resource.setrlimit(_RTTIME, before)


def _number(pid: int) -> int | None:
    """Return the number that a process is marked with; None if there is none, or if it can't be known."""
    if _RTTIME is None or not hasattr(resource, "prlimit"):
        return None
    try:
        soft, _ = resource.prlimit(pid, _RTTIME)
    except OSError:  # it is gone, or not ours to look at
        return None
    return soft if soft in _NUMBERS else None


def _carries(pid: int, mark: Mark) -> bool | None:
    """Tell whether a process has this mark; None when nothing tells."""
    number = _number(pid)
    if number is not None:
        return number == mark.number
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123 - this module is read by a bare interpreter, quickly
            variables = file.read().split(b"\0")
    except OSError:
        return None
    given = next((text for text in variables if text.startswith(MARK_VARIABLE.encode() + b"=")), None)
    return None if given is None else given.endswith(b"=" + mark.text.encode())


def processes() -> dict[int, Process]:
    """Read the process table; empty where /proc is missing or shows another PID namespace."""
    table: dict[int, Process] = {}
    try:
        if os.readlink("/proc/self") != str(os.getpid()):  # noqa: PTH115
            return table
        entries = os.listdir("/proc")  # noqa: PTH208
    except OSError:
        return table
    for entry in filter(str.isdecimal, entries):
        try:
            with open(f"/proc/{entry}/stat", "rb") as file:  # noqa: PTH123
                stat = file.read()
        except OSError:  # it ended meanwhile
            continue
        state, parent, group, session = stat[stat.rindex(b")") + 2 :].split(None, 4)[:4]
        pid = int(entry)
        table[pid] = Process(pid, int(parent), int(group), int(session), state.decode() in _ZOMBIE)
    return table


def members(mark: Mark, root: int | None = None) -> list[Process]:
    """Return what is left of a command, zombies too: what carries its mark, shares its sessions, or descends from either.

    `root` is the command's own pid; give it as long as it was not reaped, since only then nobody else can have it.
    """
    table = processes()
    own = table.get(os.getpid())
    if own is None:
        return []
    carried = {pid: _carries(pid, mark) for pid in table}
    found = {pid for pid, carries in carried.items() if (carries or pid == root) and pid != own.pid}
    while True:
        sessions = {table[pid].session for pid in found} - {own.session, 0}
        more = {
            process.pid
            for process in table.values()
            if process.pid not in found
            and process.pid != own.pid
            # lineage is proof, whatever mark a nested command carries; a session is one only where no other mark speaks against
            and (process.parent in found or (process.session in sessions and carried[process.pid] is None))
        }
        if not more:
            return [table[pid] for pid in sorted(found)]
        found |= more


def anything_left(mark: Mark, root: int) -> bool:
    """Tell whether a command that has ended may have left something, looking at this process's children only.

    Exact where this process is a reaper; elsewhere orphans are nobody's children that we know of, hence False.
    """
    if not is_reaper():
        return False
    own = os.getpid()
    try:
        with open(f"/proc/self/task/{own}/children", "rb") as file:  # noqa: PTH123
            children = [int(pid) for pid in file.read().split()]
    except (OSError, ValueError):  # the system was built without that file: only the whole table tells
        return True
    for pid in children:
        carries = _carries(pid, mark)
        if pid != root and (carries or (carries is None and _limits_unusable())):  # a zombie shows its limit only
            return True
    return False


def _limits_unusable() -> bool:
    """Tell whether commands can't be marked by their limit here."""
    if _RTTIME is None:
        return True
    hard = resource.getrlimit(_RTTIME)[1]
    return hard != resource.RLIM_INFINITY and hard < _NUMBERS.stop


def end_tree(mark: Mark, root: int | None = None, timeout: float = 5.0) -> list[int]:
    """SIGKILL everything that is left of a command, again until nothing is, and reap what became this process's child.

    `root` is killed like the rest, but left for its starter to reap. Blocks for at most `timeout` seconds; returns the
    pids that are still there (a process in an uninterruptible call, or one that isn't ours to kill).
    """
    deadline = time.monotonic() + timeout
    while True:
        found = members(mark, root)
        alive = [process for process in found if not process.zombie]
        for process in found:
            if process.zombie and process.pid != root and process.parent == os.getpid():
                with contextlib.suppress(ChildProcessError):  # somebody else here was quicker
                    os.waitpid(process.pid, os.WNOHANG)
        if not alive:  # a zombie with another parent is that one's to reap
            return []
        if time.monotonic() > deadline:
            return [process.pid for process in alive]
        _await_end(_kill(alive), min(max(deadline - time.monotonic(), 0), 1.0))


def _kill(alive: Sequence[Process]) -> list[int]:
    """Kill processes and their groups; return a pidfd of each that could be opened before."""
    handles = []
    own_group = os.getpgrp()
    for process in alive:
        if hasattr(os, "pidfd_open"):
            with contextlib.suppress(OSError):
                handles.append(os.pidfd_open(process.pid))
    for group in {process.group for process in alive} - {own_group, 0}:  # at one blow: nobody forks in between
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    for process in alive:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process.pid, signal.SIGKILL)
    return handles


def _await_end(handles: list[int], seconds: float) -> None:
    """Return when all have ended, or the time is up."""
    if not handles:
        time.sleep(_POLL)
        return
    poll = select.poll()
    for handle in handles:
        poll.register(handle, select.POLLIN)
    waiting = set(handles)
    deadline = time.monotonic() + seconds
    try:
        while waiting and (left := deadline - time.monotonic()) > 0:
            for handle, _ in poll.poll(left * 1000):
                poll.unregister(handle)
                waiting.discard(handle)
    finally:
        for handle in handles:
            os.close(handle)
