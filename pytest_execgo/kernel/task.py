"""A task as it was submitted, what is known of its run, and the envelope that clients read.

Raw JSON is kept as text, already compact and escaped, so that an envelope is put together without parsing anything again.
What is made for every task is a named tuple: a frozen dataclass takes four times as long to make.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from pytest_execgo.kernel.golang.text import json_string, json_strings
from pytest_execgo.kernel.golang.time import Moment, time_text


class TaskStatus(StrEnum):
    """Where a task is in its graph."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    SKIPPED = "skipped"


class RunStatus(StrEnum):
    """Where a task's run is; a runtime may report others, which count as not finished."""

    ACCEPTED = "accepted"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"


TERMINAL_RUNS = frozenset((RunStatus.SUCCESS, RunStatus.FAILED, RunStatus.CANCELLED))


class TaskSpec(NamedTuple):
    """A normalised submission. `params`, `input`, `annotations` are JSON text or None; `timeout` is in ms."""

    id: str
    type: str
    params: str | None = None
    tool_name: str = ""
    input: str | None = None
    category: str = ""
    depends_on: tuple[str, ...] = ()
    retry: int = 0
    timeout: int = 0
    annotations: str | None = None

    def as_run(self) -> TaskSpec:
        """Return the task as it shows once it ran: an os task's input stands for parameters that were not given."""
        if self.type == "os" and self.params is None and self.input is not None:
            return self._replace(params=self.input)
        return self


@dataclass(frozen=True, slots=True)
class RunError:
    """Why a run failed; `details` is JSON text."""

    code: str
    message: str
    retryable: bool = False
    source: str = ""
    details: str | None = None

    def encode(self) -> str:
        """Return the error's JSON."""
        parts = [f'"code":{json_string(self.code)},"message":{json_string(self.message)}']
        if self.retryable:
            parts.append('"retryable":true')
        if self.source:
            parts.append(f'"source":{json_string(self.source)}')
        if self.details is not None:
            parts.append(f'"details":{self.details}')
        return "{" + ",".join(parts) + "}"


class Run(NamedTuple):
    """What is known of a task's run. `output` and `progress` are JSON text.

    With `reported`, output and details show even when null.
    """

    status: str
    handle_id: str = ""
    output: str | None = None
    reported: bool = False
    started: Moment | None = None
    finished: Moment | None = None
    duration_ms: int = 0
    attempt: int = 0
    error: RunError | None = None
    progress: str | None = None

    def encode(self) -> str:
        """Return the `runtime` object's JSON."""
        text = f'{{"status":{json_string(self.status)}'
        if self.handle_id:
            text += f',"handle_id":{json_string(self.handle_id)}'
        if self.reported:
            text += f',"output":{self.output or "null"}'
        if self.started is not None:
            text += f',"started_at":"{time_text(*self.started)}"'
        if self.finished is not None:
            text += f',"finished_at":"{time_text(*self.finished)}"'
        if self.duration_ms:
            text += f',"duration_ms":{self.duration_ms}'
        if self.attempt:
            text += f',"attempt":{self.attempt}'
        if self.reported:
            text += ',"details":null'
        if self.error is not None:
            text += f',"error":{self.error.encode()}'
        return text + "}"


class TaskRecord(NamedTuple):
    """A task and its state. `result` is JSON text; times are nanoseconds since 1970."""

    spec: TaskSpec
    created_ns: int
    updated_ns: int
    status: TaskStatus = TaskStatus.PENDING
    run: Run | None = None
    result: str | None = None
    error: str = ""

    def started(self, now_ns: int) -> TaskRecord:
        """Return the record of the task as it starts to run."""
        run = Run(RunStatus.RUNNING, started=Moment(now_ns))
        return TaskRecord(self.spec.as_run(), self.created_ns, now_ns, TaskStatus.RUNNING, run)

    def skipped(self, now_ns: int, reason: str) -> TaskRecord:
        """Return the record of a task that won't run."""
        return TaskRecord(self.spec, self.created_ns, now_ns, TaskStatus.SKIPPED, None, None, reason)

    def encode(self) -> str:
        """Return the envelope's JSON, its fields in ExecGo's order."""
        run = self.run
        text = _head(self.spec) + f',"status":"{self.status}"'
        if run is not None:
            text += f',"run_status":{json_string(run.status)}'
            if run.handle_id:
                text += f',"handle_id":{json_string(run.handle_id)}'
            if run.progress is not None:
                text += f',"progress":{run.progress}'
        if self.result is not None:
            text += f',"result":{self.result}'
        if run is not None:
            text += f',"runtime":{run.encode()}'
        if self.error:
            text += f',"error":{json_string(self.error)}'
        return text + f',"created_at":"{time_text(self.created_ns)}","updated_at":"{time_text(self.updated_ns)}"}}'


def _head(spec: TaskSpec) -> str:
    """Return an envelope's beginning: the task as it was submitted."""
    text = f'{{"id":{json_string(spec.id)},"type":{json_string(spec.type)}'
    if spec.params is not None:
        text += f',"params":{spec.params}'
    if spec.tool_name:
        text += f',"tool_name":{json_string(spec.tool_name)}'
    if spec.input is not None:
        text += f',"input":{spec.input}'
    if spec.category:
        text += f',"execution_category":{json_string(spec.category)}'
    if spec.depends_on:
        text += f',"depends_on":{json_strings(spec.depends_on)}'
    if spec.retry:
        text += f',"retry":{spec.retry}'
    if spec.timeout:
        text += f',"timeout":{spec.timeout}'
    if spec.annotations is not None:
        text += f',"annotations":{spec.annotations}'
    return text
