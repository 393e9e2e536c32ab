"""What the rows of a run's `timeline.jsonl` say, for people. Rows come from a file: nothing in them is taken for granted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from pytest_execgo.reporting.text import duration, one_line

_DETAIL = 160  # characters of what an event carries
_NAME = 80  # characters of a stage's or task's id


@dataclass(slots=True)
class StageView:
    """One submission of a stage: how many tasks were accepted, how long it took, how each task was last seen."""

    stage_id: str
    accepted: int | None = None
    took_ms: float | None = None
    status: str = "unfinished"
    tasks: dict[str, TaskView] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TaskView:
    """A task as it was last seen."""

    task_id: str
    status: str
    attempt: int
    error: str


def row_at(row: Mapping[str, Any], start_ns: int) -> str:
    """Return when an event happened, relative to `start_ns` of the monotonic clock: `+12.3 ms`."""
    at = row.get("monotonic_ns")
    if not _number(at) or at < start_ns:
        return "?"
    return f"+{duration((at - start_ns) / 1e6)}"


def start_of(timeline: Sequence[Mapping[str, Any]]) -> int:
    """Return the monotonic time (ns) of the first event; 0 without one."""
    return next((at for row in timeline if _number(at := row.get("monotonic_ns"))), 0)


def what_happened(row: Mapping[str, Any]) -> str:
    """Describe one event in one line: its type, where, its status and code unless all is well, and what it carries."""
    where = "/".join(one_line(row[key], _NAME) for key in ("stage_id", "task_id") if row.get(key))
    status = one_line(row.get("status", ""), _NAME)
    code = row.get("error_code")
    parts = [
        one_line(row.get("event_type", "event"), _NAME),
        where,
        "" if status == "ok" else status,
        f"[{one_line(code, _NAME)}]" if code else "",
    ]
    detail = detail_text(row.get("metadata"))
    return " ".join(filter(None, parts)) + (f": {detail}" if detail else "")


def rows_of(timeline: Iterable[Mapping[str, Any]], seqs: Iterable[int]) -> list[Mapping[str, Any]]:
    """Return the rows with these `seq`, in their order; those that the timeline lacks are left out."""
    wanted = set(seqs)
    return [row for row in timeline if _number(seq := row.get("seq")) and seq in wanted]


def judged(timeline: Sequence[Mapping[str, Any]]) -> bool | None:
    """Return whether the verifier was content; None when it was not asked. Of a run that was resumed, the last part counts."""
    for row in reversed(timeline):
        if row.get("event_type") == "verdict_reached":
            return bool(row.get("status") == "ok")
        if row.get("event_type") == "run_resumed":
            break
    return None


def stages(timeline: Iterable[Mapping[str, Any]]) -> list[StageView]:
    """Read the stages and their tasks off a timeline, one view for each submission."""
    views: list[StageView] = []
    latest: dict[str, tuple[StageView, Any]] = {}
    for row in timeline:
        kind, stage_id = row.get("event_type"), row.get("stage_id")
        if not isinstance(stage_id, str):
            continue
        if kind in ("stage_submitted", "submit_refused"):
            metadata = row.get("metadata")
            accepted = metadata.get("accepted") if isinstance(metadata, Mapping) else None
            refused = kind == "submit_refused"
            view = StageView(stage_id, 0 if refused else accepted, status="refused" if refused else "unfinished")
            views.append(view)
            latest[stage_id] = (view, row.get("monotonic_ns"))
        elif stage_id in latest:
            view, submitted = latest[stage_id]
            if kind == "task_observed":
                task = _task(row)
                view.tasks[task.task_id] = task
            elif kind == "stage_finished":
                finished = row.get("monotonic_ns")
                view.took_ms = (finished - submitted) / 1e6 if _number(finished) and _number(submitted) else None
                view.status = str(row.get("status"))
    return views


def _task(row: Mapping[str, Any]) -> TaskView:
    metadata = row.get("metadata")
    carried: Mapping[str, Any] = metadata if isinstance(metadata, Mapping) else {}
    attempt = carried.get("attempt")
    said = carried.get("error") or ""
    code = row.get("error_code")
    error = f"[{code}] {said}".strip() if code else str(said)
    return TaskView(str(row.get("task_id")), str(row.get("status")), attempt if isinstance(attempt, int) else 0, error)


def detail_text(metadata: object) -> str:
    """Return what an event carries in one line: what went wrong, if anything did, else its plain values."""
    if not isinstance(metadata, Mapping):
        return ""
    for telling in ("error", "reason", "message", "reasons", "problems", "missing", "unfinished"):
        if value := metadata.get(telling):
            listed = value[:10] if isinstance(value, list) else [value]
            return one_line("; ".join(str(item)[: 4 * _DETAIL] for item in listed), _DETAIL)
    scalars = (f"{key}={value}" for key, value in metadata.items() if isinstance(value, (int, float, str)))
    return one_line(" ".join(scalars), _DETAIL)


def _number(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
