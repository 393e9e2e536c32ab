"""The kernel's journal: one JSON object a line for each thing that happens to a task, as `plan.history.HistoryRow` has it.

It is an observer's: the kernel never reads its own state from it. A line is handed to the operating system, whole, before the
kernel goes on, so that the end of the process loses nothing that was noted. Several lives of a kernel share one file; the
piece of a line that an earlier one left at its end is cut off.

What is said to be durable is durable: `accept`, `cancel`, `delete` and `persist` are noted when the commit has landed, and before
anybody is told. A life that was killed between a commit and its rows leaves them out; the next one notes the `persist` of
what had ended, and says by `recover` what it found otherwise.

When the file can't be written for a while, what was to be noted waits in memory, in its order. When that is too much, nothing
more is noted: the beginning of a history is true, one with holes is not.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import sys
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from pytest_execgo.core.errors import UsageError
from pytest_execgo.kernel.durable.rows import TERMINAL
from pytest_execgo.kernel.golang.time import time_text
from pytest_execgo.kernel.graph import Node
from pytest_execgo.kernel.history.digests import content_digest, described, end_digest
from pytest_execgo.kernel.history.observer import AttemptEnd, Observer
from pytest_execgo.kernel.history.reading import last_line_end, looks_like_history, unsettled
from pytest_execgo.kernel.store import Store
from pytest_execgo.kernel.task import TaskRecord

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
_MOST_UNWRITTEN = 16 * 1024 * 1024  # bytes that wait for a disk that refuses them
_HINT = "name a file of a history, or one that is not there yet, with -history"


class Journal(Observer):
    """A journal in a file. `UsageError` when the file can't be used, or holds something else."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.failure = ""
        """Why nothing is noted any more; empty as long as the journal is whole."""
        self.trouble = ""
        """Why the last write did not work; empty when it did."""
        self._unwritten = bytearray()
        self._boot_id = secrets.token_hex(8)
        self._seq = 0
        self._admitted: dict[Node, list[Node]] = {}  # not durable yet, each with what had it skipped meanwhile
        self._cancelling: set[Node] = set()
        self._deletions: set[asyncio.Future[None]] = set()  # those that the disk refused at first
        try:
            self.file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise UsageError("history_file", f"history file {str(path)!r} can't be used: {error.strerror}", _HINT) from error
        size = os.fstat(self.file).st_size
        if size and not looks_like_history(self.file):
            os.close(self.file)
            raise UsageError("history_file", f"history file {str(path)!r} holds something else", _HINT)
        whole = last_line_end(self.file)
        if whole < size:
            os.ftruncate(self.file, whole)
        self._before = unsettled(self.file)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self.file)

    def booted(self, store: Store) -> None:
        """Note `boot`, and the ends that the life before made durable and had no time to note."""
        self._note("boot", value={"pid": os.getpid()})
        for task_id in self._before:
            record = store.get(task_id)
            if record is not None and record.status in TERMINAL:
                self._note_end(record)
        self._before = []

    def admitted(self, nodes: Iterable[Node]) -> None:
        """Remember what is still to be accepted."""
        self._admitted |= {node: [] for node in nodes}

    def accepted(self, nodes: Iterable[Node], stored: asyncio.Future[None]) -> None:
        """Note `accept` for what is durable, and forget what will never be."""
        waiting = [(node, self._admitted.pop(node)) for node in nodes if node in self._admitted]
        if stored.exception() is None:
            self._note_accepted(waiting)

    def _note_accepted(self, waiting: Iterable[tuple[Node, list[Node]]]) -> None:
        lines = []
        for node, causes in waiting:
            spec = node.record.spec
            lines.append(self._line("accept", spec.id, value=described(spec), content=content_digest(spec)))
            lines += [self._line("skip", spec.id, value={"cause": cause.record.spec.id}) for cause in causes]
        self._write(lines)

    def recovered(self, nodes: Iterable[Node]) -> None:
        """Note `recover`, with what `accept` says, and `cancel` again: the life before may have found no time for them."""
        lines = []
        for node in nodes:
            spec = node.record.spec
            lines.append(self._line("recover", spec.id, node.attempts, described(spec), content_digest(spec)))
            if node.cancelled:
                lines.append(self._line("cancel", spec.id))
        self._write(lines)

    def attempt_counted(self, node: Node) -> None:
        """Note `start`."""
        self._note("start", node.record.spec.id, node.attempts)

    def attempt_spawned(self, node: Node) -> None:
        """Note `spawn`."""
        self._note("spawn", node.record.spec.id, node.attempts)

    def attempt_ended(self, node: Node, outcome: AttemptEnd) -> None:
        """Note `end`."""
        self._note("end", node.record.spec.id, node.attempts, {"outcome": outcome})

    def skipped(self, node: Node, cause: Node) -> None:
        """Note `skip`; of a task that is still to be accepted, then."""
        if node in self._admitted:
            self._admitted[node].append(cause)
        else:
            self._note("skip", node.record.spec.id, value={"cause": cause.record.spec.id})

    def ending(self, node: Node, store: Store) -> None:
        """Note `persist` as soon as the end is durable."""
        record = node.record
        store.when_shown(record.spec.id, lambda _: self._persisted(node, record))

    def _persisted(self, node: Node, record: TaskRecord) -> None:
        # the same commit may hold the submission, or the cancel; who waits for those is told after this call
        if node in self._admitted:
            self._note_accepted([(node, self._admitted.pop(node))])
        self._note_cancel(node)
        self._note_end(record)

    def cancelling(self, node: Node, store: Store) -> None:
        """Note `cancel` as soon as the order is durable."""
        self._cancelling.add(node)
        store.flushed().add_done_callback(lambda stored: self._note_cancel(node) if stored.exception() is None else None)

    def deleting(self, task_id: str, store: Store) -> None:
        """Note `delete` as soon as the removal is durable."""
        store.flushed().add_done_callback(partial(self._deleted, task_id, store))

    def _deleted(self, task_id: str, store: Store, stored: asyncio.Future[None]) -> None:
        if stored.exception() is None:
            self._note("delete", task_id)
        else:
            waiting = asyncio.ensure_future(self._deleted_after_all(task_id, store))
            self._deletions.add(waiting)
            waiting.add_done_callback(self._deletions.discard)

    async def _deleted_after_all(self, task_id: str, store: Store) -> None:
        await store.lasting()
        self._note("delete", task_id)

    def stopped(self) -> None:
        """Note `stop`."""
        self._note("stop")

    def _note_cancel(self, node: Node) -> None:
        if node in self._cancelling:
            self._cancelling.discard(node)
            self._note("cancel", node.record.spec.id)

    def _note_end(self, record: TaskRecord) -> None:
        self._note("persist", record.spec.id, value={"status": record.status}, content=end_digest(record))

    def _note(
        self,
        f: str,
        task: str | None = None,
        attempt: int | None = None,
        value: dict[str, Any] | None = None,
        content: str | None = None,
    ) -> None:
        self._write([self._line(f, task, attempt, value, content)])

    def _line(
        self,
        f: str,
        task: str | None = None,
        attempt: int | None = None,
        value: dict[str, Any] | None = None,
        content: str | None = None,
    ) -> str:
        """Return a row as a line; `reading.unsettled` relies on the order of its members."""
        self._seq += 1
        return _encode(
            {
                "seq": self._seq,
                "boot_id": self._boot_id,
                "monotonic_ns": time.monotonic_ns(),
                "wall": time_text(time.time_ns()),
                "process": "kernel",
                "type": "event",
                "f": f,
                "task": task,
                "attempt": attempt,
                "digest": content,
                "value": value or {},
            }
        )

    def _write(self, lines: list[str]) -> None:
        if self.failure or not lines:
            return
        self._unwritten += ("\n".join(lines) + "\n").encode()
        self.write_on()
        if len(self._unwritten) > _MOST_UNWRITTEN:
            self.failure, self._unwritten = self.trouble, bytearray()

    def write_on(self) -> None:
        """Write what the disk refused before, in its order; `trouble` says why it still does."""
        try:
            while self._unwritten:  # almost always once: a disk that fills up takes a piece
                del self._unwritten[: os.write(self.file, self._unwritten)]
            self.trouble = ""
        except OSError as error:
            told, self.trouble = self.trouble, error.strerror or str(error)
            with contextlib.suppress(OSError):  # it may be a file on the very disk that is full; the kernel goes on without
                if not told:
                    sys.stderr.write(f"kernel: the history can't be written to {self.path} at present: {self.trouble}\n")
                    sys.stderr.flush()
