"""`report build|merge|compare|trace|otel`: reports and traces of runs that are over, made of their artifacts alone."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_execgo.benchmark.gates import parse_gates
from pytest_execgo.core.errors import ExecGoError, UsageError
from pytest_execgo.observability.artifacts import RESULT, RUN
from pytest_execgo.reporting.comparison import comparison_text
from pytest_execgo.reporting.gates import gate_lines
from pytest_execgo.reporting.tally import totals_line
from pytest_execgo.reporting.text import counted, one_line
from pytest_execgo.wiring.collector import check_exporter, collector, shown
from pytest_execgo.wiring.compared import compare_sweeps
from pytest_execgo.wiring.found_runs import find_runs, no_runs
from pytest_execgo.wiring.merge import merge
from pytest_execgo.wiring.reports import places, rebuild, write_reports
from pytest_execgo.wiring.sweep_file import new_sweep_id
from pytest_execgo.wiring.traces import send_runs, write_trace

_RUNS = "folder that holds the folders of runs, as var/runs"
_SWEEP = "id of the sweep (default: the latest one in the folder)"
_KIND = "a baseline, a benchmark-summary.json, or a folder of runs"
_SHOWN = 20

_Run = Callable[[argparse.Namespace], int]
if TYPE_CHECKING:
    _Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def main(argv: list[str]) -> int:
    """Run one of the commands; 0 success, 1 a gate was not met, 2 a user's mistake, 3 we or the machine failed."""
    options = _parser().parse_args(argv)
    run: _Run = options.run
    try:
        return run(options)
    except OSError as error:
        if error.filename is None:  # no file's: the pipe that is printed to was closed
            raise
        raise UsageError.unreadable(error.filename, error) from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pytest_execgo report",
        description="Reports and traces of runs that are over, made of what they left behind; nothing is run.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_build(commands)
    _add_merge(commands)
    _add_compare(commands)
    _add_trace(commands)
    _add_otel(commands)
    return parser


def _command(commands: _Commands, name: str, run: _Run, what: str, more: str) -> argparse.ArgumentParser:
    said = f"{what[0].upper()}{what[1:]}. {more}"
    sub = commands.add_parser(name, help=what, description=said, allow_abbrev=False)
    sub.set_defaults(run=run)
    return sub


def _add_build(commands: _Commands) -> None:
    files = "benchmark-summary.json and .md, report.html and junit.xml"
    more = f"They are {files}. The folder may have been moved, or come from elsewhere."
    sub = _command(commands, "build", _build, "make a sweep's reports anew from the results of its runs", more)
    sub.add_argument("runs", type=Path, metavar="DIR", help=_RUNS)
    sub.add_argument("--sweep", metavar="ID", help=_SWEEP)
    sub.add_argument("--out", type=Path, metavar="DIR", help="folder for the reports (default: where the sweep's own ones are)")


def _add_merge(commands: _Commands) -> None:
    more = "For parts of one matrix that several machines or jobs ran. The new folder has all runs, and their reports."
    sub = _command(commands, "merge", _merge, "take the sweeps of several folders together as one", more)
    sub.add_argument("runs", type=Path, nargs="+", metavar="DIR", help=_RUNS)
    sub.add_argument("--out", type=Path, required=True, metavar="DIR", help="the new folder; it must not exist, or be empty")
    which = "only this sweep; repeatable (default: the latest of each folder)"
    sub.add_argument("--sweep", action="append", default=[], metavar="ID", help=which)
    sub.add_argument("--link", action="store_true", help="link the runs' files instead of copying them (on one file system)")
    sub.add_argument("--prefer", choices=["latest"], help="of a cell that two sweeps ran, take the run that ended last")


def _add_compare(commands: _Commands) -> None:
    more = "Exit code: 0, 1 when a gate is not met, 2 for what can't be compared."
    sub = _command(commands, "compare", _compare, "put a sweep beside an earlier one", more)
    sub.add_argument("before", type=Path, metavar="BEFORE", help=_KIND)
    sub.add_argument("after", type=Path, metavar="AFTER", help=_KIND)
    what = "what AFTER has to meet, as 'regression<=0,pass_rate>=0.95'; repeatable"
    sub.add_argument("--gate", action="append", default=[], metavar="CONDITIONS", help=what)


def _add_trace(commands: _Commands) -> None:
    more = "Of a run that was cut short, too. Open it at https://ui.perfetto.dev."
    sub = _command(commands, "trace", _trace, "write a run's trace.json, for Perfetto", more)
    sub.add_argument("runs", type=Path, metavar="RUN", help="a run's folder, or a folder of runs: then every run's")
    sub.add_argument("--sweep", metavar="ID", help="only the runs of this sweep")
    sub.add_argument("--out", type=Path, metavar="FILE", help="the file to write, for one run (default: trace.json in its folder)")


