"""What a sweep is held against: the two options, and when a sweep may become a baseline."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_execgo.benchmark.baseline import baseline_of, load_baseline, save_baseline
from pytest_execgo.benchmark.gates import parse_gates
from pytest_execgo.benchmark.summary import summarise
from pytest_execgo.core.errors import UsageError
from pytest_execgo.plan.cell import Cell
from pytest_execgo.plan.result import BenchmarkSummary
from pytest_execgo.plan.verdict import Outcome
from pytest_execgo.wiring.baselines import Demands, beneath, parse_baseline, unfinished
from pytest_execgo.wiring.options import effective
from pytest_execgo.wiring.settings import Settings
from pytest_execgo.wiring.unrun import not_run

ROOT = Path("/project")


def parse(root: Path = ROOT, **given: str) -> Settings:
    return Settings.parse(effective(dict(given), {}, {}), root)


def sweep(*outcomes: Outcome) -> BenchmarkSummary:
    runs = [
        not_run(Cell("hello", "langgraph", "replay", "none", index), outcome, "because") for index, outcome in enumerate(outcomes)
    ]
    return summarise(runs, sweep_id="s", started_at="a", finished_at="b", wall_time_ms=1.0)


def test_both_files_and_gates_are_read() -> None:
    settings = parse(baseline="save=new.json, compare=/elsewhere/old.json", gate="pass_rate>=0.9, regression<=0")
    assert (settings.baseline_save, settings.baseline_compare) == (ROOT / "new.json", Path("/elsewhere/old.json"))
    assert settings.gates == parse_gates(["pass_rate>=0.9", "regression<=0"])
    assert (parse().gates, parse().baseline_save, parse().baseline_compare) == ((), None, None)


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        ({"baseline": "old.json"}, ["'old.json' can't be used", "save=FILE, compare=FILE"]),
        ({"baseline": "save="}, ["'save=' can't be used"]),
        ({"baseline": "compre=x"}, ["'compre'", "did you mean 'compare'?"]),
        ({"baseline": "save=a,save=b"}, ["save is given twice", "/project/a and b"]),
        ({"gate": "regression<=0"}, ["gate 'regression<=0' needs a baseline", "--execgo-baseline compare=FILE"]),
        ({"gate": "cells>=1,improvement>=1", "baseline": "save=x"}, ["gate 'improvement>=1' needs a baseline"]),
        ({"gate": "pass_rat>=1"}, ["unknown metric 'pass_rat'"]),
    ],
)
def test_what_cant_be_used_is_told_before_anything_runs(given: dict[str, str], parts: list[str]) -> None:
    with pytest.raises(UsageError) as raised:
        parse(ROOT, **given)
    for part in parts:
        assert part in str(raised.value)


def test_files_of_the_command_line_are_where_it_was_called() -> None:
    folder = Path("/here")
    assert beneath(folder, "save=a.json,compare=/b.json") == "save=/here/a.json,compare=/b.json"
    assert beneath(folder, "save = a.json") == "save =/here/a.json"
    for text in ("old.json", "save=", ""):
        assert beneath(folder, text) == text
    assert parse_baseline([beneath(folder, "save = a.json")], ROOT) == {"save": folder / "a.json"}


def test_the_baseline_is_read_and_the_place_of_the_new_one_tried_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        Demands.of(parse(tmp_path, baseline="compare=gone.json"))
    (tmp_path / "taken").touch()
    for bad, said in (("save=taken/x.json", "can't save to"), ("save=.", "it is a folder")):
        with pytest.raises(UsageError, match=said):
            Demands.of(parse(tmp_path, baseline=bad))
    save_baseline(baseline_of(sweep("passed")), tmp_path / "old.json")
    demands = Demands.of(parse(tmp_path, baseline="compare=old.json,save=deep/new.json"))
    assert demands.baseline == baseline_of(sweep("passed"))
    assert list((tmp_path / "deep").iterdir()) == [], "nothing is left of the trial"


def test_a_sweep_is_compared_and_gated() -> None:
    demands = Demands(parse_gates(["regression<=0"]), baseline_of(sweep("passed", "passed")))
    judged = demands.judge(sweep("passed", "failed"), None)
    assert judged.comparison is not None
    assert judged.comparison.regressions == 1
    assert [(gate.condition, gate.passed, gate.value) for gate in judged.gates] == [("regression<=0", False, 1.0)]
    plain = Demands().judge(sweep("failed"), "broken off")
    assert (plain.comparison, plain.gates) == (None, [])


@pytest.mark.parametrize(
    ("gates", "unfinished", "said"),
    [
        (["pass_rate>=0.5"], None, "baseline saved: {}"),
        ([], None, "baseline saved: {}"),
        (["pass_rate>=0.9", "failed<=0"], None, "baseline not saved: failed pass_rate>=0.9, failed<=0"),
        ([], "2 of 3 cells were run to their end", "baseline not saved: 2 of 3 cells were run to their end"),
    ],
)
def test_only_a_whole_sweep_that_passed_its_gates_replaces_a_baseline(
    gates: list[str], unfinished: str | None, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "baseline.json"
    path.write_text("the old one")
    demands = Demands(parse_gates(gates), None, path)
    judged = demands.judge(sweep("passed", "failed"), unfinished)
    assert demands.keep(judged, unfinished) == said.format(path)
    if "not saved" in said:
        assert path.read_text() == "the old one"
    else:
        assert load_baseline(path) == baseline_of(judged)
    assert Demands().keep(judged, None) is None


def test_how_far_a_sweep_came() -> None:
    assert unfinished(4, 4, broken_off=False) is None
    assert unfinished(3, 4, broken_off=False) == "3 of 4 cells were run to their end"
    assert unfinished(4, 4, broken_off=True) == "the sweep was broken off: 4 of 4 cells were run to their end"


def test_nothing_meets_no_gate() -> None:
    (result,) = Demands(parse_gates(["failed<=0"])).unmet("nothing ran")
    assert (result.passed, result.value, result.because) == (False, None, ["nothing ran"])
