"""What a stack that was brought up by hand leaves on disk, and whether it is still true."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ValidationError

from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.core.files import write_atomic
from pytest_execgo.core.process_identity import ProcessIdentity
from pytest_execgo.plan.stack import Service, ServiceStatus

_STATE = "harness.json"


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
    """A stack brought up by hand. Holds no token, since anybody may read it.

    `supervisor` ends once nothing of the stack is left after the keeper's end, however that came.
    """

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