def _add_otel(commands: _Commands) -> None:
    more = "Headers, certificates and time limits are what the OTEL_EXPORTER_OTLP_* variables say. A run may be sent twice."
    sub = _command(commands, "otel", _otel, "send runs as OpenTelemetry spans to a collector (OTLP over HTTP)", more)
    sub.add_argument("runs", type=Path, metavar="RUN", help="a run's folder, or a folder of runs: then every run of a sweep")
    sub.add_argument("--sweep", metavar="ID", help=_SWEEP)
    where = "the collector (default: OTEL_EXPORTER_OTLP_ENDPOINT, else http://localhost:4318)"
    sub.add_argument("--endpoint", metavar="URL", help=where)


def _build(options: argparse.Namespace) -> int:
    runs = _not_one_run(options.runs)
    rebuilt = rebuild(runs, options.sweep)
    summary, found = rebuilt.summary, rebuilt.found
    latest = summary.sweep_id == found.sweep_ids()[-1]
    folders = [options.out] if options.out is not None else places(runs, summary.sweep_id, latest=latest)
    reports = write_reports(summary, runs, folders)
    print(f"sweep {summary.sweep_id}: {totals_line(summary)}")
    if rebuilt.never_ran:
        print(f"{counted(rebuilt.never_ran, 'cell')} without a run, as the sweep's own summary has them")
    _warn(found.left_out(summary.sweep_id), "left out")
    for path in reports:
        print(path)
    return 0


def _merge(options: argparse.Namespace) -> int:
    folders = [_not_one_run(folder) for folder in options.runs]
    merged = merge(
        folders, options.out, new_sweep_id(), sweeps=options.sweep, prefer_latest=options.prefer == "latest", link=options.link
    )
    for source in merged.file.sources:
        print(f"{counted(source.runs, 'run')} of sweep {source.sweep_id} in {source.folder}")
    for note in merged.file.notes:
        print(f"note: {one_line(note)}")
    _warn(merged.left_out, "left out")
    print(f"sweep {merged.summary.sweep_id}: {totals_line(merged.summary)}")
    for path in merged.reports:
        print(path)
    return 0


def _compare(options: argparse.Namespace) -> int:
    gates = parse_gates(part for text in options.gate for part in text.split(",") if part.strip())
    summary, problems = compare_sweeps(options.before, options.after, gates)
    if summary.comparison is not None:
        print(comparison_text(summary.comparison))
    for line in gate_lines(summary.gates):
        print(line)
    _warn(problems, "left out")
    return int(not all(gate.passed for gate in summary.gates))


def _trace(options: argparse.Namespace) -> int:
    runs = _chosen(options.runs, options.sweep, whole_sweep=False)
    if options.out is not None and len(runs) > 1:
        raise UsageError("not_one_run", f"--out takes one trace, and {options.runs} holds {len(runs)} runs", "give a run's folder")
    failed = []
    for run in runs:
        try:
            print(write_trace(run, options.out))
        except ExecGoError as error:
            if len(runs) == 1:
                raise
            failed.append(error.message)
    _warn(failed, "without a trace")
    return 0 if len(failed) < len(runs) else 2


def _otel(options: argparse.Namespace) -> int:
    endpoint = collector("--endpoint", options.endpoint) if options.endpoint is not None else None
    check_exporter()
    runs = _chosen(options.runs, options.sweep, whole_sweep=True)
    problems: list[str] = []
    sent = send_runs(runs, endpoint, problems)
    _warn(problems, "not sent")
    where = endpoint or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or "http://localhost:4318"
    print(f"{counted(sent, 'span')} of {counted(len(runs) - len(problems), 'run')} sent to {shown(where)}")
    return 0 if sent else 2


def _chosen(path: Path, sweep: str | None, *, whole_sweep: bool) -> list[Path]:
    """Return the folders of the runs that are meant: the one given, or those in it."""
    if _is_run(path):
        return [path]
    found = find_runs(path)
    _warn(found.problems, "left out")
    if sweep is not None or whole_sweep:
        return [Path(result.artifacts.run_dir) for result in found.of_sweep(found.chosen(sweep))]
    runs = sorted([*(Path(result.artifacts.run_dir) for result in found.results), *found.unfinished_of(None)])
    if not runs:
        raise no_runs(path)
    return runs


def _is_run(path: Path) -> bool:
    return (path / RESULT).is_file() or (path / RUN).is_file()


def _not_one_run(path: Path) -> Path:
    if _is_run(path):
        raise UsageError("one_run", f"{path} is the folder of one run", f"give the {_RUNS}: {path.resolve().parent}")
    return path


def _warn(lines: Sequence[str], what: str) -> None:
    """Name on standard error what was left out, and count it."""
    for line in lines[:_SHOWN]:
        print(f"warning: {one_line(line)}", file=sys.stderr)
    if lines:
        print(f"warning: {len(lines)} {what}", file=sys.stderr)
