"""What the runs of a sweep amount to beyond counts: rates with their intervals, pass^k, flakes, quantiles, bounds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import fmean

from pytest_execgo.benchmark.intervals import bootstrap, pass_hat, quantiles, upper_bound, wilson
from pytest_execgo.observability.checker import CHECKS
from pytest_execgo.plan.result import BenchmarkResult, GroupSummary, RunMetrics
from pytest_execgo.plan.statistics import Bound, SweepStatistics

MOST_K = 10
"""The summary shows pass^k for k up to this; a gate may ask for any k that there are repetitions for."""


def sweep_statistics(groups: Sequence[GroupSummary], runs: Sequence[BenchmarkResult]) -> SweepStatistics:
    """Compute a sweep's statistics from its groups and its runs, in time linear in them; skipped runs did not run."""
    ran = sum(map(ran_of, groups))
    passed = sum(group.passed for group in groups)
    broken = sum(group.errors + group.inconclusive for group in groups) - sum(run.interrupted for run in runs)
    by_scenario = {k: pass_hat_by_scenario(groups, k) for k in range(1, min(most_k(groups), MOST_K) + 1)}
    intervals = {k: bootstrap(list(rates.values())) for k, rates in by_scenario.items()}
    repeated = [group.flaky for group in groups if group.flaky is not None]
    return SweepStatistics(
        runs=ran,
        pass_rate=passed / ran if ran else None,
        pass_interval=wilson(passed, ran) if ran else None,
        infra_error_rate=broken / ran if ran else None,
        pass_hat_k={k: fmean(rates.values()) for k, rates in by_scenario.items()},
        pass_hat_interval={k: interval for k, interval in intervals.items() if interval is not None},
        flake_rate=sum(repeated) / len(repeated) if repeated else None,
        determinism_drift=_drift(groups),
        recovery_ms=quantiles(figures(runs, lambda metrics: metrics.recovery_time_ms)),
        wall_ms=quantiles(figures(runs, lambda metrics: metrics.wall_time_ms)),
        bounds=bounds(runs),
    )


def ran_of(group: GroupSummary) -> int:
    """Return how many of a group's runs were not skipped."""
    return group.repetitions - group.skipped


def most_k(groups: Iterable[GroupSummary]) -> int:
    """Return the greatest k of which pass^k says something: half of the fewest repetitions that any cell has; 0 for none."""
    return min((ran_of(group) // 2 for group in groups if ran_of(group)), default=0)


def pass_hat_by_scenario(groups: Iterable[GroupSummary], k: int) -> dict[str, float]:
    """Return each scenario's pass^k, the mean over its cells that ran; each of them must have been repeated k times or more."""
    found: dict[str, list[float]] = {}
    for group in groups:
        if ran_of(group):
            found.setdefault(group.scenario_id, []).append(pass_hat(group.passed, ran_of(group), k))
    return {scenario: fmean(rates) for scenario, rates in sorted(found.items())}


def figures(runs: Iterable[BenchmarkResult], figure: Callable[[RunMetrics], float | None]) -> list[float]:
    """Return a figure of each run that reached a verdict and has it: how long a run took that broke off tells nothing."""
    return [value for run in runs if concluded(run) and (value := figure(run.metrics)) is not None]


def concluded(run: BenchmarkResult) -> bool:
    """Tell whether a run reached a verdict."""
    return run.outcome in ("passed", "failed")


def bounds(runs: Iterable[BenchmarkResult]) -> list[Bound]:
    """Return, for each promise that histories were checked for, in how many runs it was broken, and the rate that leaves room for.

    A run whose history gave a check nothing to look at does not count.
    """
    looked, found = dict.fromkeys(CHECKS, 0), dict.fromkeys(CHECKS, 0)
    for run in runs:
        counts = run.history.counts if run.history is not None else {}
        for check in CHECKS:
            broken = counts.get(check, 0) > 0
            if broken or counts.get(f"{check}_checked", 0) > 0:
                looked[check] += 1
                found[check] += broken
    return [
        Bound(what=check, found=found[check], looked=looked[check], upper=upper_bound(found[check], looked[check]))
        for check in CHECKS
        if looked[check]
    ]


def _drift(groups: Iterable[GroupSummary]) -> float | None:
    """Return the share of repetitions that reached a verdict and differ from their cell's most common one."""
    differing = repetitions = 0.0
    for group in groups:
        if group.determinism_drift is not None:
            differing += group.determinism_drift * (group.passed + group.failed)
            repetitions += group.passed + group.failed
    return differing / repetitions if repetitions else None
