"""Commands: run one in a session of its own, capture its output bounded, end all that it started.

Used by the kernel's shell tool and the runtime's commands alike. Standard library only.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pytest_execgo.core.process_capture import PipeReader
from pytest_execgo.core.process_tree import Mark, anything_left, end_tree, is_reaper, spawn

Result = TypeVar("Result")
DEFAULT_CAPTURE = 4 * 1024 * 1024
_PIPE_GRACE = 0.2  # seconds that a pipe may stay open after its command ended (a background child may hold it)


@dataclass(frozen=True, slots=True)
class CommandOutcome:
    """How a command ended. `exit_code` is None when a signal ended it; times are `time.time_ns()`.

    Of truncated output the beginning and the end are there, with a line between them that tells how much is missing.
    `survivors` are pids of the command's processes that could not be ended; as a rule there are none.
    """

    exit_code: int | None
    signal: int | None
    stdout: bytes
    stderr: bytes
    stdout_truncated: bool
    stderr_truncated: bool
    timed_out: bool
    started_ns: int
    finished_ns: int
    survivors: tuple[int, ...] = ()


def kill_group(pid: int, signum: int = signal.SIGKILL) -> None:
    """Signal the whole process group that `pid` leads; a group that is already gone is fine."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signum)


class _Running:
    """A command that was started. It is told of its end before it is reaped, so that nobody else can have its pid."""

    def __init__(self, process: subprocess.Popen[bytes], mark: Mark, stdout_max: int, stderr_max: int) -> None:
        assert process.stdout is not None
        self.process = process
        self.mark = mark
        self.stdout = PipeReader(os.dup(process.stdout.fileno()), stdout_max)
        self.stderr: PipeReader | None = None
        process.stdout.close()
        if process.stderr is not None:
            self.stderr = PipeReader(os.dup(process.stderr.fileno()), stderr_max)
            process.stderr.close()
        self.exited: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._watch()

    def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            handle = os.pidfd_open(self.process.pid)
        except (AttributeError, OSError):  # no Linux, or an old one: a thread waits, and reaps
            threading.Thread(target=self._wait_in_thread, args=(loop,), daemon=True).start()
            return

        def over() -> None:
            loop.remove_reader(handle)
            os.close(handle)
            self.exited.set_result(None)

        loop.add_reader(handle, over)

    def _wait_in_thread(self, loop: asyncio.AbstractEventLoop) -> None:
        self.process.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(self.exited.set_result, None)

    async def drain(self) -> None:
        """Wait a little for the pipes to end."""
        pipes = [pipe.ended for pipe in (self.stdout, self.stderr) if pipe is not None and not pipe.ended.done()]
        if pipes:
            await asyncio.wait(pipes, timeout=_PIPE_GRACE)

    async def end(self, grace: float, swept: bool) -> list[int]:
        """End the command and whatever is left of it, collect what it wrote last, reap it. Returns the survivors' pids.

        `grace`: seconds between SIGTERM and SIGKILL, for a command that still runs. `swept`: look for descendants even
        where nothing tells that there are any.
        """
        pid = self.process.pid
        if not self.exited.done() and grace > 0:
            kill_group(pid, signal.SIGTERM)
            kill_group(pid, signal.SIGCONT)  # one that is stopped can't hear
            await asyncio.wait([self.exited], timeout=grace)
        kill_group(pid)
        await self.exited
        survivors: list[int] = []
        if anything_left(self.mark, pid) or (swept and not is_reaper()):
            sweep = partial(end_tree, self.mark, pid)
            survivors = await asyncio.get_running_loop().run_in_executor(None, sweep)
        for pipe in (self.stdout, self.stderr):
            if pipe is not None:
                pipe.finish()
        self.process.wait()
        return [survivor for survivor in survivors if survivor != pid]

    def outcome(self, started_ns: int, timed_out: bool, survivors: Sequence[int]) -> CommandOutcome:
        """Tell how it ended, once it was reaped."""
        code = self.process.returncode
        out, err = self.stdout.kept, self.stderr.kept if self.stderr is not None else None
        return CommandOutcome(
            exit_code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            stdout=out.content(),
            stderr=err.content() if err is not None else b"",
            stdout_truncated=out.truncated,
            stderr_truncated=err is not None and err.truncated,
            timed_out=timed_out,
            started_ns=started_ns,
            finished_ns=time.time_ns(),
            survivors=tuple(survivors),
        )


async def _undisturbed(work: Coroutine[Any, Any, Result]) -> Result:
    """Await `work` to its end, even when the caller is cancelled meanwhile; then let the cancellation go on."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    return task.result()


async def run_command(
    argv: Sequence[str],
    *,
    cwd: str | Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,  # noqa: ASYNC109 - the deadline must end every process, not only the coroutine
    stdout_max: int = DEFAULT_CAPTURE,
    stderr_max: int = DEFAULT_CAPTURE,
    joined: bool = False,
    on_spawn: Callable[[int], None] | None = None,
    pass_fds: Sequence[int] = (),
    grace: float = 0.0,
    mark: Mark | None = None,
) -> CommandOutcome:
    """Run `argv` without a shell, in a session and process group of its own, its standard input empty.

    `timeout` is in seconds. When it passes, when the caller is cancelled, and when the command has ended by itself, every
    process that it started is ended: SIGTERM to its group and `grace` seconds (only if it still runs), then SIGKILL to its
    group and to all that carries its `mark` or descends from it (`process_tree` says how; complete if this process is a
    subreaper). `joined` puts standard error into `stdout`, in the order in which both were written. `on_spawn` is told the
    pid (= process group); `pass_fds` are descriptors that the command inherits. Raises `OSError` when the program can't be
    started, `ValueError` for a NUL character.
    """
    started, mark = time.time_ns(), mark or Mark.new()
    process = spawn(
        argv,
        mark,
        os.environ if env is None else env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if joined else subprocess.PIPE,
        pass_fds=tuple(pass_fds),
    )
    running = _Running(process, mark, stdout_max, stderr_max)
    timed_out, whole = False, False
    try:
        if on_spawn is not None:
            on_spawn(process.pid)
        done, _ = await asyncio.wait([running.exited], timeout=timeout)
        timed_out = not done
        if not timed_out:
            await running.drain()
            whole = True
    finally:
        survivors = await _undisturbed(running.end(grace, swept=not whole))
    return running.outcome(started, timed_out, survivors)
