"""A command that floods its standard output, beside the run: what one tenant's output does to the others."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Field

from pytest_execgo.chaos.actions.checks import parameter_problems, parsed
from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.plan.base import Document
from pytest_execgo.plan.chaos import Fault
from pytest_execgo.plan.fault import Action, Applied, KernelPort, Surroundings, World
from pytest_execgo.plan.stack import Service

_FIRST_LOOK, _LONGEST_LOOK = 0.005, 0.1  # seconds between two looks at the task
_TO_FINISH = 2.0  # seconds that a flood of the usual size, which takes a tenth of that, gets before it is cut short
_TO_BE_GONE = 30.0
_KEPT = 256 * 1024  # bytes of the output that are kept: less than any flood, and little enough to be looked at often
_ENDED = ("success", "failed", "skipped")
_FLOOD = """\
import os, sys
for _ in range(int(sys.argv[1])):
    left = memoryview(b"." * 1048576)
    while left:
        left = left[os.write(1, left):]
"""


class FloodOptions(Document):
    """How many megabytes are written; at most 256 KiB of them are kept."""

    megabytes: Annotated[int, Field(ge=1, le=4096)] = 64


@dataclass(slots=True)
class Flood:
    """A task that floods. `sleep` waits between looks, in seconds."""

    kernel: KernelPort
    task_id: str
    sleep: Callable[[float], None]
    last: dict[str, Any] = field(default_factory=dict)

    def undo(self) -> None:
        """Let it come to its end, for a moment; then cancel it. Returns once it is over."""
        if not self._over_within(_TO_FINISH):
            self.kernel.cancel(self.task_id)
            if not self._over_within(_TO_BE_GONE):
                what = f"task {self.task_id} was cancelled, and still runs after {_TO_BE_GONE:g} s"
                raise ExecGoError("flood_goes_on", what)

    def _over_within(self, seconds: float) -> bool:
        pause, deadline = _FIRST_LOOK, time.monotonic() + seconds
        while True:
            self.last = self.kernel.task(self.task_id)
            if self.last.get("status") in _ENDED:
                return True
            if time.monotonic() > deadline:
                return False
            self.sleep(pause)
            pause = min(pause * 2, _LONGEST_LOOK)

    def observed(self) -> Mapping[str, Any]:
        """Tell whether more was written than is kept."""
        result = self.last.get("result")
        result = result if isinstance(result, dict) else {}
        kept = len(result.get("stdout") or "")
        truncated = result.get("stdout_truncated") is True
        return {"hit": truncated, "task": self.task_id, "status": self.last.get("status"), "characters_kept": kept}


@dataclass(frozen=True, slots=True)
class OutputFlood:
    """Submits a task of its own beside the run's: a command that writes a flood to its standard output."""

    targets: frozenset[str] = frozenset({"machine", str(Service.RUNTIME)})
    sleep: Callable[[float], None] = time.sleep

    def problems(self, fault: Fault) -> list[str]:
        """Complain about parameters."""
        return parameter_problems(FloodOptions, fault)

    def unusable(self, fault: Fault, surroundings: Surroundings) -> str | None:
        """Every stack has a runtime."""
        return None

    def apply(self, fault: Fault, world: World, draw: random.Random) -> Applied:
        """Submit it. Its id begins with `nemesis:`, which tells it from the run's tasks."""
        task_id = f"nemesis:{world.run_id}:flood:{draw.getrandbits(32):08x}"
        megabytes = parsed(FloodOptions, fault).megabytes
        command = {"kind": "command", "program": "python3", "args": ["-I", "-S", "-c", _FLOOD, str(megabytes)]}
        task = {"execution": command, "limits": {"stdout_max_bytes": _KEPT}}
        world.kernel.submit([{"id": task_id, "type": "runtime", "input": task}])
        return Flood(world.kernel, task_id, self.sleep)


FLOOD_ACTIONS: dict[str, Action] = {"output_flood": OutputFlood()}
"""Floods by name."""
