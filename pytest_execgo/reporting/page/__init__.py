"""`report.html`: a sweep as one page that opens anywhere, made of its summary and its runs' artifacts (docs/report.md)."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pytest_execgo.core.files import write_atomic
from pytest_execgo.plan.result import BenchmarkResult, BenchmarkSummary
from pytest_execgo.plan.statistics import Comparison
from pytest_execgo.reporting.page.document import document
from pytest_execgo.reporting.page.gather import Gatherer
from pytest_execgo.reporting.rerun import DEFAULT_BACKEND, rerun_command

PAGE = "report.html"

Rerun = Callable[[BenchmarkResult], str]


def build(
    summary: BenchmarkSummary,
    out: Path,
    *,
    baseline: Comparison | None = None,
    rerun: Rerun | None = None,
    place: Path | None = None,
) -> str:
    """Return the page of a sweep whose runs' folders are in `out`.

    `baseline` compares the sweep with another one (default: what the summary says), `rerun` gives the command that runs a
    run's cell again (default: on its backend, with its seed), `place` is the folder that the page will be in (default:
    `out`), from which it links artifacts. Artifacts that are missing or can't be read are said on the page. `UsageError`
    for a summary that contradicts itself.
    """
    index, blocks = _gather(summary, out, baseline, rerun)
    return _placed(index, blocks, out, place or out)


def write_page(
    summary: BenchmarkSummary,
    out: Path,
    *,
    baseline: Comparison | None = None,
    rerun: Rerun | None = None,
    folders: Sequence[Path] | None = None,
) -> Path:
    """Write the page of a sweep into each of `folders` (default: the sweep's own, and `out`); return the last one's.

    The runs' artifacts are read once, however many folders there are. Otherwise as `build`.
    """
    index, blocks = _gather(summary, out, baseline, rerun)
    places = list(folders) if folders is not None else [out / "sweeps" / summary.sweep_id, out]
    for folder in places:
        write_atomic(folder / PAGE, _placed(index, blocks, out, folder))
    return places[-1] / PAGE


def _gather(
    summary: BenchmarkSummary, out: Path, baseline: Comparison | None, rerun: Rerun | None
) -> tuple[dict[str, Any], list[str]]:
    return Gatherer(summary, out, baseline or summary.comparison, rerun or _again).gather()


def _placed(index: dict[str, Any], blocks: list[str], out: Path, place: Path) -> str:
    way = Path(os.path.relpath(out, place)).as_posix()
    return document({**index, "runs_at": "" if way == "." else f"{way}/"}, blocks)


def _again(run: BenchmarkResult) -> str:
    backend = run.backend if run.backend != "none" else DEFAULT_BACKEND  # a cell that never ran had none
    return rerun_command(run.cell, backend, {"seed": run.sweep_seed})
