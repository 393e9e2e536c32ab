"""A task as a row of the store: what is kept of one that has not ended, and the checksum by which a changed bit is noticed.

A task that has ended is kept as its envelope, the very text that clients read. One that has not is kept as its submission,
from which it can be run again; that it is `running` on the way is the process's own knowledge and dies with it.
"""

from __future__ import annotations

import json
from enum import StrEnum
from json.encoder import encode_basestring
from typing import NamedTuple
from zlib import crc32

from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.kernel.task import TaskRecord, TaskSpec, TaskStatus

TERMINAL = frozenset((TaskStatus.SUCCESS, TaskStatus.FAILED, TaskStatus.SKIPPED))


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


class Change(NamedTuple):
    """What a task's row is to become. `new`: it has none yet."""

    seq: int
    record: TaskRecord
    mark: Mark
    attempts: int
    interruptions: int
    new: bool

    def row(self) -> Row:
        """Put the row together."""
        seq, record, mark, attempts, interruptions, _ = self
        if record.status in TERMINAL:
            status, body = str(record.status), record.encode()
        else:
            status, body = str(mark), encode_submission(record)
        task_id = record.spec.id
        crc = checksum(seq, task_id, status, attempts, interruptions, body)
        return Row(seq, task_id, status, attempts, interruptions, body, crc)


def checksum(seq: int, task_id: str, status: str, attempts: int, interruptions: int, body: str) -> int:
    """Return the CRC-32 of a row's content. `surrogatepass`: a damaged row may hold any text, and must not raise."""
    text = f"{seq}\0{task_id}\0{status}\0{attempts}\0{interruptions}\0{body}"
    return crc32(text.encode("utf-8", "surrogatepass"))


def encode_submission(record: TaskRecord) -> str:
    """Return what is kept of a task that has not ended."""
    spec = record.spec
    depends_on = ",".join(map(encode_basestring, spec.depends_on))
    return (
        f"[{record.created_ns},{encode_basestring(spec.type)},{_text(spec.params)},{encode_basestring(spec.tool_name)},"
        f"{_text(spec.input)},{encode_basestring(spec.category)},[{depends_on}],{spec.retry},{spec.timeout},{_text(spec.annotations)}]"
    )


def _text(text: str | None) -> str:
    return "null" if text is None else encode_basestring(text)


def decode_submission(row: Row) -> TaskRecord:
    """Return the pending record of a row whose task has not ended."""
    created_ns, kind, params, tool_name, given, category, depends_on, retry, timeout, annotations = json.loads(row.body)
    spec = TaskSpec(row.id, kind, params, tool_name, given, category, tuple(depends_on), retry, timeout, annotations)
    return TaskRecord(spec, created_ns, created_ns)
