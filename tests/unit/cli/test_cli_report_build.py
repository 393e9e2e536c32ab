"""`report build`: a sweep's reports from its runs alone, wherever they are now and whatever became of some of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

REPORTS = ("benchmark-summary.json", "benchmark-summary.md", "junit.xml", "report.html")


def remove_reports(runs: Any) -> None:
    for name in REPORTS:
        for file in runs.path.rglob(name):
            file.unlink()


def test_a_sweep_that_was_moved(runs: Any, report: Callable[..., Any]) -> None:
    before = runs.summary()
    answer = report("build", runs.path)
    assert (answer.code, answer.err) == (0, "")
    after = runs.summary()
    for name in ("sweep_id", "started_at", "finished_at", "wall_time_ms", "planned", "totals", "comparison", "gates"):
        assert after.get(name) == before.get(name)
    assert [run["run_id"] for run in after["runs"]] == [run["run_id"] for run in before["runs"]]
    places = {run["run_id"]: run["artifacts"]["run_dir"] for run in after["runs"]}
    assert {run.name: str(run) for run in runs.runs} == {name: place for name, place in places.items() if place}
    assert runs.summary(f"sweeps/{runs.sweep_id}") == after
    for place in (runs.path, runs.path / "sweeps" / runs.sweep_id):
        assert {file.name for file in place.iterdir()} >= set(REPORTS)
    assert f"{before['sweep_id']}: 6 cells: 2 passed, 2 failed, 2 skipped" in answer.out
    assert "2 cells without a run" in answer.out
    assert answer.out.splitlines()[2:] == [str(runs.path / name) for name in REPORTS]


def test_junit_and_page_are_of_the_same_runs(runs: Any, report: Callable[..., Any]) -> None:
    report("build", runs.path)
    (suite,) = ElementTree.parse(runs.path / "junit.xml").iter("testsuite")
    counted = [suite.attrib[name] for name in ("tests", "failures", "errors", "skipped")]
    assert counted == ["6", "2", "0", "2"]
    page = (runs.path / "report.html").read_text()
    assert all(run.name in page for run in runs.runs)


def test_into_another_folder(runs: Any, report: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    remove_reports(runs)
    answer = report("build", "runs", "--out", "elsewhere/reports")
    assert answer.code == 0
    assert sorted(file.name for file in (tmp_path / "elsewhere/reports").iterdir()) == sorted(REPORTS)
    assert not [file for name in REPORTS for file in runs.path.rglob(name)]


def test_from_results_alone(runs: Any, report: Callable[..., Any]) -> None:
    """Without the sweep's own summary nothing tells of cells that never ran."""
    remove_reports(runs)
    shutil.rmtree(runs.path / "sweeps")
    assert report("build", runs.path).code == 0
    summary = runs.summary()
    assert summary["totals"] == {"passed": 2, "failed": 2, "error": 0, "inconclusive": 0, "skipped": 0, "cells": 4}
    assert summary["planned"] is None
    assert summary["started_at"] == min(run["started_at"] for run in summary["runs"])
    assert summary["finished_at"] == max(run["finished_at"] for run in summary["runs"])
    assert summary["wall_time_ms"] > 0


BREAKAGES: dict[str, Callable[[bytes], bytes]] = {
    "torn": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "no-json": lambda data: b"\x00" * len(data),
    "no-utf8": lambda data: data.replace(b"relay", b"rel\xffy"),
    "no-result": lambda data: b"[]",
    "other-version": lambda data: data.replace(b'"seed"', b'"sead"', 1),
    "wrong-type": lambda data: data.replace(b'"repetition": 0', b'"repetition": "0"'),
    "too-deep": lambda data: b"[" * 100_000,
}


