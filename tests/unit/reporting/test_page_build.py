"""The page of a whole sweep: its index, its size, its links, where it is written."""

from __future__ import annotations

import json
import re
import zlib
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from pytest_execgo.core.errors import UsageError
from pytest_execgo.plan.result import BenchmarkResult, BenchmarkSummary, GroupSummary, PlanComparison, PlanShape
from pytest_execgo.plan.statistics import CellChange, CellOutcome, Comparison, GateResult
from pytest_execgo.plan.verdict import Verdict
from pytest_execgo.reporting.page import build, write_page

GOLDEN = Path(__file__).parents[2] / "data/golden_sweep/runs"


def golden() -> BenchmarkSummary:
    return BenchmarkSummary.model_validate_json((GOLDEN / "benchmark-summary.json").read_text("utf-8"))


def element(page: str, name: str) -> str:
    found = re.search(rf'<script type="[a-z/]+" id="{name}">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return found[1]


def index(page: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(element(page, "data"))
    return found


def unpacked(page: str, block: int, at: int) -> dict[str, Any]:
    line = element(page, "blocks").split("\n")[block]
    value: dict[str, Any] = json.loads(zlib.decompress(b64decode(line), -zlib.MAX_WBITS))[at]
    return value


def rows(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def test_every_run_is_a_row_that_leads_to_its_details_and_its_plan() -> None:
    summary = golden()
    page = build(summary, GOLDEN)
    found = index(page)
    assert [row["id"] for row in rows(found["runs"])] == [run.run_id for run in summary.runs]
    for row, run in zip(rows(found["runs"]), summary.runs, strict=True):
        assert found["texts"][row["outcome"]] == run.outcome
        assert unpacked(page, row["block"], row["at"])["rerun"].endswith(f"--execgo-cell={run.cell.selector}")
        group = rows(found["groups"])[row["g"]]
        named = [found["axes"][axis][group[letter]] for axis, letter in enumerate("sfmc")]
        assert named == list(run.cell.group)
        plan = unpacked(page, *found["plan_places"][row["plan"]]) if row["plan"] >= 0 else None
        assert (plan is None) == (run.outcome == "skipped")
        if plan is not None:
            assert plan["id"] == {"crewai": "relay-reference", "langgraph": "relay-twice"}[run.framework]


def test_a_plan_that_several_runs_share_is_in_the_page_once() -> None:
    found = index(build(golden(), GOLDEN))
    assert len(found["plan_places"]) == 2
    assert sorted(set(found["runs"]["plan"])) == [-1, 0, 1]


def test_the_sweeps_figures_are_those_of_the_summary() -> None:
    summary = golden()
    found = index(build(summary, GOLDEN))
    assert found["sweep"]["totals"] == summary.totals
    assert found["sweep"]["backends"] == ["embedded"]
    assert found["axes"][3] == ["none", "llm_slow", "runtime_restart"]
    assert found["skipped"] == [
        ["nobody asks a model in replay; use --execgo-mode live (chaos profile 'llm_slow', fault 0: model_fault model)", 2]
    ]
    assert found["plans"][0]["outcomes"] == {"crewai": "passed", "langgraph": "failed"}


def test_links_lead_from_where_the_page_is_to_the_runs(tmp_path: Path) -> None:
    summary, out = golden(), tmp_path / "var/runs"
    latest = write_page(summary, out)
    own = out / "sweeps" / summary.sweep_id / "report.html"
    assert latest == out / "report.html"
    assert index(latest.read_text("utf-8"))["runs_at"] == ""
    assert index(own.read_text("utf-8"))["runs_at"] == "../../"
    assert index(build(summary, out, place=tmp_path / "elsewhere"))["runs_at"] == "../var/runs/"


def test_the_command_to_run_again_is_what_the_caller_says() -> None:
    page = build(golden(), GOLDEN, rerun=lambda run: f"make {run.cell}")
    row = rows(index(page)["runs"])[1]
    assert unpacked(page, row["block"], row["at"])["rerun"] == "make relay[crewai-replay-none-0]"


def test_the_page_holds_no_path_of_the_machine_but_what_artifacts_quote(tmp_path: Path) -> None:
    page = build(golden(), GOLDEN)
    assert str(GOLDEN) not in page
    assert "/project" not in page
    for line in element(page, "blocks").split("\n"):
        assert b"/project" not in zlib.decompress(b64decode(line), -zlib.MAX_WBITS)


def test_the_comparison_that_is_given_is_shown_and_reaches_the_cells() -> None:
    summary = golden()
    run = next(run for run in summary.runs if run.outcome == "failed")
    fields = run.model_dump(include={"cell_id", "scenario_id", "framework", "mode", "chaos_profile", "repetition", "seed"})
    before, after = CellOutcome(**fields, outcome="passed"), CellOutcome(**fields, outcome="failed")
    gone = CellOutcome(**{**fields, "cell_id": "f" * 16, "repetition": 7}, outcome="error")
    changes = [CellChange(kind="removed", before=gone), CellChange(kind="regression", before=before, after=after)]
    compared = Comparison(baseline_sweep="main", paired=4, unpaired=1, regressions=1, improvements=0, changes=changes)
    page = build(summary, GOLDEN, baseline=compared)
    found = index(page)["comparison"]
    number = summary.runs.index(run)
    assert found["changes"] == [
        ["regression", number, f"relay langgraph-replay-{run.chaos_profile}-0", "passed", "failed"],
        ["removed", -1, f"relay langgraph-replay-{run.chaos_profile}-7", "error", None],
    ]
    row = rows(index(page)["runs"])[number]
    assert unpacked(page, row["block"], row["at"])["before"]["outcome"] == "passed"


def test_gates_keep_their_value_and_what_decided_them() -> None:
    gates = [GateResult(condition="pass_rate>=0.9", passed=False, value=float("inf"), because=[f"cell {n}" for n in range(50)])]
    found = index(build(golden().model_copy(update={"gates": gates}), GOLDEN))["gates"]
    assert found == [
        {"condition": "pass_rate>=0.9", "passed": False, "value": None, "because": [f"cell {n}" for n in range(20)], "more": 30}
    ]


def test_repetitions_whose_plans_are_alike_are_one_comparison() -> None:
    def comparison(repetition: int, digest: str) -> PlanComparison:
        shapes = dict.fromkeys(("a", "b"), PlanShape(stages=1, tasks=2, bindings=0, tools={"os.file": 2}))
        return PlanComparison(
            scenario_id="s",
            mode="replay",
            repetition=repetition,
            seed=1,
            shapes=shapes,
            digests={"a": digest, "b": "x" * 64},
            outcomes={"a": "passed", "b": "passed"},
            differ_in=["details"],
            outcomes_differ=False,
        )

    plans = [comparison(0, "p" * 64), comparison(1, "p" * 64), comparison(2, "q" * 64)]
    found = index(build(golden().model_copy(update={"plans": plans}), GOLDEN))["plans"]
    assert [one["repetitions"] for one in found] == [[0, 1], [2]]
    assert found[0]["sources"] == {}
    assert found[0]["shapes"]["a"] == [1, 2, 0, "os.file 2"]


def test_where_the_plans_side_by_side_came_from_is_that_of_the_undisturbed_runs() -> None:
    summary = golden()
    source = {("crewai", "none"): "recording", ("langgraph", "none"): "reference"}
    runs = [run.model_copy(update={"plan_source": source.get((run.framework, run.chaos_profile), "live")}) for run in summary.runs]
    found = index(build(summary.model_copy(update={"runs": runs}), GOLDEN))["plans"]
    assert [one["sources"] for one in found] == [{"crewai": "recording", "langgraph": "reference"}]


def test_a_run_without_its_group_is_refused(make_result: Callable[..., BenchmarkResult], tmp_path: Path) -> None:
    summary = golden().model_copy(update={"runs": [make_result()]})
    with pytest.raises(UsageError, match="run run-1, and no group"):
        build(summary, tmp_path)


def test_a_page_never_grows_beyond_its_bound(
    make_result: Callable[..., BenchmarkResult], make_group: Callable[..., GroupSummary], tmp_path: Path
) -> None:
    """Runs that failed with so much to say, and nothing in common, that all of it would take 5 MB."""
    count = 120
    noise = Random(1)
    runs = []
    for number in range(count):
        verdict = Verdict(passed=False, reasons=[f"{noise.randbytes(950).hex()}" for _ in range(30)])
        runs.append(make_result(run_id=f"run-{number}", repetition=number, verdict=verdict))
    group = make_group(repetitions=count, passed=0, failed=count)
    page = build(golden().model_copy(update={"runs": runs, "groups": [group], "plans": []}), tmp_path)
    assert len(page.encode()) <= 1_500_000 + 2_000 * count
    first = rows(index(page)["runs"])[0]
    assert unpacked(page, first["block"], first["at"])["more_reasons"] > 0


def test_an_empty_sweep_has_a_page(tmp_path: Path) -> None:
    summary = golden().model_copy(update={"runs": [], "groups": [], "plans": [], "totals": {"cells": 0}})
    assert index(build(summary, tmp_path))["runs"] == {}
