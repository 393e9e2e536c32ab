"""Measures what `report.html` costs for a sweep of many cells: making it, its size, opening it in Chromium.

The sweep is made of one that is really run (the built-in cells, undisturbed and under one chaos profile), whose artifacts are
copied under other names, profiles and repetitions until there are enough; a twentieth of the copies is made to fail.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

from pytest_execgo.benchmark.baseline import baseline_of
from pytest_execgo.benchmark.comparison import compare
from pytest_execgo.benchmark.gates import evaluate, parse_gates
from pytest_execgo.benchmark.summary import summarise
from pytest_execgo.chaos.loader import discover_profiles
from pytest_execgo.core.bundle import bundled
from pytest_execgo.core.errors import ExecGoError, MissingDependency
from pytest_execgo.core.files import write_atomic
from pytest_execgo.plan.cell import Cell
from pytest_execgo.plan.history import HistoryVerdict, Violation
from pytest_execgo.plan.result import BenchmarkResult, BenchmarkSummary
from pytest_execgo.plan.verdict import Attribution, Verdict
from pytest_execgo.reporting.page import PAGE, build

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
LIMITS = {"build": 2_000.0, "open": 1_500.0}  # ms, at 2,000 cells
_REPEAT = 5
_COPIED = ("plan.json", "timeline.jsonl", "history.jsonl", "run.json", "result.json", "summary.md", "adapter_trace.json")


@dataclass(frozen=True, slots=True)
class Opened:
    """One opening of the page, in ms since the navigation began: first paint, ready for use; then a cell, and a filter."""

    painted: float
    ready: float
    cell: float
    filtered: float


def real_sweep(folder: Path) -> list[BenchmarkResult]:
    """Run the built-in cells in a folder; return their results."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--execgo-matrix",
        "--execgo-chaos=none,kernel_crash",
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise ExecGoError("benchmark_failed", f"the cells did not pass:\n{done.stdout[-2000:]}")
    summary = BenchmarkSummary.model_validate_json((folder / "var/runs/benchmark-summary.json").read_text("utf-8"))
    return summary.runs


def multiplied(results: Sequence[BenchmarkResult], cells: int, out: Path) -> BenchmarkSummary:
    """Copy runs under new names until there are `cells` of them, with their artifacts in `out`; return the sweep's summary."""
    chance = random.Random(7)  # noqa: S311 - which cells are made to fail is no secret
    templates = {(run.scenario_id, run.framework, run.chaos_profile == "none"): run for run in results}
    pairs = sorted({(run.scenario_id, run.framework) for run in results})
    profiles = sorted(discover_profiles([bundled("chaos")]), key=lambda name: (name != "none", name))
    axes = product(range(_REPEAT), profiles, pairs)
    made = []
    for number, (repetition, profile, (scenario, framework)) in enumerate(axes):
        if number == cells:
            break
        template = templates[scenario, framework, profile == "none"]
        made.append(_copied(template, Cell(scenario, framework, "replay", profile, repetition), number, out, chance))
    shutil.copytree(Path(results[0].artifacts.run_dir).parent / "stacks", out / "stacks", ignore=shutil.ignore_patterns("*-data"))
    return _summary(made, chance)


def _copied(template: BenchmarkResult, cell: Cell, number: int, out: Path, chance: random.Random) -> BenchmarkResult:
    run_id = f"{template.run_id[:-8]}{number:08x}"
    source, target = Path(template.artifacts.run_dir), out / run_id
    target.mkdir()
    for name in _COPIED:
        (target / name).write_bytes((source / name).read_bytes().replace(template.run_id.encode(), run_id.encode()))
    wall = (template.metrics.wall_time_ms or 0.0) * chance.uniform(0.8, 1.6)
    changed: dict[str, Any] = {
        "run_id": run_id,
        "cell_id": cell.cell_id,
        "chaos_profile": cell.chaos,
        "repetition": cell.repetition,
        "metrics": template.metrics.model_copy(update={"wall_time_ms": wall}),
        "artifacts": template.artifacts.model_copy(update={"run_dir": str(target)}),
    }
    failed = _failed(template, chance) if chance.random() < 0.05 else {}
    return template.model_copy(update={**changed, **failed})


def _failed(template: BenchmarkResult, chance: random.Random) -> dict[str, Any]:
    at = chance.randrange(1, 20)
    said = f"the report counts {at} findings, and should count 14"
    broken = Violation(check="duplicated", message="the effect notice was applied 2 times")
    counts = template.history.counts if template.history is not None else {}
    return {
        "outcome": chance.choice(("failed", "failed", "error")),
        "verdict": Verdict(passed=False, reasons=[said]),
        "attribution": Attribution(layer="verifier", code="verdict_failed", message=said, evidence=[at]),
        "history": HistoryVerdict(outcome="invalid", counts=counts, violations=[broken]),
    }


