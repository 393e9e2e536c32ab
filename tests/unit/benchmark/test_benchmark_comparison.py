"""Two sweeps side by side: which cells moved, in pairs or not, what is tested, what is said of the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from pytest_execgo.benchmark.baseline import baseline_of
from pytest_execgo.benchmark.comparison import compare
from pytest_execgo.benchmark.exact_tests import fisher, fisher_power, holm, mcnemar, mcnemar_power
from pytest_execgo.plan.result import BenchmarkResult
from pytest_execgo.plan.statistics import CellOutcome, Comparison

Make = Callable[..., Any]


@pytest.fixture
def compared(make_sweep: Make) -> Callable[..., Comparison]:
    def compared(before: Iterable[BenchmarkResult], after: Iterable[BenchmarkResult]) -> Comparison:
        return compare(baseline_of(make_sweep(before, sweep_id="old")), make_sweep(after))

    return compared


def kinds(comparison: Comparison) -> list[tuple[str, str | None, str | None]]:
    return [(change.kind, ended(change.before), ended(change.after)) for change in comparison.changes]


def ended(cell: CellOutcome | None) -> str | None:
    return None if cell is None else cell.outcome


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        ("passed", "failed", "regression"),
        ("passed", "error", "regression"),
        ("passed", "inconclusive", "regression"),
        ("failed", "passed", "improvement"),
        ("error", "passed", "improvement"),
        ("inconclusive", "passed", "improvement"),
        ("failed", "error", "other"),
        ("error", "inconclusive", "other"),
    ],
)
def test_what_moved_and_why(before: str, after: str, kind: str, make_run: Make, compared: Make) -> None:
    found = compared(
        [make_run("a", 0, before, reason="then"), make_run("b")], [make_run("a", 0, after, reason="now"), make_run("b")]
    )
    (change,) = found.changes
    assert change.kind == kind
    assert change.before is not None
    assert change.after is not None
    assert (change.before.outcome, change.before.reasons) == (before, [] if before == "passed" else ["then"])
    assert (change.after.outcome, change.after.reasons) == (after, [] if after == "passed" else ["now"])
    assert (found.paired, found.unpaired, found.baseline_sweep) == (2, 0, "old")
    assert (found.regressions, found.improvements) == (int(kind == "regression"), int(kind == "improvement"))


def test_nothing_moved(make_run: Make, compared: Make) -> None:
    runs = [make_run("a", index, end) for index, end in enumerate(["passed", "failed", "error", "skipped"])]
    found = compared(runs, runs)
    assert (found.changes, found.notes, found.paired) == ([], [], 3)
    (test,) = found.tests
    assert (test.what, test.method, test.before, test.after, test.p) == ("all pairs", "mcnemar_exact", (1, 3), (1, 3), 1.0)


def test_cells_of_one_sweep_alone_are_no_regression(make_run: Make, compared: Make) -> None:
    found = compared([make_run("a"), make_run("b"), make_run("c")], [make_run("a"), make_run("d")])
    assert kinds(found) == [("added", None, "passed"), ("removed", "passed", None), ("removed", "passed", None)]
    assert (found.paired, found.unpaired, found.regressions) == (1, 3, 0)
    assert found.notes == ["not run this time, which is no regression: 2 cells of the baseline", "not in the baseline: 1 cell"]


def test_skipped_cells_are_in_no_pair_and_that_is_said(make_run: Make, compared: Make) -> None:
    before = [make_run("a"), make_run("b", 0, "skipped"), make_run("c", 0, "skipped"), make_run("d")]
    after = [make_run("a", 0, "skipped"), make_run("b", 0, "failed"), make_run("c", 0, "skipped"), make_run("d")]
    found = compared(before, after)
    assert (found.paired, found.unpaired, found.changes) == (1, 2, [])
    assert found.notes == [
        "skipped now, but not in the baseline, and so not compared: 1 cell",
        "skipped in the baseline, but not now, and so not compared: 1 cell",
    ]


def test_a_run_that_was_interrupted_is_no_regression_but_was_not_run(make_run: Make, compared: Make) -> None:
    cut = make_run("a", outcome="inconclusive", reason="interrupted: KeyboardInterrupt")
    comparison = compared([make_run("a"), make_run("b")], [cut, make_run("b")])
    assert kinds(comparison) == [("removed", "passed", None)]
    assert (comparison.paired, comparison.regressions) == (1, 0)
    assert "not run this time, which is no regression: 1 cell of the baseline" in comparison.notes
    assert kinds(compared([cut], [make_run("a")])) == [("added", None, "passed")]


def test_changes_come_worst_kind_first_then_by_cell(make_run: Make, compared: Make) -> None:
    ends = [("z", "passed", "failed"), ("y", "failed", "passed"), ("x", "failed", "error"), ("b", "passed", "error")]
    found = compared([make_run(name, 0, old) for name, old, _ in ends], [make_run(name, 0, new) for name, _, new in ends])
    order = [(change.kind, change.after.scenario_id) for change in found.changes if change.after is not None]
    assert order == [("regression", "b"), ("regression", "z"), ("other", "x"), ("improvement", "y")]


def test_a_cell_that_ran_several_times_is_paired_with_its_like(make_run: Make, compared: Make) -> None:
    ends = ["passed", "failed", "passed"]
    before = [make_run("a", 0, end, run_id=f"r{index}") for index, end in enumerate(ends)]
    after = [make_run("a", 0, end, run_id=f"r{index}") for index, end in enumerate(["failed", "passed", "error"])]
    assert kinds(compared(before, after)) == [("regression", "passed", "error")]
    assert kinds(compared(before, after[:1])) == [("removed", "passed", None)] * 2


def test_pairs_are_tested_overall_and_on_each_axis_with_enough_of_them(make_run: Make, compared: Make) -> None:
    def sweep(broken: int) -> list[BenchmarkResult]:
        big = [make_run("big", index, "failed" if index < broken else "passed") for index in range(10)]
        others = [make_run("small", index, framework="crewai") for index in range(5)]
        return [*big, *others, *(make_run("other", index, chaos="storm") for index in range(6))]

    found = compared(sweep(0), sweep(8))
    whats = [test.what for test in found.tests]
    assert whats == ["all pairs", "scenario big", "scenario other", "framework langgraph", "chaos none", "chaos storm"]
    values = [mcnemar(8, 0), mcnemar(8, 0), 1.0, mcnemar(8, 0), mcnemar(8, 0), 1.0]
    assert [test.p for test in found.tests] == values
    assert [test.p_adjusted for test in found.tests] == holm(values)
    overall, big = found.tests[:2]
    assert (overall.before, overall.after) == ((21, 21), (13, 21))
    assert (big.before, big.after, big.detectable) == ((10, 10), (2, 10), 0.1)
    assert overall.power == mcnemar_power(21, 0.0, alpha=0.05 / 6, drop=0.1)
    assert big.power == mcnemar_power(10, 0.0, alpha=0.05 / 6, drop=0.1)


def test_the_power_allows_for_moves_the_other_way(make_run: Make, compared: Make) -> None:
    before = [make_run("a", index, "failed" if index < 3 else "passed") for index in range(20)]
    after = [make_run("a", index, "failed" if 10 <= index < 15 else "passed") for index in range(20)]
    (test,) = compared(before, after).tests
    assert test.p == mcnemar(5, 3)
    assert test.power == mcnemar_power(20, 3 / 20, alpha=0.05, drop=0.1)


def test_other_seeds_make_no_pairs_and_are_compared_as_groups(make_run: Make, compared: Make) -> None:
    before = [make_run("a", index, sweep_seed=1) for index in range(8)]
    before += [make_run("b", index, sweep_seed=1, framework="crewai") for index in range(3)]
    after = [make_run("a", index, "failed" if index < 6 else "passed", sweep_seed=2) for index in range(8)]
    after += [make_run("b", index, sweep_seed=2, framework="crewai") for index in range(3)]
    after += [make_run("new", index, sweep_seed=2) for index in range(9)]
    found = compared(before, after)
    assert (found.paired, found.unpaired, found.regressions) == (0, 31, 0)
    assert [(test.what, test.method) for test in found.tests] == [
        ("cells not in pairs", "fisher_exact"),
        ("scenario a, not in pairs", "fisher_exact"),
        ("framework langgraph, not in pairs", "fisher_exact"),
    ]
    every, a, _ = found.tests
    assert (every.before, every.after) == ((11, 11), (5, 11)), "nothing of what only one sweep ran"
    assert a.p == fisher((8, 8), (2, 8))
    assert a.power == pytest.approx(fisher_power(8, 8, 1.0, alpha=0.05 / 3, drop=0.1))
    assert found.notes[0] == "the sweep's seed was 1, now it is 2: such cells make no pair"


def test_more_repetitions_on_one_side_are_tested_in_pairs_alone(make_run: Make, compared: Make) -> None:
    found = compared([make_run("a", index) for index in range(3)], [make_run("a", index) for index in range(5)])
    assert [(test.method, test.before) for test in found.tests] == [("mcnemar_exact", (3, 3))]
    assert kinds(found) == [("added", None, "passed")] * 2


def test_where_nothing_passed_no_drop_can_be_seen(make_run: Make, compared: Make) -> None:
    (test,) = compared([make_run("a", 0, "failed")], [make_run("a", 0, "failed")]).tests
    assert (test.power, test.detectable) == (None, None)
    sometimes = [make_run("a", index, "failed" if index else "passed") for index in range(20)]
    (test,) = compared(sometimes, sometimes).tests
    assert test.detectable == 0.05


def test_nothing_in_common_has_no_tests(make_run: Make, compared: Make) -> None:
    found = compared([make_run("a")], [make_run("b")])
    assert (found.paired, found.tests) == (0, [])
    assert compared([], []).notes == []


def test_what_else_differs_is_noted(make_run: Make, compared: Make) -> None:
    found = compared(
        [make_run("a", versions={"python": "3.11.9", "crewai": "1.15"})],
        [make_run("a", versions={"python": "3.12.1"}, backend="native", seed=8)],
    )
    assert found.notes == [
        "the backend was embedded, now it is native",
        "crewai was 1.15, now it is not there",
        "python was 3.11.9, now it is 3.12.1",
        "ran with another seed, since the scenario's own has changed: 1 cell",
    ]
    found = compared([make_run("a")], [make_run("a", sweep_seed=5)])
    assert found.notes[0] == "the sweep's seed was each scenario's own, now it is 5: such cells make no pair"


def test_a_comparison_survives_json(make_run: Make, compared: Make) -> None:
    found = compared([make_run("a"), make_run("b")], [make_run("a", 0, "failed"), make_run("c")])
    assert Comparison.model_validate_json(found.model_dump_json()) == found
