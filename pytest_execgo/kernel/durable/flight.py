"""What the durable store holds of a task until its end is on disk, and the thread that takes batches there."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue

from pytest_execgo.kernel.durable.file import Batch, StoreFile, Written
from pytest_execgo.kernel.durable.rows import Mark
from pytest_execgo.kernel.task import TaskRecord


@dataclass(slots=True, eq=False)
class Entry:
    """A task that has not ended, or whose end is not on disk yet. `shown` is the record that clients see."""

    seq: int
    record: TaskRecord
    shown: TaskRecord
    mark: Mark = Mark.PENDING
    attempts: int = 0
    interruptions: int = 0
    stored: bool = False
    calls: list[Callable[[str], None]] = field(default_factory=list)
    encoded: tuple[TaskRecord, str] | None = None

    def envelope(self) -> str:
        """Return the JSON of what is shown; it is put together once per change."""
        if self.encoded is None or self.encoded[0] is not self.shown:
            self.encoded = (self.shown, self.shown.encode())
        return self.encoded[1]


@dataclass(frozen=True, slots=True)
class Flight:
    """A batch on its way to disk, and who waits for it."""

    batch: Batch
    entries: Sequence[Entry]
    waiting: Sequence[asyncio.Future[None]]


class Writer:
    """The thread that writes. `landed` is called on the event loop with what was written, or None and why it was not."""

    def __init__(self, file: StoreFile, landed: Callable[[Written | None, str], None]) -> None:
        self._file = file
        self._landed = landed
        self._loop = asyncio.get_running_loop()
        self._batches: SimpleQueue[Batch | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="kernel-store", daemon=True)
        self._thread.start()

    def write(self, batch: Batch) -> None:
        """Have a batch written."""
        self._batches.put(batch)

    def close(self) -> None:
        """Return when the thread has written what it was given, and ended."""
        self._batches.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (batch := self._batches.get()) is not None:
            written: Written | None = None
            reason = ""
            try:
                written = self._file.commit(batch)
            except (sqlite3.Error, OSError) as error:
                reason = str(error) or type(error).__name__
            except BaseException as error:  # a defect of ours: what was handed over is not on disk, so nobody may think so
                reason = repr(error)
            self._loop.call_soon_threadsafe(self._landed, written, reason)
