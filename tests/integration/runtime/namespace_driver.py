"""Runs in a PID namespace of its own: a service whose command does what it can to escape; says what is left of it.

Argument: a folder. Prints JSON: `status` of the killed task, `left`: command lines of what lives beside service and keeper.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

ESCAPES = """
trap '' TERM INT HUP
setsid sh -c 'trap "" TERM; sleep 1000' &
(setsid sh -c '(env -i sleep 1001 &) ; sleep 1002' &)
sleep 1003 & sleep 0.1; kill -STOP $!
nohup sleep 1004 >/dev/null 2>&1 &
touch began
wait
"""


def main() -> None:
    """Start the service, kill it with SIGKILL, start it again, kill the task, count."""
    folder = Path(sys.argv[1])
    first, _ = serve(folder)
    accepted = call(first, "/api/v1/tasks", {"execution": {"kind": "script", "script": ESCAPES, "cwd": str(folder)}})
    while not (folder / "began").exists() or len([line for line in sleeping() if line.startswith("sleep")]) < 5:
        time.sleep(0.01)
    first_process = first[1]
    first_process.kill()
    first_process.wait()
    again, process = serve(folder)
    answer = call(again, f"/api/v1/tasks/{accepted['handle_id']}/kill", {})
    left = sleeping()
    process.terminate()
    process.wait()
    end = time.monotonic() + 30  # the keeper ends when it sees that the service has
    while (keepers := [line for line in commands() if "keeper_main" in line]) and time.monotonic() < end:
        time.sleep(0.01)
    left += keepers
    sys.stdout.write(json.dumps({"status": answer["status"], "left": left}))


def serve(folder: Path) -> tuple[tuple[str, subprocess.Popen[bytes]], subprocess.Popen[bytes]]:
    """Start a service; return its address with its process, and the process."""
    read, write = os.pipe()
    argv = [sys.executable, "-m", "pytest_execgo.runtime", "-addr", "127.0.0.1:0", "-data-dir", str(folder / "data")]
    process = subprocess.Popen([*argv, "--ready-fd", str(write)], pass_fds=[write])
    os.close(write)
    with os.fdopen(read) as ready:
        port = json.loads(ready.readline())["port"]
    return (f"http://127.0.0.1:{port}", process), process


def call(service: tuple[str, Any], path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Post JSON, return the answer's."""
    request = urllib.request.Request(service[0] + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


def commands() -> list[str]:
    """Return the command line of every process of this namespace, zombies of nobody's included."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue
    return found


def sleeping() -> list[str]:
    """Return the command's processes, its shells included."""
    return [line for line in commands() if "sleep 100" in line]


if __name__ == "__main__":
    main()
