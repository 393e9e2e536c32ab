"""Two jobs that each ran a part of the matrix: their reports made anew elsewhere, merged, and held against gates."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

AXES = ["--execgo-matrix", "--execgo-scenario=multi_step_agent", "--execgo-chaos=none,llm_slow", "-q", "-p", "no:cacheprovider"]


def call(*words: object, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *map(str, words)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=180, check=False)


def report(*words: object, folder: Path) -> subprocess.CompletedProcess[str]:
    return call("pytest_execgo", "report", *words, folder=folder)


def summary(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "benchmark-summary.json").read_text())
    return document


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Run two parts of a matrix, each in a project of its own, and bring their artifacts together in one place."""
    found = []
    together = tmp_path_factory.mktemp("together")
    for framework in ("crewai", "autogen"):
        project = tmp_path_factory.mktemp(framework)
        finished = call("pytest", *AXES, "-k", framework, folder=project)
        assert finished.returncode == 0, finished.stdout
        found.append((project / "var" / "runs").rename(together / framework))
    return found


def test_reports_made_anew_elsewhere_are_the_same(shards: list[Path]) -> None:
    for shard in shards:
        before = summary(shard)
        finished = report("build", ".", "--out", "anew", folder=shard)
        assert (finished.returncode, finished.stderr) == (0, "")
        after = summary(shard / "anew")
        for run in (*before["runs"], *after["runs"]):
            run["artifacts"]["run_dir"] = Path(run["artifacts"]["run_dir"]).name
        assert after == before
        assert (after["totals"]["passed"], after["totals"]["skipped"], after["planned"]) == (1, 1, 2)


def test_parts_become_the_whole(shards: list[Path], tmp_path: Path) -> None:
    finished = report("merge", *shards, "--out", "all", folder=tmp_path)
    assert (finished.returncode, finished.stderr) == (0, ""), finished.stdout
    whole = summary(tmp_path / "all")
    assert whole["totals"] == {"passed": 2, "failed": 0, "error": 0, "inconclusive": 0, "skipped": 2, "cells": 4}
    assert whole["planned"] == 4
    assert len(whole["groups"]) == 4
    assert whole["plans"], "plans of two frameworks stand side by side only in the whole"
    for run in whole["runs"]:
        if run["outcome"] == "passed":
            assert (Path(run["artifacts"]["run_dir"]) / "workspace").is_dir()
    same = report("compare", shards[0], "all", "--gate", "regression<=0,pass_rate>=1", folder=tmp_path)
    assert same.returncode == 0, same.stdout + same.stderr
    assert "1 pair, 0 regressions" in same.stdout
    listed = call("pytest_execgo", "runs", "list", "--out", "all", folder=tmp_path)
    assert listed.stdout.count("passed") == 2
