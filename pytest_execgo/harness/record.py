"""What a stack leaves in its folder, so that another one can go on there: on the same ports, over the same data."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from pytest_execgo.core.errors import ExecGoError, StackError
from pytest_execgo.core.files import write_atomic
from pytest_execgo.core.folder_lock import FolderHeld, lock_folder
from pytest_execgo.core.process_identity import ProcessIdentity
from pytest_execgo.plan.stack import Service

_RECORD = "stack.json"
_LOCK = "stack.lock"
_END_TIMEOUT = 20.0  # seconds that a stack whose owner died may take to end what it ran


class StackRecord(BaseModel):
    """The stack that was last brought up in a folder. Holds no token, since anybody may read it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backend: str
    ports: dict[Service, int]
    owner: ProcessIdentity
    supervisor: ProcessIdentity

    @classmethod
    def of(cls, backend: str, ports: dict[Service, int], supervisor_pid: int) -> StackRecord:
        """Record a stack of this process."""
        owner, supervisor = ProcessIdentity.of(os.getpid()), ProcessIdentity.of(supervisor_pid)
        return cls(backend=backend, ports=ports, owner=owner, supervisor=supervisor)

    def save(self, folder: Path) -> None:
        """Write the record whole or not at all."""
        write_atomic(folder / _RECORD, self.model_dump_json(indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> StackRecord | None:
        """Read the record, or None if there is none; `ExecGoError` names a file that can't be understood."""
        path = folder / _RECORD
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]["msg"]
            raise ExecGoError("bad_record", f"{path} is not a stack's record: {problem}", "remove it if no stack runs") from error


def read_stack_ports(folder: Path) -> dict[Service, int]:
    """Return the ports of the stack that was last brought up in `folder`; empty when there was none.

    `StackSettings(ports=read_stack_ports(folder))` brings one up there again where the last one was. `ExecGoError` names a
    record that can't be understood.
    """
    record = StackRecord.load(folder)
    return {} if record is None else dict(record.ports)


def take_folder(folder: Path) -> int:
    """Lock a folder for one stack and return the lock's descriptor, making the folder where there is none.

    The supervisor holds a copy of it, so that the lock is free when all that the stack ran has ended. What a stack whose owner
    was killed still has to end is waited for; `StackError` when a stack is in use there, or the folder can't be had.
    """
    try:
        return lock_folder(folder, _LOCK)
    except FolderHeld as held:
        left = StackRecord.load(folder)
        if left is None or left.owner.alive() or not left.supervisor.end(None, _END_TIMEOUT):
            raise _in_use(folder, held) from held
    except OSError as error:
        raise _unusable(folder, error) from error
    try:
        return lock_folder(folder, _LOCK)
    except FolderHeld as held:
        raise _in_use(folder, held) from held
    except OSError as error:
        raise _unusable(folder, error) from error


def _in_use(folder: Path, held: FolderHeld) -> StackError:
    said = f"a stack of process {held.holder} is in use in {folder}"
    return StackError("stack_in_use", said, "take that one down, or use another folder")


def _unusable(folder: Path, error: OSError) -> StackError:
    return StackError("stack_folder", f"the stack's folder {folder} can't be used: {error.strerror or error}")
