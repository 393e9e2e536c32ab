"""Runs a command with limits on it. Standard library only: the keeper does this, without site-packages."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pytest_execgo.core.process import CommandOutcome, run_command
from pytest_execgo.core.process_tree import Mark

_LAUNCHER = str(Path(__file__).resolve().with_name("launcher.py"))


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a command may use, as far as the one who starts it has to know; None is no limit, `timeout` is in seconds."""

    timeout: float
    stdout_max: int
    stderr_max: int
    cpu_time_sec: int | None = None
    memory_bytes: int | None = None
    pids_max: int | None = None

    @property
    def needs_launcher(self) -> bool:
        """Tell whether any limit is given that has to be set before the command runs."""
        return any(limit is not None for limit in (self.cpu_time_sec, self.memory_bytes, self.pids_max))


class LaunchError(OSError):
    """A limited command could not be started; `errno` says why."""


@contextmanager
def _report() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    os.set_blocking(read, False)
    try:
        yield read, write
    finally:
        os.close(read)
        os.close(write)


async def run_limited(
    argv: Sequence[str],
    bounds: Bounds,
    *,
    cwd: str | None,
    env: Mapping[str, str],
    on_spawn: Callable[[int], None],
    mark: Mark,
    groups: Sequence[str] = (),
) -> CommandOutcome:
    """Run a command as `run_command` does, with `bounds` on it; `LaunchError` when it could not be started.

    `mark` finds its processes; `groups` are control groups' folders that it joins before it begins: where they are given they
    bound the number of processes, not the rlimit.
    """
    if not bounds.needs_launcher:
        return await run_command(
            argv,
            cwd=cwd,
            env=env,
            timeout=bounds.timeout,
            stdout_max=bounds.stdout_max,
            stderr_max=bounds.stderr_max,
            on_spawn=on_spawn,
            mark=mark,
        )
    pids = None if groups else bounds.pids_max  # a user's other processes count for the rlimit, so only where it must be
    numbers = ["-" if n is None else str(n) for n in (bounds.cpu_time_sec, bounds.memory_bytes, pids)]
    with _report() as (read, write):
        ended = await run_command(
            [sys.executable, "-I", "-S", _LAUNCHER, str(write), *numbers, os.pathsep.join(groups) or "-", *argv],
            cwd=cwd,
            env=env,
            timeout=bounds.timeout,
            stdout_max=bounds.stdout_max,
            stderr_max=bounds.stderr_max,
            on_spawn=on_spawn,
            mark=mark,
            pass_fds=(write,),
        )
        failure = b""
        with suppress(BlockingIOError):  # nothing was reported: the command was started
            failure = os.read(read, 16)
    if failure:
        number = int(failure)
        raise LaunchError(number, os.strerror(number), argv[0])
    return ended
