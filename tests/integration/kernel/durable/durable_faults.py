"""A kernel that is killed at a chosen point: `python durable_faults.py POINT NTH kernel-options...`.

POINT names a moment around a commit or an attempt; at its NTH occurrence the process ends as by SIGKILL. `hold_end`: from the
NTH commit that holds an end on, nothing reaches the disk any more. `no_sync`, `no_folder_sync`: the kernel never syncs its
store, or its folders.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

from pytest_execgo.kernel.durable import file as durable_file
from pytest_execgo.kernel.durable import open as durable_open
from pytest_execgo.kernel.durable.file import Batch, Written
from pytest_execgo.kernel.durable.rows import TERMINAL, Mark
from pytest_execgo.kernel.executors import os_executor
from pytest_execgo.kernel.executors.executor import Attempt, Outcome
from pytest_execgo.kernel.server import main

_point, _nth = sys.argv[1], int(sys.argv[2])
_seen = 0


def reached(point: str) -> None:
    global _seen
    if point == _point:
        _seen += 1
        if _seen == _nth:
            if point == "hold_end":
                threading.Event().wait()
            os.kill(os.getpid(), signal.SIGKILL)


def kind_of(batch: Batch) -> str:
    """Name what a batch is about: its most telling change."""
    if any(change.record.status in TERMINAL for change in batch.changes):
        return "end"
    if any(change.mark is Mark.CANCELLED for change in batch.changes):
        return "cancel"
    if any(change.mark is Mark.RUNNING for change in batch.changes):
        return "start"
    return "accept" if batch.changes else "other"


_commit = durable_file.StoreFile.commit
_run = os_executor.OsExecutor.run


def commit(self: durable_file.StoreFile, batch: Batch) -> Written:
    kind = kind_of(batch)
    reached(f"before_{kind}")
    reached(f"hold_{kind}")
    written = _commit(self, batch)
    reached(f"after_{kind}")
    return written


async def run(self: os_executor.OsExecutor, attempt: Attempt) -> Outcome:
    reached("spawn")
    outcome = await _run(self, attempt)
    reached("effect")
    return outcome


_prepare = durable_file.StoreFile._prepare


def prepare_without_sync(self: durable_file.StoreFile) -> None:
    _prepare(self)
    self._writer.execute("PRAGMA synchronous=OFF")


if _point == "no_sync":
    durable_file.StoreFile._prepare = prepare_without_sync  # type: ignore[method-assign]
if _point == "no_folder_sync":
    durable_open._sync = lambda folder: None
durable_file.StoreFile.commit = commit  # type: ignore[method-assign]
os_executor.OsExecutor.run = run  # type: ignore[method-assign]

if __name__ == "__main__":
    rest: list[Any] = sys.argv[3:]
    raise SystemExit(main(rest))
