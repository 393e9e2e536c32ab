"""What goes to a runtime service and what its answers mean."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from typing import Any

from pytest_execgo.kernel.executors.executor import Outcome, failed
from pytest_execgo.kernel.executors.tools.tool import ToolError
from pytest_execgo.kernel.golang import decoding, kinds
from pytest_execgo.kernel.golang.syntax import GoJSONError
from pytest_execgo.kernel.golang.text import compact, json_string, json_value, trim_space
from pytest_execgo.kernel.settings import RuntimeSettings
from pytest_execgo.kernel.task import RunError, RunStatus, TaskSpec

SOURCE = "execgo-runtime"
_CODES = frozenset(
    (
        "invalid_input launch_failed timeout cancelled memory_limit_exceeded cpu_limit_exceeded "
        "resource_limit_exceeded sandbox_setup_failed exit_nonzero denied not_found internal"
    ).split()
)
_RETRYABLE = frozenset(("timeout", "external_failure", "resource_limit_exceeded"))
_OBJECT = kinds.StringMap(kinds.Raw(), "map[string]interface {}")
_ERROR = kinds.Struct(
    "runtimeAPIError",
    "executor.runtimeAPIError",
    {"code": kinds.String(), "message": kinds.String(), "details": kinds.Anything()},
    pointer=True,
)
_ENVELOPE = kinds.Struct("runtimeErrorEnvelope", "executor.runtimeErrorEnvelope", {"error": _ERROR})
_ACCEPTED = kinds.Struct(
    "runtimeSubmitResponse",
    "executor.runtimeSubmitResponse",
    {"task_id": kinds.String(), "handle_id": kinds.String(), "status": kinds.String("models.RuntimeStatus")},
)
_TASK = kinds.Struct(
    "runtimeTaskResponse",
    "executor.runtimeTaskResponse",
    {
        "task_id": kinds.String(),
        "handle_id": kinds.String(),
        "status": kinds.String("models.RuntimeStatus"),
        "started_at": kinds.Time(),
        "finished_at": kinds.Time(),
        "duration_ms": kinds.Int("int64"),
        "error": _ERROR,
    },
)
_CONFLICT = kinds.Struct(
    "runtimeErrorEnvelope",
    "executor.runtimeErrorEnvelope",
    {
        "error": kinds.Struct(
            "runtimeAPIError",
            "executor.runtimeAPIError",
            {
                "details": kinds.Struct(
                    "runtimeConflict",
                    "executor.runtimeConflict",
                    {"handle_id": kinds.String(), "digest": kinds.String()},
                    pointer=True,
                )
            },
            pointer=True,
        )
    },
)
_UNHAPPY = (RunStatus.FAILED, RunStatus.CANCELLED)
_MESSAGES: dict[str, str] = {RunStatus.CANCELLED: "task cancelled"}
_HEADER_UNSAFE = re.compile(r"[\x00-\x1f\x7f]|[^\x00-\xff]")


@dataclass(frozen=True, slots=True)
class Payload:
    """A submission's JSON text, the owner that it names (who may kill it), and the id that it gives its task ("" if none)."""

    text: str
    owner: str
    task_id: str = ""

    @property
    def digest(self) -> str:
        """Return the SHA-256 (hex) of what is sent."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def build_payload(spec: TaskSpec, settings: RuntimeSettings, run: int = 1) -> Payload:
    """Build what is submitted: the task's input, else its params, with what is missing filled in; `ToolError` if no object.

    `run` counts the task's runs from 1: a runtime runs an id once, so later ones get an id of their own (`ID#2`).
    """
    raw = spec.input if spec.input is not None else spec.params
    try:
        fields = {} if raw is None else _members(raw)
    except GoJSONError as error:
        raise ToolError(f"parse runtime input: {error}") from error
    if trim_space(spec.id):
        fields.setdefault("task_id", json_string(spec.id))
    task_id = _text(fields.get("task_id", ""))
    if run > 1 and task_id:
        task_id = f"{task_id}#{run}"
        fields["task_id"] = json_string(task_id)
    control: dict[str, str] = {}
    if fields.get("control_context", "").startswith("{"):
        control = _members(fields["control_context"])
    tenant, owner = trim_space(settings.tenant), trim_space(settings.owner)
    if tenant:
        control.setdefault("tenant", json_string(tenant))
    if owner:
        control.setdefault("owner", json_string(owner))
    if tenant or owner:
        fields["control_context"] = _joined(control)
    holder = _text(control.get("owner", ""))
    return Payload(_joined(fields), "" if _HEADER_UNSAFE.search(holder) else holder, task_id)


def same_submission(payload: Payload, body: str) -> str | None:
    """Return the handle by which a 409's body names the task that has our id; None when it says that it is another's task.

    A runtime that doesn't say what the task was made of is believed to speak of ours.
    """
    try:
        answer = decoding.decode(body, _CONFLICT) or {}
    except GoJSONError:
        return payload.task_id
    details = (answer.get("error") or {}).get("details") or {}
    if details.get("digest") and details["digest"] != payload.digest:
        return None
    return details.get("handle_id") or payload.task_id


def is_stopping(body: str) -> bool:
    """Tell whether a 503's body is that of a runtime which is about to end, and perhaps to come back."""
    error = _error_in(body)
    return error is not None and error.details is not None and '"raw_error_code":"unavailable"' in error.details


