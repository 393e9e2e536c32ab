"""Starts a `tree_owner.py`, ends it, and prints as JSON which of its descendants were there and which outlived it.

`tree_driver.py fake|embedded SIGKILL|SIGTERM|exits|raises|forks|supervisor FOLDER`; best run as the first process of a
PID namespace, whose end ends everything in it.
"""

# ruff: noqa: T201 - what is printed here is read by the test
from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from pytest_execgo.harness.supervisor import descendants

OWNER = Path(__file__).with_name("tree_owner.py")
WAITING = {"SIGKILL": "waits", "SIGTERM": "waits", "supervisor": "waits"}
LIMIT = 30.0


def tree_below(root: int, but: int) -> tuple[dict[int, str], dict[int, int]]:
    """Return the command of each descendant, and the pid of each by a handle on it; one that has just ended by itself is none."""
    tree, handles = {}, {}
    for pid in descendants(root):
        with suppress(ProcessLookupError, FileNotFoundError):
            command = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
            if pid != but:
                handles[os.pidfd_open(pid)], tree[pid] = pid, command
    return tree, handles


def end(how: str, owner: subprocess.Popen[str], tree: dict[int, str]) -> None:
    assert owner.stdin is not None
    match how:
        case "SIGTERM":
            owner.terminate()
        case "exits" | "raises":
            owner.stdin.write("\n")
        case "supervisor":
            os.kill(next(pid for pid, command in tree.items() if "supervisor.py" in command), signal.SIGTERM)
        case _:
            owner.kill()
    owner.stdin.close()


def survivors(handles: dict[int, int]) -> list[int]:
    """Return the pids whose handles don't tell of an end within the limit."""
    deadline = time.monotonic() + LIMIT
    waiting = dict(handles)
    while waiting and time.monotonic() < deadline:
        for handle in select.select(list(waiting), [], [], max(0, deadline - time.monotonic()))[0]:
            del waiting[handle]
    return list(waiting.values())


def main() -> None:
    kind, how, folder = sys.argv[1:]
    owner = subprocess.Popen(
        [sys.executable, str(OWNER), kind, WAITING.get(how, how), folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    said = owner.stdout.readline().split()
    assert said, f"the owner ended with {owner.wait()} before it was up"
    forked = int(said[1])
    tree, handles = tree_below(owner.pid, forked)
    end(how, owner, tree)
    left = survivors(handles)
    for pid in [*left, *([forked] if forked else []), owner.pid]:
        os.kill(pid, signal.SIGKILL)  # none was reaped by us: none of these pids is somebody else's
    owner.wait()
    print(json.dumps({"said": said[0], "tree": list(tree.values()), "left": [tree[pid] for pid in left]}))


if __name__ == "__main__":
    main()
