"""Starts the keeper: a file for a bare interpreter (`python -I -S`), never imported.

Arguments: the folder that holds our package, the data folder, seconds after which a keeper without a runtime gives up, a
descriptor that hears `ready`.

Two processes guard each other. The outer one adopts what the inner one, the keeper, leaves behind when it is killed: it ends
those commands and records them as lost. The inner one is told when the outer one is killed, and then ends by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import os
import signal
import socket
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])  # nothing else is on the path but the standard library

from pytest_execgo.core.containment.control_groups import probe
from pytest_execgo.core.process_tree import become_subreaper
from pytest_execgo.runtime.keeper import Keeper
from pytest_execgo.runtime.keeper_records import Records, boot_id

_PR_SET_PDEATHSIG = 1
SOCKET = "keeper.sock"


def main() -> None:
    """Take the folder's lock (a keeper that is on its way out still has it), then be both processes."""
    folder, abandon_after, ready_fd = Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    os.chdir(folder)  # a socket's address is short; a data folder's path may be long
    with open("keeper.lock", "a") as lock:  # noqa: PTH123
        fcntl.flock(lock, fcntl.LOCK_EX)
        records = Records(Path("commands"))
        records.settle(boot_id())
        become_subreaper()
        outer = os.getpid()
        inner = os.fork()
        if inner == 0:
            _keep(records, abandon_after, ready_fd, outer)
            os._exit(0)
        os.close(ready_fd)
        _guard(inner)
        records.settle(boot_id())
        with contextlib.suppress(FileNotFoundError):
            os.unlink(SOCKET)  # noqa: PTH108


def _guard(inner: int) -> None:
    """Wait for the keeper's end, and collect what it leaves; pass a request to end on to it."""
    signal.signal(signal.SIGTERM, lambda *_: os.kill(inner, signal.SIGTERM))
    while True:
        try:
            if os.wait()[0] == inner:
                return
        except ChildProcessError:
            return


def _keep(records: Records, abandon_after: float, ready_fd: int, outer: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != outer:
        return
    become_subreaper()
    with contextlib.suppress(FileNotFoundError):
        os.unlink(SOCKET)  # noqa: PTH108
    listening = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    listening.bind(SOCKET)
    os.umask(before)
    listening.listen(8)

    async def serve() -> None:
        await Keeper(records, probe("execgo-keeper"), abandon_after).serve(listening, ready_fd)

    asyncio.run(serve())


if __name__ == "__main__":
    main()
