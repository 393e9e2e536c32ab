"""Runs and sweeps for the tests of statistics: ordinary ones, to be bent by each test."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from pytest_execgo.benchmark.summary import summarise
from pytest_execgo.plan.cell import Cell
from pytest_execgo.plan.history import HistoryVerdict, Violation
from pytest_execgo.plan.result import ArtifactManifest, BenchmarkResult, BenchmarkSummary, RunMetrics
from pytest_execgo.plan.verdict import Verdict


def _run(
    scenario: str = "demo",
    repetition: int = 0,
    outcome: str = "passed",
    *,
    framework: str = "langgraph",
    chaos: str = "none",
    sweep_seed: int | None = None,
    counts: dict[str, int] | None = None,
    reason: str = "greeting is 'bye'",
    figures: dict[str, float] | None = None,
    **values: Any,
) -> BenchmarkResult:
    cell = Cell(scenario, framework, "replay", chaos, repetition, sweep_seed)
    history = None
    if counts is not None:
        checks = [name for name, count in counts.items() if count and not name.endswith("_checked")]
        violations = [Violation(check=name, message=f"{name} it was") for name in checks for _ in range(counts[name])]
        history = HistoryVerdict(outcome="invalid" if violations else "valid", counts=counts, violations=violations)
    fields: dict[str, Any] = {
        "run_id": f"run-{cell.cell_id}",
        "sweep_id": "sweep",
        "cell_id": cell.cell_id,
        "scenario_id": scenario,
        "framework": framework,
        "mode": "replay",
        "chaos_profile": chaos,
        "repetition": repetition,
        "seed": 7 if sweep_seed is None else sweep_seed,
        "sweep_seed": sweep_seed,
        "outcome": outcome,
        "verdict": Verdict.of([] if outcome == "passed" else [reason]) if outcome in ("passed", "failed") else None,
        "error": reason if outcome in ("error", "inconclusive", "skipped") else None,
        "metrics": RunMetrics.model_validate(figures or {}),
        "history": history,
        "artifacts": ArtifactManifest(run_dir="var/runs/x"),
        "plan_digest": "p",
        "outcome_digest": "o",
        "started_at": "2030-01-01T00:00:00Z",
        "finished_at": "2030-01-01T00:00:01Z",
        "backend": "embedded",
        "versions": {"python": "3.11.9"},
    }
    return BenchmarkResult(**{**fields, **values})


def _sweep(runs: Iterable[BenchmarkResult], **values: Any) -> BenchmarkSummary:
    summary = summarise(runs, sweep_id="sweep", started_at="start", finished_at="end", wall_time_ms=12.5)
    return summary.model_copy(update=values)


MakeRun = Callable[..., BenchmarkResult]
MakeSweep = Callable[..., BenchmarkSummary]


@pytest.fixture
def make_run() -> MakeRun:
    """Build a run from its scenario, repetition and outcome; `figures` are its metrics, `counts` its history's, keywords fields."""
    return _run


@pytest.fixture
def make_sweep() -> MakeSweep:
    """Build a sweep's summary from runs; keywords replace fields."""
    return _sweep
