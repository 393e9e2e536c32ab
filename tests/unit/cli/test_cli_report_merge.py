"""`report merge`: the parts of a matrix that several machines ran, as one sweep that needs none of them any more."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.reporting.markdown import sweep_summary


@pytest.fixture
def parts(copied: Callable[..., Any]) -> tuple[Any, Any]:
    """Two folders: crewai's runs of one sweep, langgraph's of another."""
    one, two = copied("one"), copied("two")
    two.rename("20300101T000000Z-bbbbbb")
    for part, other in ((one, "langgraph"), (two, "crewai")):
        for run in part.of(other):
            shutil.rmtree(run)
        own = part.path / "sweeps" / part.sweep_id / "benchmark-summary.json"
        summary = json.loads(own.read_text())
        summary["runs"] = [run for run in summary["runs"] if run["framework"] != other]
        own.write_text(json.dumps(summary | {"planned": 3}))
    return one, two


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def merged(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the summary of a merged folder, and what it says of how it was made."""
    summary = json.loads((folder / "benchmark-summary.json").read_text())
    about = json.loads((folder / "sweeps" / summary["sweep_id"] / "merge.json").read_text())
    return summary, about


@pytest.mark.parametrize("link", [False, True], ids=["copied", "linked"])
def test_two_parts_become_one(parts: tuple[Any, Any], report: Callable[..., Any], tmp_path: Path, link: bool) -> None:
    out = tmp_path / "deep" / "all"
    before = {part.path: files(part.path) for part in parts}
    answer = report("merge", parts[0].path, parts[1].path, "--out", out, *(["--link"] if link else []))
    assert (answer.code, answer.err) == (0, "")
    assert {part.path: files(part.path) for part in parts} == before
    summary, about = merged(out)
    assert summary["totals"] == {"passed": 2, "failed": 2, "error": 0, "inconclusive": 0, "skipped": 2, "cells": 6}
    assert summary["planned"] == 6
    assert summary["wall_time_ms"] == pytest.approx(2 * parts[0].summary()["wall_time_ms"])
    assert about["sweep_id"] == summary["sweep_id"]
    assert summary["sweep_id"] not in {part.sweep_id for part in parts}
    assert [(one["sweep_id"], one["runs"]) for one in about["sources"]] == [(part.sweep_id, 2) for part in parts]
    assert {run["sweep_id"] for run in summary["runs"] if run["artifacts"]["run_dir"]} == {part.sweep_id for part in parts}
    for part in parts:
        for run in part.runs:
            assert files(out / run.name) == files(run)
            assert (out / run.name / "result.json").samefile(run / "result.json") is link
    assert "6 cells: 2 passed, 2 failed, 2 skipped" in answer.out


def test_what_was_merged_is_whole_by_itself(parts: tuple[Any, Any], report: Callable[..., Any], tmp_path: Path) -> None:
    report("merge", parts[0].path, parts[1].path, "--out", tmp_path / "all")
    summary, _ = merged(tmp_path / "all")
    sweeps = [part.sweep_id for part in parts]
    for part in parts:
        shutil.rmtree(part.path)
    (tmp_path / "all").rename(tmp_path / "moved")
    names = [run["run_id"] for run in summary["runs"]]
    page = (tmp_path / "moved" / "report.html").read_text()
    assert all(name in page for name in names)
    assert str(tmp_path / "one") not in page
    assert report("build", tmp_path / "moved").code == 0
    again, _ = merged(tmp_path / "moved")
    assert (again["sweep_id"], again["totals"], again["planned"]) == (summary["sweep_id"], summary["totals"], 6)
    assert [run["run_id"] for run in again["runs"]] == names
    for sweep_id in sweeps:  # each part can still be looked at for itself
        assert "3 cells" in report("build", tmp_path / "moved", "--sweep", sweep_id, "--out", tmp_path / sweep_id).out
    assert list((tmp_path / "moved" / "stacks").glob("*/kernel.log"))


