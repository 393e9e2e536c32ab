"""Tasks and their attempts as spans: the kernel's own times, put on the run's clock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pytest_execgo.client.wait import TERMINAL
from pytest_execgo.reporting.course_spans import Course
from pytest_execgo.reporting.run_clock import RunClock, wall_ns
from pytest_execgo.reporting.spans import TEXT, Arrow, Moment, RunTrace, Scalar, Sighting, Span, Status, plain
from pytest_execgo.reporting.text import one_line

_STATUS: dict[object, Status] = {"success": "ok", "failed": "failed"}


@dataclass(slots=True)
class _Attempt:
    number: int
    start: int
    end: int | None = None
    outcome: str = "cut"


@dataclass(slots=True)
class _Task:
    """What is known of one task of the kernel. Times are on the run's clock (ns), before the kernel's clock is moved."""

    wire_id: str
    name: str
    stage: str
    seen: list[Sighting] = field(default_factory=list)
    start: int | None = None
    end: int | None = None
    envelope: Mapping[str, Any] = field(default_factory=dict)
    attempts: list[_Attempt] = field(default_factory=list)

    @property
    def key(self) -> str:
        return f"task/{self.wire_id}"

    @property
    def status(self) -> str:
        return self.seen[-1].status if self.seen else "unseen"

    @property
    def over_ns(self) -> int | None:
        """When the run saw that it was over."""
        return self.seen[-1].at_ns if self.status in TERMINAL else None


def add_tasks(
    trace: RunTrace,
    course: Course,
    clock: RunClock,
    snapshots: Iterable[Mapping[str, Any]],
    history: Sequence[Mapping[str, Any]],
) -> None:
    """Add what `execgo_snapshots.jsonl` and the kernel's rows of `history.jsonl` tell of tasks; see `run_trace` for times.

    A task lasts from its own start to its own end (of its last attempt), or, where the kernel tells neither, as long as its
    attempts. One that never ran is a moment. An attempt that a crash cut ends where the kernel's next life begins.
    """
    tasks = _tasks(course, clock, snapshots)
    boots = _read_attempts(tasks, course, clock, history)
    begins = {span.key: span.start_ns for span in course.spans}
    moved = _least_move(tasks.values(), begins)
    if moved:
        trace.attributes["kernel_clock_moved_ns"] = moved
    trace.moments += (Moment("kernel boot", max(at + moved, 0), "run", about) for at, about in boots)
    for task in tasks.values():
        span = _span(task, moved, clock.end_ns)
        if span is None:
            at, about = task.seen[-1].at_ns if task.seen else clock.end_ns, _about(task)
            trace.moments.append(Moment(one_line(f"{task.name} {task.status}", TEXT), at, task.stage, about))
        else:
            trace.spans += [span, *_attempt_spans(task, moved, clock.end_ns)]
    known = {span.key for span in trace.spans}
    arrows = [*_dependencies(tasks), *_bindings(tasks, course)]
    trace.arrows += (arrow for arrow in dict.fromkeys(arrows) if arrow.source in known and arrow.target in known)


def _tasks(course: Course, clock: RunClock, snapshots: Iterable[Mapping[str, Any]]) -> dict[str, _Task]:
    tasks: dict[str, _Task] = {}
    for seen in course.sightings:
        stage = course.stages.get(seen.wire_id, seen.stage)
        tasks.setdefault(seen.wire_id, _Task(seen.wire_id, one_line(seen.task_id, TEXT), stage)).seen.append(seen)
    for row in snapshots:
        envelope = row.get("task")
        task = tasks.get(str(envelope.get("id"))) if isinstance(envelope, Mapping) else None
        if task is None or not isinstance(envelope, Mapping):
            continue
        task.envelope = envelope
        runtime = envelope.get("runtime")
        started = wall_ns(runtime.get("started_at")) if isinstance(runtime, Mapping) else None
        finished = wall_ns(runtime.get("finished_at")) if isinstance(runtime, Mapping) else None
        task.start = clock.of_wall(started) if started is not None else None
        task.end = clock.of_wall(finished) if finished is not None else None
    return tasks


def _read_attempts(
    tasks: dict[str, _Task], course: Course, clock: RunClock, history: Iterable[Mapping[str, Any]]
) -> list[tuple[int, dict[str, Scalar]]]:
    """Read the kernel's rows: attempts go to their tasks, boots are returned with their time."""
    boots: list[tuple[int, dict[str, Scalar]]] = []
    running: dict[tuple[str, int], _Attempt] = {}
    for row in history:
        wall = wall_ns(row.get("wall")) if row.get("process") == "kernel" else None
        if wall is None:
            continue
        at, f, wire = clock.of_wall(wall), row.get("f"), str(row.get("task"))
        number = attempt if isinstance(attempt := row.get("attempt"), int) else 0
        if f == "boot":
            boots.append((at, {"boot_id": plain(row.get("boot_id") or "")}))
            for cut in running.values():
                cut.end = at
            running.clear()
        elif f == "start":
            tasks.setdefault(wire, _Task(wire, _name_of(wire), course.stages.get(wire, "run")))
            running[wire, number] = _Attempt(number, at)
            tasks[wire].attempts.append(running[wire, number])
        elif f == "end" and (wire, number) in running:
            value = row.get("value")
            ended = running.pop((wire, number))
            ended.end, ended.outcome = at, str(value.get("outcome")) if isinstance(value, Mapping) else "ended"
    return boots


