"""The end of a sweep: what its runs amount to, held against what was demanded, written down for people and programs."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from pytest_execgo.benchmark.summary import summarise
from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.observability.clock import rfc3339
from pytest_execgo.plan.result import BenchmarkResult, BenchmarkSummary
from pytest_execgo.reporting import rerun
from pytest_execgo.reporting.text import one_line
from pytest_execgo.wiring.baselines import Demands
from pytest_execgo.wiring.reports import places, write_reports
from pytest_execgo.wiring.settings import Settings

_SAID = 400  # characters


def write_summary(
    settings: Settings,
    sweep_id: str,
    results: Iterable[BenchmarkResult],
    *,
    started_ns: int,
    finished_ns: int,
    planned: int | None = None,
    demands: Demands | None = None,
    unfinished: str | None = None,
    problems: list[str],
) -> BenchmarkSummary:
    """Aggregate a sweep and write its reports, for this sweep and as the latest one (see `reports.write_reports`).

    `demands` is what it is held against; `unfinished` says why it is not at its end, if it is not. A report that can't be made or
    written is added to `problems`: how the sweep ended is known all the same, and is to be told.
    """
    summary = summarise(
        results,
        sweep_id=sweep_id,
        started_at=rfc3339(started_ns),
        finished_at=rfc3339(finished_ns),
        wall_time_ms=(finished_ns - started_ns) / 1e6,
        planned=planned,
    )
    if demands is not None:
        summary = demands.judge(summary, unfinished)
    again = partial(rerun_command, settings=settings)
    try:
        write_reports(summary, settings.out, places(settings.out, sweep_id, latest=True), rerun=again)
    except Exception as error:  # whatever is wrong with a report, it is not the sweep
        said = str(error) if isinstance(error, ExecGoError) else repr(error)
        problems.append(f"not every report was written: {one_line(said, _SAID)}")
    return summary


def rerun_command(result: BenchmarkResult, settings: Settings) -> str:
    """Return the command that runs one cell again as it was run."""
    live = result.mode == "live"
    options = {
        "seed": settings.seed,
        "bin": settings.bin,
        "image": settings.image,
        "runtime-image": settings.runtime_image,
        "base-image": settings.base_image if settings.backend == "containers" else None,
        "url": settings.url,
        "runtime-url": settings.runtime_url,
        "fixtures-url": settings.fixtures_url,
        "provider": settings.provider if live else None,
        "model": (settings.model.model or None) if live else None,
        "out": settings.out if settings.out != settings.usual_out else None,
    }
    return rerun.rerun_command(result.cell, settings.backend, options)
