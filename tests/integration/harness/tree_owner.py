"""Owns supervised processes, prints "up" and the pid of its forked copy (or 0), then ends in the way it was told.

`tree_owner.py fake|embedded waits|exits|raises|forks FOLDER`
"""

# ruff: noqa: T201 - what is printed here is read by the test
from __future__ import annotations

import json
import os
import signal
import sys
import urllib.request
from pathlib import Path

from pytest_execgo.harness.control import Launch, Supervised
from pytest_execgo.harness.embedded import EmbeddedStack
from pytest_execgo.harness.settings import StackSettings
from pytest_execgo.harness.supervisor import READY_FD

FAKE = Path(__file__).with_name("fake_service.py")


def own_fakes(folder: Path) -> Supervised:
    supervised = Supervised(folder / "supervisor.log")
    argv = [sys.executable, "-I", "-S", str(FAKE), "grows_a_tree", "-addr", "127.0.0.1:0", "--ready-fd", READY_FD]
    process = supervised.spawn("fake", Launch(argv, {"PATH": os.defpath}, folder, folder / "fake.log"))
    assert supervised.wait(lambda: process.ready is not None or process.over, 20)
    assert not process.over, (folder / "fake.log").read_text()
    return supervised


def own_embedded(folder: Path) -> EmbeddedStack:
    """A whole stack with a command running in the kernel and one in the runtime."""
    stack = EmbeddedStack(folder, StackSettings(environ=os.environ, guarded=False))
    kernel = stack.up().kernel
    started = [folder / "shell-started", folder / "runtime-started"]
    for fifo in started:
        os.mkfifo(fifo)
    # the shell stays, so that whoever looks never meets it between two programs
    scripts = [f"sleep 1000 & echo > {fifo}; wait" for fifo in started]
    tasks = [
        {"id": "shell", "type": "shell", "params": {"script": scripts[0]}},
        {
            "id": "runtime",
            "type": "runtime",
            "input": {"execution": {"kind": "command", "program": "sh", "args": ["-c", scripts[1]]}},
        },
    ]
    request = urllib.request.Request(kernel + "/tasks", json.dumps({"tasks": tasks}).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 202
    for fifo in started:
        fifo.read_bytes()  # returns when the command has opened it
    return stack


def main() -> None:
    kind, ending, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    owned = own_fakes(folder) if kind == "fake" else own_embedded(folder)
    forked = os.fork() if ending == "forks" else 0
    if ending == "forks" and forked == 0:
        signal.pause()  # a copy that still has the channel to the supervisor open
    print("up", forked, flush=True)
    if ending in ("waits", "forks"):
        signal.pause()
    sys.stdin.readline()  # until whoever watches has seen everything
    if ending == "raises":
        raise SystemExit(f"ends with {owned} still up")


if __name__ == "__main__":
    main()
