"""A kernel's envelope of a finished task, as bindings and verifiers see it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.core.jsonio import loads
from pytest_execgo.observability.clock import parse_rfc3339
from pytest_execgo.plan.verdict import TaskOutcome


def portable_output(envelope: Mapping[str, Any]) -> Any:
    """Return the view of a task's result that is the same on every kernel and runtime.

    An os task's `result`; a runtime task's `output`, else its `stdout` parsed as JSON, else `{stdout, stderr, exit_code}`.
    """
    result = envelope.get("result")
    if envelope.get("type") != "runtime" or not isinstance(result, Mapping):
        return result
    if "output" in result:
        return result["output"]
    if "stdout" not in result:
        return None
    try:
        return loads(result["stdout"])
    except (TypeError, ValueError):
        return {name: result.get(name) for name in ("stdout", "stderr", "exit_code")}


def task_outcome(stage_id: str, task_id: str, wire_id: str, envelope: Mapping[str, Any]) -> TaskOutcome:
    """Build the outcome of one task from the kernel's last answer about it; `ExecGoError` for times that are none."""
    runtime = envelope.get("runtime")
    run: Mapping[str, Any] = runtime if isinstance(runtime, Mapping) else {}
    try:
        started_ns, finished_ns = _time(run.get("started_at")), _time(run.get("finished_at"))
        attempt = int(run.get("attempt") or 0)
    except (TypeError, ValueError) as error:
        raise ExecGoError("bad_answer", f"the kernel's answer about task {wire_id}: {error}") from error
    return TaskOutcome(
        stage_id=stage_id,
        task_id=task_id,
        wire_id=wire_id,
        status=str(envelope.get("status", "unknown")),
        output=portable_output(envelope),
        started_ns=started_ns,
        finished_ns=finished_ns,
        attempt=attempt,
        envelope=dict(envelope),
    )


def _time(text: object) -> int | None:
    return parse_rfc3339(text) if isinstance(text, str) and text else None
