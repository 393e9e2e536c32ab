"""What the runs of a sweep amount to: totals, one group for each cell's repetitions, and every run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean, median

from pytest_execgo.benchmark.differential import compare_plans
from pytest_execgo.benchmark.intervals import pass_hat, quantiles, wilson
from pytest_execgo.benchmark.sweep_statistics import MOST_K, concluded, figures, sweep_statistics
from pytest_execgo.plan.result import BenchmarkResult, BenchmarkSummary, GroupSummary, RunMetrics

OUTCOMES = ("passed", "failed", "error", "inconclusive", "skipped")


def summarise(
    results: Iterable[BenchmarkResult],
    *,
    sweep_id: str,
    started_at: str,
    finished_at: str,
    wall_time_ms: float,
    planned: int | None = None,
) -> BenchmarkSummary:
    """Take a sweep's runs together, in an order that does not depend on the one in which they ended.

    `totals` counts runs by outcome, and all of them as `cells`. Times are RFC 3339; `wall_time_ms` is the sweep's own.
    Every run is copied with the drift of its group, null where the run did not conclude.
    """
    totals = dict.fromkeys((*OUTCOMES, "cells"), 0)
    by_group: dict[tuple[str, str, str, str], list[BenchmarkResult]] = {}
    for result in results:
        by_group.setdefault(result.cell.group, []).append(result)
        totals[result.outcome] += 1
        totals["cells"] += 1
    groups: list[GroupSummary] = []
    runs: list[BenchmarkResult] = []
    for key in sorted(by_group):
        members = sorted(by_group[key], key=lambda result: (result.repetition, result.started_at, result.run_id))
        group = _group(members)
        groups.append(group)
        runs += (_with_drift(result, group.determinism_drift) for result in members)
    return BenchmarkSummary(
        sweep_id=sweep_id,
        started_at=started_at,
        finished_at=finished_at,
        wall_time_ms=wall_time_ms,
        totals=totals,
        planned=planned,
        statistics=sweep_statistics(groups, runs),
        groups=groups,
        plans=compare_plans(runs),
        runs=runs,
    )


def _group(members: Sequence[BenchmarkResult]) -> GroupSummary:
    """Summarise repetitions of one cell.

    Infrastructure errors and inconclusive runs count against the pass rate; skipped ones did not run. One that the user broke
    off is inconclusive, but says nothing of the cell, so that it makes none flaky. Times are medians of
    the runs that reached a verdict: how long a run took that broke off says nothing about the cell.
    """
    counts = Counter(result.outcome for result in members)
    ran = len(members) - counts["skipped"]
    judged = [result for result in members if concluded(result)]
    ends = [result.outcome for result in members if result.outcome != "skipped" and not result.interrupted]
    first = members[0]
    return GroupSummary(
        scenario_id=first.scenario_id,
        framework=first.framework,
        mode=first.mode,
        chaos_profile=first.chaos_profile,
        repetitions=len(members),
        passed=counts["passed"],
        failed=counts["failed"],
        errors=counts["error"],
        inconclusive=counts["inconclusive"],
        skipped=counts["skipped"],
        pass_rate=counts["passed"] / ran if ran else None,
        wall_time_ms=_median(judged, lambda metrics: metrics.wall_time_ms),
        critical_path_ms=_median(judged, lambda metrics: metrics.critical_path_ms),
        overhead=_median(judged, lambda metrics: metrics.overhead),
        determinism_drift=determinism_drift(judged),
        recovery_success=_mean(members, lambda metrics: metrics.recovery_success),
        recovery_time_ms=_median(judged, lambda metrics: metrics.recovery_time_ms),
        violations=sum(len(result.history.violations) for result in members if result.history is not None),
        pass_interval=wilson(counts["passed"], ran) if ran else None,
        pass_hat_k={k: pass_hat(counts["passed"], ran, k) for k in range(1, min(ran // 2, MOST_K) + 1)},
        flaky=len(set(ends)) > 1 if len(ends) > 1 else None,
        recovery_ms=quantiles(figures(members, lambda metrics: metrics.recovery_time_ms)),
    )


def determinism_drift(repetitions: Sequence[BenchmarkResult]) -> float | None:
    """Return the share of a cell's concluded repetitions whose plan or outcome differs from the most common one.

    Null for fewer than two, and when none of them has a digest to compare. A repetition without a plan differs from one
    with a plan.
    """
    pairs = Counter((result.plan_digest, result.outcome_digest) for result in repetitions if concluded(result))
    total = pairs.total()
    if total < 2 or set(pairs) == {(None, None)}:
        return None
    return (total - pairs.most_common(1)[0][1]) / total


def _median(results: Iterable[BenchmarkResult], figure: Callable[[RunMetrics], float | None]) -> float | None:
    values = [value for result in results if (value := figure(result.metrics)) is not None]
    return median(values) if values else None


def _mean(results: Iterable[BenchmarkResult], figure: Callable[[RunMetrics], float | None]) -> float | None:
    values = [value for result in results if (value := figure(result.metrics)) is not None]
    return fmean(values) if values else None


def _with_drift(result: BenchmarkResult, drift: float | None) -> BenchmarkResult:
    metrics = result.metrics.model_copy(update={"determinism_drift": drift if concluded(result) else None})
    return result.model_copy(update={"metrics": metrics})
