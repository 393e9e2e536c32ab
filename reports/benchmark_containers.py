"""Measures what a stack costs in containers, beside the same in child processes, in turns, in one run.

Needs a container engine. `--base-image` is what our images are built on; they are built before anything is measured. Prints a
Markdown table, medians of some turns with the slowest in brackets.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from pytest_execgo.core.engine.connection import connect
from pytest_execgo.core.engine.ownership import OWNER_LABEL
from pytest_execgo.core.files import write_atomic
from pytest_execgo.harness.containers import ContainerStack
from pytest_execgo.harness.embedded import EmbeddedStack
from pytest_execgo.harness.image_build import service_images
from pytest_execgo.harness.settings import DEFAULT_BASE, StackSettings
from pytest_execgo.plan.stack import Capability, Service

UP = "three services ready"
DOWN = "all gone again"
RESTART = "a service restarted"
REVIVE = "a killed service back"
PAUSE = "paused and resumed"
NETWORK = "off the network and back"
KILLED = "nothing left after SIGKILL of the owner"
TARGETS = {UP: 1.5, RESTART: 0.6, KILLED: 20.0}
_OWNER = """import json, os, signal, sys
from pathlib import Path
from pytest_execgo.core.engine.ownership import OWNER_LABEL, owner_labels
from pytest_execgo.harness.containers import ContainerStack
from pytest_execgo.harness.settings import StackSettings
ContainerStack(Path(sys.argv[1]), StackSettings(environ=os.environ), images=json.loads(sys.argv[2])).up()
print(owner_labels()[OWNER_LABEL], flush=True)
signal.pause()
"""

Timings = dict[str, list[float]]


def timed(timings: Timings, what: str, act: Callable[[], object]) -> None:
    """Do something and note how many seconds it took."""
    started = time.monotonic()
    act()
    timings[what].append(time.monotonic() - started)


def measure(stack: ContainerStack | EmbeddedStack, timings: Timings) -> None:
    """Take a stack through its life once."""
    timed(timings, UP, stack.up)
    try:
        for service in Service:
            timed(timings, RESTART, lambda service=service: stack.restart(service))  # type: ignore[misc]
        stack.kill(Service.KERNEL)
        timed(timings, REVIVE, lambda: stack.revive(Service.KERNEL))
        timed(timings, PAUSE, lambda: (stack.pause(Service.RUNTIME), stack.resume(Service.RUNTIME)))
        if Capability.DISCONNECT in stack.capabilities:
            timed(timings, NETWORK, lambda: (stack.disconnect(Service.RUNTIME), stack.connect(Service.RUNTIME)))
    finally:
        timed(timings, DOWN, stack.down)


def kill_owner(folder: Path, images: dict[Service, str], timings: Timings) -> None:
    """Have a process own a stack, kill that, and wait until the engine has nothing of it."""
    words = [sys.executable, "-c", _OWNER, str(folder), json.dumps(images)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        label = f"{OWNER_LABEL}={owner.stdout.readline().strip()}"
        owner.send_signal(signal.SIGKILL)
    api, filters = connect().api, {"label": label}

    def gone() -> None:
        while api.containers(all=True, filters=filters) or api.networks(filters=filters):
            time.sleep(0.02)

    timed(timings, KILLED, gone)


def table(containers: Timings, processes: Timings, turns: int) -> str:
    """Return the figures as Markdown."""
    system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    lines = [
        "# What a stack costs in containers",
        "",
        f"- {datetime.now(UTC):%Y-%m-%d}, {system}",
        f"- Python {platform.python_version()}; engine {connect().version()['Version']}; medians of {turns} turns (the slowest)",
        "",
        "| what, s | containers | processes | at most |",
        "| --- | ---: | ---: | ---: |",
    ]
    for what in (UP, RESTART, REVIVE, PAUSE, NETWORK, DOWN, KILLED):
        target = f"{TARGETS[what]:g}" if what in TARGETS else ""
        lines.append(f"| {what} | {shown(containers[what])} | {shown(processes[what])} | {target} |")
    return "\n".join(lines) + "\n"


def shown(seconds: list[float]) -> str:
    """Return a median and the slowest."""
    return f"{median(seconds):.2f} ({max(seconds):.2f})" if seconds else "-"


def main() -> None:
    """Measure, print, and write if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base-image", default=DEFAULT_BASE, metavar="IMAGE", help="default %(default)s")
    parser.add_argument("--turns", type=int, default=5, metavar="N", help="default %(default)s")
    parser.add_argument("--save", type=Path, metavar="FILE", help="also write the table to this Markdown file")
    options = parser.parse_args()
    images = service_images(connect(), options.base_image, tell=print)
    containers: Timings = defaultdict(list)
    processes: Timings = defaultdict(list)
    settings = StackSettings(environ=os.environ, shutdown_timeout=1)
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(options.turns):
            measure(EmbeddedStack(Path(folder, f"processes-{turn}"), settings), processes)
            measure(ContainerStack(Path(folder, f"containers-{turn}"), settings, images=images), containers)
            kill_owner(Path(folder, f"killed-{turn}"), images, containers)
    text = table(containers, processes, options.turns)
    print(text)
    if options.save is not None:
        write_atomic(options.save, text)


if __name__ == "__main__":
    main()
