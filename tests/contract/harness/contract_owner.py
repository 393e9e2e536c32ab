"""Owns a stack until it is killed: `contract_owner.py BACKEND FOLDER BASE_IMAGE BINARY`. Prints its URLs and its label as JSON."""

# ruff: noqa: T201 - what is printed here is read by the test
from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from unittest.mock import patch

from pytest_execgo.core.engine.ownership import OWNER_LABEL, owner_labels
from pytest_execgo.harness.containers import ContainerStack
from pytest_execgo.harness.embedded import EmbeddedStack
from pytest_execgo.harness.native import NativeStack
from pytest_execgo.harness.settings import StackSettings
from pytest_execgo.plan.stack import Stack


def make(backend: str, folder: Path, base: str, binary: str) -> Stack:
    settings = StackSettings(environ=os.environ)
    if backend == "containers":
        # as if of another machine, so that only its own guard removes what it leaves, and no other test's stack
        labels = owner_labels() | {f"{OWNER_LABEL}.machine": "elsewhere", f"{OWNER_LABEL}.boot": "another"}
        patch("pytest_execgo.harness.containers.owner_labels", return_value=labels).start()
        return ContainerStack(folder, settings, base_image=base)
    return NativeStack(Path(binary), folder, settings) if backend == "native" else EmbeddedStack(folder, settings)


def main() -> None:
    backend, folder, base, binary = sys.argv[1:5]
    stack = make(backend, Path(folder), base, binary)
    endpoints = stack.up()
    owner = owner_labels()[OWNER_LABEL]
    print(json.dumps([endpoints.kernel, endpoints.runtime, endpoints.fixtures, owner]), flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
