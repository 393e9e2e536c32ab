"""Limits on a command's CPU time, memory and processes: which hold here, and what can be told of one that was hit.

`rlimits` bound CPU time and address space of each process of the command by itself; where control groups can be had, they bound
memory and processes of all of it together.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Collection
from dataclasses import dataclass

from pytest_execgo.runtime.keeper_records import EndRecord
from pytest_execgo.runtime.limited import Bounds
from pytest_execgo.runtime.models import Limits

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


def bounds_of(limits: Limits, wall_ms: int) -> Bounds:
    """Return what the keeper has to know of a task's limits."""
    return Bounds(
        timeout=wall_ms / 1000,
        stdout_max=limits.stdout_max_bytes,
        stderr_max=limits.stderr_max_bytes,
        cpu_time_sec=limits.cpu_time_sec,
        memory_bytes=limits.memory_bytes,
        pids_max=limits.pids_max,
    )


def unenforced(limits: Limits, groups: Collection[str]) -> dict[str, str]:
    """Return the limits asked for that have no effect here, each with the reason; `groups`: the control groups there are."""
    found = {}
    if limits.pids_max is not None and os.geteuid() == 0 and "pids" not in groups:
        found["pids_max"] = (
            "the service runs as root, whose number of processes an rlimit does not bound, and no control group can be had"
        )
    if limits.cpu_cores is not None:
        found["cpu_cores"] = "cores are reserved and counted, not bounded"
    return found


def mechanisms(groups: Collection[str]) -> dict[str, str]:
    """Return by what each limit holds here."""
    return {
        "wall_time_ms": "the keeper's clock",
        "cpu_time_sec": "rlimit, each process",
        "memory_bytes": "rlimit (address space), each process" + ("; control group, all together" if "memory" in groups else ""),
        "pids_max": "control group" if "pids" in groups else "rlimit, all of this user's",
        "stdout_max_bytes": "bounded while it flows",
        "stderr_max_bytes": "bounded while it flows",
    }


def exceeded(limits: Limits, ended: EndRecord, stderr: str) -> Exceeded | None:
    """Say which limit a failed command hit, as far as that can be told; None when nothing says so.

    A signal for CPU time is proof, as is what a control group counted. Otherwise memory and processes are refused inside of
    the command, so that only its own words on standard error are left: `Exceeded.evidence` quotes them.
    """
    if "memory_bytes" in ended.hit:
        return Exceeded("memory_limit_exceeded", "memory_bytes", ended.hit["memory_bytes"])
    if "pids_max" in ended.hit:
        return Exceeded("resource_limit_exceeded", "pids_max", ended.hit["pids_max"])
    seconds = limits.cpu_time_sec
    if seconds is not None:
        if ended.signal == signal.SIGXCPU or ended.exit_code == 128 + signal.SIGXCPU:
            return Exceeded("cpu_limit_exceeded", "cpu_time_sec", "SIGXCPU")
        lasted = (ended.finished_ns - ended.started_ns) / 1e9
        if ended.signal == signal.SIGKILL and lasted >= seconds:
            return Exceeded("resource_limit_exceeded", "cpu_time_sec", "SIGKILL, which this service did not send")
    if limits.memory_bytes is not None and (words := _words(stderr, _OUT_OF_MEMORY)):
        return Exceeded("memory_limit_exceeded", "memory_bytes", words)
    if limits.pids_max is not None and os.geteuid() != 0 and (words := _words(stderr, _OUT_OF_PROCESSES)):
        return Exceeded("resource_limit_exceeded", "pids_max", words)
    return None


def _words(stderr: str, signs: tuple[str, ...]) -> str:
    for line in stderr[-20_000:].splitlines():
        if any(sign in line.lower() for sign in signs):
            return line.strip()[:200]
    return ""
