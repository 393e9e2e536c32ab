"""Repetitions taken together: counts, rates, medians and drift, with every outcome in the mix."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from pytest_execgo.benchmark.summary import determinism_drift, summarise
from pytest_execgo.plan.result import ArtifactManifest, BenchmarkResult, BenchmarkSummary, RunMetrics


def result(repetition: int = 0, outcome: str = "passed", **values: Any) -> BenchmarkResult:
    figures = {name: values.pop(name) for name in ("wall_time_ms", "critical_path_ms", "overhead") if name in values}
    fields: dict[str, Any] = {
        "run_id": f"run-{repetition}",
        "sweep_id": "sweep",
        "cell_id": "c",
        "scenario_id": "demo",
        "framework": "langgraph",
        "mode": "replay",
        "chaos_profile": "none",
        "repetition": repetition,
        "seed": 1,
        "outcome": outcome,
        "metrics": RunMetrics(**figures),
        "artifacts": ArtifactManifest(run_dir="var/runs/x"),
        "plan_digest": "p",
        "outcome_digest": "o",
        "started_at": "2030-01-01T00:00:00Z",
        "finished_at": "2030-01-01T00:00:01Z",
        "backend": "embedded",
    }
    return BenchmarkResult(**{**fields, **values})


def summary_of(results: Iterable[BenchmarkResult]) -> BenchmarkSummary:
    return summarise(results, sweep_id="sweep", started_at="start", finished_at="end", wall_time_ms=12.5)


MIXED = ["passed", "passed", "failed", "error", "inconclusive", "skipped", "skipped"]


def test_totals_and_rates_of_mixed_outcomes() -> None:
    summary = summary_of(result(index, outcome) for index, outcome in enumerate(MIXED))
    assert summary.totals == {"passed": 2, "failed": 1, "error": 1, "inconclusive": 1, "skipped": 2, "cells": 7}
    (group,) = summary.groups
    assert (group.repetitions, group.passed, group.failed, group.errors, group.inconclusive, group.skipped) == (7, 2, 1, 1, 1, 2)
    assert group.pass_rate == 2 / 5
    assert (summary.sweep_id, summary.started_at, summary.finished_at, summary.wall_time_ms) == ("sweep", "start", "end", 12.5)


@pytest.mark.parametrize(
    ("outcomes", "rate"),
    [
        (["passed"], 1.0),
        (["failed"], 0.0),
        (["passed", "error"], 0.5),
        (["passed", "inconclusive"], 0.5),
        (["passed", "skipped"], 1.0),
        (["skipped"], None),
    ],
    ids=str,
)
def test_pass_rate(outcomes: list[str], rate: float | None) -> None:
    assert summary_of(result(index, outcome) for index, outcome in enumerate(outcomes)).groups[0].pass_rate == rate


def test_medians_leave_out_runs_that_broke_off_and_figures_that_are_not_there() -> None:
    summary = summary_of(
        [
            result(0, wall_time_ms=100.0, critical_path_ms=50.0, overhead=2.0),
            result(1, "failed", wall_time_ms=300.0),
            result(2, wall_time_ms=110.0, critical_path_ms=11.0, overhead=10.0),
            result(3, "error", wall_time_ms=1.0, critical_path_ms=1.0, overhead=1.0),
        ]
    )
    (group,) = summary.groups
    assert (group.wall_time_ms, group.critical_path_ms, group.overhead) == (110.0, 30.5, 6.0)


def test_a_group_that_never_concluded_has_no_figures() -> None:
    (group,) = summary_of([result(0, "error", wall_time_ms=1.0), result(1, "skipped")]).groups
    assert (group.pass_rate, group.wall_time_ms, group.critical_path_ms, group.overhead, group.determinism_drift) == (
        0.0,
        None,
        None,
        None,
        None,
    )


def test_nothing_ran() -> None:
    summary = summary_of([])
    assert (summary.groups, summary.runs, summary.totals["cells"]) == ([], [], 0)


def test_groups_and_runs_do_not_depend_on_the_order_in_which_runs_ended() -> None:
    axes = [
        ("b", "autogen", "replay", "none"),
        ("a", "langgraph", "replay", "none"),
        ("a", "autogen", "replay", "zz"),
        ("a", "autogen", "live", "none"),
        ("a", "autogen", "replay", "none"),
    ]
    runs = [
        result(repetition, scenario_id=scenario, framework=framework, mode=mode, chaos_profile=chaos)
        for scenario, framework, mode, chaos in axes
        for repetition in (1, 0)
    ]
    summary = summary_of(runs)
    keys = [(group.scenario_id, group.framework, group.mode, group.chaos_profile) for group in summary.groups]
    assert keys == sorted(axes)
    assert [run.cell.group for run in summary.runs] == [key for key in sorted(axes) for _ in range(2)]
    assert [run.repetition for run in summary.runs] == [0, 1] * 5
    assert summary_of(reversed(runs)) == summary


@pytest.mark.parametrize(
    ("pairs", "drift"),
    [
        ([("p", "o")], None),
        ([("p", "o"), ("p", "o")], 0.0),
        ([("p", "o"), ("p", "o2")], 0.5),
        ([("p", "o"), ("p2", "o"), ("p", "o")], 1 / 3),
        ([("p", "o"), (None, None), ("p", "o"), ("p", "o")], 0.25),
        ([("1", "o"), ("2", "o"), ("3", "o"), ("4", "o")], 0.75),
        ([(None, None), (None, None)], None),
    ],
)
def test_drift_is_the_share_that_differs_from_the_most_common(pairs: list[tuple[str, str]], drift: float | None) -> None:
    runs = [result(index, plan_digest=plan, outcome_digest=outcome) for index, (plan, outcome) in enumerate(pairs)]
    assert determinism_drift(runs) == drift


def test_a_repetition_that_did_not_conclude_is_no_drift() -> None:
    runs = [result(0), result(1), result(2, "error", outcome_digest=None), result(3, "inconclusive", plan_digest="q")]
    assert determinism_drift(runs) == 0.0
    assert determinism_drift(runs[1:]) is None


def test_drift_is_written_into_copies_of_the_runs_that_concluded() -> None:
    runs = [result(0), result(1, "failed", outcome_digest="other"), result(2, "error", outcome_digest=None), result(3, "skipped")]
    summary = summary_of(runs)
    assert summary.groups[0].determinism_drift == 0.5
    assert [run.metrics.determinism_drift for run in summary.runs] == [0.5, 0.5, None, None]
    assert [run.metrics.determinism_drift for run in runs] == [None] * 4


def test_a_summary_survives_its_own_json() -> None:
    summary = summary_of(result(index, outcome) for index, outcome in enumerate(MIXED))
    assert BenchmarkSummary.model_validate_json(summary.model_dump_json()) == summary
