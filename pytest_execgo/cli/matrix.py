"""What `run` and `benchmark` share: options, cells, exit codes."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.plan.cell import Cell
from pytest_execgo.plan.result import BenchmarkResult
from pytest_execgo.reporting.terminal import sweep_table
from pytest_execgo.reporting.text import inert, one_line
from pytest_execgo.wiring.baselines import Demands, unfinished
from pytest_execgo.wiring.closing import write_summary
from pytest_execgo.wiring.options import OPTIONS, asked_for, effective
from pytest_execgo.wiring.resume import settled
from pytest_execgo.wiring.settings import Settings
from pytest_execgo.wiring.sweep import Sweep
from pytest_execgo.wiring.sweep_file import finish_sweep
from pytest_execgo.wiring.traces import publish_traces
from pytest_execgo.wiring.unrun import not_run
from pytest_execgo.wiring.writable import artifacts_folder

_NOT_HERE = ("matrix", "progress", "junit-properties")


def parse(prog: str, description: str, argv: list[str], **defaults: str) -> Settings:
    """Read the options of `run` or `benchmark`; the current folder is the project."""
    parser = argparse.ArgumentParser(prog=f"python -m pytest_execgo {prog}", description=description, allow_abbrev=False)
    for option in OPTIONS:
        if option.name in _NOT_HERE:
            continue
        if option.kind == "flag":
            parser.add_argument(f"--{option.name}", dest=option.name, action="store_true", default=None, help=option.help)
        else:
            action = "append" if option.kind == "list" else "store"
            parser.add_argument(f"--{option.name}", dest=option.name, action=action, metavar=option.metavar, help=option.help)
    given = vars(parser.parse_args(argv))
    named, based = asked_for("backend", given), given["base-image"] is not None
    return Settings.parse(effective(given, defaults), Path.cwd(), backend_named=named, base_image_given=based)


def run_all(sweep: Sweep) -> tuple[list[BenchmarkResult], int]:
    """Run every cell, a line each, write the summary, print its table; return the results and the exit code."""
    results: list[BenchmarkResult] = []
    demands = Demands.of(sweep.settings)
    started_ns = time.time_ns()
    sweep.check()
    artifacts_folder(sweep.settings)
    if sweep.resumption is not None:
        print(sweep.resumption.describe(sweep.cells), flush=True)
    try:
        with sweep:
            for cell in sweep.cells:
                result = _run(sweep, cell)
                results.append(result)
                wall = result.metrics.wall_time_ms
                print(f"{result.outcome:<12} {cell}{'' if wall is None else f'  {wall:.0f} ms'}", flush=True)
                if result.outcome in ("error", "inconclusive", "skipped"):
                    for line in str(result.error).splitlines():
                        print(inert(f"  {one_line(line)}"), flush=True)
        if all(map(settled, results)):
            finish_sweep(sweep.settings.out, sweep.sweep_id, len(results))
    finally:  # an interrupted sweep keeps what it found
        passed = _conclude(sweep, results, demands, started_ns)
    return results, exit_code(results) or int(not passed)


def _conclude(sweep: Sweep, results: list[BenchmarkResult], demands: Demands, started_ns: int) -> bool:
    """Write the summary, print its table, keep it as a baseline where it may be one; tell whether all that went well."""
    planned = len(sweep.cells)
    rest = unfinished(sum(map(settled, results)), planned, broken_off=len(results) < planned)
    problems: list[str] = []
    summary = write_summary(
        sweep.settings,
        sweep.sweep_id,
        results,
        started_ns=started_ns,
        finished_ns=time.time_ns(),
        planned=planned,
        demands=demands,
        unfinished=rest,
        problems=problems,
    )
    print()
    for line in sweep_table(summary):
        print(line)
    out = sweep.settings.out
    print(f"report: {out / 'report.html'}   summary: {out / 'benchmark-summary.md'}")
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    kept = demands.keep(summary, rest)
    if kept is not None:
        print(kept)
    for line in publish_traces(sweep.settings, summary.runs):
        print(line)
    return not problems and all(gate.passed for gate in summary.gates)


def _run(sweep: Sweep, cell: Cell) -> BenchmarkResult:
    """Run one cell; what keeps it from running is its result, not the end of the sweep."""
    excluded = sweep.planned(cell).excluded
    if excluded:
        return not_run(cell, "skipped", excluded)
    try:
        return sweep.run(cell)
    except ExecGoError as error:
        return not_run(cell, "error", str(error))


def list_cells(sweep: Sweep) -> int:
    """Print every cell and whether it would run."""
    from pytest_execgo.wiring.matrix import describe

    for line in describe([sweep.planned(cell) for cell in sweep.cells]):
        print(line)
    return 0


def exit_code(results: list[BenchmarkResult]) -> int:
    """Return 0 when every cell that ran passed, 1 when a plan failed, 3 when something could not be concluded."""
    outcomes = {result.outcome for result in results}
    if outcomes & {"error", "inconclusive"}:
        return 3
    return 1 if "failed" in outcomes else 0
