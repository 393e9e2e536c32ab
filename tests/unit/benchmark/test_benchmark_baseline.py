"""Baselines: what is kept, and what of a file is told when it can't be used."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.benchmark.baseline import baseline_of, load_baseline, save_baseline
from pytest_execgo.core.errors import UsageError

Make = Callable[..., Any]


def test_what_is_saved_is_what_is_loaded(tmp_path: Path, make_run: Make, make_sweep: Make) -> None:
    runs = [
        make_run("a", 0, figures={"wall_time_ms": 12.5, "recovery_time_ms": 3.0}),
        make_run("a", 1, "failed", counts={"lost": 2, "lost_checked": 3}),
        make_run("b", 0, "skipped", reason="no crewai", backend="none", versions={}),
    ]
    baseline = baseline_of(make_sweep(runs))
    path = tmp_path / "deep" / "baseline.json"
    save_baseline(baseline, path)
    assert load_baseline(path) == baseline
    assert [path.name for path in path.parent.iterdir()] == ["baseline.json"]
    assert (baseline.backend, baseline.versions) == ("embedded", {"python": "3.11.9"})
    first, second, third = baseline.cells
    assert (first.cell_id, first.outcome, first.wall_time_ms, first.recovery_time_ms) == (runs[0].cell_id, "passed", 12.5, 3.0)
    assert (first.reasons, first.plan_digest, first.outcome_digest, first.violations) == ([], "p", "o", 0)
    assert (second.reasons, second.violations) == (["greeting is 'bye'"], 2)
    assert (third.outcome, third.reasons) == ("skipped", ["no crewai"])


def test_reasons_are_few_and_short(make_run: Make, make_sweep: Make) -> None:
    run = make_run(outcome="failed", reason="x" * 5_000)
    run = run.model_copy(update={"verdict": run.verdict.model_copy(update={"reasons": ["x" * 5_000] * 50}), "error": "e"})
    (cell,) = baseline_of(make_sweep([run])).cells
    assert [len(reason) for reason in cell.reasons] == [300] * 5
    assert cell.reasons[0].endswith("…")


def test_versions_that_changed_within_a_sweep_are_all_told(make_run: Make, make_sweep: Make) -> None:
    runs = [make_run("a"), make_run("b", versions={"python": "3.12.0", "crewai": "1.15"}, backend="native")]
    baseline = baseline_of(make_sweep(runs))
    assert baseline.versions == {"python": "3.11.9, 3.12.0", "crewai": "1.15"}
    assert baseline.backend == "embedded, native"
    assert baseline_of(make_sweep([])).backend == "none"


@pytest.fixture
def saved(tmp_path: Path, make_run: Make, make_sweep: Make) -> Path:
    path = tmp_path / "baseline.json"
    save_baseline(baseline_of(make_sweep([make_run()])), path)
    return path


def edited(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def refused(path: Path) -> UsageError:
    with pytest.raises(UsageError) as raised:
        load_baseline(path)
    assert str(path) in raised.value.message
    assert raised.value.hint
    return raised.value


def test_no_file(tmp_path: Path) -> None:
    error = refused(tmp_path / "gone.json")
    assert error.code == "unreadable_baseline"
    assert "No such file" in error.message
    assert "save=FILE" in error.hint


def test_no_json(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:-20])
    assert "baseline.json:" in refused(saved).message


@pytest.mark.parametrize("text", ["[]", "{}", '"x"', '{"sweep_id": "s"}'])
def test_something_else(saved: Path, text: str) -> None:
    saved.write_text(text)
    error = refused(saved)
    assert (error.code, "is not a baseline" in error.message) == ("not_a_baseline", True)


def test_a_summary_is_told_to_be_one(saved: Path, make_run: Make, make_sweep: Make) -> None:
    saved.write_text(make_sweep([make_run()]).model_dump_json())
    assert "it is a sweep's summary" in refused(saved).message


def test_a_newer_version(saved: Path) -> None:
    edited(saved, lambda document: document.update(execgo_baseline=2, cells={"other": "shape"}))
    error = refused(saved)
    assert (error.code, "version 2" in error.message) == ("newer_baseline", True)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda document: document["cells"][0].update(outcome="great"), "cells.0.outcome"),
        (lambda document: document["cells"][0].pop("cell_id"), "cells.0.cell_id"),
        (lambda document: document.update(surprise=1), "surprise"),
        (lambda document: document.update(execgo_baseline="1"), "execgo_baseline"),
        (lambda document: document.update(cells=None), "cells"),
    ],
)
def test_a_damaged_one_names_the_place(saved: Path, change: Callable[[dict[str, Any]], object], where: str) -> None:
    edited(saved, change)
    error = refused(saved)
    assert error.code == "damaged_baseline"
    assert f"is damaged: {where}:" in error.message


def test_one_that_cant_be_written(tmp_path: Path, make_run: Make, make_sweep: Make) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="can't be written to") as raised:
        save_baseline(baseline_of(make_sweep([make_run()])), tmp_path / "file" / "baseline.json")
    assert raised.value.code == "unwritable_baseline"
