"""Limits on a command's CPU time, memory and processes: how they are put on, and what can be told of one that was hit.

They are `rlimits`: CPU time and address space bound each process of the command by itself.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pytest_execgo.core.process import CommandOutcome, run_command
from pytest_execgo.runtime.models import Limits

_LAUNCHER = str(Path(__file__).resolve().with_name("launcher.py"))
_OUT_OF_MEMORY = (
    "memoryerror",
    "cannot allocate memory",
    "bad_alloc",
    "out of memory",
    "memory exhausted",
    "failed to map segment",
    "unable to allocate",
)
_OUT_OF_PROCESSES = ("resource temporarily unavailable", "cannot fork", "can't fork", "can't start new thread")


@dataclass(frozen=True, slots=True)
class Exceeded:
    """A limit that was hit: the error's code, which limit, and what says so."""

    code: str
    limit: str
    evidence: str


class LaunchError(OSError):
    """A limited command could not be started; `errno` says why."""


def needs_launcher(limits: Limits) -> bool:
    """Tell whether any limit is given that has to be set before the command runs."""
    return any(limit is not None for limit in (limits.cpu_time_sec, limits.memory_bytes, limits.pids_max))


def unenforced(limits: Limits) -> dict[str, str]:
    """Return the limits asked for that have no effect here, each with the reason."""
    if limits.pids_max is not None and os.geteuid() == 0:
        return {"pids_max": "the service runs as root, whose number of processes an rlimit does not bound"}
    return {}


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
    argv: list[str],
    limits: Limits,
    *,
    cwd: str | None,
    env: Mapping[str, str],
    timeout: float,  # noqa: ASYNC109 - passed to run_command, which ends the process group
    on_spawn: Callable[[int], None],
) -> CommandOutcome:
    """Run a command as `run_command` does, with `limits` on it; `LaunchError` when it could not be started."""
    if not needs_launcher(limits):
        return await run_command(
            argv,
            cwd=cwd,
            env=env,
            timeout=timeout,
            stdout_max=limits.stdout_max_bytes,
            stderr_max=limits.stderr_max_bytes,
            on_spawn=on_spawn,
        )
    numbers = ["-" if n is None else str(n) for n in (limits.cpu_time_sec, limits.memory_bytes, limits.pids_max)]
    with _report() as (read, write):
        ended = await run_command(
            [sys.executable, "-I", "-S", _LAUNCHER, str(write), *numbers, *argv],
            cwd=cwd,
            env=env,
            timeout=timeout,
            stdout_max=limits.stdout_max_bytes,
            stderr_max=limits.stderr_max_bytes,
            on_spawn=on_spawn,
            pass_fds=(write,),
        )
        failure = b""
        with suppress(BlockingIOError):  # nothing was reported: the command was started
            failure = os.read(read, 16)
    if failure:
        number = int(failure)
        raise LaunchError(number, os.strerror(number), argv[0])
    return ended


def exceeded(limits: Limits, ended: CommandOutcome, stderr: str) -> Exceeded | None:
    """Say which limit a failed command hit, as far as that can be told; None when nothing says so.

    A signal for CPU time is proof. Memory and processes are refused inside of the command, so that only its own words
    on standard error are left: `Exceeded.evidence` quotes them.
    """
    seconds = limits.cpu_time_sec
    if seconds is not None:
        if ended.signal == signal.SIGXCPU or ended.exit_code == 128 + signal.SIGXCPU:
            return Exceeded("cpu_limit_exceeded", "cpu_time_sec", "SIGXCPU")
        lasted = (ended.finished_ns - ended.started_ns) / 1e9
        if ended.signal == signal.SIGKILL and lasted >= seconds:
            return Exceeded("resource_limit_exceeded", "cpu_time_sec", "SIGKILL, which this service did not send")
    if limits.memory_bytes is not None and (words := _words(stderr, _OUT_OF_MEMORY)):
        return Exceeded("memory_limit_exceeded", "memory_bytes", words)
    if limits.pids_max is not None and not unenforced(limits) and (words := _words(stderr, _OUT_OF_PROCESSES)):
        return Exceeded("resource_limit_exceeded", "pids_max", words)
    return None


def _words(stderr: str, signs: tuple[str, ...]) -> str:
    for line in stderr[-20_000:].splitlines():
        if any(sign in line.lower() for sign in signs):
            return line.strip()[:200]
    return ""
