"""Ending a task before its time: what its record says then.

A cancelled task has failed: `status` failed, `run_status` cancelled, error `cancelled`; what depends on it is skipped with
the words that any failed dependency has, `dependency ID failed`. What was known of its run, a partial output for instance,
is kept.
"""

from __future__ import annotations

from pytest_execgo.kernel.golang.time import Moment
from pytest_execgo.kernel.task import Run, RunError, RunStatus, TaskRecord, TaskStatus

CANCELLED = RunError("cancelled", "cancelled", False, "scheduler")


def cancelled(record: TaskRecord, attempts: int, now_ns: int) -> TaskRecord:
    """Return the last record of a task that is cancelled after that many attempts have begun (0: it never ran)."""
    run = record.run
    if run is None:
        ended = Run(RunStatus.CANCELLED, error=CANCELLED)
    else:
        begun = run.started.ns if run.started is not None else now_ns
        ended = run._replace(
            status=RunStatus.CANCELLED,
            finished=Moment(now_ns),
            duration_ms=max(0, now_ns - begun) // 1_000_000,
            attempt=attempts,
            error=CANCELLED,
        )
    return TaskRecord(record.spec, record.created_ns, now_ns, TaskStatus.FAILED, ended, ended.output, CANCELLED.message)
