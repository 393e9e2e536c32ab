"""What a mode of sandbox has to be able to do: run one command, confined. Durations are seconds.

Standard library only, so that a process that runs one confined command starts quickly. `plan.sandbox` hands these names on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, get_args

SandboxMode = Literal["docker", "native", "wasm"]
MODES: tuple[SandboxMode, ...] = get_args(SandboxMode)


@dataclass(frozen=True, slots=True)
class Mount:
    """A host folder as the command sees it, at the absolute path `target`."""

    source: Path
    target: str
    writable: bool = False


@dataclass(frozen=True, slots=True)
class ConfinedCommand:
    """One command line with everything it may have. `cwd` is a path inside; `env` is its whole environment.

    `work` is a folder of the host whose content the command finds in `cwd`, where it may write, bounded to `disk_bytes`; what it
    writes need not come back. Without it `cwd` lies in a mount. `image` is what a mode that has images shall run.
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
