"""What a client may send: the body of a submission, validated whole before anything is stored.

Types are strict (a boolean is no number, a number no text). JSON `null` counts as absent and unknown fields are
ignored, as everywhere in ExecGo's protocol.
"""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from pytest_execgo.core.bodies import HttpError
from pytest_execgo.plan.sandbox import FileName, Language, SandboxMode

DEFAULT_WALL_MS = 300_000
DEFAULT_CAPTURE_BYTES = 4 * 1024 * 1024
MAX_CAPTURE_BYTES = 64 * 1024 * 1024
_MAX_MS = 2**53 - 1
_MAX_ARGUMENT = 128 * 1024 - 1  # bytes: Linux takes no longer single argument, and a script travels as one

Milliseconds = Annotated[int, Field(ge=0, le=_MAX_MS)]
PositiveMilliseconds = Annotated[int, Field(ge=1, le=_MAX_MS)]
CaptureBytes = Annotated[int, Field(ge=0, le=MAX_CAPTURE_BYTES)]


def _variable_name(name: str) -> str:
    if not name or "=" in name:
        raise ValueError(f"{name[:40]!r} can't be the name of a variable: it is empty or holds '='")
    return name


def _variable_value(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, bool | int | float) else value


def _one_argument(text: str) -> str:
    if len(text.encode()) > _MAX_ARGUMENT:
        raise ValueError(f"longer than {_MAX_ARGUMENT} bytes; put it into a file")
    return text


def _task_id(text: str) -> str:
    if text in (".", ".."):
        raise ValueError("'.' and '..' can't be part of an address")
    if not text.isprintable():
        raise ValueError("holds a character that can't be printed")
    return text


def _absolute(text: str) -> str:
    if text and not text.startswith("/"):
        raise ValueError("no absolute path")
    return text


Environment = dict[Annotated[str, AfterValidator(_variable_name)], Annotated[str, BeforeValidator(_variable_value)]]
Argument = Annotated[str, AfterValidator(_one_argument)]
Program = Annotated[Argument, Field(min_length=1)]


class _Wire(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: Any) -> Any:
        return {name: value for name, value in data.items() if value is not None} if isinstance(data, dict) else data


class _Process(_Wire):
    args: list[Argument] = Field(default_factory=list)
    cwd: str = ""
    env: Environment = Field(default_factory=dict)
    timeout_ms: PositiveMilliseconds | None = None


class Command(_Process):
    """A program with its arguments, started without a shell. An empty `cwd` is the service's own folder."""

    kind: Literal["command"]
    program: Program

    def argv(self) -> list[str]:
        """Return the program and its arguments."""
        return [self.program, *self.args]


class Script(_Process):
    """A script, handed to its interpreter as one argument; `args` are its positional parameters."""

    kind: Literal["script"]
    script: Program
    interpreter: Argument = "sh"

    def argv(self) -> list[str]:
        """Return the interpreter's command line; a shell gets its own name as `$0`."""
        interpreter = self.interpreter or "sh"
        name = PurePosixPath(interpreter).name
        flag = "-e" if name in ("perl", "ruby", "node") else "-c"
        zeroth = [name] if name.endswith("sh") and self.args else []
        return [interpreter, flag, self.script, *zeroth, *self.args]


class Code(_Wire):
    """Code in a language, executed in a sandbox in a folder of its own, beside `files`. `env_vars` is another name of `env`."""

    kind: Literal["code"]
    language: Language
    code: Annotated[str, Field(min_length=1)]
    stdin: str = ""
    args: list[Argument] = Field(default_factory=list)
    env: Environment = Field(default_factory=dict)
    env_vars: Environment = Field(default_factory=dict)
    files: dict[FileName, str] = Field(default_factory=dict)
    timeout_ms: PositiveMilliseconds | None = None


class Emit(_Wire):
    """Succeed with `payload` as output, after a delay."""

    kind: Literal["emit"]
    payload: Any = None
    delay_ms: Milliseconds = 0


class Sleep(_Wire):
    """Succeed after a while."""

    kind: Literal["sleep"]
    duration_ms: Milliseconds = 0


class Fail(_Wire):
    """Fail with the given error, after a delay."""

    kind: Literal["fail"]
    code: Annotated[str, Field(min_length=1, max_length=200)] = "internal"
    message: str = "the task was told to fail"
    delay_ms: Milliseconds = 0
    retryable: bool = False


Execution = Annotated[Command | Script | Code | Emit | Sleep | Fail, Field(discriminator="kind")]


class Limits(_Wire):
    """What a task may use. CPU seconds and address space are each process's own, output is each stream's.

    `cpu_cores` is what a task reserves of the service's cores; it bounds nothing by itself.
    """

    wall_time_ms: PositiveMilliseconds = DEFAULT_WALL_MS
    cpu_time_sec: Annotated[int, Field(ge=1, le=2**31)] | None = None
    memory_bytes: Annotated[int, Field(ge=1, le=2**62)] | None = None
    pids_max: Annotated[int, Field(ge=1, le=2**22)] | None = None
    cpu_cores: Annotated[float, Field(gt=0, le=4096)] | None = None
    stdout_max_bytes: CaptureBytes = DEFAULT_CAPTURE_BYTES
    stderr_max_bytes: CaptureBytes = DEFAULT_CAPTURE_BYTES


class Sandbox(_Wire):
    """The isolation asked for: a rung by its `profile`, `strict` to refuse less; or a sandbox by its `mode`, which never is less.

    Of the host's folders a sandbox has one, at the same path, and may change it: `folder`, in which the working folder lies, else
    the working folder. It has no network, unless that is enabled: any, or that of `allowed_hosts` (`host` or `host:port`).
    """

    profile: str = "process"
    strict: bool = False
    mode: SandboxMode | None = None
    folder: Annotated[str, AfterValidator(_absolute)] = ""
    network_enabled: bool = False
    allowed_hosts: list[str] = Field(default_factory=list)


class ControlContext(_Wire):
    """Whose task it is. Who isn't the owner may not kill it."""

    tenant: str = ""
    owner: str = ""


class TaskRequest(_Wire):
    """The body of `POST /api/v1/tasks`."""

    task_id: Annotated[str, Field(max_length=1024), AfterValidator(_task_id)] = ""
    execution: Execution
    limits: Limits = Field(default_factory=Limits)
    sandbox: Sandbox = Field(default_factory=Sandbox)
    policy: dict[str, Any] = Field(default_factory=dict)
    control_context: ControlContext = Field(default_factory=ControlContext)
    metadata: dict[str, Any] = Field(default_factory=dict)

    def wall_limit_ms(self) -> int:
        """Return the effective wall limit: the smaller of the execution's `timeout_ms` and the limits' `wall_time_ms`."""
        own = self.execution.timeout_ms if isinstance(self.execution, Command | Script | Code) else None
        return min(own or self.limits.wall_time_ms, self.limits.wall_time_ms)


def parse_task(document: Any) -> TaskRequest:
    """Validate a submission; an `HttpError` (400 `invalid_input`) lists every problem with its JSON path."""
    try:
        return TaskRequest.model_validate(document)
    except ValidationError as error:
        raise HttpError.from_validation(error, union_field="execution") from None
