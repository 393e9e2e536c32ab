"""Executes flows where this process would be disturbed by it: `metaflow_driver.py CASE …` prints what came of it as JSON."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from pytest_execgo.core.errors import UsageError
from pytest_execgo.executors import FlowExecutor, UnifiedExecutor

OWNER = """
import sys
from pytest_execgo.executors import UnifiedExecutor
UnifiedExecutor().execute_sync(sys.argv[1], {"how": "hang", "place": sys.argv[2]}, backend="flow")
"""
MODULE = '''
from pathlib import Path
from metaflow import FlowSpec, step
from squares import Squares


class Other(FlowSpec):
    """Reads a file that lies beside it."""

    @step
    def start(self):
        self.beside = Path(__file__).with_name("beside.txt").read_text()
        self.next(self.end)

    @step
    def end(self):
        pass


def make():
    class Inner(FlowSpec):
        pass
    return Inner


if __name__ == "__main__":
    raise SystemExit("the file runs something else")
'''


def class_case(flows: str) -> Any:
    """A flow class of a module, one of a file that runs something else and needs a file beside it, one without a place."""
    Path("module.py").write_text(MODULE)
    Path("beside.txt").write_text("read from beside.txt")
    sys.path[:0] = [flows, str(Path.cwd())]
    os.environ["PYTHONPATH"] = flows
    module = import_module("module")
    unified = UnifiedExecutor(flow_executor=FlowExecutor(include=[Path("beside.txt")], max_workers=2))
    squares = unified.execute_sync(module.Squares, {"count": 3}, backend="flow")
    other = unified.execute_sync(module.Other, backend="flow")
    try:
        unified.execute_sync(module.make(), backend="flow")
        code = "it ran"
    except UsageError as error:
        code = error.code
    return {
        "status": squares.status,
        "total": squares.output["total"],
        "beside": (other.output or {}).get("beside", other.error),
        "local": code,
    }


def killed_case(flows: str, place: str) -> Any:
    """Kill the process that waits for a flow, once the flow's processes run; returns their pids.

    What it puts aside is in `place/tmp`.
    """
    temporary = Path(place, "tmp")
    temporary.mkdir()
    command = [sys.executable, "-c", OWNER, f"{flows}/faulty.py", place]
    owner = subprocess.Popen(command, env={**os.environ, "TMPDIR": str(temporary)})
    deadline = time.monotonic() + 120
    while len(noted := [int(path.stem) for path in Path(place).glob("*.pid")]) < 4 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list(temporary.iterdir())
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    return noted[:4]


if __name__ == "__main__":
    print(json.dumps(globals()[f"{sys.argv[1]}_case"](*sys.argv[2:])))  # noqa: T201
