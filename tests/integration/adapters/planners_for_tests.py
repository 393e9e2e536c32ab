"""Planners of the tests' own: each does one thing, which a good framework would not. The scenario's input says the details."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pytest_execgo.plan.planning import PlannerOutput, PlanningFailed, PlanningRequest

Say = Callable[[Mapping[str, Any]], None]
FOREVER_S = 600


def output(**raw: Any) -> PlannerOutput:
    return PlannerOutput(framework="mine", framework_version="1", raw=raw, trace=[{"kind": "x"}], repairs=0)


def plan(request: PlanningRequest, say: Say) -> PlannerOutput:
    """Tells of itself: its pid, its folder, its environment, what it was asked."""
    say({"name": "begun", "odd": {1, 2}, "large": 2**80})
    say({"name": "done"})
    return output(pid=os.getpid(), cwd=str(Path.cwd()), environ=dict(os.environ), asked=request.model_dump(mode="json"))


def noisy(request: PlanningRequest, say: Say) -> PlannerOutput:
    sys.stdout.write("on standard output\n")
    sys.stdout.flush()
    sys.stderr.write('{"output": "not mine"}\n')
    subprocess.run(["echo", '{"error": {"code": "from a child"}}'], check=True)
    os.write(1, b'{"output": 1}\n')
    return output(said="x" * 3_000_000, half="\ud800")


def leaves_one(request: PlanningRequest, say: Say) -> PlannerOutput:
    child = subprocess.Popen(["sleep", str(FOREVER_S)], start_new_session=True)
    return output(pid=os.getpid(), child=child.pid)


def hangs(request: PlanningRequest, say: Say) -> PlannerOutput:
    child = subprocess.Popen(["sleep", str(FOREVER_S)], start_new_session=True)
    say({"name": "hangs", "pid": os.getpid(), "child": child.pid})
    time.sleep(FOREVER_S)
    return output()


def ends(request: PlanningRequest, say: Say) -> PlannerOutput:
    code = request.context.scenario_input["exit_code"]
    sys.stderr.write("these are the last words\n" if code is not None else "words of a request before\n")
    sys.stderr.flush()
    if code is not None:
        os._exit(code)
    return output()


def is_killed(request: PlanningRequest, say: Say) -> PlannerOutput:
    os.kill(os.getpid(), signal.SIGKILL)
    return output()


def raises(request: PlanningRequest, say: Say) -> PlannerOutput:
    raise LookupError("what the framework says")


def refuses(request: PlanningRequest, say: Say) -> PlannerOutput:
    raise PlanningFailed("planner_refused", f"not with me, says {os.getpid()}")


def unfit(request: PlanningRequest, say: Say) -> Any:
    class Odd:
        def model_dump(self, mode: str) -> dict[str, Any]:
            return {"framework": 5}

    return Odd()
