"""Envelopes read back into records: a task's row, a task in a `state.json`."""

from __future__ import annotations

from typing import Any

from pytest_execgo.kernel.durable.rows import Row, decode_submission
from pytest_execgo.kernel.golang import decoding, kinds
from pytest_execgo.kernel.golang.time import Moment
from pytest_execgo.kernel.task import Run, RunError, TaskRecord, TaskSpec, TaskStatus

_STRING, _RAW, _TIME = kinds.String(), kinds.Raw(), kinds.Time()
_ERROR = kinds.Struct(
    "RuntimeError",
    "models.RuntimeError",
    {"code": _STRING, "message": _STRING, "retryable": kinds.Bool(), "source": _STRING, "details": _RAW},
    pointer=True,
)
_RUN = kinds.Struct(
    "RuntimeResult",
    "models.RuntimeResult",
    {
        "status": _STRING,
        "handle_id": _STRING,
        "output": _RAW,
        "started_at": _TIME,
        "finished_at": _TIME,
        "duration_ms": kinds.Int("int64"),
        "attempt": kinds.Int(),
        "error": _ERROR,
    },
    pointer=True,
)
ENVELOPE = kinds.Struct(
    "Task",
    "models.Task",
    {
        "id": _STRING,
        "type": _STRING,
        "params": _RAW,
        "tool_name": _STRING,
        "input": _RAW,
        "execution_category": _STRING,
        "depends_on": kinds.Slice(_STRING, "[]string"),
        "retry": kinds.Int(),
        "timeout": kinds.Int("int64"),
        "annotations": _RAW,
        "status": _STRING,
        "progress": _RAW,
        "result": _RAW,
        "runtime": _RUN,
        "error": _STRING,
        "created_at": _TIME,
        "updated_at": _TIME,
    },
)
"""A task as `golang.decoding` decodes it for `build_record`: raw JSON stays text."""


def record_of(row: Row) -> TaskRecord:
    """Return the record that a row was made from; of a task that has not ended, the pending one."""
    return build_record(decoding.decode(row.body, ENVELOPE)) if row.ended else decode_submission(row)


def build_record(fields: dict[str, Any]) -> TaskRecord:
    """Put a record together from a decoded envelope; `ValueError` when its status is none."""
    spec = TaskSpec(
        fields.get("id") or "",
        fields.get("type") or "",
        fields.get("params"),
        fields.get("tool_name") or "",
        fields.get("input"),
        fields.get("execution_category") or "",
        tuple(dependency or "" for dependency in fields.get("depends_on") or ()),
        fields.get("retry") or 0,
        fields.get("timeout") or 0,
        fields.get("annotations"),
    )
    return TaskRecord(
        spec,
        fields.get("created_at", Moment(0)).ns,
        fields.get("updated_at", Moment(0)).ns,
        TaskStatus(fields.get("status") or ""),
        _run(fields.get("runtime"), fields.get("progress")),
        fields.get("result"),
        fields.get("error") or "",
    )


def _run(fields: dict[str, Any] | None, progress: str | None) -> Run | None:
    if fields is None:
        return None
    return Run(
        status=fields.get("status") or "",
        handle_id=fields.get("handle_id") or "",
        output=fields.get("output"),
        reported="output" in fields,
        started=fields.get("started_at"),
        finished=fields.get("finished_at"),
        duration_ms=fields.get("duration_ms") or 0,
        attempt=fields.get("attempt") or 0,
        error=_error(fields.get("error")),
        progress=progress,
    )


def _error(fields: dict[str, Any] | None) -> RunError | None:
    if fields is None:
        return None
    return RunError(
        fields.get("code") or "",
        fields.get("message") or "",
        fields.get("retryable") or False,
        fields.get("source") or "",
        fields.get("details"),
    )
