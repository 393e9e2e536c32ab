"""What becomes of tasks that were found without an end: the rules, apart from everything that carries them out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from pytest_execgo.kernel.control import cancelled
from pytest_execgo.kernel.durable.rows import Mark
from pytest_execgo.kernel.golang.time import Moment
from pytest_execgo.kernel.task import Run, RunError, RunStatus, TaskRecord, TaskSpec, TaskStatus

_NO_EFFECTS = frozenset(("noop", "sleep"))
_BEGUN = (Mark.RUNNING, Mark.INTERRUPTED)


@dataclass(frozen=True, slots=True)
class Found:
    """A task that had not ended when the kernel did, as the store has it."""

    record: TaskRecord
    mark: Mark
    attempts: int
    interruptions: int


@dataclass(frozen=True, slots=True)
class Resumed:
    """What to do with a found task: run it with these counts, or end it with `ending`.

    `began`: an attempt was cut short. `cancelled`: it was ordered to end, which is now done.
    """

    record: TaskRecord
    attempts: int
    interruptions: int
    ending: TaskRecord | None = None
    began: bool = False
    cancelled: bool = False


def runs_once(spec: TaskSpec) -> bool:
    """Tell whether a task is annotated `effect: once`."""
    if spec.annotations is None or '"effect"' not in spec.annotations:
        return False
    return bool(json.loads(spec.annotations).get("effect") == "once")


def has_effects(spec: TaskSpec) -> bool:
    """Tell whether running a task can leave a trace outside of the kernel, or is said to."""
    return spec.type != "os" or spec.tool_name.strip() not in _NO_EFFECTS or runs_once(spec)


def leaves_mark(spec: TaskSpec) -> bool:
    """Tell whether it is worth a record that an attempt began: always, but for a `noop`, which is over at once."""
    return spec.type != "os" or spec.tool_name.strip() != "noop" or runs_once(spec)


def resume(found: Iterable[Found], now_ns: int) -> list[Resumed]:
    """Decide on each task: it runs (again); a cancelled one ends so; one that runs once and may have begun ends as unknown.

    An attempt that a crash or a stop cut short counts as an attempt, but not against `retry`.
    """
    return [_resumed(task, now_ns) for task in found]


def _resumed(task: Found, now_ns: int) -> Resumed:
    ordered = task.mark is Mark.CANCELLED
    began = ordered or task.mark in _BEGUN
    interruptions = task.interruptions + began
    ending = None
    if ordered:
        ending = cancelled(task.record, task.attempts, now_ns)
    elif task.attempts and runs_once(task.record.spec):
        ending = unknown(task.record, task.attempts, now_ns)
    return Resumed(task.record, task.attempts, interruptions, ending, began, ordered)


def unknown(
    record: TaskRecord, attempts: int, now_ns: int, cause: str = "the kernel ended before its end was recorded"
) -> TaskRecord:
    """Return the last record of a task that must not run twice and perhaps did run."""
    message = f"the end of task {record.spec.id} is not known: {cause}, and its effect must not happen twice"
    error = RunError("unknown", message, False, "kernel")
    run = Run(RunStatus.FAILED, finished=Moment(now_ns), attempt=attempts, error=error)
    return TaskRecord(record.spec, record.created_ns, now_ns, TaskStatus.FAILED, run, None, message)
