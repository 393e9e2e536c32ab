"""A sweep's statistics: what counts, what stands apart, and what can't be said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pytest_execgo.benchmark.intervals import upper_bound, wilson
from pytest_execgo.plan.result import BenchmarkSummary
from pytest_execgo.plan.statistics import SweepStatistics

Make = Callable[..., Any]


def statistics(summary: BenchmarkSummary) -> SweepStatistics:
    assert summary.statistics is not None
    return summary.statistics


def test_errors_and_inconclusive_runs_count_against_and_stand_apart(make_run: Make, make_sweep: Make) -> None:
    ends = ["passed", "passed", "failed", "error", "inconclusive", "skipped"]
    found = statistics(make_sweep(make_run("demo", index, end) for index, end in enumerate(ends)))
    assert (found.runs, found.pass_rate, found.infra_error_rate) == (5, 2 / 5, 2 / 5)
    assert found.pass_interval == wilson(2, 5)


def test_nothing_that_ran_has_no_rates(make_run: Make, make_sweep: Make) -> None:
    for summary in (make_sweep([]), make_sweep([make_run(outcome="skipped")])):
        assert statistics(summary) == SweepStatistics(runs=0)
    (group,) = make_sweep([make_run(outcome="skipped")]).groups
    assert (group.pass_interval, group.pass_hat_k, group.flaky, group.recovery_ms) == (None, {}, None, None)


def test_pass_hat_is_the_mean_over_scenarios_not_over_cells(make_run: Make, make_sweep: Make) -> None:
    runs = [make_run("a", index, "passed" if index else "failed") for index in range(4)]
    runs += [make_run("b", index, framework=name) for index in range(4) for name in ("crewai", "autogen", "langgraph")]
    summary = make_sweep(runs)
    found = statistics(summary)
    assert found.pass_hat_k == {1: pytest.approx((0.75 + 1) / 2), 2: pytest.approx((3 / 6 + 1) / 2)}
    assert [group.pass_hat_k for group in summary.groups if group.scenario_id == "a"] == [{1: 0.75, 2: 0.5}]
    assert set(found.pass_hat_interval) == {1, 2}
    assert (found.pass_hat_interval[2].low, found.pass_hat_interval[2].high) == (0.5, 1.0)


def test_the_fewest_repetitions_say_how_far_k_goes(make_run: Make, make_sweep: Make) -> None:
    long = [make_run("a", index) for index in range(50)]
    assert list(statistics(make_sweep(long)).pass_hat_k) == list(range(1, 11))
    assert list(statistics(make_sweep([*long, *(make_run("b", index) for index in range(5))])).pass_hat_k) == [1, 2]
    assert statistics(make_sweep([*long, make_run("b")])).pass_hat_k == {}
    assert list(statistics(make_sweep([*long, make_run("b", 0, "skipped")])).pass_hat_k) == list(range(1, 11))


def test_all_the_same_has_no_bootstrap_interval(make_run: Make, make_sweep: Make) -> None:
    found = statistics(make_sweep(make_run(name, index) for name in "abc" for index in range(4)))
    assert (found.pass_hat_k, found.pass_hat_interval) == ({1: 1.0, 2: 1.0}, {})


@pytest.mark.parametrize(
    ("ends", "flaky"),
    [
        (["passed"], None),
        (["passed", "skipped"], None),
        (["passed", "passed"], False),
        (["failed", "failed"], False),
        (["passed", "failed"], True),
        (["failed", "error"], True),
        (["passed", "passed", "skipped"], False),
    ],
    ids=str,
)
def test_repetitions_that_disagree_are_flaky(ends: list[str], flaky: bool | None, make_run: Make, make_sweep: Make) -> None:
    summary = make_sweep(make_run("demo", index, end) for index, end in enumerate(ends))
    assert summary.groups[0].flaky is flaky
    assert statistics(summary).flake_rate == (None if flaky is None else float(flaky))


@pytest.mark.parametrize(
    ("ends", "flaky"), [(["passed"], None), (["passed", "passed"], False), (["passed", "failed"], True), ([], None)]
)
def test_a_run_that_the_user_broke_off_is_neither_a_flake_nor_an_infrastructure_error(
    ends: list[str], flaky: bool | None, make_run: Make, make_sweep: Make
) -> None:
    runs = [make_run("demo", index, end) for index, end in enumerate(ends)]
    runs.append(make_run("demo", len(ends), "inconclusive", reason="interrupted: KeyboardInterrupt"))
    summary = make_sweep(runs)
    found = statistics(summary)
    assert (summary.groups[0].flaky, summary.groups[0].inconclusive) == (flaky, 1)
    assert found.flake_rate == (None if flaky is None else float(flaky))
    assert found.infra_error_rate == 0
    assert found.pass_rate == ends.count("passed") / (len(ends) + 1)


def test_the_flake_rate_is_of_repeated_cells(make_run: Make, make_sweep: Make) -> None:
    runs = [make_run("once"), *(make_run(name, index) for name in ("a", "b", "c") for index in range(2))]
    runs += [make_run("flaky", 0), make_run("flaky", 1, "failed")]
    assert statistics(make_sweep(runs)).flake_rate == 1 / 4


def test_drift_is_the_share_of_all_repetitions(make_run: Make, make_sweep: Make) -> None:
    runs = [make_run("a", index) for index in range(6)]
    runs += [make_run("b", index, outcome_digest=str(index)) for index in range(2)]
    runs += [make_run("c", 0), make_run("b", 2, "error", outcome_digest=None)]
    assert statistics(make_sweep(runs)).determinism_drift == 1 / 8
    assert statistics(make_sweep([make_run("c", 0)])).determinism_drift is None


def test_times_are_of_runs_that_reached_a_verdict(make_run: Make, make_sweep: Make) -> None:
    ends = [("passed", 10.0), ("failed", 30.0), ("error", 1000.0), ("inconclusive", 1000.0), ("passed", 20.0)]
    runs = [
        make_run("demo", index, end, figures={"wall_time_ms": ms, "recovery_time_ms": ms / 10})
        for index, (end, ms) in enumerate(ends)
    ]
    summary = make_sweep([*runs, make_run("other")])
    for found, most in ((statistics(summary).wall_ms, 30.0), (statistics(summary).recovery_ms, 3.0)):
        assert found is not None
        assert (found.count, found.p50, found.most) == (3, most * 2 / 3, most)
    recovery = {group.scenario_id: group.recovery_ms for group in summary.groups}
    assert recovery["other"] is None
    assert recovery["demo"] == statistics(summary).recovery_ms


def test_bounds_are_of_runs_that_were_looked_at(make_run: Make, make_sweep: Make) -> None:
    runs = [make_run("demo", index, counts={"lost": 0, "lost_checked": 3, "orphan": 0, "orphan_checked": 0}) for index in range(9)]
    runs.append(make_run("demo", 9, "failed", counts={"lost": 4, "lost_checked": 5, "duplicated": 0, "duplicated_checked": 1}))
    runs += [make_run("demo", 10, "skipped"), make_run("demo", 11, "error")]
    bounds = {bound.what: bound for bound in statistics(make_sweep(runs)).bounds}
    assert list(bounds) == ["lost", "duplicated"], "in the order of the checks; nothing of what was never looked at"
    assert (bounds["lost"].found, bounds["lost"].looked) == (1, 10)
    assert bounds["lost"].upper == pytest.approx(upper_bound(1, 10))
    assert (bounds["duplicated"].found, bounds["duplicated"].looked) == (0, 1)
    assert bounds["duplicated"].upper == pytest.approx(0.95)


def test_a_violation_that_was_found_was_looked_at(make_run: Make, make_sweep: Make) -> None:
    (bound,) = statistics(
        make_sweep([make_run("demo", 0, "failed", counts={"zombie_writer": 1, "zombie_writer_checked": 0})])
    ).bounds
    assert (bound.what, bound.found, bound.looked, bound.upper) == ("zombie_writer", 1, 1, 1.0)


def test_statistics_survive_json(make_run: Make, make_sweep: Make) -> None:
    runs = [make_run(name, index, figures={"wall_time_ms": 3.5}) for name in "ab" for index in range(4)]
    summary = make_sweep([*runs, make_run("b", 4, "failed")])
    assert statistics(summary).pass_hat_k
    assert BenchmarkSummary.model_validate_json(summary.model_dump_json()) == summary
