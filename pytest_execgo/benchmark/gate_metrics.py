"""What gates can be held against: each metric's value in a sweep, and the cells that made it what it is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean

from pytest_execgo.benchmark.baseline import outcome_of
from pytest_execgo.benchmark.intervals import quantile
from pytest_execgo.benchmark.sweep_statistics import concluded, most_k, pass_hat_by_scenario, ran_of, sweep_statistics
from pytest_execgo.plan.result import BenchmarkResult, BenchmarkSummary, GroupSummary, RunMetrics
from pytest_execgo.plan.statistics import CellOutcome, SweepStatistics
from pytest_execgo.plan.verdict import Outcome

STATISTICS: dict[str, Callable[[Sequence[float]], float]] = {
    "p50": lambda ranked: quantile(ranked, 0.5),
    "p90": lambda ranked: quantile(ranked, 0.9),
    "p95": lambda ranked: quantile(ranked, 0.95),
    "p99": lambda ranked: quantile(ranked, 0.99),
    "max": lambda ranked: ranked[-1],
    "mean": fmean,
}
"""What a figure of runs can be asked for, each computed from its values in ascending order."""
COMPARED = ("regression", "improvement", "missing")
"""The metrics that need a baseline."""
_PASS_HAT = re.compile(r"pass_hat_([1-9][0-9]{0,4})")
_REASON = 160  # characters
_WORST: tuple[Outcome, ...] = ("failed", "error", "inconclusive", "skipped", "passed")
_NOTHING_RAN = "nothing ran"


@dataclass(frozen=True, slots=True)
class Decider:
    """A line about a cell that made a metric what it is, and the cell's own value where that can meet a condition, too."""

    line: str
    value: float | None = None


def _nobody() -> list[Decider]:
    return []


@dataclass(frozen=True, slots=True)
class Measured:
    """A metric's value, or why there is none; `high` and `low` give the cells that make it high or low, worst first."""

    value: float | None
    missing: str = ""
    high: Callable[[], list[Decider]] = _nobody
    low: Callable[[], list[Decider]] = _nobody


def measured(metric: str, summary: BenchmarkSummary) -> Measured:
    """Measure one of `all_metrics()`, or `pass_hat_<k>`, in a sweep."""
    k = repetitions_of(metric)
    if k is not None:
        return _pass_hat(k, summary)
    if metric in SWEEP_METRICS:
        return SWEEP_METRICS[metric](summary)
    figure, statistic = metric.split(".")
    return _figure(figure, statistic, summary)


def all_metrics() -> list[str]:
    """Return every name but `pass_hat_<k>`, of which there are as many as there are repetitions."""
    return [*SWEEP_METRICS, *(f"{figure}.{statistic}" for figure in RunMetrics.model_fields for statistic in STATISTICS)]


def repetitions_of(metric: str) -> int | None:
    """Return the k of a metric `pass_hat_<k>`; None of any other."""
    match = _PASS_HAT.fullmatch(metric)
    return int(match[1]) if match else None


def is_share(metric: str) -> bool:
    """Tell whether a metric is a share from 0 to 1."""
    return metric in ("pass_rate", "infra_error_rate", "flake_rate", "determinism_drift") or repetitions_of(metric) is not None


def _pass_rate(summary: BenchmarkSummary) -> Measured:
    value = _statistics(summary).pass_rate
    return Measured(value, _NOTHING_RAN, partial(_ended, summary, "passed"), partial(_not_passed, summary))


def _infra_error_rate(summary: BenchmarkSummary) -> Measured:
    value = _statistics(summary).infra_error_rate
    return Measured(value, _NOTHING_RAN, partial(_broken, summary))


def _flake_rate(summary: BenchmarkSummary) -> Measured:
    flaky = sorted((group for group in summary.groups if group.flaky), key=lambda group: group.pass_rate or 0.0)
    return Measured(_statistics(summary).flake_rate, "no cell was repeated", partial(_groups, flaky))


def _drift(summary: BenchmarkSummary) -> Measured:
    drifting = [group for group in summary.groups if group.determinism_drift]
    drifting.sort(key=lambda group: -(group.determinism_drift or 0.0))
    value = _statistics(summary).determinism_drift
    return Measured(value, "no cell came to a verdict twice", partial(_groups, drifting, "drift {0.determinism_drift:.3g}"))


def _pass_hat(k: int, summary: BenchmarkSummary) -> Measured:
    repeated = most_k(summary.groups)
    if k > repeated:
        fewest = min((ran_of(group) for group in summary.groups if ran_of(group)), default=0)
        needs = f"pass^{k} needs {2 * k} repetitions of every cell; one of them ran {fewest} times"
        return Measured(None, needs if fewest else _NOTHING_RAN)
    value = fmean(pass_hat_by_scenario(summary.groups, k).values())
    return Measured(value, high=partial(_ended, summary, "passed"), low=partial(_not_passed, summary))


def _cells(summary: BenchmarkSummary) -> Measured:
    ran = sum(map(ran_of, summary.groups))
    return Measured(float(ran), high=partial(_ended, summary, *_WORST[:3], "passed"), low=partial(_ended, summary, "skipped"))


def _skipped(summary: BenchmarkSummary) -> Measured:
    skipped = sum(group.skipped for group in summary.groups)
    return Measured(float(skipped) if summary.groups else None, "there was no cell", partial(_ended, summary, "skipped"))


