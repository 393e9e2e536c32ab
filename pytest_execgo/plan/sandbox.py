"""Code to execute in a sandbox, within which bounds, and what came of it (seed 002). Durations are seconds.

`ExecutionRequest`, `SandboxConfig`, `ExecutionResult` and `ExecutorStats` are what a caller sees, with the seed's fields. What a
mode of execution has to be able to do is less: `Confinement` (confinement.py) runs one `ConfinedCommand`, whatever the language.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field

from pytest_execgo.plan.base import Document
from pytest_execgo.plan.confinement import MODES, ConfinedCommand, ConfinedEnd, Confinement, Mount, SandboxMode

__all__ = [
    "LANGUAGES",
    "MODES",
    "ConfinedCommand",
    "ConfinedEnd",
    "Confinement",
    "ExecutionRequest",
    "ExecutionResult",
    "ExecutorStats",
    "FileName",
    "Finding",
    "Language",
    "Mount",
    "SandboxConfig",
    "SandboxMode",
    "SandboxPolicy",
    "SandboxUse",
    "Seconds",
]

Language = Literal["python", "javascript", "typescript", "go", "rust", "bash"]
LANGUAGES: tuple[Language, ...] = get_args(Language)

Seconds = Annotated[float, Field(gt=0, le=86_400)]
_MAX_NAME = 255  # bytes


def _file_name(name: str) -> str:
    parts = name.split("/")
    if not all(parts) or {".", ".."} & {*parts} or "\0" in name or len(name.encode()) > _MAX_NAME:
        raise ValueError("allowed: a relative path such as data/input.csv, without '.' and '..'")
    return name


FileName = Annotated[str, AfterValidator(_file_name)]
"""Name of a file beside a piece of code: a relative path that stays beneath its folder."""


class ExecutionRequest(Document):
    """A piece of code with its surroundings; `files` maps names to contents, laid beside the code."""

    id: str
    language: Language
    code: str
    stdin: str = ""
    args: list[str] = Field(default_factory=list)
    env_vars: dict[str, str] = Field(default_factory=dict)
    files: dict[str, str] = Field(default_factory=dict)
    timeout: Seconds | None = None


class ExecutionResult(Document):
    """How the code ended: `success` is exit code 0 within every limit; `error` says which limit or launch failed."""

    id: str
    success: bool
    exit_code: int
    stdout: str
    stderr: str
    error: str | None = None
    duration: float
    memory_used_bytes: int | None = None
    truncated: bool = False


class SandboxConfig(Document):
    """The bounds of a sandbox. `timeout` is the default and the most a request may ask for.

    `mount_paths` maps absolute host folders to absolute folders inside, read-only unless the latter ends in `:rw`. Without
    `network_enabled` there is no network at all; with it, only `allowed_hosts` (`host` or `host:port`) are reached, or any
    when none is named. `max_cpu_percent` is of one core. `max_disk_mb` and `max_processes` are beyond the seed.
    """

    mode: SandboxMode = "docker"
    timeout: Seconds = 30.0
    max_memory_mb: Annotated[int, Field(ge=8, le=1_048_576)] = 512
    max_cpu_percent: Annotated[int, Field(ge=1, le=100_000)] = 100
    max_disk_mb: Annotated[int, Field(ge=1, le=1_048_576)] = 256
    max_processes: Annotated[int, Field(ge=1, le=4_194_304)] = 128
    network_enabled: bool = False
    allowed_hosts: list[str] = Field(default_factory=list)
    mount_paths: dict[str, str] = Field(default_factory=dict)
    env_vars: dict[str, str] = Field(default_factory=dict)
    max_output_bytes: Annotated[int, Field(ge=0, le=1 << 30)] = 1_048_576
    allowed_languages: list[Language] = Field(default_factory=lambda: list(LANGUAGES))


class ExecutorStats(Document):
    """What an executor has done so far; `total_duration` in seconds."""

    total_executions: int = 0
    success_executions: int = 0
    failed_executions: int = 0
    timeout_executions: int = 0
    total_duration: float = 0.0


class Finding(Document):
    """Something in a piece of code that its reader should know of; a hint, never a boundary. `line` counts from 1."""

    line: int
    code: str
    message: str


class SandboxPolicy(Document):
    """Where a scenario's commands run. Unless `required`, they run where the runtime runs them when it has no such sandbox.

    They have no network, whatever a plan asks for, unless `network_enabled` lets it ask.
    """

    mode: SandboxMode
    required: bool = True
    network_enabled: bool = False


class SandboxUse(Document):
    """Where a run's commands ran: the sandbox that its scenario asked for, the one that they got, else the reason for none."""

    requested: SandboxMode
    effective: SandboxMode | None = None
    reason: str | None = None
