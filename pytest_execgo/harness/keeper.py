"""Keeps one stack up after the command that asked for it has ended.

Runs as `python -m pytest_execgo.harness.keeper`, in a session of its own: reads a `KeeperRequest` from its standard
input, brings the stack up, answers one `KeeperAnswer` on its standard output, keeps the state file true while services
come and go, and takes the stack down on SIGTERM. When it dies, the stack dies.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from pydantic import BaseModel, Field

from pytest_execgo.core.errors import ExecGoError, StackError, UsageError
from pytest_execgo.core.process_identity import ProcessIdentity
from pytest_execgo.harness.embedded import EmbeddedStack
from pytest_execgo.harness.native import NativeStack
from pytest_execgo.harness.settings import StackSettings
from pytest_execgo.harness.state import HarnessState, ServiceRecord
from pytest_execgo.plan.stack import Service

if TYPE_CHECKING:
    from pytest_execgo.harness.containers import ContainerStack

    KeptStack: TypeAlias = EmbeddedStack | ContainerStack


class KeeperRequest(BaseModel):
    """The stack that is wanted. Comes through a pipe, so that the token is on no command line.

    `binary` makes an embedded stack a native one; `base_image` is what images of our services are built on.
    """

    backend: Literal["embedded", "containers"] = "embedded"
    folder: Path
    ports: dict[Service, int]
    binary: Path | None = None
    base_image: str | None = None
    token: str | None = None
    environ: dict[str, str] = Field(default_factory=dict)


class KeeperAnswer(BaseModel):
    """How it went: no code means that the stack is up; `usage` tells a user's mistake from a failure."""

    code: str | None = None
    message: str = ""
    hint: str = ""
    usage: bool = False

    def raise_failure(self) -> None:
        """Raise what the keeper met, here."""
        if self.code is not None:
            raise (UsageError if self.usage else StackError)(self.code, self.message, self.hint)


def start_keeper(request: KeeperRequest, lock: int, environ: dict[str, str]) -> None:
    """Start a keeper that holds the descriptor `lock` for life, and wait until its stack is up or has failed."""
    log = request.folder / "keeper.log"
    with log.open("ab") as errors:
        keeper = subprocess.Popen(
            [sys.executable, "-P", "-m", "pytest_execgo.harness.keeper"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            pass_fds=[lock],
            start_new_session=True,
            env=environ,
        )
    assert keeper.stdin is not None
    assert keeper.stdout is not None
    with keeper.stdin as requests, keeper.stdout as answers:
        requests.write(request.model_dump_json().encode())
        requests.close()
        answer = answers.read()
    if not answer:
        raise StackError("keeper_ended", f"the harness ended with exit code {keeper.wait()}; log: {log}")
    KeeperAnswer.model_validate_json(answer).raise_failure()
    keeper.returncode = 0  # it is meant to outlive this process: Popen must not complain that it does


def build_stack(request: KeeperRequest) -> KeptStack:
    """Return the stack that a request describes, not yet up."""
    settings = StackSettings(environ=request.environ, ports=request.ports, guarded=request.token is not None, token=request.token)
    if request.backend == "containers":
        from pytest_execgo.harness.containers import ContainerStack  # deferred: the engine's client is for who wants it

        return ContainerStack(request.folder, settings, base_image=request.base_image)
    if request.binary is not None:
        return NativeStack(request.binary, request.folder, settings)
    return EmbeddedStack(request.folder, settings)


def main() -> int:
    """Keep a stack until told to stop; 0 after an ordinary stop."""
    request = KeeperRequest.model_validate_json(sys.stdin.buffer.read())
    stop, notify = os.pipe()
    os.set_blocking(notify, False)
    signal.set_wakeup_fd(notify)
    signal.signal(signal.SIGTERM, lambda *_: None)  # seen through the pipe
    try:
        stack = build_stack(request)
        stack.up()
    except ExecGoError as error:
        usage = isinstance(error, UsageError)
        _answer(KeeperAnswer(code=error.code, message=error.message, hint=error.hint, usage=usage))
        return error.exit_code
    try:
        _keep(stack, request.folder, stop)
    finally:
        stack.down()
        HarnessState.remove(request.folder)
    return 0


def _keep(stack: KeptStack, folder: Path, stop: int) -> None:
    """Answer that the stack is up, then keep its state file true until `stop` is readable or the stack is lost."""
    record = _recorder(stack, folder)
    record()
    _answer(KeeperAnswer())
    while not stack.lost:
        if stop in select.select([stop, stack.fileno()], [], [])[0]:
            return
        record()


def _recorder(stack: KeptStack, folder: Path) -> Callable[[], None]:
    keeper, supervisor = ProcessIdentity.of(os.getpid()), ProcessIdentity.of(stack.supervisor_pid)

    def record() -> None:
        services = [ServiceRecord.of(status) for status in stack.status()]
        HarnessState(backend=stack.backend, keeper=keeper, supervisor=supervisor, services=services).save(folder)

    return record


def _answer(answer: KeeperAnswer) -> None:
    """Answer, and close the pipe, so that whoever reads it goes on; one who is gone by then doesn't want the stack."""
    os.write(1, answer.model_dump_json().encode())
    devnull = os.open(os.devnull, os.O_RDWR)
    os.dup2(devnull, 1)
    os.close(devnull)


if __name__ == "__main__":
    raise SystemExit(main())
