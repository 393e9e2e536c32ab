"""Measures what a sandbox costs: the same Python snippet by the bare interpreter and in each mode, in turns, in one run.

Prints a Markdown table of medians, by the clock and of processor time, which a busy machine hardly changes. What is beyond
the bare interpreter is the sandbox: its stage (an interpreter, too), namespaces, mounts, control groups. `exec` is `python -m
pytest_execgo.sandbox exec`, from its start to its end. What a container engine does is not among the processor time of mode docker.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from pytest_execgo.core.files import write_atomic
from pytest_execgo.plan.sandbox import ExecutionRequest, SandboxConfig
from pytest_execgo.sandbox.backend import ConfinementBackend
from pytest_execgo.sandbox.docker import DockerConfinement
from pytest_execgo.sandbox.executor import SandboxExecutor
from pytest_execgo.sandbox.host_view import python
from pytest_execgo.sandbox.native import RUNGS, NativeConfinement
from pytest_execgo.sandbox.wasm import WasmConfinement

SNIPPET = "print(sum(range(1000)))"
EXPECTED = "499500\n"
BARE = "bare interpreter"
AIM = 60.0  # milliseconds over the bare interpreter, in mode native
DOCKER_AIM = 600.0


def bare(folder: Path) -> None:
    """Run the snippet as a file, as somebody would who has no sandbox."""
    file = folder / "main.py"
    file.write_text(SNIPPET)
    done = subprocess.run([python(), str(file)], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    assert done.stdout == EXPECTED


def sandboxed(executor: SandboxExecutor) -> None:
    """Run the snippet as a request."""
    result = executor.execute(ExecutionRequest(id="benchmark", language="python", code=SNIPPET))
    assert result.stdout == EXPECTED, result


def as_command(folder: Path) -> None:
    """Run the snippet by the command line, as the runtime does."""
    (folder / "main.py").write_text(SNIPPET)
    where = ["--mount", str(folder), "--cwd", str(folder)]
    words = [sys.executable, "-m", "pytest_execgo.sandbox", "exec", "--mode", "native", *where, "--", "python3", "main.py"]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    assert done.stdout == EXPECTED, done


def backends(image: str | None, interpreter: Path | None) -> dict[str, ConfinementBackend]:
    """Return what is measured, by name."""
    found = {f"native, {rung}": ConfinementBackend(NativeConfinement(enabled=True, rungs=(rung,))) for rung in RUNGS}
    found["docker"] = ConfinementBackend(DockerConfinement(), images={"python": image} if image else {})
    if interpreter:
        found["wasm"] = ConfinementBackend(WasmConfinement({"python": interpreter}))
    return found


def _cpu() -> float:
    """Return the milliseconds of processor time that this process and all that it waited for have taken."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used) * 1000


def measure(sides: dict[str, Callable[[], None]], turns: int) -> dict[str, list[tuple[float, float]]]:
    """Run every side once in each turn, after one that isn't counted; return milliseconds by the clock and of processor time."""
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for turn in range(turns + 1):
        for name, run in sides.items():
            started, cpu = time.perf_counter(), _cpu()
            run()
            if turn:
                took[name].append(((time.perf_counter() - started) * 1000, _cpu() - cpu))
    return took


def table(took: dict[str, list[tuple[float, float]]]) -> str:
    """Return the figures as Markdown."""
    base = [median(column) for column in zip(*took[BARE], strict=True)]
    lines = ["| side | clock | best | over bare | processor | over bare |", "| --- | ---: | ---: | ---: | ---: | ---: |"]
    for name, times in took.items():
        clock, cpu = (median(column) for column in zip(*times, strict=True))
        over = ["", ""] if name == BARE else [f"{clock - base[0]:.1f} ms", f"{cpu - base[1]:.1f} ms"]
        lines.append(f"| {name} | {clock:.1f} ms | {min(times)[0]:.1f} ms | {over[0]} | {cpu:.1f} ms | {over[1]} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print, and write where told."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=30)
    parser.add_argument("--out", type=Path, help="write the page there, too")
    parser.add_argument("--image", help="what mode docker runs (python:3.12-slim)")
    parser.add_argument("--interpreter", type=Path, help="a Python that is a WASI module, for mode wasm")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        sides: dict[str, Callable[[], None]] = {BARE: lambda: bare(folder)}
        missing = []
        for name, backend in backends(options.image, options.interpreter).items():
            if (problem := backend.confinement.problem()) is not None:
                missing.append(f"{name}: {problem}")
                continue
            executor = SandboxExecutor(SandboxConfig(mode=backend.confinement.mode), backend)
            sides[name] = lambda executor=executor: sandboxed(executor)  # type: ignore[misc]
        if any(side.startswith("native") for side in sides):
            sides["`exec --mode native`"] = lambda: as_command(folder)
        took = measure(sides, options.turns)
    when = f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores"
    load = f"load {os.getloadavg()[0]:.1f} at the end, {options.turns} turns"
    page = f"# Sandbox: what it costs\n\n{when}, {load}. The aim: at most {AIM:.0f} ms over the bare interpreter "
    page += f"in mode native, {DOCKER_AIM:.0f} in mode docker.\n\n"
    page += "\n".join([table(took), *[f"\nNot measured: {line}" for line in missing]]) + "\n"
    print(page)
    if options.out:
        write_atomic(options.out, page.encode())


if __name__ == "__main__":
    main()
