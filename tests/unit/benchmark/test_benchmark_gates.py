"""Gates: what may be written, what is measured, which cells decided, and what can never pass."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from pytest_execgo.benchmark.baseline import baseline_of
from pytest_execgo.benchmark.comparison import compare
from pytest_execgo.benchmark.gate_metrics import all_metrics
from pytest_execgo.benchmark.gates import Condition, evaluate, parse_gates
from pytest_execgo.core.errors import UsageError
from pytest_execgo.plan.result import BenchmarkSummary, RunMetrics
from pytest_execgo.plan.statistics import GateResult

Make = Callable[..., Any]


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("pass_rate>=0.95", Condition("pass_rate", ">=", 0.95)),
        (" recovery_time_ms.p95 <= 2000 ", Condition("recovery_time_ms.p95", "<=", 2000.0)),
        ("regression<=0", Condition("regression", "<=", 0.0)),
        ("pass_hat_3>0.9", Condition("pass_hat_3", ">", 0.9)),
        ("overhead.max<1e2", Condition("overhead.max", "<", 100.0)),
        ("cells==12", Condition("cells", "==", 12.0)),
        ("cost.mean<=-1.5", Condition("cost.mean", "<=", -1.5)),
    ],
)
def test_what_may_be_written(text: str, condition: Condition) -> None:
    assert parse_gates([text]) == (condition,)
    assert parse_gates([str(condition)]) == (condition,)


def test_the_same_gate_twice_is_one() -> None:
    assert len(parse_gates(["cells>=1", "cells >= 1.0", "cells>=2"])) == 2


@pytest.mark.parametrize("metric", all_metrics())
def test_every_metric_can_be_gated(metric: str) -> None:
    (condition,) = parse_gates([f"{metric}>=1"])
    assert condition.metric == metric
    assert condition.needs_baseline == (metric in ("regression", "improvement", "missing"))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("pass_rat>=0.9", ["unknown metric 'pass_rat'", "did you mean 'pass_rate'?", "infra_error_rate", "pass_hat_K", ".p95"]),
        (
            "recovery_time_ms.p96<=1",
            ["unknown statistic 'p96'", "recovery_time_ms with one of", ".p50, .p90, .p95, .p99, .max, .mean"],
        ),
        ("wall_time.p95<=1", ["unknown metric 'wall_time.p95'", "did you mean 'wall_time_ms.p95'?"]),
        ("wall_time_ms<=1", ["wall_time_ms is a figure of each run, not of the sweep", ".p50"]),
        ("pass_rate.p95>=1", ["unknown metric 'pass_rate.p95'"]),
        ("pass_hat_0>=1", ["unknown metric 'pass_hat_0'", "pass_hat_K"]),
        ("pass_rate=>0.9", ["unknown operator '=>'", ">= <= == > <"]),
        ("pass_rate!=0.9", ["unknown operator '!='"]),
        ("pass_rate=0.9", ["unknown operator '='"]),
        ("pass_rate", ["has no operator", "quote it"]),
        ("pass_rate>=", ["'' is no number"]),
        ("pass_rate>=95%", ["'95%' is no number"]),
        ("pass_rate>=nan", ["'nan' is no number"]),
        ("cells>=inf", ["'inf' is no number"]),
        ("pass_rate>=95", ["is a share from 0 to 1, never 95", "0.95"]),
        ("pass_hat_2>=1.5", ["is a share from 0 to 1"]),
        (">=0.9", ["does not begin with a metric", "pass_rate>=0.95"]),
        ("", ["does not begin with a metric"]),
    ],
)
def test_what_may_not_is_one_error_that_names_it(text: str, parts: list[str]) -> None:
    with pytest.raises(UsageError) as raised:
        parse_gates(["cells>=1", text])
    said = str(raised.value)
    assert repr(text.strip()) in said
    for part in parts:
        assert part in said


def judged(text: str, summary: BenchmarkSummary) -> GateResult:
    (result,) = evaluate(parse_gates([text]), summary)
    return result


@pytest.fixture
def mixed(make_run: Make, make_sweep: Make) -> BenchmarkSummary:
    """Give a sweep of 2 scenarios: 4 passed, 2 failed, 1 error, 1 inconclusive, 1 skipped."""
    figures = [{"wall_time_ms": 100.0 * (index + 1), "retry_count": index} for index in range(4)]
    runs = [make_run("a", index, end, figures=figures[index]) for index, end in enumerate(["passed"] * 3 + ["failed"])]
    runs += [make_run("b", 0, "error", reason="the kernel died"), make_run("b", 1, "inconclusive"), make_run("b", 2)]
    runs += [make_run("b", 3, "failed", counts={"lost": 2, "lost_checked": 3}), make_run("b", 4, "skipped", reason="no crewai")]
    summary: BenchmarkSummary = make_sweep(runs)
    return summary


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ("pass_rate", 0.5),
        ("infra_error_rate", 0.25),
        ("flake_rate", 1.0),
        ("determinism_drift", 0.0),
        ("cells", 8),
        ("failed", 2),
        ("errors", 1),
        ("inconclusive", 1),
        ("skipped", 1),
        ("violations", 2),
        ("pass_hat_1", 0.5),
        ("pass_hat_2", 0.25),
        ("wall_time_ms.p50", 250.0),
        ("wall_time_ms.max", 400.0),
        ("wall_time_ms.mean", 250.0),
        ("wall_time_ms.p99", 397.0),
        ("retry_count.max", 3),
    ],
)
def test_what_each_metric_measures(metric: str, value: float, mixed: BenchmarkSummary) -> None:
    result = judged(f"{metric}=={value}", mixed)
    assert result.value == pytest.approx(value)
    assert (result.passed, result.because) == (True, [])
    high = min(value + 0.01, 1.0) if value < 1 else value
    assert judged(f"{metric}>={high}", mixed).passed == (high == value)


@pytest.mark.parametrize(
    ("condition", "because"),
    [
        (
            "pass_rate>=0.9",
            [
                "a[langgraph-replay-none-3]: failed: greeting is 'bye'",
                "b[langgraph-replay-none-3]: failed: greeting is 'bye'",
                "b[langgraph-replay-none-0]: error: the kernel died",
                "b[langgraph-replay-none-1]: inconclusive: greeting is 'bye'",
            ],
        ),
        ("failed<=1", ["a[langgraph-replay-none-3]: failed: *", "b[langgraph-replay-none-3]: failed: *"]),
        ("errors<=0", ["b[langgraph-replay-none-0]: error: the kernel died"]),
        ("infra_error_rate<=0.1", ["b[langgraph-replay-none-0]: error: *", "b[langgraph-replay-none-1]: inconclusive: *"]),
        ("cells>=9", ["b[langgraph-replay-none-4]: skipped: no crewai"]),
        ("skipped<=0", ["b[langgraph-replay-none-4]: skipped: no crewai"]),
        ("violations<=0", ["b[langgraph-replay-none-3]: 2, lost: lost it was"]),
        ("flake_rate<=0.5", ["b[langgraph-replay-none]: 1 of 4 passed", "a[langgraph-replay-none]: 3 of 4 passed"]),
        ("wall_time_ms.p95<=200", ["a[langgraph-replay-none-3]: 400 ms", "a[langgraph-replay-none-2]: 300 ms"]),
        ("wall_time_ms.p50>=300", ["a[langgraph-replay-none-0]: 100 ms", "a[langgraph-replay-none-1]: 200 ms"]),
        ("retry_count.max<=1", ["a[langgraph-replay-none-3]: 3", "a[langgraph-replay-none-2]: 2"]),
    ],
)
def test_a_gate_that_fails_names_the_cells_worst_first(condition: str, because: list[str], mixed: BenchmarkSummary) -> None:
    result = judged(condition, mixed)
    assert not result.passed
    assert len(result.because) == len(because), result.because
    for line, pattern in zip(result.because, because, strict=True):
        assert re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), line)


def test_many_cells_are_counted_not_listed(make_run: Make, make_sweep: Make) -> None:
    summary = make_sweep(make_run("a", index, "failed", reason="x\n" * 300) for index in range(50))
    result = judged("failed<=0", summary)
    assert len(result.because) == 9
    assert result.because[-1] == "… and 42 more"
    assert max(map(len, result.because)) < 240
    assert "\n" not in result.because[0]


@pytest.mark.parametrize(
    ("condition", "why"),
    [
        ("recovery_time_ms.p95<=2000", "no run that came to a verdict has a recovery_time_ms"),
        ("restart_count.max<=0", "no run has a restart_count"),
        ("pass_hat_3>=0", "pass^3 needs 6 repetitions of every cell; one of them ran 4 times"),
        ("regression<=0", "there is no baseline"),
    ],
)
def test_what_cant_be_measured_does_not_pass(condition: str, why: str, mixed: BenchmarkSummary) -> None:
    assert judged(condition, mixed) == GateResult(condition=condition, passed=False, value=None, because=[why])


@pytest.mark.parametrize("metric", [metric for metric in all_metrics() if metric not in ("cells", "skipped")] + ["pass_hat_1"])
@pytest.mark.parametrize("skipped", [False, True], ids=["nothing", "all skipped"])
def test_a_sweep_that_ran_nothing_passes_nothing(metric: str, skipped: bool, make_run: Make, make_sweep: Make) -> None:
    summary = make_sweep([make_run(outcome="skipped")] if skipped else [])
    for condition in (f"{metric}>=0", f"{metric}<=1"):
        result = judged(condition, summary)
        assert (result.passed, result.value) == (False, None)
        assert result.because


def test_an_empty_sweep_has_no_cells(make_sweep: Make) -> None:
    assert judged("cells>=1", make_sweep([])) == GateResult(condition="cells>=1", passed=False, value=0.0, because=[])
    assert not judged("skipped<=0", make_sweep([])).passed


def test_one_repetition_says_nothing_of_flakes(make_run: Make, make_sweep: Make) -> None:
    summary = make_sweep([make_run("a"), make_run("b")])
    assert judged("flake_rate<=0", summary).because == ["no cell was repeated"]
    assert judged("determinism_drift<=0", summary).because == ["no cell came to a verdict twice"]
    assert judged("violations<=0", summary).because == ["no run's history was checked"]


def test_drift_names_the_cells_that_drift_most(make_run: Make, make_sweep: Make) -> None:
    runs = [make_run("a", index) for index in range(4)]
    runs += [make_run("b", index, outcome_digest=str(index)) for index in range(4)]
    runs += [make_run("c", index, plan_digest=str(index // 3)) for index in range(4)]
    result = judged("determinism_drift<=0.1", make_sweep(runs))
    assert result.value == pytest.approx(4 / 12)
    assert result.because == ["b[langgraph-replay-none]: drift 0.75", "c[langgraph-replay-none]: drift 0.25"]


def test_rounding_decides_nothing(make_run: Make, make_sweep: Make) -> None:
    summary = make_sweep([make_run("a", figures={"cost": 0.1 + 0.2})])
    assert judged("cost.max<=0.3", summary).passed
    assert not judged("cost.max<0.3", summary).passed
    assert judged("cost.max==0.3", summary).passed


def test_regressions_are_named_with_how_they_moved(make_run: Make, make_sweep: Make) -> None:
    before = [make_run("a"), make_run("b"), make_run("c", 0, "failed"), make_run("d"), make_run("e")]
    after = [
        make_run("a", 0, "error", reason="the kernel died"),
        make_run("b", 0, "failed", counts={"lost": 1, "lost_checked": 1}, reason="a task was lost"),
        make_run("c"),
        make_run("d"),
    ]
    summary = make_sweep(after)
    summary = summary.model_copy(update={"comparison": compare(baseline_of(make_sweep(before)), summary)})
    result = judged("regression<=0", summary)
    assert (result.value, result.because) == (
        2,
        [
            "b[langgraph-replay-none-0]: passed -> failed: a task was lost",
            "a[langgraph-replay-none-0]: passed -> error: the kernel died",
        ],
    )
    result = judged("improvement<=0", summary)
    assert (result.value, result.because) == (1, ["c[langgraph-replay-none-0]: failed -> passed: greeting is 'bye'"])
    assert judged("regression<=2", summary).passed


def test_a_baseline_without_a_common_cell_shows_no_absence_of_regressions(make_run: Make, make_sweep: Make) -> None:
    summary = make_sweep([make_run("b")])
    summary = summary.model_copy(update={"comparison": compare(baseline_of(make_sweep([make_run("a")])), summary)})
    assert judged("regression<=0", summary).because == ["no cell ran both in the baseline and now"]


def test_cells_of_the_baseline_that_were_not_run_are_missing_and_skipped_ones_are_not(make_run: Make, make_sweep: Make) -> None:
    before = [make_run("a"), make_run("b"), make_run("c", 0, "failed"), make_run("d", 0, "skipped")]
    before += [make_run("z", repetition) for repetition in range(9)]
    summary = make_sweep([make_run("a", 0, "skipped"), make_run("b"), make_run("new")])
    assert judged("missing<=0", summary).because == ["there is no baseline"]
    summary = summary.model_copy(update={"comparison": compare(baseline_of(make_sweep(before)), summary)})
    result = judged("missing<=0", summary)
    assert (result.passed, result.value, len(result.because)) == (False, 10, 9)
    assert result.because[0] == "c[langgraph-replay-none-0]: failed in the baseline, not run this time"
    assert judged("missing<=10", summary).passed
    complete = make_sweep([make_run("a")])
    complete = complete.model_copy(update={"comparison": compare(baseline_of(complete), complete)})
    assert judged("missing<=0", complete) == GateResult(condition="missing<=0", passed=True, value=0.0)


def test_a_sweep_of_none_of_the_baselines_cells_misses_them_all(make_run: Make, make_sweep: Make) -> None:
    summary = make_sweep([make_run("b")])
    summary = summary.model_copy(update={"comparison": compare(baseline_of(make_sweep([make_run("a")])), summary)})
    assert judged("missing<=0", summary).value == 1


def test_a_run_that_the_user_broke_off_is_no_infrastructure_error(make_run: Make, make_sweep: Make) -> None:
    runs = [make_run("a", 0), make_run("a", 1), make_run("a", 2, "inconclusive", reason="interrupted: KeyboardInterrupt")]
    assert judged("infra_error_rate<=0", make_sweep(runs)).passed
    result = judged("infra_error_rate<=0", make_sweep([*runs, make_run("b", 0, "error", reason="the kernel died")]))
    assert (result.value, result.because) == (0.25, ["b[langgraph-replay-none-0]: error: the kernel died"])


def test_a_sweep_that_is_not_at_its_end_never_passes(mixed: BenchmarkSummary) -> None:
    results = evaluate(parse_gates(["cells>=1"]), mixed, unfinished="it was broken off")
    assert results == [
        GateResult(condition="complete", passed=False, value=None, because=["it was broken off"]),
        GateResult(condition="cells>=1", passed=True, value=8.0, because=[]),
    ]
    assert evaluate((), mixed, unfinished="it was broken off") == [], "nothing is demanded"


def test_summaries_of_before_statistics_were_kept_are_measured_too(mixed: BenchmarkSummary) -> None:
    assert judged("pass_rate>=0.5", mixed.model_copy(update={"statistics": None})).value == 0.5


def test_every_figure_of_a_run_is_a_number(mixed: BenchmarkSummary, make_run: Make, make_sweep: Make) -> None:
    for figure in RunMetrics.model_fields:
        summary = make_sweep([make_run("a", index, figures={figure: 1}) for index in range(2)])
        if figure != "determinism_drift":  # the sweep's own computation replaces it
            assert judged(f"{figure}.mean==1", summary).passed, figure