def test_a_merge_can_be_merged_with_more(parts: tuple[Any, Any], copied: Callable[..., Any], report: Callable[..., Any]) -> None:
    third = copied("three")
    third.rename("20310101T000000Z-cccccc")
    for run in third.runs:
        third.change(run, repetition=1, cell_id=f"{third.runs.index(run):016x}", run_id=f"other-{run.name}")
        run.rename(run.with_name(f"other-{run.name}"))
    root = third.path.parent
    log = Path("stacks", f"{parts[0].sweep_id}-gw0", "kernel.log")
    (parts[0].path / log).parent.mkdir(parents=True)
    (parts[0].path / log).write_text("it began\n")
    assert report("merge", parts[0].path, parts[1].path, "--out", root / "all").code == 0
    assert report("merge", root / "all", third.path, "--out", root / "more").code == 0
    summary, about = merged(root / "more")
    assert summary["totals"]["passed"] == 4
    assert summary["totals"]["failed"] == 4
    assert len(about["runs"]) == 8
    assert (root / "more" / log).read_text() == "it began\n"
    for part in parts:
        assert (root / "more" / "sweeps" / part.sweep_id / "benchmark-summary.json").is_file()


def test_a_cell_that_two_sweeps_ran_is_refused(
    runs: Any, copied: Callable[..., Any], report: Callable[..., Any], tmp_path: Path
) -> None:
    later = copied("later")
    later.rename("20300101T000000Z-bbbbbb")
    answer = report("merge", runs.path, later.path, "--out", tmp_path / "all")
    assert answer.code == 2
    assert "4 cells were run by more than one of the sweeps" in answer.err
    assert (
        f"relay[crewai-replay-none-0]: {runs.path} (sweep {runs.sweep_id}) and {later.path} (sweep {later.sweep_id})" in answer.err
    )
    assert "--prefer latest" in answer.err
    assert sorted(tmp_path.iterdir()) == [later.path, runs.path]


def test_the_run_that_ended_last_stands(runs: Any, copied: Callable[..., Any], report: Callable[..., Any], tmp_path: Path) -> None:
    other = copied("other")
    other.rename("20300101T000000Z-bbbbbb")
    for run in other.runs:
        later = "-crewai-" in run.name
        other.change(run, run_id=f"other-{run.name}", finished_at=f"20{30 if later else 20}-01-01T00:00:00Z")
        run.rename(run.with_name(f"other-{run.name}"))
    answer = report("merge", runs.path, other.path, "--out", tmp_path / "all", "--prefer", "latest")
    assert answer.code == 0
    summary, about = merged(tmp_path / "all")
    assert summary["totals"] == runs.summary()["totals"]
    assert summary["planned"] == 6
    taken = {run["framework"]: run["sweep_id"] for run in summary["runs"] if run["artifacts"]["run_dir"]}
    assert taken == {"crewai": other.sweep_id, "langgraph": runs.sweep_id}
    kept = {f"other-{run.name}" for run in runs.of("crewai")} | {run.name for run in runs.of("langgraph")}
    assert {path.name for path in (tmp_path / "all").iterdir() if (path / "result.json").exists()} == kept
    assert sum("stands, since it ended last" in note for note in about["notes"]) == 4
    assert answer.out.count("note: ") == 4


def test_what_differs_is_noted(parts: tuple[Any, Any], report: Callable[..., Any], tmp_path: Path) -> None:
    one, two = parts
    for run in two.runs:
        versions = two.result(run)["versions"] | {"python": "4.0.0"}
        two.change(run, backend="native", sweep_seed=5, versions=versions)
    answer = report("merge", one.path, two.path, "--out", tmp_path / "all")
    assert answer.code == 0
    notes = merged(tmp_path / "all")[1]["notes"]
    assert len(notes) == 3
    assert f"the backend differs: embedded in {one.sweep_id}; native in {two.sweep_id}" in notes
    assert f"the seed of the sweep differs: 5 in {two.sweep_id}; each scenario's own in {one.sweep_id}" in notes
    assert any(note.startswith("the version of python differs: ") and f"4.0.0 in {two.sweep_id}" in note for note in notes)


