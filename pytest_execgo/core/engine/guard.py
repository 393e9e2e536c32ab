"""The child process of `cleanup.Guard`: `python -m pytest_execgo.core.engine.guard OWNER PID`.

Waits, on little memory and no CPU, until its standard input or the process PID ends, then removes what carries the owner's label.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time

_LOOKS = (0.0, 0.5, 2.0)
"""Seconds before each look: a request of the owner's may still be under way in the engine when that dies."""


def main() -> int:
    """Wait for the owner's end, then remove what is its."""
    owner, pid = sys.argv[1], int(sys.argv[2])
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # it ends with its owner, not before
        signal.signal(signum, signal.SIG_IGN)
    _wait_for_end(pid)

    from pytest_execgo.core.engine.cleanup import remove_labelled  # deferred: libraries that are needed only now
    from pytest_execgo.core.engine.connection import connect
    from pytest_execgo.core.engine.ownership import OWNER_LABEL

    client = connect()
    for pause in _LOOKS:
        time.sleep(pause)
        remove_labelled(client, OWNER_LABEL, owner)
    return 0


def _wait_for_end(pid: int) -> None:
    """Return when standard input or the process has ended: a forked child of it may hold the pipe open after its death."""
    poll = select.poll()
    poll.register(sys.stdin.fileno(), select.POLLIN)
    if hasattr(os, "pidfd_open"):
        with contextlib.suppress(OSError):  # no such system call, or the process is gone and the pipe is all there is
            poll.register(os.pidfd_open(pid), select.POLLIN)
    poll.poll()


if __name__ == "__main__":
    raise SystemExit(main())
