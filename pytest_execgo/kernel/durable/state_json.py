"""ExecGo's `state.json`: one JSON object, task envelopes by id. Read when a folder has no store yet; written on request."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from pytest_execgo.core.errors import ExecGoError, UsageError
from pytest_execgo.core.files import write_atomic
from pytest_execgo.kernel.durable.file import DATABASE
from pytest_execgo.kernel.durable.recovery import runs_once, unknown
from pytest_execgo.kernel.durable.rows import Row
from pytest_execgo.kernel.envelope import ENVELOPE, build_record, record_of
from pytest_execgo.kernel.golang import decoding, kinds
from pytest_execgo.kernel.golang.syntax import GoJSONError
from pytest_execgo.kernel.golang.text import decode_utf8, json_string
from pytest_execgo.kernel.task import TaskRecord, TaskStatus

_TASKS = kinds.StringMap(ENVELOPE, "map[string]*models.Task")
_SELECT = "SELECT seq, id, status, attempts, interruptions, body, crc FROM tasks ORDER BY id"


class BadState(ExecGoError):
    """A state.json that can't be read."""


def read_state(path: Path) -> list[TaskRecord]:
    """Return the tasks of a state.json, oldest first; `BadState` when it is not one. An empty file holds none.

    As in ExecGo, a task that was running is pending again; one that must run only once has ended as unknown instead.
    """
    text = decode_utf8(path.read_bytes())
    if not text:
        return []
    try:
        decoded = decoding.decode(text, _TASKS) or {}
        records = [build_record({**(fields or {}), "id": task_id}) for task_id, fields in decoded.items()]
    except (GoJSONError, ValueError) as error:
        raise BadState("bad_state", f"{path} can't be read: {error}") from error
    return sorted((_found(record) for record in records), key=lambda record: (record.created_ns, record.spec.id))


def _found(record: TaskRecord) -> TaskRecord:
    if record.status is TaskStatus.RUNNING and runs_once(record.spec):
        return unknown(record, record.run.attempt if record.run is not None else 0, record.updated_ns)
    if record.status in (TaskStatus.RUNNING, TaskStatus.PENDING):
        return TaskRecord(record.spec, record.created_ns, record.updated_ns)
    return record


def export_state(store: Path, target: Path) -> int:
    """Write the tasks of a store (a kernel may be using it) as a state.json, whole or not at all; return how many.

    Tasks that have not ended are pending in it. `UsageError` when there is no store.
    """
    if not (store / DATABASE).exists():
        raise UsageError("no_store", f"there is no store in {str(store.parent)!r}", "name the kernel's folder with -data-dir")
    try:
        with closing(sqlite3.connect(f"{(store / DATABASE).absolute().as_uri()}?mode=ro", uri=True)) as connection:
            rows = [Row._make(values).checked() for values in connection.execute(_SELECT)]
    except sqlite3.Error as error:
        raise ExecGoError("store_unreadable", f"the store in {str(store.parent)!r} can't be read: {error}") from error
    texts = (f"  {json_string(row.id)}: {row.body if row.ended else record_of(row).encode()}" for row in rows)
    try:
        write_atomic(target, "{\n" + ",\n".join(texts) + "\n}\n" if rows else "{}\n")
    except OSError as error:
        raise UsageError("not_written", f"{str(target)!r} can't be written: {error.strerror}") from error
    return len(rows)
