"""A sweep's statistics in words, for the terminal and the Markdown summary."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_execgo.plan.result import BenchmarkSummary
from pytest_execgo.plan.statistics import Bound, Interval, Quantiles, SweepStatistics
from pytest_execgo.reporting.text import NOT_APPLICABLE, counted, duration, share

_FEWEST = 2
"""Statistics of fewer runs say nothing that the runs themselves don't."""
_FEWEST_CLEAN = 20
"""That a promise was never broken in fewer runs, which nothing disturbed, leaves room for nearly any rate."""


def statistics_lines(summary: BenchmarkSummary, *, terse: bool = False) -> list[str]:
    """Return what a sweep's statistics say, a line each; nothing of less than two runs, and nothing of what was not measured.

    What went well is said in few words: rates, recovery times, and how much room there is for what was never seen; the latter
    not when `terse`, unless there were some twenty runs, or faults that could have broken a promise.
    """
    found = summary.statistics
    if found is None or found.runs < _FEWEST:
        return []
    lines = [_rates(found)]
    if found.recovery_ms is not None:
        lines.append(f"recovery time of {counted(found.recovery_ms.count, 'run')}: {_quantiles(found.recovery_ms)}")
    bounds = found.bounds
    if terse and not any(run.faults for run in summary.runs):
        bounds = [bound for bound in bounds if bound.found or bound.looked >= _FEWEST_CLEAN]
    return [*lines, *_bounds(bounds)]


def statistics_rows(found: SweepStatistics) -> list[tuple[str, str, str]]:
    """Return every figure of a sweep with its name and, where it has one, its interval."""
    rows = [("Pass rate", share(found.pass_rate), _range(found.pass_interval))]
    rows += [(f"pass^{k}", share(rate), _range(found.pass_hat_interval.get(k))) for k, rate in sorted(found.pass_hat_k.items())]
    rows += [
        ("Infrastructure errors", share(found.infra_error_rate), ""),
        ("Flake rate", share(found.flake_rate), ""),
        ("Determinism drift", share(found.determinism_drift), ""),
    ]
    for what, times in (("Recovery time", found.recovery_ms), ("Wall time", found.wall_ms)):
        if times is not None:
            rows.append((f"{what} of {counted(times.count, 'run')}", _quantiles(times), ""))
    return [row for row in rows if row[1] != NOT_APPLICABLE]


def _rates(found: SweepStatistics) -> str:
    parts = [f"pass rate {share(found.pass_rate)}{_interval(found.pass_interval)}"]
    parts += [f"pass^{k} {share(rate)}{_interval(found.pass_hat_interval.get(k))}" for k, rate in _told(found.pass_hat_k)]
    for what, rate in (("flake rate", found.flake_rate), ("drift", found.determinism_drift)):
        if rate is not None:
            parts.append(f"{what} {share(rate)}")
    if found.infra_error_rate:
        parts.append(f"infrastructure errors {share(found.infra_error_rate)}")
    return ", ".join(parts)


def _told(pass_hat_k: dict[int, float]) -> list[tuple[int, float]]:
    """Return the pass^k that are told of: pass^1 is the pass rate, but for its weights; the last says how it goes on."""
    ks = sorted(pass_hat_k)
    return [(k, pass_hat_k[k]) for k in dict.fromkeys((*ks[1:2], *ks[-1:])) if k > 1]


def _interval(interval: Interval | None) -> str:
    return f" ({interval.confidence:.0%} interval {_range(interval)})" if interval is not None else ""


def _range(interval: Interval | None) -> str:
    return f"{share(interval.low)} to {share(interval.high)}" if interval is not None else ""


def _quantiles(found: Quantiles) -> str:
    return ", ".join(
        f"{name} {duration(value)}"
        for name, value in (("p50", found.p50), ("p90", found.p90), ("p95", found.p95), ("p99", found.p99), ("most", found.most))
    )


def _bounds(bounds: Sequence[Bound]) -> list[str]:
    """Say in how many runs promises were broken, a line each; those that never were share one."""
    lines = [
        f"{bound.what}: in {bound.found} of {counted(bound.looked, 'run')}, below {share(bound.upper)} at {bound.confidence:.0%}"
        for bound in bounds
        if bound.found
    ]
    clean = sorted((bound for bound in bounds if not bound.found), key=lambda bound: bound.looked)
    if clean:
        fewest, most = clean[0], clean[-1]
        runs, below = counted(most.looked, "run"), share(most.upper)
        if fewest.looked != most.looked:
            runs, below = f"{fewest.looked} to {runs}", f"{share(fewest.upper)} to {below}"
        promises = counted(len(clean), "promise")
        lines.append(f"0 violations of {promises} in {runs}: each below {below} at {most.confidence:.0%}")
    return lines