def _summary(runs: Sequence[BenchmarkResult], chance: random.Random) -> BenchmarkSummary:
    now: dict[str, Any] = {"started_at": runs[0].started_at, "finished_at": runs[0].finished_at, "wall_time_ms": 300_000.0}
    before = [run.model_copy(update={"outcome": "failed"}) if chance.random() < 0.02 else run for run in runs]
    baseline = baseline_of(summarise(before, sweep_id="before", **now))
    summary = summarise(runs, sweep_id="now", planned=len(runs), **now)
    summary = summary.model_copy(update={"comparison": compare(baseline, summary)})
    return summary.model_copy(update={"gates": evaluate(parse_gates(["pass_rate>=0.99", "flake_rate<=0.5"]), summary)})


def timed(times: int, work: Callable[[], str]) -> tuple[list[float], list[float], str]:
    """Do some work several times; return what each took by the clock and of the processor (ms), and what came of it."""
    took, used, result = [], [], ""
    for _ in range(times):
        started, begun = time.perf_counter(), time.process_time()
        result = work()
        took.append((time.perf_counter() - started) * 1000)
        used.append((time.process_time() - begun) * 1000)
    return took, used, result


def openings(page: Path, times: int) -> list[Opened]:
    """Open a page in new browsers; `MissingDependency` without Chromium or playwright."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise MissingDependency("no_playwright", "playwright is not installed", "pip install playwright") from error
    if not Path(CHROMIUM).exists():
        raise MissingDependency("no_chromium", f"{CHROMIUM} is not there", "install chromium")
    found = []
    with sync_playwright() as play:
        for _ in range(times):
            browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            tab = browser.new_page(viewport={"width": 1280, "height": 900})
            tab.goto(page.as_uri())
            painted = tab.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0")
            ready = tab.evaluate("performance.getEntriesByName('execgo-ready')[0].startTime")
            found.append(Opened(painted, ready, tab.evaluate(_OPEN_A_CELL), tab.evaluate(_FILTER)))
            browser.close()
    return found


_OPEN_A_CELL = """async () => {
  const start = performance.now();
  document.querySelector('.square.failed, .square.mixed, .square').click();
  while (!performance.getEntriesByName('execgo-cell').length) await new Promise(requestAnimationFrame);
  const took = performance.getEntriesByName('execgo-cell')[0].startTime - start;
  document.getElementById('back').click();
  while (!document.getElementById('search')) await new Promise(requestAnimationFrame);
  return took;
}"""
_FILTER = """async () => {
  const start = performance.now();
  document.querySelector('.chip.failed, .chip').click();
  await new Promise(requestAnimationFrame);
  return performance.now() - start;
}"""


def report(cells: int, times: int) -> tuple[list[str], bool]:
    """Measure; return the lines of a Markdown table, and whether the limits were kept."""
    with tempfile.TemporaryDirectory() as name:
        folder, out = Path(name).resolve(), Path(name).resolve() / "runs"
        out.mkdir()
        summary = multiplied(real_sweep(folder), cells, out)
        took, used, text = timed(times, lambda: build(summary, out))
        write_atomic(out / PAGE, text)
        seen = openings(out / PAGE, times)
    size, most = len(text.encode()), 1_500_000 + 2_000 * cells
    built, ready = median(took), median(one.ready for one in seen)
    rows = [
        ("making it (reads every run's artifacts)", f"{built:.0f} ms", f"{LIMITS['build']:.0f} ms"),
        ("of it, processor time (one process)", f"{median(used):.0f} ms", ""),
        ("its size", f"{size / 1e6:.2f} MB", f"{most / 1e6:.2f} MB"),
        ("opening it: first paint", f"{median(one.painted for one in seen):.0f} ms", ""),
        ("opening it: ready", f"{ready:.0f} ms", f"{LIMITS['open']:.0f} ms"),
        ("opening a cell", f"{median(one.cell for one in seen):.0f} ms", ""),
        ("filtering by outcome", f"{median(one.filtered for one in seen):.0f} ms", ""),
    ]
    head = [f"# report.html of {cells:,} cells", "", f"- {datetime.now(UTC):%Y-%m-%d}, {platform.system()} {platform.machine()}, "]
    head[-1] += f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end; medians of {times} turns"
    table = [f"| {what} | {value} | {limit} |" for what, value, limit in rows]
    kept = size <= most and (cells != 2_000 or (built <= LIMITS["build"] and ready <= LIMITS["open"]))
    return [*head, "", "| | measured | at most |", "| --- | ---: | ---: |", *table], kept


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 0, 1 when a limit was not kept, 3 when something could not be measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=2_000, help="cells of the sweep (default 2000; at most 2800)")
    parser.add_argument("--repeat", type=int, default=5, help="turns (default 5)")
    parser.add_argument("--save", type=Path, metavar="FILE", help="also write the table to this Markdown file")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the sweep's page in this folder")
    args = parser.parse_args(argv)
    try:
        lines, kept = report(args.cells, args.repeat)
    except ExecGoError as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    print("\n".join(lines))
    if args.save is not None:
        write_atomic(args.save, "\n".join(lines) + "\n")
    return 0 if kept else 1


if __name__ == "__main__":
    raise SystemExit(main())
