"""Code to execute in a sandbox, within which bounds, and what came of it (seed 002). Durations are seconds.

`ExecutionRequest`, `SandboxConfig`, `ExecutionResult` and `ExecutorStats` are what a caller sees, with the seed's fields. What a
mode of execution has to be able to do is less: `Confinement` runs one `ConfinedCommand`, whatever the language.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, Protocol, get_args

from pydantic import Field

from pytest_execgo.plan.base import Document

Language = Literal["python", "javascript", "typescript", "go", "rust", "bash"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
SandboxMode = Literal["docker", "native", "wasm"]
MODES: tuple[SandboxMode, ...] = get_args(SandboxMode)

Seconds = Annotated[float, Field(gt=0, le=86_400)]


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
    """Where a scenario's commands run. Unless `required`, they run where the runtime runs them when it has no such sandbox."""

    mode: SandboxMode
    required: bool = True


@dataclass(frozen=True, slots=True)
class Mount:
    """A host folder as the command sees it, at the absolute path `target`."""

    source: Path
    target: str
    writable: bool = False


@dataclass(frozen=True, slots=True)
class ConfinedCommand:
    """One command line with everything it may have. `cwd` is a path inside; `env` is its whole environment.

    `work` is a folder of the host that the command gets as `cwd`, readable and writable, bounded to `disk_bytes`; it is gone, or
    as it was, when `work` is None and `cwd` lies in a mount. `image` is what a mode that has images shall run.
    `hosts` is None for no network, empty for any, else the only ones (`host` or `host:port`).
    """

    argv: tuple[str, ...]
    cwd: str
    timeout: float
    memory_bytes: int
    cpu_cores: float
    disk_bytes: int
    processes: int
    output_bytes: int
    work: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    stdin: bytes = b""
    mounts: tuple[Mount, ...] = ()
    hosts: tuple[str, ...] | None = None
    image: str | None = None


@dataclass(frozen=True, slots=True)
class ConfinedEnd:
    """How a confined command ended. `exit_code` is -N for signal N; `limit` names the bound that ended it, if one did."""

    exit_code: int
    stdout: bytes
    stderr: bytes
    duration: float
    truncated: bool = False
    limit: Literal["timeout", "memory", "disk", "processes"] | None = None
    memory_used_bytes: int | None = None


class Confinement(Protocol):
    """One mode of execution: `native`, `docker`, `wasm`."""

    @property
    def mode(self) -> SandboxMode:
        """Which one it is."""

    def problem(self) -> str | None:
        """Say why it can't be had here, and what to do about it; None when it can. Found out by trying, once."""

    def run(self, command: ConfinedCommand) -> ConfinedEnd:
        """Run one command to its end; nothing of it is left on return. `SandboxError` when it could not be confined or started."""

    def cleanup(self) -> None:
        """Remove whatever this mode has left on the machine. Safe to call twice."""
