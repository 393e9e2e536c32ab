"""Ends everything below this process, where no namespace does: a subreaper's descendants can't leave it, whatever they do.

They are stopped first, and only then killed: what is stopped can't start anything, and still counts as one of the processes
that it may have, so that a bomb runs out of room. Linux, standard library only.
"""

from __future__ import annotations

import os

_STOP, _KILL = 19, 9  # SIGSTOP, SIGKILL: `signal` takes time to import


def descendants(of: int | None = None) -> set[int]:
    """Return the pids of everything below a process (None: this one), zombies too."""
    root = os.getpid() if of is None else of
    parents: dict[int, int] = {}
    for entry in filter(str.isdecimal, os.listdir("/proc")):  # noqa: PTH208 - pathlib would double the start-up
        try:
            with open(f"/proc/{entry}/stat", "rb") as file:  # noqa: PTH123
                stat = file.read()
        except OSError:  # it ended meanwhile
            continue
        parents[int(entry)] = int(stat[stat.rindex(b")") + 2 :].split(None, 2)[1])
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {root}


def end_descendants() -> None:
    """Stop, kill and reap everything below this process, which must be a subreaper. Blocks until nothing is left."""
    while True:
        reached: set[int] = set()
        while new := descendants() - reached:
            _send(new, _STOP)
            reached |= new
        _send(reached, _KILL)
        try:
            os.waitpid(-1, 0)
            while os.waitpid(-1, os.WNOHANG)[0]:
                continue
        except ChildProcessError:  # nothing is left
            return


def _send(pids: set[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):  # it is gone
            continue
