"""Owns a container and a network: `engine_owner.py BASE_IMAGE guarded|unguarded waits|exits|raises|forks`.

Prints its owner label, and the pids of its fork and its guard (or 0). What ends by itself does so at the next line of input.
"""

# ruff: noqa: T201 - what is printed here is read by the test
from __future__ import annotations

import os
import signal
import sys

from pytest_execgo.core.engine.cleanup import Guard
from pytest_execgo.core.engine.connection import connect
from pytest_execgo.core.engine.ownership import OWNER_LABEL, owner_labels


def main() -> None:
    base, guarded, ending = sys.argv[1:4]
    client, labels, guard = connect(), owner_labels(), 0
    name = labels[OWNER_LABEL]
    # seems to be another machine's, so that no other test's stack would remove it
    labels |= {f"{OWNER_LABEL}.machine": "elsewhere", f"{OWNER_LABEL}.boot": "another"}
    if guarded == "guarded":
        assert Guard.ensure() is Guard.ensure()
        guard = Guard.ensure().pid
    network = client.networks.create(f"execgo-test-{name}", labels=labels)
    client.containers.run(base, ["sleep", "600"], detach=True, init=True, labels=labels, network=network.name)
    forked = os.fork() if ending == "forks" else 0
    if ending == "forks" and forked == 0:
        signal.pause()  # a copy that holds the pipe to the guard open
    print(name, forked, guard, flush=True)
    if ending in ("waits", "forks"):
        signal.pause()
    sys.stdin.readline()
    if ending == "raises":
        raise SystemExit("ends with everything still there")


if __name__ == "__main__":
    main()
