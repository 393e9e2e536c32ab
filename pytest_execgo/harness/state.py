"""What a stack that was brought up by hand leaves on disk, and whether it is still true."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.core.files import write_atomic
from pytest_execgo.plan.stack import Service, ServiceStatus

_STATE = "harness.json"


class ProcessIdentity(BaseModel):
    """One process for good: a pid alone may be somebody else's later, or after a reboot.

    `started` is in clock ticks since boot, field 22 of /proc/PID/stat (man 5 proc); "" where there is no /proc.
    """

    model_config = ConfigDict(frozen=True)

    pid: int
    started: str
    boot_id: str

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity:
        """Identify the process that has this pid now; `ProcessLookupError` if none has."""
        started = _started(pid)
        if started is None:
            raise ProcessLookupError(f"no process {pid}")
        return cls(pid=pid, started=started, boot_id=_boot_id())

    def alive(self) -> bool:
        """Tell whether that very process still runs; a zombie doesn't."""
        return self.boot_id == _boot_id() and _started(self.pid) == self.started


class ServiceRecord(BaseModel):
    """One service as its keeper last saw it."""

    service: Service
    running: bool
    url: str
    pid: int | None = None
    exit_code: int | None = None
    log: Path | None = None

    @classmethod
    def of(cls, status: ServiceStatus) -> ServiceRecord:
        """Record a status."""
        return cls(
            service=status.service,
            running=status.running,
            url=status.url,
            pid=status.pid,
            exit_code=status.exit_code,
            log=status.log,
        )


class HarnessState(BaseModel):
    """A stack brought up by hand. Holds no token, since anybody may read it."""

    backend: str
    keeper: ProcessIdentity
    supervisor: ProcessIdentity
    services: list[ServiceRecord]

    def save(self, folder: Path) -> None:
        """Write the state whole or not at all."""
        write_atomic(folder / _STATE, self.model_dump_json(indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> HarnessState | None:
        """Read the state, or None if there is none; `ExecGoError` names a file that can't be understood."""
        path = folder / _STATE
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise ExecGoError(
                "bad_state", f"{path} is not a harness's state: {error.errors()[0]['msg']}", "remove it if no stack runs"
            ) from error

    @staticmethod
    def remove(folder: Path) -> None:
        """Forget the stack."""
        (folder / _STATE).unlink(missing_ok=True)


def _boot_id() -> str:
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else ""


def _started(pid: int) -> str | None:
    """Return when the process began, or None if there is none or only a zombie."""
    if not Path("/proc/self/stat").exists():
        return "" if _signalable(pid) else None
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat[stat.rindex(")") + 2 :].split()  # the name in brackets may hold anything; fields[0] is field 3
    return None if fields[0] in "ZX" else fields[19]


def _signalable(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is there, and somebody else's
        return True
    return True
