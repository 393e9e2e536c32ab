"""Statistics, comparisons and gates in words: what is told, what is left out, nothing that can break a page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pytest_execgo.plan.result import BenchmarkSummary, FaultReport
from pytest_execgo.plan.statistics import (
    Bound,
    CellChange,
    CellOutcome,
    Comparison,
    ComparisonTest,
    GateResult,
    Interval,
    Quantiles,
    SweepStatistics,
)
from pytest_execgo.reporting.comparison import comparison_text
from pytest_execgo.reporting.figures import statistics_lines, statistics_rows
from pytest_execgo.reporting.gates import gate_lines
from pytest_execgo.reporting.markdown import sweep_summary
from pytest_execgo.reporting.terminal import sweep_table

Make = Callable[..., Any]
WILSON = Interval(low=0.757, high=1.0)
TIMES = Quantiles(count=3, p50=30.0, p90=40.0, p95=50.0, p99=60.0, most=70.0)
RICH = SweepStatistics(
    runs=48,
    pass_rate=0.9375,
    pass_interval=Interval(low=0.832, high=0.979),
    infra_error_rate=0.02,
    pass_hat_k={1: 0.9375, 2: 0.889, 3: 0.8, 4: 0.7},
    pass_hat_interval={2: Interval(low=0.777, high=1.0, method="bootstrap")},
    flake_rate=0.25,
    determinism_drift=0.0,
    recovery_ms=TIMES,
    wall_ms=TIMES,
    bounds=[
        Bound(what="lost", found=0, looked=48, upper=0.0605),
        Bound(what="duplicated", found=2, looked=36, upper=0.16),
        Bound(what="orphan", found=0, looked=12, upper=0.2209),
    ],
)


def cell(outcome: str = "passed", *reasons: str, scenario: str = "hello") -> CellOutcome:
    fields = {"cell_id": "c", "scenario_id": scenario, "framework": "langgraph", "mode": "replay", "chaos_profile": "none"}
    return CellOutcome(**{**fields, "repetition": 0, "seed": 7, "outcome": outcome, "reasons": list(reasons)})  # type: ignore[arg-type]


def finding(what: str, p: float, adjusted: float, method: str = "mcnemar_exact", **values: Any) -> ComparisonTest:
    fields = {"what": what, "method": method, "before": (12, 12), "after": (9, 12), "p": p, "p_adjusted": adjusted}
    return ComparisonTest(**{**fields, **values})


def compared(**values: Any) -> Comparison:
    fields: dict[str, Any] = {"baseline_sweep": "old", "paired": 12, "unpaired": 0, "regressions": 1, "improvements": 0}
    return Comparison(**{**fields, **values})


@pytest.fixture
def summary(make_summary: Make, make_group: Make) -> Callable[..., BenchmarkSummary]:
    def summary(**values: Any) -> BenchmarkSummary:
        made: BenchmarkSummary = make_summary([make_group()], [], passed=3, cells=3).model_copy(update=values)
        return made

    return summary


def plain(looked: int) -> SweepStatistics:
    bounds = [Bound(what=name, found=0, looked=looked, upper=0.2209) for name in ("lost", "orphan")]
    return SweepStatistics(runs=looked, pass_rate=1.0, pass_interval=WILSON, infra_error_rate=0.0, wall_ms=TIMES, bounds=bounds)


def test_a_plain_sweep_grows_by_a_line(summary: Callable[..., BenchmarkSummary]) -> None:
    lines = sweep_table(summary(statistics=plain(12)))
    assert lines[len(sweep_table(summary())) :] == ["pass rate 100% (95% interval 75.7% to 100%)"]


def test_what_was_never_seen_is_told_where_it_says_something(summary: Callable[..., BenchmarkSummary], make_result: Make) -> None:
    clean = "0 violations of 2 promises in {} runs: each below 22.1% at 95%"
    assert sweep_table(summary(statistics=plain(19)))[-1].startswith("pass rate")
    assert sweep_table(summary(statistics=plain(20)))[-1] == clean.format(20)
    fault = FaultReport(fault=0, action="kill", target="kernel", drawn=True, fired=True)
    assert sweep_table(summary(statistics=plain(3), runs=[make_result(faults=[fault])]))[-1] == clean.format(3)
    broken = plain(3).model_copy(update={"bounds": [Bound(what="lost", found=1, looked=3, upper=0.9)]})
    assert sweep_table(summary(statistics=broken))[-1] == "lost: in 1 of 3 runs, below 90.0% at 95%"
    assert statistics_lines(summary(statistics=plain(3)))[-1] == clean.format(3), "on pages there is room"
    assert "| orphan | 0 | 3 | 22.1% |" in sweep_summary(summary(statistics=plain(3)))


@pytest.mark.parametrize("statistics", [None, SweepStatistics(runs=0), SweepStatistics(runs=1, pass_rate=1.0)])
def test_of_one_run_there_is_nothing_to_say(statistics: Any, summary: Callable[..., BenchmarkSummary]) -> None:
    assert statistics_lines(summary(statistics=statistics)) == []


def test_all_that_a_rich_sweep_says(summary: Callable[..., BenchmarkSummary]) -> None:
    assert statistics_lines(summary(statistics=RICH)) == [
        "pass rate 93.8% (95% interval 83.2% to 97.9%), pass^2 88.9% (95% interval 77.7% to 100%), pass^4 70.0%, "
        "flake rate 25.0%, drift 0%, infrastructure errors 2.0%",
        "recovery time of 3 runs: p50 30.0 ms, p90 40.0 ms, p95 50.0 ms, p99 60.0 ms, most 70.0 ms",
        "duplicated: in 2 of 36 runs, below 16.0% at 95%",
        "0 violations of 2 promises in 12 to 48 runs: each below 22.1% to 6.0% at 95%",
    ]
    assert ("pass^3", "80.0%", "") in statistics_rows(RICH)
    assert statistics_rows(SweepStatistics(runs=0)) == []


def test_a_comparison_tells_what_moved_why_and_whether_that_is_more_than_chance() -> None:
    comparison = compared(
        improvements=1,
        changes=[
            CellChange(kind="regression", before=cell(), after=cell("failed", "greeting is 'bye'")),
            CellChange(kind="improvement", before=cell("error", "it died"), after=cell()),
            CellChange(kind="other", before=cell("failed", "a"), after=cell("error", "b")),
            CellChange(kind="added", after=cell()),
            CellChange(kind="removed", before=cell()),
        ],
        tests=[
            finding("all pairs", 0.25, 0.75, power=0.12, detectable=0.1),
            finding("scenario dull", 1.0, 1.0),
            finding("scenario bad", 0.00001, 0.00002),
            finding("cells not in pairs", 1.0, 1.0, "fisher_exact"),
        ],
        notes=["not in the baseline: 1 cell"],
    )
    assert comparison_text(comparison).splitlines() == [
        "compared with old: 12 pairs, 1 regression, 1 improvement, 1 other change",
        "  regression: hello[langgraph-replay-none-0]: passed -> failed",
        "      now: greeting is 'bye'",
        "  improvement: hello[langgraph-replay-none-0]: error -> passed",
        "      before: it died",
        "  other: hello[langgraph-replay-none-0]: failed -> error",
        "      before: a",
        "      now: b",
        "  all pairs: 12/12 passed before, 9/12 now; McNemar p 0.25, 0.75 adjusted; power 12.0% to see a drop of 10 points",
        "  scenario bad: 12/12 passed before, 9/12 now; McNemar p <0.0001, <0.0001 adjusted",
        "  cells not in pairs: 12/12 passed before, 9/12 now; Fisher p 1",
        "  note: not in the baseline: 1 cell",
    ]


def test_a_long_list_of_changes_is_cut() -> None:
    changes = [CellChange(kind="regression", before=cell(), after=cell("failed"))] * 30
    lines = comparison_text(compared(changes=changes, regressions=30), most_cells=7).splitlines()
    assert len(lines) == 9
    assert lines[-1] == "  … and 23 more cells, in benchmark-summary.json"
    usual = comparison_text(compared(changes=changes, regressions=30)).splitlines()
    assert (len(usual), usual[-1]) == (10, "  … and 22 more cells, in benchmark-summary.json"), "as many as beneath a gate"


def test_a_comparison_in_which_nothing_moved_is_one_line() -> None:
    assert comparison_text(compared(regressions=0)) == "compared with old: 12 pairs, 0 regressions, 0 improvements"


def test_gates_say_whether_what_and_which_cells() -> None:
    gates = [
        GateResult(condition="pass_rate>=0.95", passed=False, value=11 / 12, because=["hello: failed"]),
        GateResult(condition="cells>=12", passed=True, value=12.0),
        GateResult(condition="regression<=0", passed=False, because=["there is no baseline"]),
    ]
    assert gate_lines(gates) == [
        "gate FAIL  pass_rate>=0.95  (0.916667)",
        "    hello: failed",
        "gate PASS  cells>=12  (12)",
        "gate FAIL  regression<=0  (n/a)",
        "    there is no baseline",
    ]


def test_long_lines_are_folded_not_cut(summary: Callable[..., BenchmarkSummary]) -> None:
    because = [f"hello: failed: {'word ' * 40}end"]
    lines = sweep_table(summary(gates=[GateResult(condition="failed<=0", passed=False, value=1.0, because=because)]), 60)
    assert max(map(len, lines)) <= 60
    assert " ".join(line.strip() for line in lines[-5:]).endswith("word end")
    assert lines[-1].startswith("      ")


def test_the_page_has_all_of_it(summary: Callable[..., BenchmarkSummary]) -> None:
    change = CellChange(kind="regression", before=cell(), after=cell("failed", "greeting is 'bye'"))
    comparison = compared(changes=[change], tests=[finding("all pairs", 0.25, 0.75, power=0.12, detectable=0.1)], notes=["a note"])
    gate = GateResult(condition="pass_rate>=0.95", passed=False, value=0.9, because=["one", "two"])
    page = sweep_summary(summary(statistics=RICH, comparison=comparison, gates=[gate]))
    for line in (
        "| Pass rate | 93.8% | 83.2% to 97.9% |",
        "| duplicated | 2 | 36 | 16.0% |",
        "| regression | hello\\[langgraph-replay-none-0\\] | passed | failed |  | greeting is 'bye' |",
        "| all pairs | McNemar | 12/12 | 9/12 | 0.25 | 0.75 | 10.0% | 12.0% |",
        "- a note",
        "| pass_rate&gt;=0.95 | FAIL | 0.9 | one; two |",
    ):
        assert line in page.splitlines()


def test_a_page_without_any_of_it_has_no_empty_sections(summary: Callable[..., BenchmarkSummary]) -> None:
    page = sweep_summary(summary(statistics=SweepStatistics(runs=0)))
    assert not any(word in page for word in ("Statistics", "Compared", "Gates", "histories"))


def test_hostile_texts_stay_in_their_place(hostile: str, summary: Callable[..., BenchmarkSummary]) -> None:
    change = CellChange(kind="regression", before=cell(), after=cell("failed", hostile))
    gate = GateResult(condition="failed<=0", passed=False, value=1.0, because=[f"x {hostile}"])
    made = summary(comparison=compared(changes=[change], notes=[f"x {hostile}"]), gates=[gate])
    tame = summary(
        comparison=compared(changes=[change.model_copy(update={"after": cell("failed", "tame")})], notes=["x tame"]),
        gates=[gate.model_copy(update={"because": ["x tame"]})],
    )
    assert len(sweep_summary(made).splitlines()) == len(sweep_summary(tame).splitlines())
    assert "<script" not in sweep_summary(made)
    for line in sweep_table(made):
        assert line.isprintable() or not any(ord(char) < 32 for char in line)