def test_broken_runs_are_named_and_left_out(parts: tuple[Any, Any], report: Callable[..., Any], tmp_path: Path) -> None:
    one, two = parts
    torn, cut = one.runs[0], two.runs[0]
    (torn / "result.json").write_text("{")
    (cut / "result.json").unlink()
    answer = report("merge", one.path, two.path, "--out", tmp_path / "all")
    assert answer.code == 0
    assert f"warning: {torn}/result.json:1:" in answer.err
    assert f"warning: {cut}: no result.json" in answer.err
    assert "warning: 2 left out" in answer.err
    summary, _ = merged(tmp_path / "all")
    assert (summary["totals"]["cells"], summary["planned"]) == (4, 6)
    assert not (tmp_path / "all" / torn.name).exists()


def test_what_a_task_left_in_its_workspace(parts: tuple[Any, Any], report: Callable[..., Any], tmp_path: Path) -> None:
    """A FIFO would be waited for; a link out of the folder is copied as what it is."""
    workspace = parts[0].runs[0] / "workspace"
    workspace.mkdir()
    os.mkfifo(workspace / "pipe")
    (tmp_path / "secret").write_text("not of this run")
    (workspace / "way-out").symlink_to(tmp_path / "secret")
    (workspace / "dangling").symlink_to("nowhere")
    assert report("merge", parts[0].path, parts[1].path, "--out", tmp_path / "all").code == 0
    copied = tmp_path / "all" / parts[0].runs[0].name / "workspace"
    assert sorted(path.name for path in copied.iterdir()) == ["dangling", "way-out"]
    assert (copied / "way-out").is_symlink()


def test_a_merge_that_fails_leaves_nothing(
    parts: tuple[Any, Any], report: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pytest_execgo.wiring.reports.sweep_summary", full)
    before = sorted(tmp_path.iterdir())
    answer = report("merge", parts[0].path, parts[1].path, "--out", tmp_path / "all")
    assert answer.code == 2
    assert "all was not made: No space left on device" in answer.err
    assert sorted(tmp_path.iterdir()) == before
    monkeypatch.setattr("pytest_execgo.wiring.reports.sweep_summary", sweep_summary)
    (tmp_path / "all").mkdir()
    assert report("merge", parts[0].path, parts[1].path, "--out", tmp_path / "all").code == 0


def test_what_can_not_be_merged(parts: tuple[Any, Any], report: Callable[..., Any], tmp_path: Path) -> None:
    one, two = parts[0].path, parts[1].path
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("mine")
    (tmp_path / "empty").mkdir()
    for words, said in (
        ((one, two, "--out", tmp_path / "taken"), "is there already, and not empty"),
        ((one, two, "--out", tmp_path / "taken" / "file"), "is there already, and not empty"),
        ((one, f"{one}/", "--out", tmp_path / "all"), "a folder is named twice"),
        ((one, tmp_path / "empty", "--out", tmp_path / "all"), f"there are no runs in {tmp_path / 'empty'}"),
        ((one, parts[1].runs[0], "--out", tmp_path / "all"), "is the folder of one run"),
        ((one, two, "--sweep", "nosuch", "--out", tmp_path / "all"), "unknown sweep 'nosuch'"),
    ):
        answer = report("merge", *words)
        assert (answer.code, answer.out) == (2, "")
        assert said in answer.err
        assert not (tmp_path / "all").exists()
    assert (tmp_path / "taken" / "file").read_text() == "mine"


@pytest.mark.parametrize("form", [".", "benchmark-summary.json", "own"])
def test_a_part_that_was_killed_lets_the_whole_meet_no_gate(
    parts: tuple[Any, Any], report: Callable[..., Any], tmp_path: Path, form: str
) -> None:
    whole, killed = parts
    own = killed.path / "sweeps" / killed.sweep_id
    document = json.loads((own / "sweep.json").read_text())
    out = tmp_path / "all"

    def compared(finished_at: str | None) -> Any:
        shutil.rmtree(out, ignore_errors=True)
        (own / "sweep.json").write_text(json.dumps({**document, "finished_at": finished_at}))
        assert report("merge", whole.path, killed.path, "--out", out).code == 0
        after = out / "sweeps" / merged(out)[0]["sweep_id"] if form == "own" else out / form
        return report("compare", whole.path, after, "--gate", "pass_rate>=0")

    (own / "benchmark-summary.json").unlink()
    assert compared(document["finished_at"]).code == 0
    answer = compared(None)
    assert answer.code == 1
    assert f"something of sweep {killed.sweep_id} is left to do: " in answer.out