@pytest.mark.parametrize("how", BREAKAGES)
def test_a_broken_result_is_named_and_left_out(runs: Any, report: Callable[..., Any], how: str) -> None:
    broken = runs.of("langgraph")[0] / "result.json"
    broken.write_bytes(BREAKAGES[how](broken.read_bytes()))
    answer = report("build", runs.path)
    assert answer.code == 0
    assert f"warning: {broken}" in answer.err
    assert "warning: 1 left out" in answer.err
    assert runs.summary()["totals"]["cells"] == 5
    assert "5 of 6 planned cells: 2 passed, 1 failed, 2 skipped" in answer.out


def test_nothing_left(runs: Any, report: Callable[..., Any]) -> None:
    for run in runs.runs[1:]:
        (run / "result.json").write_text("{")
    (runs.runs[0] / "result.json").unlink()
    before = runs.summary()
    answer = report("build", runs.path)
    assert answer.code == 2
    assert f"none of the runs in {runs.path} has a result that can be read" in answer.err
    assert answer.err.count("result.json:1:") == 3
    assert "cut short" in answer.err
    assert runs.summary() == before


def test_a_run_without_a_result(runs: Any, report: Callable[..., Any]) -> None:
    cut = runs.of("crewai")[0]
    (cut / "result.json").unlink()
    answer = report("build", runs.path)
    assert answer.code == 0
    assert f"warning: {cut}: no result.json: cut short, or still going on" in answer.err
    assert runs.summary()["totals"]["cells"] == 5


def test_a_run_that_is_there_twice_counts_once(runs: Any, report: Callable[..., Any]) -> None:
    original = runs.runs[0]
    shutil.copytree(original, runs.path / "zz-copy")
    answer = report("build", runs.path)
    assert f"{runs.path / 'zz-copy'}/result.json: the same run as in {original}" in answer.err
    assert runs.summary()["totals"]["cells"] == 6


def test_a_summary_that_is_broken_is_not_needed(runs: Any, report: Callable[..., Any]) -> None:
    own = runs.path / "sweeps" / runs.sweep_id / "benchmark-summary.json"
    own.write_text(own.read_text()[:200])
    answer = report("build", runs.path)
    assert answer.code == 0
    assert f"warning: {own}" in answer.err
    assert runs.summary()["totals"]["cells"] == 4


def test_of_several_sweeps_the_latest_or_the_one_that_is_named(
    runs: Any, copied: Callable[..., Any], report: Callable[..., Any]
) -> None:
    older = copied("older")
    older.rename("20200101T000000Z-abcdef")
    for run in older.of("crewai"):
        older.change(run, started_at="2020-01-01T00:00:00Z")
        shutil.copytree(run, runs.path / f"old-{run.name}")
        moved = runs.path / f"old-{run.name}"
        runs.change(moved, run_id=moved.name)
    assert f"sweep {runs.summary()['sweep_id']}: 6 cells" in report("build", runs.path).out
    latest = runs.summary()
    answer = report("build", runs.path, "--sweep", "20200101T000000Z-abcdef")
    assert "sweep 20200101T000000Z-abcdef: 2 cells: 2 passed" in answer.out
    assert runs.summary() == latest
    assert runs.summary("sweeps/20200101T000000Z-abcdef")["totals"]["cells"] == 2


def test_what_is_no_folder_of_runs(runs: Any, report: Callable[..., Any], tmp_path: Path) -> None:
    for words, said in (
        ((tmp_path / "nowhere",), "does not exist"),
        ((runs.path / "benchmark-summary.json",), "is a file"),
        (
            (runs.runs[0],),
            f"is the folder of one run\n  hint: give the folder that holds the folders of runs, as var/runs: {runs.path}",
        ),
        ((tmp_path,), f"there are no runs in {tmp_path}\n  hint: did you mean {runs.path}?"),
        ((runs.path, "--sweep", f"{runs.sweep_id}x"), f"did you mean '{runs.sweep_id}'?"),
        ((runs.path, "--out", runs.path / "benchmark-summary.md"), "can't write to"),
    ):
        answer = report("build", *words)
        assert (answer.code, answer.out) == (2, "")
        assert answer.err.startswith("error: ")
        assert said in answer.err