def accepted(body: str) -> tuple[Outcome, str]:
    """Read the answer to a submission that was taken; return where the task stands, and the runtime's id for it."""
    try:
        answer = decoding.decode(body, _ACCEPTED) or {}
    except GoJSONError as error:
        return Outcome(RunStatus.FAILED, None, False, error=failed(f"decode runtime submit response: {error}")), ""
    task_id = trim_space(answer.get("task_id") or "")
    handle_id = trim_space(answer.get("handle_id") or "") or task_id
    return Outcome(answer.get("status") or "", compact(body), handle_id=handle_id), task_id


def refused(status: int, body: str) -> Outcome:
    """Read the answer to a submission that was not taken."""
    error = _error_in(body) or RunError("external_failure", f"runtime submit returned status {status}", status >= 500, SOURCE)
    return Outcome(RunStatus.FAILED, as_json(body), error=error)


def task_outcome(status: int, body: str, last: Outcome) -> Outcome:
    """Read the runtime's answer about a task; `last` is what was known before."""
    if not 200 <= status < 300:
        return Outcome(RunStatus.FAILED, as_json(body), handle_id=last.handle_id, error=_error_in(body))
    try:
        answer = decoding.decode(body, _TASK) or {}
    except GoJSONError as error:
        return last._replace(error=failed(f"decode runtime task response: {error}"))
    said = answer.get("error")
    return Outcome(
        answer.get("status") or "",
        compact(body),
        handle_id=trim_space(answer.get("handle_id") or "") or last.handle_id,
        started=answer.get("started_at"),
        finished=answer.get("finished_at"),
        duration_ms=answer.get("duration_ms") or 0,
        error=_converted(said) if said is not None and answer.get("status") in _UNHAPPY else None,
    )


def ended(outcome: Outcome) -> Outcome:
    """Give a task that the runtime ended without success, and without a word of why, an error."""
    if outcome.status == RunStatus.SUCCESS and outcome.error is None:
        return outcome
    error = outcome.error or failed("")
    if error.message:
        return outcome
    return outcome._replace(error=replace(error, message=_MESSAGES.get(outcome.status, "task failed")))


def as_json(body: str) -> str | None:
    """Return a body that should be JSON as JSON: compacted when it is, else as one string; None when there is none."""
    if not body:
        return None
    try:
        decoding.decode(body, kinds.Raw())
    except GoJSONError:
        return json_string(body)
    return compact(body)


def _error_in(body: str) -> RunError | None:
    """Find the error in a body: in an envelope, bare, or as a string."""
    for kind in (_ENVELOPE, _ERROR):
        try:
            answer: Any = decoding.decode(body, kind) or {}
        except GoJSONError:
            continue
        found = answer.get("error") if kind is _ENVELOPE else answer
        if found and (kind is _ENVELOPE or found.get("code") or found.get("message")):
            return _converted(found)
    try:
        text: str = decoding.decode(body, kinds.String()) or ""
    except GoJSONError:
        return None
    return RunError("external_failure", text, True, SOURCE) if trim_space(text) else None


def _converted(error: dict[str, Any]) -> RunError:
    raw_code: str = error.get("code") or ""
    code = trim_space(raw_code)
    details = f'{{"details":{json_value(error.get("details"))},"raw_error_code":{json_string(raw_code)}}}'
    return RunError(code if code in _CODES else "external_failure", error.get("message") or "", code in _RETRYABLE, SOURCE, details)


def _text(raw: str) -> str:
    """Return a JSON text's string; "" when it is none."""
    decoded: str = decoding.decode(raw, kinds.String()) if raw.startswith('"') else ""
    return decoded


def _members(text: str) -> dict[str, str]:
    """Return an object's members as raw texts; `GoJSONError` when it isn't one."""
    found: dict[str, str | None] = decoding.decode(text, _OBJECT) or {}
    return {key: value or "null" for key, value in found.items()}


def _joined(members: dict[str, str]) -> str:
    return "{" + ",".join(f"{json_string(key)}:{value}" for key, value in members.items()) + "}"