def _name_of(wire_id: str) -> str:
    """Return the plan's name of a task that the run itself never saw: its global id ends with task and attempt."""
    parts = wire_id.split(":")
    return one_line(parts[-2] if len(parts) > 2 else wire_id, TEXT)


def _least_move(tasks: Iterable[_Task], begins: Mapping[str, int]) -> int:
    """Return by how much (ns) the kernel's times are to be moved so that they fit between what the run did and saw; 0 if they fit.

    Where no move makes all of them fit, it is the one in the middle.
    """
    least: int | None = None
    most: int | None = None
    for task in tasks:
        starts = [at for at in (task.start, *(attempt.start for attempt in task.attempts)) if at is not None]
        if starts and task.stage in begins:
            needed = begins[task.stage] - min(starts)
            least = needed if least is None else max(least, needed)
        if task.end is not None and task.over_ns is not None:
            room = task.over_ns - task.end
            most = room if most is None else min(most, room)
    if least is not None and most is not None and least > most:
        return (least + most) // 2
    if least is not None and least > 0:
        return least
    return most if most is not None and most < 0 else 0


def _span(task: _Task, moved: int, end_of_run: int) -> Span | None:
    start, end = task.start, task.end
    if start is None and task.attempts:
        start = min(attempt.start for attempt in task.attempts)
        ends = [attempt.end for attempt in task.attempts if attempt.end is not None]
        end = max(ends) if len(ends) == len(task.attempts) else None
    if start is None:
        return None
    start = max(start + moved, 0)
    until = end + moved if end is not None else task.over_ns if task.over_ns is not None else end_of_run
    return Span(
        task.key,
        "task",
        task.name,
        start,
        max(until, start),
        _STATUS.get(task.status, "unknown"),
        task.stage,
        {**_about(task), **({} if end is not None else {"end_unknown": True})},
    )


def _about(task: _Task) -> dict[str, Scalar]:
    runtime = task.envelope.get("runtime")
    attempt = runtime.get("attempt") if isinstance(runtime, Mapping) else None
    error = task.envelope.get("error")
    known = {
        "task_id": task.name,
        "wire_id": task.wire_id,
        "status": task.status,
        "type": task.envelope.get("type"),
        "tool": task.envelope.get("tool_name"),
        "attempt": attempt or len(task.attempts) or None,
        "error": error if error else None,
    }
    return {name: plain(value) for name, value in known.items() if value is not None}


def _attempt_spans(task: _Task, moved: int, end_of_run: int) -> Iterator[Span]:
    for index, attempt in enumerate(task.attempts):
        start = max(attempt.start + moved, 0)
        end = attempt.end + moved if attempt.end is not None else end_of_run
        status = _STATUS.get(attempt.outcome, "unknown" if attempt.outcome == "cut" else "failed")
        about: dict[str, Scalar] = {"task_id": task.name, "attempt": attempt.number, "outcome": one_line(attempt.outcome, TEXT)}
        name = f"{task.name} #{attempt.number}"
        yield Span(f"attempt/{task.wire_id}/{index}", "attempt", name, start, max(end, start), status, task.key, about)


def _dependencies(tasks: Mapping[str, _Task]) -> Iterator[Arrow]:
    for task in tasks.values():
        parents = task.envelope.get("depends_on")
        for parent in parents if isinstance(parents, list) else ():
            yield Arrow("dependency", f"task/{parent}", task.key)


def _bindings(tasks: Mapping[str, _Task], course: Course) -> Iterator[Arrow]:
    """Find the two tasks of each binding: the source as it was last seen before, the target as it is first seen after."""
    for source, target, at in course.applied:
        sources = [
            (len(seen.task_id), seen.at_ns, seen.wire_id)
            for seen in course.sightings
            if seen.at_ns <= at and source.startswith(f"{seen.task_id}.")
        ]
        targets = [seen.wire_id for seen in course.sightings if seen.at_ns >= at and seen.task_id == target]
        if sources and targets and targets[0] in tasks:
            yield Arrow("binding", f"task/{max(sources)[2]}", f"task/{targets[0]}")
