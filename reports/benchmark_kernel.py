"""Measures a kernel from its client's side, and any other kernel beside it: the same requests, in turns, in one run.

Ours is `python -m pytest_execgo serve kernel` as it is by default (durable). `--vs CMD` names another kernel's start command, which
gets ExecGo's flags `-addr`, `-data-dir` and `-max-concurrency` appended. Prints a Markdown table with both sides and their ratio.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import shlex
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from pytest_execgo.core.files import write_atomic

CONCURRENCY = 10
OURS = [sys.executable, "-m", "pytest_execgo", "serve", "kernel"]
RUNTIME = [sys.executable, "-m", "pytest_execgo", "serve", "runtime"]
_READY = 30.0  # seconds that a service may take to answer
_PATIENCE = 120.0  # seconds that one graph may take
_TICK = 0.001  # seconds between looks at /metrics

Task = dict[str, Any]


class Client:
    """One keep-alive connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
        self._connection.connect()
        self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Send one request and return its JSON; `RuntimeError` for an answer that is an error."""
        payload = None if body is None else json.dumps(body).encode()
        self._connection.request(method, path, payload, {"Content-Type": "application/json"} if payload else {})
        response = self._connection.getresponse()
        text = response.read()
        if response.status >= 400:
            raise RuntimeError(f"{method} {path}: {response.status} {text[:200]!r}")
        return json.loads(text) if text else None

    def finished(self) -> int:
        """Return how many tasks have succeeded."""
        return int(self.call("GET", "/metrics")["tasks_succeeded"])

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


@dataclass(slots=True)
class Kernel:
    """A running kernel; `start_ms` is from its spawn to its first answer."""

    process: subprocess.Popen[bytes]
    port: int
    start_ms: float

    def cpu_us(self) -> float:
        """Return the CPU time that the kernel's threads have taken so far, in microseconds; a busy machine hardly changes it."""
        spent = (path.read_text().split()[0] for path in Path(f"/proc/{self.process.pid}/task").glob("*/schedstat"))
        return sum(map(int, spent)) / 1000

    def rss_mb(self) -> float:
        """Return the resident memory of the kernel and its children, in MB."""
        return sum(_rss(pid) for pid in [self.process.pid, *_children(self.process.pid)])


@contextmanager
def serving(command: Sequence[str], folder: Path, **env: str) -> Iterator[Kernel]:
    """Run a kernel in a folder until the block ends."""
    port = _free_port()
    flags = ["-addr", f"127.0.0.1:{port}", "-data-dir", str(folder / "data"), "-max-concurrency", str(CONCURRENCY)]
    yield from _running([*command, *flags], port, folder, "/health", env)


@contextmanager
def serving_runtime(folder: Path) -> Iterator[Kernel]:
    """Run our runtime in a folder until the block ends."""
    port = _free_port()
    yield from _running([*RUNTIME, "-addr", f"127.0.0.1:{port}"], port, folder, "/healthz", {})


def _running(argv: Sequence[str], port: int, folder: Path, health: str, env: dict[str, str]) -> Iterator[Kernel]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log").open("ab") as log:
        started = time.perf_counter()
        process = subprocess.Popen(argv, cwd=folder, env={**os.environ, **env}, stdout=log, stderr=log)
        try:
            _wait_ready(process, port, health, folder / "log")
            yield Kernel(process, port, (time.perf_counter() - started) * 1000)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_ready(process: subprocess.Popen[bytes], port: int, path: str, log: Path) -> None:
    deadline = time.monotonic() + _READY
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the service ended with {process.returncode}: {log.read_text(errors='replace')[-500:]}")
        try:
            client = Client(port)
            client.call("GET", path)
            client.close()
        except (OSError, http.client.HTTPException):
            time.sleep(0.002)
        else:
            return
    raise RuntimeError(f"no answer within {_READY:g} s")


def noops(count: int, name: str) -> list[Task]:
    """Return a graph of independent tasks."""
    return [{"id": f"{name}-{i}", "type": "noop"} for i in range(count)]


def chain(count: int, name: str) -> list[Task]:
    """Return a graph in which each task waits for the one before it."""
    return [{"id": f"{name}-{i}", "type": "noop", "depends_on": [f"{name}-{i - 1}"] if i else []} for i in range(count)]


