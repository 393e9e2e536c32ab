"""Faults of the machine that everything shares: processes that burn its cores or hold its memory."""

from __future__ import annotations

import json
import os
import random
import select
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from pytest_execgo.chaos import pressure
from pytest_execgo.chaos.actions.checks import parameter_problems, parsed
from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.plan.base import Document
from pytest_execgo.plan.chaos import Fault
from pytest_execgo.plan.fault import Action, Applied, Surroundings, World

MACHINE = "machine"
_READY = b"ready\n"
_START = 30.0  # seconds that a process may take until it weighs
_END = 10.0


class CpuOptions(Document):
    """How many processes burn processor time; one for each core when absent."""

    processes: Annotated[int, Field(ge=1, le=64)] | None = None


class MemoryOptions(Document):
    """How many megabytes are held."""

    megabytes: Annotated[int, Field(ge=1, le=65_536)]


@dataclass(slots=True)
class Burden:
    """Processes that are a burden to the machine until they are told to end. They end by themselves when this process does."""

    least_resident: int
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    took: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, arguments: Sequence[str], number: int, *, least_resident: int = 0) -> Burden:
        """Start processes of `chaos/pressure.py` and return once all of them weigh; `ExecGoError` if one can't."""
        burden = cls(least_resident)
        try:
            for _ in range(number):
                burden.processes.append(_start(arguments))
            for process in burden.processes:
                _await(process)
        except BaseException:
            burden.undo()
            raise
        return burden

    def undo(self) -> None:
        """End all of them, and take in what they took."""
        for process in self.processes:
            if process.stdin is not None:
                process.stdin.close()
                process.stdin = None  # `communicate` would want to flush it
        for process in self.processes:
            try:
                told = process.communicate(timeout=_END)[0]
            except subprocess.TimeoutExpired:
                process.kill()
                told = process.communicate()[0]
            if told.strip().startswith(b"{"):
                self.took.append(json.loads(told))
        self.processes = []

    def observed(self) -> Mapping[str, Any]:
        """Tell what processor time and memory they took in all; a hit took some of one, and what was asked for of the other."""
        seconds = round(sum(took["cpu_seconds"] for took in self.took), 3)
        resident = [took["resident_megabytes"] for took in self.took if took["resident_megabytes"] is not None]
        held = not resident or sum(resident) >= self.least_resident
        return {"hit": seconds > 0 and held, "cpu_seconds": seconds, "resident_megabytes": round(sum(resident), 1)}


def _start(arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-I", "-S", str(Path(pressure.__file__)), *arguments]
    pipe = subprocess.PIPE
    # the end of the pipe that it reads from is what it dies of: a parent-death signal would come with the thread that started it
    return subprocess.Popen(command, bufsize=0, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, cwd="/", env={})


def _await(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    poll = select.poll()
    poll.register(process.stdout, select.POLLIN)
    said = os.read(process.stdout.fileno(), len(_READY)) if poll.poll(_START * 1000) else None
    if said != _READY:
        what = "ended before it weighed anything" if said == b"" else f"did not weigh anything within {_START:g} s"
        raise ExecGoError("no_pressure", f"a process that was to put pressure on the machine {what}")


def _available_megabytes() -> int | None:
    """Return how much memory the machine could give away; None where it doesn't tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("MemAvailable:")), None)


def _elsewhere(surroundings: Surroundings) -> str | None:
    return None if surroundings.local else "the services don't run on this machine"


@dataclass(frozen=True, slots=True)
class CpuPressure:
    """Processes that burn processor time, beside everything else on the machine."""

    targets: frozenset[str] = frozenset({MACHINE})

    def problems(self, fault: Fault) -> list[str]:
        """Complain about parameters."""
        return parameter_problems(CpuOptions, fault)

    def unusable(self, fault: Fault, surroundings: Surroundings) -> str | None:
        """Need services on this machine."""
        return _elsewhere(surroundings)

    def apply(self, fault: Fault, world: World, draw: random.Random) -> Applied:
        """Start them, and wait until all of them burn."""
        return Burden.of(["cpu"], parsed(CpuOptions, fault).processes or os.cpu_count() or 1)


@dataclass(frozen=True, slots=True)
class MemoryPressure:
    """A process that holds memory, every page of it touched."""

    targets: frozenset[str] = frozenset({MACHINE})

    def problems(self, fault: Fault) -> list[str]:
        """Complain about parameters."""
        return parameter_problems(MemoryOptions, fault)

    def unusable(self, fault: Fault, surroundings: Surroundings) -> str | None:
        """Need services on this machine."""
        return _elsewhere(surroundings)

    def apply(self, fault: Fault, world: World, draw: random.Random) -> Applied:
        """Take the memory; refused where it would leave the machine with less than half of what it has to give."""
        asked, available = parsed(MemoryOptions, fault).megabytes, _available_megabytes()
        if available is not None and asked > available / 2:
            raise ExecGoError("too_little_memory", f"{asked} MB were asked for, and the machine has {available} MB to give away")
        return Burden.of(["memory", str(asked)], 1, least_resident=asked)


MACHINE_ACTIONS: dict[str, Action] = {"cpu_pressure": CpuPressure(), "memory_pressure": MemoryPressure()}
"""Faults of the machine by name."""
