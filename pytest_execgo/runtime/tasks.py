"""A task as the service knows it: its record, its events, how it ended, and what a client is shown of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pytest_execgo.runtime.models import TaskRequest


class Status(StrEnum):
    """Where a task is. The last three are terminal and never change again."""

    ACCEPTED = "accepted"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Tell whether a task in this status is finished."""
        return self in (Status.SUCCESS, Status.FAILED, Status.CANCELLED)


@dataclass(frozen=True, slots=True)
class TaskError:
    """Why a task did not succeed."""

    code: str
    message: str
    retryable: bool = False
    details: dict[str, Any] = field(default_factory=dict)

    def shown(self) -> dict[str, Any]:
        """Return the `error` of an answer."""
        return {"code": self.code, "message": self.message, "retryable": self.retryable, "details": self.details}


@dataclass(frozen=True, slots=True)
class Streams:
    """What a command wrote, as text, and how it exited; a signal's number is negative, as in Python's `returncode`."""

    stdout: str
    stderr: str
    exit_code: int
    stdout_truncated: bool = False
    stderr_truncated: bool = False

    def shown(self) -> dict[str, Any]:
        """Return the three fields that `output` and `details` share."""
        return {"stdout": self.stdout, "stderr": self.stderr, "exit_code": self.exit_code}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an execution ended. Without an error it succeeded; `output` is left out of answers when `has_output` is false.

    `isolation` is what the command's spawn said of it: requested, effective, why not more.
    """

    error: TaskError | None = None
    output: Any = None
    has_output: bool = False
    streams: Streams | None = None
    isolation: dict[str, Any] | None = None

    @property
    def status(self) -> Status:
        """Return the terminal status that this outcome gives its task."""
        if self.error is None:
            return Status.SUCCESS
        return Status.CANCELLED if self.error.code == "cancelled" else Status.FAILED

    def shown(self) -> dict[str, Any]:
        """Return this outcome's part of an answer."""
        answer: dict[str, Any] = {"output": self.output} if self.has_output else {}
        if self.streams is not None:
            answer |= self.streams.shown()
            answer["stdout_truncated"] = self.streams.stdout_truncated
            answer["stderr_truncated"] = self.streams.stderr_truncated
        if self.isolation is not None:
            answer["isolation"] = self.isolation
        if self.error is not None:
            answer["error"] = self.error.shown()
        return answer


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a task. `sequence` counts from 1 within the task; `at_ns` is `time.time_ns()`."""

    sequence: int
    type: str
    at_ns: int
    details: dict[str, Any]

    def shown(self) -> dict[str, Any]:
        """Return the event as an answer holds it."""
        return {"sequence": self.sequence, "type": self.type, "timestamp": rfc3339(self.at_ns), "details": self.details}


@dataclass(slots=True, eq=False)
class TaskRecord:
    """One task from its acceptance to its end. `size` is what its request and its outcome weigh, in bytes.

    `digest` is the SHA-256 (hex) of the submission's body; `boot` the boot of the machine on which it was started.
    """

    task_id: str
    handle_id: str
    request: TaskRequest
    size: int
    digest: str = ""
    status: Status = Status.ACCEPTED
    boot: str = ""
    started_ns: int = 0
    finished_ns: int = 0
    outcome: Outcome | None = None
    events: list[Event] = field(default_factory=list)

    @property
    def owner(self) -> str:
        """Return who may kill this task; empty when everybody may."""
        return self.request.control_context.owner

    @property
    def tenant(self) -> str:
        """Return whom this task is counted for; empty when nobody was named."""
        return self.request.control_context.tenant

    def note(self, kind: str, **details: Any) -> Event:
        """Append an event and return it."""
        event = Event(len(self.events) + 1, kind, time.time_ns(), details)
        self.events.append(event)
        return event

    def start(self, boot: str = "") -> None:
        """Go from accepted to running."""
        self.status, self.boot = Status.RUNNING, boot
        self.started_ns = self.note("started").at_ns

    def ended(self, outcome: Outcome) -> TaskRecord:
        """Return what this record is to become; it is kept first, and shown then."""
        ended = replace(self, events=list(self.events))
        ended.finish(outcome)
        return ended

    def become(self, ended: TaskRecord) -> None:
        """Become what was kept."""
        self.status, self.outcome, self.size = ended.status, ended.outcome, ended.size
        self.finished_ns, self.events = ended.finished_ns, ended.events

    def finish(self, outcome: Outcome) -> None:
        """Become terminal, once."""
        if self.status.terminal:
            raise RuntimeError(f"task {self.task_id!r} is {self.status} already")
        self.outcome = outcome
        self.status = outcome.status
        if outcome.streams is not None:
            self.size += len(outcome.streams.stdout) + len(outcome.streams.stderr)
        code = {} if outcome.error is None else {"code": outcome.error.code}
        self.finished_ns = self.note("finished", status=str(self.status), **code).at_ns

    def shown(self) -> dict[str, Any]:
        """Return the body of an answer about this task; what does not apply yet is left out."""
        answer: dict[str, Any] = {"task_id": self.task_id, "handle_id": self.handle_id, "status": str(self.status)}
        if self.started_ns:
            answer["started_at"] = rfc3339(self.started_ns)
        if self.outcome is not None:
            answer["finished_at"] = rfc3339(self.finished_ns)
            answer["duration_ms"] = max(self.finished_ns - (self.started_ns or self.finished_ns), 0) // 1_000_000
            answer |= self.outcome.shown()
        return answer


def rfc3339(at_ns: int) -> str:
    """Render a `time.time_ns()` as RFC 3339 in UTC with nanoseconds, `2026-01-31T12:00:00.123456789Z`."""
    seconds, nanoseconds = divmod(at_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z"
