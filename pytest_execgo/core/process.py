"""Commands: run one in a process group of its own, capture its output bounded, end all of it.

Used by the kernel's shell tool and the runtime's commands alike.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEFAULT_CAPTURE = 4 * 1024 * 1024
_PIPE_GRACE = 0.2  # seconds that a pipe may stay open after its command ended (a background child may hold it)


@dataclass(frozen=True, slots=True)
class CommandOutcome:
    """How a command ended. `exit_code` is None when a signal ended it; times are `time.time_ns()`."""

    exit_code: int | None
    signal: int | None
    stdout: bytes
    stderr: bytes
    stdout_truncated: bool
    stderr_truncated: bool
    timed_out: bool
    started_ns: int
    finished_ns: int


class _Capture(asyncio.SubprocessProtocol):
    """Collects both streams while they flow, each up to its own limit; the rest is counted as lost, never stored."""

    def __init__(self, stdout_max: int, stderr_max: int) -> None:
        self.streams = {1: bytearray(), 2: bytearray()}
        self.limits = {1: stdout_max, 2: stderr_max}
        self.truncated = {1: False, 2: False}
        self.open = {1, 2}
        loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[None] = loop.create_future()
        self.drained: asyncio.Future[None] = loop.create_future()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        room = self.limits[fd] - len(self.streams[fd])
        self.streams[fd] += data[: max(room, 0)]
        if len(data) > room:
            self.truncated[fd] = True

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self.open.discard(fd)
        if not self.open and not self.drained.done():
            self.drained.set_result(None)

    def process_exited(self) -> None:
        if not self.exited.done():
            self.exited.set_result(None)


def kill_group(pid: int, signum: int = signal.SIGKILL) -> None:
    """Signal the whole process group that `pid` leads; a group that is already gone is fine."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signum)


async def _spawn(
    capture: Callable[[], _Capture], argv: Sequence[str], **options: Any
) -> tuple[asyncio.SubprocessTransport, _Capture]:
    """Start a command in a session of its own; when the caller is cancelled meanwhile, end it with all that it started."""
    pipe = asyncio.subprocess.PIPE
    starting = asyncio.ensure_future(
        asyncio.get_running_loop().subprocess_exec(
            capture, *argv, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe, start_new_session=True, **options
        )
    )
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        # asyncio would end only the process, not its group, and can wait for ever; so the start is completed, then undone
        with contextlib.suppress(OSError, ValueError):
            await _end(*await starting)
        raise


async def _end(transport: asyncio.SubprocessTransport, capture: _Capture) -> None:
    """End what is left of a command's group, and return once the command itself is reaped."""
    kill_group(transport.get_pid())
    await capture.exited
    transport.close()


async def run_command(
    argv: Sequence[str],
    *,
    cwd: str | Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,  # noqa: ASYNC109 - the deadline must end the process group, not only the coroutine
    stdout_max: int = DEFAULT_CAPTURE,
    stderr_max: int = DEFAULT_CAPTURE,
    on_spawn: Callable[[int], None] | None = None,
    pass_fds: Sequence[int] = (),
) -> CommandOutcome:
    """Run `argv` without a shell, in a session and process group of its own, its standard input empty.

    `timeout` is in seconds; when it passes, or when the caller is cancelled, the whole group gets SIGKILL.
    `on_spawn` is told the pid (= process group); `pass_fds` are descriptors that the command inherits. Raises `OSError`
    when the program can't be started, `ValueError` for a NUL character.
    """
    started = time.time_ns()
    transport, capture = await _spawn(
        lambda: _Capture(stdout_max, stderr_max),
        argv,
        cwd=cwd,
        env=None if env is None else dict(env),
        pass_fds=tuple(pass_fds),
    )
    pid = transport.get_pid()
    timed_out = False
    try:
        if on_spawn is not None:
            on_spawn(pid)
        try:
            async with asyncio.timeout(timeout):
                await asyncio.shield(capture.exited)
        except TimeoutError:
            timed_out = True
            kill_group(pid)
            await capture.exited
        if capture.open:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PIPE_GRACE):
                    await asyncio.shield(capture.drained)
    finally:
        await _end(transport, capture)
    code = transport.get_returncode()
    return CommandOutcome(
        exit_code=code if code is not None and code >= 0 else None,
        signal=-code if code is not None and code < 0 else None,
        stdout=bytes(capture.streams[1]),
        stderr=bytes(capture.streams[2]),
        stdout_truncated=capture.truncated[1],
        stderr_truncated=capture.truncated[2],
        timed_out=timed_out,
        started_ns=started,
        finished_ns=time.time_ns(),
    )