def fan(count: int, name: str) -> list[Task]:
    """Return one task, `count` that wait for it, and one that waits for them all."""
    middle: list[Task] = [{"id": f"{name}-{i}", "type": "noop", "depends_on": [f"{name}-first"]} for i in range(count)]
    last = {"id": f"{name}-last", "type": "noop", "depends_on": [task["id"] for task in middle]}
    return [{"id": f"{name}-first", "type": "noop"}, *middle, last]


def graph_ms(client: Client, tasks: list[Task]) -> tuple[float, float]:
    """Return ms from the POST until the kernel counts every task as succeeded, and until a GET shows the last one so.

    A kernel that shows an end only once it is on disk is quiet again by then, and the next figure is not its backlog.
    """
    wanted = client.finished() + len(tasks)
    started = time.perf_counter()
    client.call("POST", "/tasks", {"tasks": tasks})
    while client.finished() < wanted:
        if time.perf_counter() - started > _PATIENCE:
            raise RuntimeError(f"{len(tasks)} tasks not done within {_PATIENCE:g} s")
        time.sleep(_TICK)
    counted = (time.perf_counter() - started) * 1000
    while client.call("GET", f"/tasks/{tasks[-1]['id']}")["status"] in ("pending", "running"):
        time.sleep(_TICK)
    return counted, (time.perf_counter() - started) * 1000


def round_trip_ms(client: Client, name: str, count: int) -> float:
    """Return the median ms from a POST of one noop until a GET shows it terminal."""
    times = []
    for i in range(count):
        started = time.perf_counter()
        client.call("POST", "/tasks", {"tasks": [{"id": f"{name}-{i}", "type": "noop"}]})
        while client.call("GET", f"/tasks/{name}-{i}")["status"] in ("pending", "running"):
            pass
        times.append((time.perf_counter() - started) * 1000)
    return median(times)


def submits_per_second(port: int, name: str, connections: int, each: int) -> float:
    """Return how many one-noop submissions a second are accepted on several connections."""
    barrier = threading.Barrier(connections + 1)

    def submit(worker: int) -> None:
        client = Client(port)
        barrier.wait()
        for i in range(each):
            client.call("POST", "/tasks", {"tasks": [{"id": f"{name}-{worker}-{i}", "type": "noop"}]})
        client.close()

    threads = [threading.Thread(target=submit, args=(worker,)) for worker in range(connections)]
    for thread in threads:
        thread.start()
    barrier.wait()
    started = time.perf_counter()
    for thread in threads:
        thread.join()
    return connections * each / (time.perf_counter() - started)


def command_ms(client: Client, name: str, count: int = 40) -> tuple[float, float]:
    """Return the median ms of `true` as a runtime task, from POST to terminal, and of the bare spawn, in turns."""
    through, bare = [], []
    for i in range(count):
        execution = {"kind": "command", "program": "true"}
        task = {"id": f"{name}-{i}", "type": "runtime", "input": {"execution": execution}}
        started = time.perf_counter()
        client.call("POST", "/tasks", {"tasks": [task]})
        while (seen := client.call("GET", f"/tasks/{name}-{i}"))["status"] in ("pending", "running"):
            time.sleep(_TICK)
        through.append((time.perf_counter() - started) * 1000)
        if seen["status"] != "success":
            raise RuntimeError(f"the command ended as {seen['status']}: {seen.get('error')}")
        started = time.perf_counter()
        subprocess.run(["true"], check=True)
        bare.append((time.perf_counter() - started) * 1000)
    return median(through), median(bare)


def store_figures(kernel: Kernel, client: Client, stored: int) -> tuple[float, float]:
    """Fill the kernel with `stored` noops; return its memory in MB, and the ms of a one-page list (or of the whole list)."""
    for batch in range(0, stored, 5000):
        graph_ms(client, noops(min(5000, stored - batch), f"store-{batch}"))
    times = []
    for _ in range(5):
        started = time.perf_counter()
        client.call("GET", "/tasks?limit=100")
        times.append((time.perf_counter() - started) * 1000)
    return kernel.rss_mb(), median(times)


SHAPES: dict[str, Callable[[str], list[Task]]] = {
    "100 noops": lambda name: noops(100, name),
    "1000 noops": lambda name: noops(1000, name),
    "5000 noops": lambda name: noops(5000, name),
    "chain of 500": lambda name: chain(500, name),
    "fan 1-1000-1": lambda name: fan(1000, name),
}


