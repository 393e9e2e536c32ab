"""Traces of runs: `trace.json` files, and what is sent to an OpenTelemetry collector."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_execgo.core.errors import ExecGoError, UsageError
from pytest_execgo.core.files import write_atomic
from pytest_execgo.core.jsonio import dumps
from pytest_execgo.observability.stored import StoredRun, load_run
from pytest_execgo.plan.result import BenchmarkResult
from pytest_execgo.reporting.chrome_trace import TRACE_EVENTS, chrome_trace
from pytest_execgo.reporting.run_trace import run_trace
from pytest_execgo.reporting.text import counted, one_line
from pytest_execgo.wiring.collector import check_exporter, shown
from pytest_execgo.wiring.settings import Settings

if TYPE_CHECKING:
    from pytest_execgo.reporting.spans import RunTrace

_SHOWN = 3


def write_trace(run: Path, out: Path | None = None) -> Path:
    """Write a run's `trace.json`, into its folder or as the file `out`; return where it is. `UsageError` when it can't be done."""
    target = out if out is not None else run / TRACE_EVENTS
    document = dumps(chrome_trace(run_trace(load_run(run)))) + "\n"
    try:
        write_atomic(target, document)
    except OSError as error:
        raise UsageError("unwritable", f"can't write {target}: {error.strerror or error}", "give a file with --out") from error
    return target


def send_runs(runs: Iterable[Path], endpoint: str | None, problems: list[str]) -> int:
    """Send runs to a collector, and return how many spans those were; `ExecGoError` says why it could not be done.

    A run that can't be read is a problem, and left out.
    """
    check_exporter()
    from pytest_execgo.reporting.otel import export

    return export(_traces(runs, problems), endpoint)


def _traces(runs: Iterable[Path], problems: list[str]) -> Iterator[tuple[RunTrace, str]]:
    for path in runs:
        try:
            run = load_run(path)
        except ExecGoError as error:
            problems.append(error.message)
            continue
        yield run_trace(run), _version(run)


def _version(run: StoredRun) -> str:
    made_by = run.result.versions.get("pytest-execgo") if run.result is not None else None
    return made_by or metadata.version("pytest-execgo")


def publish_traces(settings: Settings, results: Iterable[BenchmarkResult]) -> list[str]:
    """Write and send the traces that the settings ask for when a sweep is over; return what is to be said of that.

    Nothing is raised: how a sweep ended has nothing to do with its traces.
    """
    runs = [Path(result.artifacts.run_dir) for result in results if result.artifacts.run_dir]
    written = _write_all(runs) if settings.trace else []
    return [*written, *(_send_all(runs, settings.otel) if settings.otel is not None and runs else [])]


def _write_all(runs: Iterable[Path]) -> list[str]:
    failed = []
    for run in runs:
        try:
            write_trace(run)
        except Exception as error:  # whatever is wrong with it, it is not the sweep
            failed.append(f"warning: run {run.name} has no {TRACE_EVENTS}: {_said(error)}")
    more = [f"warning: and {len(failed) - _SHOWN} more without {TRACE_EVENTS}"] if len(failed) > _SHOWN else []
    return [*failed[:_SHOWN], *more]


def _send_all(runs: list[Path], endpoint: str) -> list[str]:
    problems: list[str] = []
    try:
        sent = send_runs(runs, endpoint, problems)
    except Exception as error:  # whatever is wrong with it, it is not the sweep
        return [f"warning: {_said(error)}"]
    left = [f"warning: {counted(len(problems), 'run')} not sent: {one_line(problems[0])}"] if problems else []
    return [f"traces: {counted(sent, 'span')} sent to {shown(endpoint)}", *left]


def _said(error: Exception) -> str:
    return one_line(error.message if isinstance(error, ExecGoError) else repr(error), 400)
