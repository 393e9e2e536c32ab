"""Measures what running the built-in replay cells costs, through the public command line only, and prints Markdown tables.

Four things: each cell's wall time against its critical path, how long the stack takes to start, how long the whole command
takes in one process and in several, and what having the plugin installed adds to a pytest run that does not use it. All
sides of a comparison are measured in this one run, in turns, because machines differ more than what is compared.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median

from pydantic import ValidationError

from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.core.files import write_atomic
from pytest_execgo.plan.result import BenchmarkResult

CELLS_RAN = (0, 1)  # pytest's exit codes when every cell has a verdict: all passed, or some failed
_TAIL = 15  # lines of a command's output that a failure shows


@dataclass(frozen=True, slots=True)
class Finished:
    """A command that ended by itself: its wall and processor time in ms, its exit code, what it wrote."""

    wall_ms: float
    cpu_ms: float
    exit_code: int
    output: str


@dataclass(frozen=True, slots=True)
class Sweep:
    """One run of all cells: the command's wall time in ms, the cells' results, each stack's start in ms."""

    wall_ms: float
    results: list[BenchmarkResult]
    stack_start_ms: list[float]


def run(argv: Sequence[str], cwd: Path, timeout: float, **extra_env: str) -> Finished:
    """Run a command in a process group of its own, in `cwd`; `ExecGoError` when it takes longer than `timeout` seconds.

    Its output goes to a file: a pipe would be kept open by whatever the command leaves running. Settings of the caller's
    that would change what is measured are left out of its environment.
    """
    env = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS" and not name.startswith("PYTEST_EXECGO_")}
    env |= extra_env
    with tempfile.TemporaryFile() as output:
        cpu_before = children_cpu_ms()
        started = time.perf_counter()
        process = subprocess.Popen(
            argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise ExecGoError("benchmark_timeout", f"not done after {timeout:g} s: {' '.join(argv)}", "raise --timeout") from error
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        wall_ms = (time.perf_counter() - started) * 1000
        output.seek(0)
        return Finished(wall_ms, children_cpu_ms() - cpu_before, code, output.read().decode("utf-8", "replace"))


def children_cpu_ms() -> float:
    """Return the processor time, in ms, of every child that has ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) * 1000


def sweep(workers: int, timeout: float) -> Sweep:
    """Run the built-in replay cells once in an empty folder; 0 workers means in one process."""
    with tempfile.TemporaryDirectory(prefix="execgo-bench-") as folder:
        out = Path(folder) / "out"
        project = Path(folder) / "project"
        project.mkdir()
        argv = [sys.executable, "-m", "pytest", "--execgo-matrix", "-q", "-p", "no:cacheprovider", f"--execgo-out={out}"]
        done = run(argv + (["-n", str(workers)] if workers else []), project, timeout)
        results = read_results(out)
        if done.exit_code not in CELLS_RAN or not results:
            raise ExecGoError(
                "sweep_failed",
                f"the sweep ended with exit code {done.exit_code} and {len(results)} results; its last lines:\n{tail(done.output)}",
            )
        return Sweep(done.wall_ms, results, read_stack_starts(out))


def read_results(out: Path) -> list[BenchmarkResult]:
    """Read every run's `result.json` beneath `out`; `ExecGoError` for one that is malformed."""
    results = []
    for path in sorted(out.rglob("result.json")):
        if "workspace" in path.relative_to(out).parts:
            continue  # what a plan's own tasks wrote
        try:
            results.append(BenchmarkResult.model_validate_json(path.read_bytes()))
        except (ValidationError, OSError) as error:
            raise ExecGoError("malformed_result", f"{path.relative_to(out)}: {error}") from error
    return results


def read_stack_starts(out: Path) -> list[float]:
    """Read how long each stack beneath `out` took from its start to healthy, in ms; empty when that was not stored."""
    starts = []
    for path in sorted(out.glob("stacks/*/start.json")):
        try:
            starts.append(float(json.loads(path.read_text("utf-8"))["start_ms"]))
        except (ValueError, KeyError, TypeError, OSError) as error:
            where = path.relative_to(out)
            raise ExecGoError("malformed_start", f"{where}: {error!r}", 'it must hold {"start_ms": number}') from error
    return starts


def import_cost(pairs: int, timeout: float) -> list[tuple[float, float]]:
    """Measure `pytest --collect-only` on one trivial test, with only our plugin and with none, in turns.

    In ms of processor time: starting up is computing, and on a shared machine wall time says more about the neighbours.
    """
    with tempfile.TemporaryDirectory(prefix="execgo-bench-") as folder:
        project = Path(folder)
        (project / "test_nothing.py").write_text("def test_nothing():\n    pass\n", "utf-8")

        def collect(*options: str) -> float:
            argv = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *options, "test_nothing.py"]
            done = run(argv, project, timeout, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
            if done.exit_code != 0:
                raise ExecGoError("collection_failed", f"exit code {done.exit_code}; its last lines:\n{tail(done.output)}")
            return done.cpu_ms

        def pair(plugin_first: bool) -> tuple[float, float]:
            ours = ("-p", "pytest_execgo.plugin.entry")
            if plugin_first:
                return collect(*ours), collect()
            without = collect()
            return collect(*ours), without

        pair(plugin_first=True)  # writes the byte code that the measured ones only read
        return [pair(plugin_first=turn % 2 == 0) for turn in range(pairs)]


def cells_section(sweeps: Sequence[Sweep]) -> list[str]:
    """Render each cell's medians, and each scenario's ratio."""
    by_cell: dict[tuple[str, ...], list[BenchmarkResult]] = {}
    by_scenario: dict[str, list[BenchmarkResult]] = {}
    for result in (result for one in sweeps for result in one.results):
        by_cell.setdefault(result.cell.group, []).append(result)
        by_scenario.setdefault(result.scenario_id, []).append(result)

    def row(names: Sequence[str], results: Sequence[BenchmarkResult]) -> list[str]:
        passed = [result.metrics for result in results if result.outcome == "passed"]
        figures = [
            middle(metrics.wall_time_ms for metrics in passed),
            middle(metrics.critical_path_ms for metrics in passed),
            middle(metrics.overhead for metrics in passed),
        ]
        return [*names, f"{len(passed)}/{len(results)}", *(number(figure) for figure in figures)]

    figures = ["passed", "wall ms", "critical path ms", "ratio"]
    cells = [row(key, by_cell[key]) for key in sorted(by_cell)]
    scenarios = [row([key], by_scenario[key]) for key in sorted(by_scenario)]
    return [
        f"Medians of the runs that passed; sweeps in one process: {len(sweeps)}. Ratio is wall time / critical path, run by run.",
        "",
        *table(["scenario", "framework", "mode", "chaos", *figures], cells, left=4),
        "",
        *table(["scenario", *figures], scenarios, left=1),
    ]


def command_section(single: Sequence[Sweep], several: Sequence[Sweep], workers: int) -> list[str]:
    """Render the wall time of the whole command, and how long stacks took to start."""
    rows = []
    for name, sweeps in (("one process", single), (f"-n {workers}", several)):
        rows.append([f"whole command, {name}", *spread([one.wall_ms for one in sweeps])])
        rows.append([f"stack start to healthy, {name}", *spread([ms for one in sweeps for ms in one.stack_start_ms])])
    cells = sorted({len(one.results) for one in (*single, *several)})
    return [
        f"{', '.join(map(str, cells))} cells a sweep; the two ways took turns.",
        "",
        *table(["what", "median ms", "lowest", "highest", "measured"], rows, left=1),
    ]


def import_section(times: Sequence[tuple[float, float]]) -> list[str]:
    """Render what the plugin adds to a pytest run that does not use it."""
    rows = [
        ["with this plugin alone", *spread([with_plugin for with_plugin, _ in times])],
        ["without any plugin", *spread([without for _, without in times])],
        ["difference, pair by pair", *spread([with_plugin - without for with_plugin, without in times])],
    ]
    return [
        "`pytest --collect-only` of one trivial test, in turns; processor time.",
        "",
        *table(["what", "median ms", "lowest", "highest", "measured"], rows, left=1),
    ]


def machine_facts() -> list[str]:
    """Say on what, with what and when this was measured."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = os.getloadavg()[0]
    return [
        f"- {datetime.now(UTC):%Y-%m-%d}, {platform.system()} {platform.machine()}, {usable} cores, load {load:.1f} at the start",
        f"- Python {platform.python_version()}, pytest {version('pytest')}, pytest-execgo {version('pytest-execgo')}",
    ]


def table(headers: Sequence[str], rows: Iterable[Sequence[str]], left: int) -> list[str]:
    """Render a Markdown table; the first `left` columns hold text, the others figures."""
    lines = [headers, ["---" if index < left else "---:" for index in range(len(headers))], *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def middle(values: Iterable[float | None]) -> float | None:
    """Return the median of the values that are there; None without any."""
    known = [value for value in values if value is not None]
    return median(known) if known else None


def spread(values: Sequence[float]) -> list[str]:
    """Render median, lowest, highest, and how many there are."""
    figures = (middle(values), min(values, default=None), max(values, default=None))
    return [*(number(figure) for figure in figures), str(len(values))]


def number(value: float | None) -> str:
    """Render a figure with three to four digits; `n/a` for None."""
    if value is None:
        return "n/a"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}" if abs(value) < 100 else f"{value:.0f}"


def tail(output: str) -> str:
    """Return the last lines that a command wrote."""
    return "\n".join(output.splitlines()[-_TAIL:])


def report(args: argparse.Namespace) -> tuple[list[str], bool]:
    """Measure everything; what can't be measured says why, and the rest goes on. Returns lines, and whether all went well."""
    lines = ["# What the built-in cells cost", "", *machine_facts()]
    complete = True

    def section(title: str, measure: Callable[[], list[str]]) -> None:
        nonlocal complete
        print(f"measuring: {title}", file=sys.stderr, flush=True)
        lines.extend(["", f"## {title}", ""])
        try:
            lines.extend(measure())
        except ExecGoError as error:
            complete = False
            lines.append(f"Not measured ({error.code}).")
            print(f"not measured: {error}", file=sys.stderr, flush=True)

    def sweeps() -> list[str]:
        single, several = [], []
        for _ in range(args.repeat):
            single.append(sweep(0, args.timeout))
            several.append(sweep(args.workers, args.timeout))
        return [*cells_section(single), "", "### Whole command", "", *command_section(single, several, args.workers)]

    section("Cells", sweeps)
    section("Installed but not used", lambda: import_section(import_cost(args.pairs, args.timeout)))
    return lines, complete


def positive(text: str) -> int:
    """Parse a count of at least one, for argparse."""
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and save when asked to; 0, or 3 when something could not be measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=positive, default=3, help="how often all cells are run each way (default 3)")
    parser.add_argument("--workers", type=positive, default=2, help="processes of the parallel way (default 2)")
    parser.add_argument("--pairs", type=positive, default=10, help="pairs of collections, with and without the plugin (default 10)")
    parser.add_argument("--timeout", type=positive, default=600, help="seconds that one command may take (default 600)")
    parser.add_argument("--save", type=Path, metavar="FILE", help="also write the tables to this Markdown file")
    args = parser.parse_args(argv)
    if args.save is not None:
        try:
            args.save.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            parser.error(f"can't write to {args.save}: {error.strerror or error}")
    lines, complete = report(args)
    text = "\n".join(lines) + "\n"
    print(text, end="", flush=True)
    if args.save is not None and complete:
        write_atomic(args.save, text)
    elif args.save is not None:
        print(f"{args.save} is left as it was: something could not be measured", file=sys.stderr)
    return 0 if complete else 3


if __name__ == "__main__":
    raise SystemExit(main())