def measure(sides: dict[str, list[str]], repeat: int, stored: int, root: Path) -> dict[str, dict[str, float]]:
    """Measure every side, in turns; return figure name -> side -> value."""
    figures: dict[str, dict[str, list[float]]] = {}

    def note(figure: str, side: str, value: float) -> None:
        figures.setdefault(figure, {}).setdefault(side, []).append(value)

    for turn in range(repeat):
        for side, command in sorted(sides.items(), reverse=turn % 2 == 1):  # nobody always comes first
            folder = root / f"{side}-{turn}"
            with serving_runtime(folder / "runtime") as runtime:
                with serving(command, folder, EXECGO_RUNTIME_URL=f"http://127.0.0.1:{runtime.port}") as kernel:
                    note("start to healthy, ms", side, kernel.start_ms)
                    client = Client(kernel.port)
                    for shape, tasks in SHAPES.items():
                        graph = tasks(f"{shape.replace(' ', '-')}-{turn}")
                        before = kernel.cpu_us()
                        counted, shown = graph_ms(client, graph)
                        note(f"{shape}, ms", side, counted)
                        note(f"{shape}, until the last end shows, ms", side, shown)
                        note(f"{shape}, CPU a task, µs", side, (kernel.cpu_us() - before) / len(graph))
                    before = kernel.cpu_us()
                    note("one noop, round trip p50, ms", side, round_trip_ms(client, f"trip-{turn}", 200))
                    note("one noop, round trip, CPU, µs", side, (kernel.cpu_us() - before) / 200)
                    before = kernel.cpu_us()
                    note("submits a second, 8 connections", side, submits_per_second(kernel.port, f"flood-{turn}", 8, 250))
                    note("submits, CPU each, µs", side, (kernel.cpu_us() - before) / 2000)
                    through, bare = command_ms(client, f"command-{turn}")
                    note("one runtime command, over the bare spawn, ms", side, through - bare)
                    client.close()
            if turn == 0 and stored:
                with serving(command, root / f"{side}-store") as kernel:
                    client = Client(kernel.port)
                    memory, page = store_figures(kernel, client, stored)
                    client.close()
                note(f"memory with {stored} stored tasks, MB", side, memory)
                note(f"a page of 100 of {stored} tasks, ms", side, page)
    return {figure: {side: median(values) for side, values in by_side.items()} for figure, by_side in figures.items()}


def render(figures: dict[str, dict[str, float]], sides: Sequence[str]) -> list[str]:
    """Render the table, with the ratio of the first side to the second where there are two."""
    two = len(sides) == 2
    header = ["what", *sides, *(["ratio"] if two else [])]
    lines = [f"| {' | '.join(header)} |", f"| --- |{' ---: |' * (len(header) - 1)}"]
    for figure, by_side in figures.items():
        cells = [f"{by_side[side]:.3g}" if by_side[side] < 1000 else f"{by_side[side]:.0f}" for side in sides]
        ratio = [f"{by_side[sides[0]] / by_side[sides[1]]:.2f}"] if two and by_side[sides[1]] else [""] * two
        lines.append(f"| {' | '.join([figure, *cells, *ratio])} |")
    return lines


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _children(pid: int) -> list[int]:
    try:
        direct = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return [found for child in direct for found in (child, *_children(child))]


def _rss(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:")), 0.0)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and save if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vs", metavar="CMD", help="start command of another ExecGo-compatible kernel")
    parser.add_argument("--repeat", type=int, default=3, help="turns (default 3)")
    parser.add_argument(
        "--stored", type=int, default=100_000, help="tasks for the figures of a full store (default 100000; 0: skip)"
    )
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the table to FILE, too")
    options = parser.parse_args(argv)
    sides = {"ours": OURS, **({"theirs": shlex.split(options.vs)} if options.vs else {})}
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    facts = f"- {datetime.now(UTC):%Y-%m-%d}, {machine}"
    with tempfile.TemporaryDirectory(prefix="execgo-kernel-") as root:
        figures = measure(sides, options.repeat, options.stored, Path(root))
    page = [
        "# What a kernel costs",
        "",
        facts,
        f"- Python {platform.python_version()}; concurrency {CONCURRENCY}; medians of {options.repeat}",
    ]
    page += [f"- theirs: `{options.vs}`"] * bool(options.vs)
    text = "\n".join([*page, "", *render(figures, list(sides))]) + "\n"
    print(text)
    if options.save:
        write_atomic(options.save, text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
