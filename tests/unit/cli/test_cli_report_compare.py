"""`report compare`: two sweeps, each a baseline, a summary or a folder of runs; gates decide the exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.benchmark.baseline import baseline_of, save_baseline
from pytest_execgo.observability.stored import load_summary


@pytest.fixture
def sides(copied: Callable[..., Any], tmp_path: Path) -> dict[str, dict[str, Path]]:
    """Return a sweep and a worse one, in each form that either may have."""
    found: dict[str, dict[str, Path]] = {}
    for name in ("before", "after"):
        runs = copied(name)
        if name == "after":
            runs.rename("20300101T000000Z-bbbbbb")
            (run,) = (run for run in runs.of("crewai") if runs.result(run)["chaos_profile"] == "none")
            verdict = {"passed": False, "reasons": ["it was not published"], "details": {}}
            runs.change(run, outcome="failed", verdict=verdict)
            own = runs.path / "sweeps" / runs.sweep_id / "benchmark-summary.json"
            text = own.read_text().replace('"outcome": "passed"', '"outcome": "failed"', 1)
            own.write_text(text)
        own = runs.path / "sweeps" / runs.sweep_id
        save_baseline(baseline_of(load_summary(own / "benchmark-summary.json")), tmp_path / f"{name}.json")
        forms = {
            "folder": runs.path,
            "summary": own / "benchmark-summary.json",
            "sweep": own,
            "baseline": tmp_path / f"{name}.json",
        }
        found[name] = forms
    return found


FORMS = ("folder", "summary", "sweep", "baseline")


@pytest.mark.parametrize("after", FORMS)
@pytest.mark.parametrize("before", FORMS)
def test_every_form_with_every_other(
    sides: dict[str, dict[str, Path]], report: Callable[..., Any], before: str, after: str
) -> None:
    answer = report("compare", sides["before"][before], sides["after"][after])
    assert (answer.code, answer.err) == (0, "")
    assert "4 pairs, 1 regression, 0 improvements" in answer.out
    assert "regression: relay[crewai-replay-none-0]: passed -> failed" in answer.out


def test_gates_decide_the_exit_code(sides: dict[str, dict[str, Path]], report: Callable[..., Any]) -> None:
    before, after = sides["before"]["folder"], sides["after"]["folder"]
    met = report("compare", before, after, "--gate", "regression<=1,pass_rate>=0.2")
    assert met.code == 0
    assert met.out.count("gate PASS") == 2
    unmet = report("compare", before, after, "--gate", "pass_rate>=0.2", "--gate", "regression<=0")
    assert unmet.code == 1
    assert "gate PASS  pass_rate>=0.2" in unmet.out
    assert "gate FAIL  regression<=0  (1)" in unmet.out


def test_a_part_that_was_never_run_is_missing(copied: Callable[..., Any], report: Callable[..., Any], tmp_path: Path) -> None:
    runs = copied("all")
    own = load_summary(runs.path / "sweeps" / runs.sweep_id / "benchmark-summary.json")
    baseline = baseline_of(own)
    save_baseline(baseline, tmp_path / "all.json")
    part = baseline.model_copy(update={"cells": [cell for cell in baseline.cells if cell.framework != "crewai"]})
    save_baseline(part, tmp_path / "part.json")
    gate = ("--gate", "regression<=0,missing<=0")
    assert report("compare", tmp_path / "all.json", tmp_path / "all.json", *gate).code == 0
    answer = report("compare", tmp_path / "all.json", tmp_path / "part.json", *gate)
    assert answer.code == 1
    assert "gate PASS  regression<=0" in answer.out
    assert "gate FAIL  missing<=0  (2)" in answer.out
    assert "relay[crewai-replay-none-0]: passed in the baseline, not run this time" in answer.out


@pytest.mark.parametrize("form", ["folder", "baseline"])
def test_violations_of_either_form_count(sides: dict[str, dict[str, Path]], report: Callable[..., Any], form: str) -> None:
    answer = report("compare", sides["before"]["folder"], sides["after"][form], "--gate", "violations<=0")
    assert answer.code == 1
    assert "gate FAIL  violations<=0  (2)" in answer.out


def test_a_sweep_that_is_not_at_its_end_meets_no_gate(sides: dict[str, dict[str, Path]], report: Callable[..., Any]) -> None:
    folder = sides["after"]["folder"]
    next(folder.glob("*-langgraph-*/result.json")).unlink()
    answer = report("compare", sides["before"]["folder"], folder, "--gate", "pass_rate>=0")
    assert answer.code == 1
    assert "5 of 6 cells were run to their end" in answer.out


def test_what_can_not_be_compared(sides: dict[str, dict[str, Path]], report: Callable[..., Any], tmp_path: Path) -> None:
    good = sides["before"]["folder"]
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "torn.json").write_text('{"groups": [')
    (tmp_path / "empty").mkdir()
    for words, said in (
        ((good, tmp_path / "nowhere"), "does not exist"),
        ((tmp_path / "list.json", good), "is neither a baseline nor a sweep's summary"),
        ((good, tmp_path / "torn.json"), f"{tmp_path / 'torn.json'}:1:"),
        ((good, tmp_path / "empty"), "there are no runs in"),
        ((good, good, "--gate", "pass_rate>=x"), "'x' is no number"),
    ):
        answer = report("compare", *words)
        assert (answer.code, answer.out) == (2, "")
        assert said in answer.err


@pytest.mark.parametrize("form", ["folder", "summary"])
def test_a_sweep_that_was_killed_meets_no_gate(sides: dict[str, dict[str, Path]], report: Callable[..., Any], form: str) -> None:
    """It has no summary of its own, or an older one: only `sweep.json` tells that something is left to do."""
    sweep = sides["after"]["sweep"] / "sweep.json"
    document = json.loads(sweep.read_text())
    sweep.write_text(json.dumps({**document, "finished_at": None}))
    if form == "folder":
        next(sides["after"]["folder"].glob("*-langgraph-*/result.json")).unlink()
        sides["after"]["summary"].unlink()
    answer = report("compare", sides["before"]["folder"], sides["after"][form], "--gate", "pass_rate>=0")
    assert answer.code == 1
    assert "gate FAIL  complete" in answer.out
    assert f"{sweep} has no finished_at" in answer.out
