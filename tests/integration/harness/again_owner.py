"""Owns a stack with work to do, and an effect delivered: `again_owner.py FOLDER PORT PORT PORT`. Prints "up", and stays."""

# ruff: noqa: T201 - what is printed here is read by the test
from __future__ import annotations

import json
import os
import signal
import sys
import urllib.request
from pathlib import Path
from typing import Any

from pytest_execgo.harness.embedded import EmbeddedStack
from pytest_execgo.harness.settings import StackSettings
from pytest_execgo.plan.stack import Service


def post(url: str, body: Any, **headers: str) -> None:
    request = urllib.request.Request(url, json.dumps(body).encode(), headers, method="POST")
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status in (201, 202), answer.status


def main() -> None:
    folder = Path(sys.argv[1])
    ports = dict(zip(Service, map(int, sys.argv[2:5]), strict=True))
    stack = EmbeddedStack(folder, StackSettings(environ=os.environ, ports=ports, guarded=False))
    endpoints = stack.up()
    gate = f"until test -e {folder / 'gate'}; do sleep 0.02; done; echo through"
    tasks = [
        {"id": "shell", "type": "shell", "params": {"script": gate}},
        # a command that the runtime had begun would have failed: nobody could tell how far it came
        {
            "id": "runtime",
            "type": "runtime",
            "input": {"execution": {"kind": "script", "script": "echo on"}},
            "depends_on": ["shell"],
        },
        {"id": "after", "type": "noop", "depends_on": ["runtime"]},
    ]
    post(f"{endpoints.kernel}/tasks", {"tasks": tasks})
    post(f"{endpoints.fixtures}/effects", {"kind": "ticket"}, **{"Idempotency-Key": "run/ticket"})
    print("up", flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
