"""What the journal says of a task's submission and of its end, such that others can compare it with what they know."""

from __future__ import annotations

from typing import Any

from pytest_execgo.core.jsonio import digest, loads
from pytest_execgo.kernel.durable.recovery import has_effects, runs_once
from pytest_execgo.kernel.golang.text import json_string
from pytest_execgo.kernel.resubmission import comparable
from pytest_execgo.kernel.task import TaskRecord, TaskSpec


def described(spec: TaskSpec) -> dict[str, Any]:
    """Return what a checker needs to know of a task: whom it waits for, whether it can have effects, whether only once."""
    return {"depends_on": list(spec.depends_on), "effects": has_effects(spec), "once": runs_once(spec)}


def content_digest(spec: TaskSpec) -> str:
    """Return one SHA-256 (hex) for all submissions that mean the same; JSON too deep to look into counts as it is written."""
    spec = spec.as_run()
    rest = [spec.id, spec.type, spec.tool_name, spec.category, spec.depends_on, spec.retry, spec.timeout, spec.annotations]
    try:
        return digest([*rest, *(None if text is None else comparable(text) for text in (spec.params, spec.input))])
    except RecursionError:
        return digest([*rest, spec.params, spec.input])


def end_digest(record: TaskRecord) -> str | None:
    """Return the digest of status, result and error as a client reads them; None for a result that has none (`1e999`)."""
    error = json_string(record.error) if record.error else "null"
    try:
        return digest(loads(f'["{record.status}",{record.result or "null"},{error}]'))
    except (ValueError, RecursionError):
        return None
