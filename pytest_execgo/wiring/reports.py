"""Reports made anew from what runs left behind: later, elsewhere, whatever process ran them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_execgo.benchmark.summary import summarise
from pytest_execgo.core.errors import UsageError
from pytest_execgo.core.files import write_atomic
from pytest_execgo.core.jsonio import dumps
from pytest_execgo.observability.clock import parse_rfc3339
from pytest_execgo.plan.result import BenchmarkResult, BenchmarkSummary
from pytest_execgo.reporting.junit import junit_xml
from pytest_execgo.reporting.markdown import sweep_summary
from pytest_execgo.reporting.page import PAGE, Rerun, write_page
from pytest_execgo.wiring.found_runs import SUMMARY, FoundRuns, earlier_summary, find_runs

JUNIT = "junit.xml"


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A sweep's summary made anew from its runs. `never_ran` of its cells have no run: the sweep's own summary told of them."""

    summary: BenchmarkSummary
    found: FoundRuns
    never_ran: int


def rebuild(folder: Path, sweep_id: str | None = None) -> Rebuilt:
    """Make a sweep's summary (default: the latest sweep's) from the `result.json` of its runs.

    What has no run folder is taken from the sweep's own summary, where that is there: cells that never ran, how many were
    planned, when it began and ended. `UsageError` when there is nothing to make a summary of.
    """
    found = find_runs(folder)
    chosen = found.chosen(sweep_id)
    results = found.of_sweep(chosen)
    if not results:
        raise UsageError("no_results", f"no run of sweep {chosen} in {folder} has a result that can be read")
    earlier = earlier_summary(folder, chosen, found.problems)
    rest = never_ran(results, earlier)
    return Rebuilt(_summary(chosen, [*results, *rest], earlier, results), found, len(rest))


def never_ran(results: Sequence[BenchmarkResult], earlier: BenchmarkSummary | None) -> list[BenchmarkResult]:
    """Return the cells of a sweep that never had a run, as its own summary has them."""
    ran = {result.cell_id for result in results}
    return [run for run in (earlier.runs if earlier else ()) if not run.artifacts.run_dir and run.cell_id not in ran]


def span_of(results: Sequence[BenchmarkResult], earlier: BenchmarkSummary | None) -> tuple[str, str, float]:
    """Return when a sweep began and ended, and how long that was (ms): as it told, else from its first run to its last."""
    if earlier is not None:
        return earlier.started_at, earlier.finished_at, earlier.wall_time_ms
    started, finished = min(run.started_at for run in results), max(run.finished_at for run in results)
    try:
        took = (parse_rfc3339(finished) - parse_rfc3339(started)) / 1e6
    except ValueError:
        took = 0.0
    return started, finished, max(took, 0.0)


def _summary(
    sweep_id: str, runs: Sequence[BenchmarkResult], earlier: BenchmarkSummary | None, results: Sequence[BenchmarkResult]
) -> BenchmarkSummary:
    started, finished, took = span_of(results, earlier)
    planned = earlier.planned if earlier is not None else None
    summary = summarise(runs, sweep_id=sweep_id, started_at=started, finished_at=finished, wall_time_ms=took, planned=planned)
    if earlier is None or {run.run_id for run in earlier.runs} != {run.run_id for run in runs}:
        return summary
    # what it was held against is not in its runs
    return summary.model_copy(update={"comparison": earlier.comparison, "gates": earlier.gates})


def places(runs: Path, sweep_id: str, *, latest: bool) -> list[Path]:
    """Return where a sweep's reports are kept: in a folder of its own, and, if it is the latest, in that of the runs."""
    own = runs / "sweeps" / sweep_id
    return [own, runs] if latest else [own]


def write_reports(summary: BenchmarkSummary, runs: Path, folders: Sequence[Path], rerun: Rerun | None = None) -> list[Path]:
    """Write a sweep's reports into each of the folders, each file whole or not at all; return those in the last one.

    They are `benchmark-summary.json` and `.md`, `junit.xml` and `report.html`. `runs` holds the folders of its runs; `rerun`
    gives the command that runs a run's cell again. `UsageError` when a folder can't be written to.
    """
    texts = {
        SUMMARY: dumps(summary.model_dump(mode="json"), indent=2) + "\n",
        "benchmark-summary.md": sweep_summary(summary),
        JUNIT: junit_xml(summary),
    }
    try:
        for folder in folders:
            for name, text in texts.items():
                write_atomic(folder / name, text)
        write_page(summary, runs, folders=folders, rerun=rerun)
    except OSError as error:
        said = f"can't write to {error.filename or folders[-1]}: {error.strerror or error}"
        raise UsageError("unwritable", said, "name another folder with --out") from error
    return [folders[-1] / name for name in (*texts, PAGE)]
