"""Whether the kernel did things in the order that it promises: parents before children, one attempt before the next."""

from __future__ import annotations

from dataclasses import dataclass, field

from pytest_execgo.observability.checks.evidence import Evidence, TaskEvidence
from pytest_execgo.observability.checks.findings import Findings
from pytest_execgo.plan.history import HistoryRow


@dataclass(slots=True)
class _Seen:
    """What the kernel's rows said of a task so far."""

    succeeded_in: str | None = None  # the life in which an attempt last ended well
    durable: bool = False
    spawn: HistoryRow | None = None
    over: bool = True  # no attempt of it is known to run
    started: set[int | None] = field(default_factory=set)


def reordered(evidence: Evidence, findings: Findings) -> None:
    """Reordered: a child was spawned before its parent's end (the durable one, if it has effects), or an attempt too early.

    Too early is before the last attempt had ended, or been found without an end; with effects, also before its start was noted.
    """
    seen: dict[str, _Seen] = {}
    for row in evidence.rows:
        if row.process != "kernel" or row.task is None:
            continue
        task = evidence.tasks[row.task]
        if task.deleted_ns is not None and row.monotonic_ns > task.deleted_ns:
            continue
        state = seen.setdefault(row.task, _Seen())
        if row.f == "spawn":
            findings.looked += 1
            _attempts(task, state, row, findings)
            _parents(evidence, task, seen, row, findings)
            state.spawn, state.over = row, False
        else:
            _note(state, row)


def _note(state: _Seen, row: HistoryRow) -> None:
    if row.f == "start":
        state.started.add(row.attempt)
    elif row.f == "end":
        state.over = True
        state.succeeded_in = row.boot_id if row.value.get("outcome") == "success" else None
    elif row.f == "persist":
        state.durable = row.value.get("status") == "success"
    elif row.f == "recover":
        # what an earlier life knew and had not made durable is gone
        state.over, state.succeeded_in = True, None


def _attempts(task: TaskEvidence, state: _Seen, row: HistoryRow, findings: Findings) -> None:
    before = state.spawn
    if before is not None and not state.over and before.attempt != row.attempt:  # the same one again is a duplicate
        said = f"attempt {row.attempt} of task {task.task} was spawned before attempt {before.attempt} had ended"
        findings.convict(task.task, said, before, row)
    elif before is not None and _lower(row, before):
        said = f"attempt {row.attempt} of task {task.task} was spawned after attempt {before.attempt}"
        findings.convict(task.task, said, before, row)
    elif task.effects and row.attempt not in state.started:
        said = f"attempt {row.attempt} of task {task.task} was spawned before its start was noted"
        findings.convict(task.task, said, row)


def _lower(row: HistoryRow, before: HistoryRow) -> bool:
    """Whether attempts went down within one life; over lives they may, where an attempt's start is not durable."""
    both = row.attempt is not None and before.attempt is not None and row.boot_id == before.boot_id
    return both and (row.attempt or 0) < (before.attempt or 0)


def _parents(evidence: Evidence, task: TaskEvidence, seen: dict[str, _Seen], row: HistoryRow, findings: Findings) -> None:
    for name in task.parents:
        parent = evidence.tasks.get(name)
        if parent is None or parent.accept is None or parent.deleted_ns is not None:
            continue
        state = seen.get(name, _Seen())
        if state.durable or (state.succeeded_in == row.boot_id and not task.effects):
            continue
        late = parent.persisted("success") if task.effects else next(parent.of("end", "persist"), None)
        what = "the durable end" if task.effects else "the end"
        said = f"task {task.task} was spawned before {what} of {name}, on which it depends"
        findings.convict(task.task, said, task.accept, row, late or parent.kernel[-1])
