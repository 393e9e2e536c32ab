"""Measures what taking a sweep together costs: synthetic cells in, summary, comparison, gates and pages out.

Prints a Markdown table, a row for each number of cells; the last column shows whether the cost of a cell stays the same.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from pytest_execgo.benchmark.baseline import baseline_of
from pytest_execgo.benchmark.comparison import compare
from pytest_execgo.benchmark.gates import evaluate, parse_gates
from pytest_execgo.benchmark.summary import summarise
from pytest_execgo.observability.checker import CHECKS
from pytest_execgo.plan.cell import Cell
from pytest_execgo.plan.history import HistoryVerdict
from pytest_execgo.plan.result import ArtifactManifest, BenchmarkResult, BenchmarkSummary, RunMetrics
from pytest_execgo.plan.verdict import Verdict
from pytest_execgo.reporting.markdown import sweep_summary
from pytest_execgo.reporting.terminal import sweep_table

FRAMEWORKS, PROFILES, REPETITIONS = ("langgraph", "crewai", "autogen"), ("none", "kill", "latency", "pause"), 4
GATES = ("pass_rate>=0.5", "pass_hat_2>=0.1", "recovery_time_ms.p95<=2000", "regression<=0", "violations<=0", "cells>=1")


def synthetic(cells: int, seed: int) -> list[BenchmarkResult]:
    """Return so many runs: scenarios x frameworks x profiles x repetitions, of which about one in twenty does not pass."""
    source = random.Random(seed)  # noqa: S311 - repeatable on purpose
    runs: list[BenchmarkResult] = []
    while len(runs) < cells:
        scenario = f"scenario_{len(runs) // (len(FRAMEWORKS) * len(PROFILES) * REPETITIONS)}"
        runs += (
            _run(Cell(scenario, framework, "replay", profile, repetition), source)
            for framework in FRAMEWORKS
            for profile in PROFILES
            for repetition in range(REPETITIONS)
        )
    return runs[:cells]


def _run(cell: Cell, source: random.Random) -> BenchmarkResult:
    wall = source.lognormvariate(6, 0.5)
    passed = source.random() > 0.05
    counts = {name: 0 for name in CHECKS} | {f"{name}_checked": 5 for name in CHECKS}
    return BenchmarkResult(
        run_id=f"run-{cell.cell_id}",
        sweep_id="synthetic",
        cell_id=cell.cell_id,
        scenario_id=cell.scenario,
        framework=cell.framework,
        mode=cell.mode,
        chaos_profile=cell.chaos,
        repetition=cell.repetition,
        seed=7,
        outcome="passed" if passed else "failed",
        verdict=Verdict.of([] if passed else ["the world is not as it should be"]),
        metrics=RunMetrics(wall_time_ms=wall, critical_path_ms=wall / 2, overhead=2.0, recovery_time_ms=wall / 3),
        history=HistoryVerdict(outcome="valid", counts=counts),
        artifacts=ArtifactManifest(run_dir=f"var/runs/run-{cell.cell_id}"),
        plan_digest="p",
        outcome_digest=str(passed),
        started_at="2030-01-01T00:00:00Z",
        finished_at="2030-01-01T00:00:01Z",
        backend="embedded",
    )


def _summary(runs: list[BenchmarkResult]) -> BenchmarkSummary:
    return summarise(runs, sweep_id="synthetic", started_at="start", finished_at="end", wall_time_ms=1.0)


def _cpu_ms(work: Callable[[], Any], turns: int) -> float:
    """Return the median CPU time of so many turns: on a busy machine, the clock says little."""
    taken = []
    for _ in range(turns):
        start = time.process_time_ns()
        work()
        taken.append((time.process_time_ns() - start) / 1e6)
    return median(taken)


def measure(cells: int, turns: int) -> tuple[float, float, float, float]:
    """Return CPU milliseconds: summarising, comparing, judging the gates, rendering table and page."""
    runs, baseline = synthetic(cells, 1), baseline_of(_summary(synthetic(cells, 2)))
    summary = _summary(runs)
    gates = parse_gates(GATES)
    judged = summary.model_copy(update={"comparison": compare(baseline, summary)})
    judged = judged.model_copy(update={"gates": evaluate(gates, judged)})
    return (
        _cpu_ms(lambda: _summary(runs), turns),
        _cpu_ms(lambda: compare(baseline, summary), turns),
        _cpu_ms(lambda: evaluate(gates, judged), turns),
        _cpu_ms(lambda: (sweep_table(judged), sweep_summary(judged)), turns),
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, nargs="+", default=[500, 1000, 2000, 4000], help="how many cells")
    parser.add_argument("--turns", type=int, default=5, help="how often each is measured; the median is shown")
    options = parser.parse_args()
    print("| cells | summary | comparison | gates | table and page | summary, a cell |")
    print("|---:|---:|---:|---:|---:|---:|")
    for cells in options.cells:
        parts = measure(cells, options.turns)
        print(f"| {cells:,} | {' | '.join(f'{ms:.1f} ms' for ms in parts)} | {parts[0] / cells * 1000:.0f} µs |", flush=True)


if __name__ == "__main__":
    main()