def _how_many(outcome: Outcome, summary: BenchmarkSummary) -> Measured:
    count = sum(run.outcome == outcome for run in summary.runs)
    ran = any(map(ran_of, summary.groups))
    return Measured(float(count) if ran else None, _NOTHING_RAN, partial(_ended, summary, outcome))


def _violations(summary: BenchmarkSummary) -> Measured:
    count = sum(group.violations for group in summary.groups)
    looked = count or _statistics(summary).bounds
    return Measured(float(count) if looked else None, "no run's history was checked", partial(_violating, summary))


def _compared(kind: str, summary: BenchmarkSummary) -> Measured:
    comparison = summary.comparison
    if comparison is None or not comparison.paired:
        return Measured(None, "there is no baseline" if comparison is None else "no cell ran both in the baseline and now")
    changes = [change for change in comparison.changes if change.kind == kind]
    pairs = [(change.before, change.after) for change in changes if change.before is not None and change.after is not None]
    pairs.sort(key=lambda pair: (-pair[1].violations, _WORST.index(pair[1].outcome)))
    lines = [Decider(f"{_name(after)}: {before.outcome} -> {after.outcome}{_why(after, before)}") for before, after in pairs]
    return Measured(float(len(changes)), high=lambda: lines)


def _missing(summary: BenchmarkSummary) -> Measured:
    """Count the cells of the baseline that this sweep has no run of; skipped ones have a metric of their own."""
    if summary.comparison is None:
        return Measured(None, "there is no baseline")
    gone = [change.before for change in summary.comparison.changes if change.kind == "removed" and change.before is not None]
    lines = [Decider(f"{_name(cell)}: {cell.outcome} in the baseline, not run this time") for cell in gone]
    return Measured(float(len(gone)), high=lambda: lines)


def _figure(figure: str, statistic: str, summary: BenchmarkSummary) -> Measured:
    """Measure a figure of runs. How long one took that broke off tells nothing; its other figures count."""
    timed = figure.endswith("_ms") or figure == "overhead"
    runs = [run for run in summary.runs if getattr(run.metrics, figure) is not None and (concluded(run) or not timed)]
    runs.sort(key=lambda run: float(getattr(run.metrics, figure)))
    if not runs:
        return Measured(None, f"no run {'that came to a verdict ' if timed else ''}has a {figure}")
    value = STATISTICS[statistic]([float(getattr(run.metrics, figure)) for run in runs])
    unit = " ms" if figure.endswith("_ms") else ""
    return Measured(value, high=partial(_figures, runs[::-1], figure, unit), low=partial(_figures, runs, figure, unit))


SWEEP_METRICS: dict[str, Callable[[BenchmarkSummary], Measured]] = {
    "pass_rate": _pass_rate,
    "infra_error_rate": _infra_error_rate,
    "flake_rate": _flake_rate,
    "determinism_drift": _drift,
    "cells": _cells,
    "failed": partial(_how_many, "failed"),
    "errors": partial(_how_many, "error"),
    "inconclusive": partial(_how_many, "inconclusive"),
    "skipped": _skipped,
    "violations": _violations,
    "regression": partial(_compared, "regression"),
    "improvement": partial(_compared, "improvement"),
    "missing": _missing,
}
"""The metrics of a whole sweep by their names, beside `pass_hat_<k>`."""


def _statistics(summary: BenchmarkSummary) -> SweepStatistics:
    return summary.statistics or sweep_statistics(summary.groups, summary.runs)


def _broken(summary: BenchmarkSummary) -> list[Decider]:
    return _lines(run for run in summary.runs if run.outcome in ("error", "inconclusive") and not run.interrupted)


def _not_passed(summary: BenchmarkSummary) -> list[Decider]:
    return _ended(summary, "failed", "error", "inconclusive")


def _ended(summary: BenchmarkSummary, *outcomes: Outcome) -> list[Decider]:
    return _lines(run for run in summary.runs if run.outcome in outcomes)


def _lines(runs: Iterable[BenchmarkResult]) -> list[Decider]:
    ranked = sorted(runs, key=lambda run: _WORST.index(run.outcome))
    return [Decider(f"{run.cell}: {run.outcome}{_why(outcome_of(run))}") for run in ranked]


def _groups(groups: Iterable[GroupSummary], form: str = "{0.passed} of {1} passed") -> list[Decider]:
    return [
        Decider(f"{group.scenario_id}[{group.framework}-{group.mode}-{group.chaos_profile}]: {form.format(group, ran_of(group))}")
        for group in groups
    ]


def _violating(summary: BenchmarkSummary) -> list[Decider]:
    histories = [(run, run.history.violations) for run in summary.runs if run.history is not None and run.history.violations]
    histories.sort(key=lambda pair: -len(pair[1]))
    return [Decider(f"{run.cell}: {len(found)}, {found[0].check}: {_short(found[0].message)}") for run, found in histories]


def _figures(runs: Iterable[BenchmarkResult], figure: str, unit: str) -> list[Decider]:
    values = [(run, float(getattr(run.metrics, figure))) for run in runs]
    return [Decider(f"{run.cell}: {value:.6g}{unit}", value) for run, value in values]


def _name(cell: CellOutcome) -> str:
    return f"{cell.scenario_id}[{cell.framework}-{cell.mode}-{cell.chaos_profile}-{cell.repetition}]"


def _why(*cells: CellOutcome) -> str:
    """Give the first reason that any of these has, in the order in which they come."""
    reason = next((reason for cell in cells for reason in cell.reasons), "")
    return f": {_short(reason)}" if reason else ""


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _REASON else line[: _REASON - 1] + "…"
