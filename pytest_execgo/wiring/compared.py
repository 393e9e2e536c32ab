"""Two sweeps side by side, each given as a baseline, as a summary, or as the folder of its runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from pytest_execgo.benchmark.baseline import baseline_of, load_baseline
from pytest_execgo.benchmark.comparison import compare
from pytest_execgo.benchmark.gates import Condition, evaluate
from pytest_execgo.benchmark.summary import summarise
from pytest_execgo.core.errors import UsageError
from pytest_execgo.core.jsonio import read_json
from pytest_execgo.observability.stored import load_summary
from pytest_execgo.plan.history import HistoryVerdict, Violation
from pytest_execgo.plan.result import ArtifactManifest, BenchmarkResult, BenchmarkSummary, RunMetrics
from pytest_execgo.plan.statistics import Baseline, CellOutcome
from pytest_execgo.wiring.found_runs import MERGE, SUMMARY, MergeFile
from pytest_execgo.wiring.reports import rebuild
from pytest_execgo.wiring.sweep_file import SWEEP, read_sweep_file

_KINDS = "a baseline, a benchmark-summary.json, or a folder of runs"


def compare_sweeps(before: Path, after: Path, gates: Sequence[Condition]) -> tuple[BenchmarkSummary, list[str]]:
    """Return the later sweep's summary with its comparison and gates, and what could not be read of the two."""
    problems: list[str] = []
    baseline, later = baseline_at(before, problems), summary_at(after, problems)
    later = later.model_copy(update={"comparison": compare(baseline, later)})
    return later.model_copy(update={"gates": evaluate(gates, later, unfinished=_unfinished(after, later))}), problems


def baseline_at(path: Path, problems: list[str]) -> Baseline:
    """Return a sweep to compare with, of whichever kind it is; `UsageError` when it is none of them."""
    found = _document_at(path)
    return load_baseline(found) if found is not None and _is_baseline(found) else baseline_of(summary_at(path, problems))


def summary_at(path: Path, problems: list[str]) -> BenchmarkSummary:
    """Return a sweep's summary: as it is kept, made of its runs, or as far as a baseline tells it."""
    found = _document_at(path)
    if found is None:
        rebuilt = rebuild(path)
        problems += rebuilt.found.problems
        return rebuilt.summary
    return summary_of(load_baseline(found)) if _is_baseline(found) else load_summary(found)


def summary_of(baseline: Baseline) -> BenchmarkSummary:
    """Return what a baseline tells as a summary: outcomes, times and counts, no artifacts."""
    runs = [_run(cell, number, baseline) for number, cell in enumerate(baseline.cells, 1)]
    finished = baseline.finished_at
    return summarise(runs, sweep_id=baseline.sweep_id, started_at=finished, finished_at=finished, wall_time_ms=0.0)


def _unfinished(path: Path, summary: BenchmarkSummary) -> str | None:
    """Say why a sweep, or one that was merged into it, is not at its end; None when it is, or nothing tells.

    One that was killed has no summary that counts what it was to run, but a `sweep.json`.
    """
    cells = summary.totals.get("cells", len(summary.runs))
    if summary.planned is not None and cells < summary.planned:
        return f"{cells} of {summary.planned} cells were run to their end"
    folder = path if path.is_dir() else path.parent
    sweeps = folder.parent if (folder / SWEEP).is_file() or (folder / MERGE).is_file() else folder / "sweeps"
    for sweep_id in (summary.sweep_id, *_merged_into(sweeps / summary.sweep_id / MERGE)):
        sweep = read_sweep_file(sweeps / sweep_id)
        if sweep is not None and sweep.finished_at is None:
            return f"something of sweep {sweep_id} is left to do: {sweeps / sweep_id / SWEEP} has no finished_at"
    return None


def _merged_into(merge: Path) -> list[str]:
    if not merge.is_file():
        return []
    try:
        return [part.sweep_id for part in MergeFile.model_validate(read_json(merge)).sources]
    except ValidationError as error:
        raise UsageError("bad_merge", f"{merge} is damaged, or of another version", "merge the sweeps again") from error


def _run(cell: CellOutcome, number: int, baseline: Baseline) -> BenchmarkResult:
    broken = [Violation(check="kept", message="a baseline keeps only how many there were")] * cell.violations
    return BenchmarkResult(
        **cell.model_dump(include={"cell_id", "scenario_id", "framework", "mode", "chaos_profile", "repetition"}),
        **cell.model_dump(include={"seed", "sweep_seed", "outcome", "plan_digest", "outcome_digest"}),
        run_id=f"kept-{number}",
        sweep_id=baseline.sweep_id,
        error="; ".join(cell.reasons) or None,
        metrics=RunMetrics(wall_time_ms=cell.wall_time_ms, recovery_time_ms=cell.recovery_time_ms),
        history=HistoryVerdict(outcome="invalid", violations=broken) if broken else None,
        artifacts=ArtifactManifest(run_dir=""),
        started_at=baseline.finished_at,
        finished_at=baseline.finished_at,
        backend=baseline.backend,
        versions=baseline.versions,
    )


def _document_at(path: Path) -> Path | None:
    """Return the file that a path stands for; None for a folder of runs. `UsageError` when it is nothing."""
    if path.is_file():
        return path
    if not path.is_dir():
        raise UsageError("nothing_to_compare", f"{path} does not exist", f"give {_KINDS}")
    own = path / SUMMARY
    of_one_sweep = own.is_file() and ((path / SWEEP).is_file() or (path / MERGE).is_file())  # `sweeps/<sweep_id>`
    return own if of_one_sweep else None


def _is_baseline(file: Path) -> bool:
    document = read_json(file)
    if not isinstance(document, dict) or not ("execgo_baseline" in document or "groups" in document):
        raise UsageError("nothing_to_compare", f"{file} is neither a baseline nor a sweep's summary", f"give {_KINDS}")
    return "execgo_baseline" in document
