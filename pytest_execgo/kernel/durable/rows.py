"""A task as a row of the store: what is kept of one that has not ended, and the checksum by which a changed bit is noticed.

A task that has ended is kept as its envelope, the very text that clients read. One that has not is kept as its submission,
from which it can be run again; that it is `running` on the way is the process's own knowledge and dies with it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple
from zlib import crc32

from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.kernel.task import TaskRecord, TaskSpec, TaskStatus

TERMINAL = frozenset((TaskStatus.SUCCESS, TaskStatus.FAILED, TaskStatus.SKIPPED))
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Mark(StrEnum):
    """Where a task that has not ended is, as far as the disk knows. Each is a value of the column `status`."""

    PENDING = "pending"
    RUNNING = "running"  # an attempt began, and its end is not known
    RETRYING = "retrying"  # the last attempt failed; the next one is still to begin
    INTERRUPTED = "interrupted"  # the kernel was stopped and ended the attempt
    CANCELLED = "cancelled"  # somebody ordered its end, and its attempt is being ended


class DamagedRow(ExecGoError):
    """A row whose content is not what was written."""

    def __init__(self, seq: int, task_id: str) -> None:
        super().__init__("damaged_record", f"the stored record of task {task_id!r} (number {seq}) is damaged")


class Row(NamedTuple):
    """A row of the table `tasks`. `seq` is its number in the order of submission; `body` as the module says."""

    seq: int
    id: str
    status: str
    attempts: int
    interruptions: int
    body: str
    crc: int

    @property
    def ended(self) -> bool:
        """Tell whether the task has ended."""
        return self.status in TERMINAL

    def checked(self) -> Row:
        """Return the row if it is what was written, else raise `DamagedRow`."""
        if self.crc != checksum(*self[:-1]):
            raise DamagedRow(self.seq, str(self.id))
        return self


@dataclass(frozen=True, slots=True)
class Change:
    """What a task's row is to become. `new`: it has none yet."""

    seq: int
    record: TaskRecord
    mark: Mark
    attempts: int
    interruptions: int
    new: bool

    def row(self) -> Row:
        """Put the row together."""
        record = self.record
        ended = record.status in TERMINAL
        content = (
            self.seq,
            record.spec.id,
            str(record.status if ended else self.mark),
            self.attempts,
            self.interruptions,
            record.encode() if ended else encode_submission(record),
        )
        return Row(*content, checksum(*content))


def checksum(*content: object) -> int:
    """Return the CRC-32 of a row's content. `surrogatepass`: a damaged row may hold any text, and must not raise."""
    return crc32("\0".join(map(str, content)).encode("utf-8", "surrogatepass"))


def encode_submission(record: TaskRecord) -> str:
    """Return what is kept of a task that has not ended."""
    spec = record.spec
    return _encode(
        [
            record.created_ns,
            spec.type,
            spec.params,
            spec.tool_name,
            spec.input,
            spec.category,
            spec.depends_on,
            spec.retry,
            spec.timeout,
            spec.annotations,
        ]
    )


def decode_submission(row: Row) -> TaskRecord:
    """Return the pending record of a row whose task has not ended."""
    created_ns, kind, params, tool_name, given, category, depends_on, retry, timeout, annotations = json.loads(row.body)
    spec = TaskSpec(row.id, kind, params, tool_name, given, category, tuple(depends_on), retry, timeout, annotations)
    return TaskRecord(spec, created_ns, created_ns)
