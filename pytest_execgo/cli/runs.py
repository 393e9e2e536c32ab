"""`runs list|show|resume|rollback`: look at the runs of a folder, go on with one that was cut short, set one back."""

from __future__ import annotations

import argparse
from pathlib import Path

from pytest_execgo.cli.matrix import exit_code
from pytest_execgo.core.errors import ExecGoError, UsageError
from pytest_execgo.core.jsonio import read_json
from pytest_execgo.observability.artifacts import RESULT, RunFile, read_run_file, set_result_aside
from pytest_execgo.plan.checkpoint import Checkpoint
from pytest_execgo.reporting.text import one_line
from pytest_execgo.runner.checkpoints.run_state import RunStore, read_state
from pytest_execgo.wiring.alone import alone_in
from pytest_execgo.wiring.matrix import selector
from pytest_execgo.wiring.options import OPTIONS, effective
from pytest_execgo.wiring.resume import ABANDONED, runs_in, stored_result, take_over, was_interrupted
from pytest_execgo.wiring.settings import Settings
from pytest_execgo.wiring.sweep import Sweep
from pytest_execgo.wiring.sweep_file import read_sweep_file

_CHOSEN_BY_THE_RUN = ("matrix", "dry-run", "scenario", "framework", "mode", "chaos", "repeat", "seed", "cell", "resume")
_OF_A_SWEEP = ("baseline", "gate")
_OF_A_RUN = [option for option in OPTIONS if option.name not in (*_CHOSEN_BY_THE_RUN, *_OF_A_SWEEP)]


def main(argv: list[str]) -> int:
    """Run one of the commands."""
    options = _parser().parse_args(argv)
    given = {name: value for name, value in vars(options).items() if name not in ("command", "run", "to")}
    out = Path.cwd() / effective({"out": options.out}, {})["out"]
    if options.command == "list":
        return _list(out)
    record = _run(out, options.run)
    if options.command == "show":
        return _show(out / record.run_id, record)
    if options.command == "rollback":
        return _rollback(out / record.run_id, record, options.to)
    return _resume(out, record, given)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pytest_execgo runs", description="Runs, and their checkpoints.")
    commands = parser.add_subparsers(dest="command", required=True)
    for command, what in (
        ("list", "every run, its outcome or that it was cut short, how many checkpoints it has"),
        ("show", "one run: its stages, its checkpoints, how it ended"),
        ("resume", "go on with a run that was cut short, and print its verdict"),
        ("rollback", "set a run back to an earlier checkpoint, so that it can be resumed from there"),
    ):
        sub = commands.add_parser(command, help=what, description=what, allow_abbrev=False)
        if command != "list":
            sub.add_argument("run", metavar="RUN", help="id of the run")
        if command == "rollback":
            sub.add_argument("--to", metavar="CHECKPOINT", help="id of the checkpoint (default: the one before the latest)")
        for option in _OF_A_RUN:
            if command == "resume" or option.name == "out":
                sub.add_argument(f"--{option.name}", dest=option.name, metavar=option.metavar, help=option.help)
    return parser


def _run(out: Path, run_id: str) -> RunFile:
    known = [record.run_id for record in runs_in(out)]
    if run_id not in known:
        if (out / run_id / RESULT).is_file():
            raise UsageError("run_too_old", f"run {run_id} has no run.json: an earlier version made it", "run its cell anew")
        error = UsageError.unknown("run", run_id, known)
        raise UsageError(error.code, f"{error.message} in {out}", "`runs list` lists them; --out names another folder")
    record = read_run_file(out / run_id)
    if record is None:
        raise UsageError("unknown_run", f"run {run_id} has just been removed")
    return record


def _list(out: Path) -> int:
    rows = [("RUN", "CELL", "OUTCOME", "CHECKPOINTS")]
    for record in runs_in(out):
        path = out / record.run_id
        rows.append((record.run_id, str(record.cell.cell), _outcome(path, record), _count(path)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows if len(rows) > 1 else ():
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    print(f"{len(rows) - 1} runs in {out}")
    return 0


def _outcome(path: Path, record: RunFile) -> str:
    result = stored_result(path)
    if result is not None and not was_interrupted(result):
        return result.outcome
    if record.owner.alive():
        return "running"
    return "abandoned" if (path / ABANDONED).exists() else "interrupted"


def _count(path: Path) -> str:
    try:
        store = RunStore.existing(path)
    except ExecGoError:
        return "unusable"
    if store is None:
        return "0"
    with store:
        return str(len(store.history()))


def _show(path: Path, record: RunFile) -> int:
    result, sweep = stored_result(path), read_sweep_file(path.parent / "sweeps" / record.sweep_id)
    print(f"run          {record.run_id}")
    print(f"cell         {record.cell.cell}")
    print(f"sweep        {record.sweep_id}")
    print(f"backend      {sweep.backend if sweep is not None else 'unknown'}")
    print(f"began        {record.started_at}")
    print(f"outcome      {_outcome(path, record)}")
    if result is not None and (result.error or result.attribution):
        print(f"why          {one_line(result.error or (result.attribution and result.attribution.message), 200)}")
    if (path / ABANDONED).exists():
        print(f"abandoned    {one_line(read_json(path / ABANDONED).get('reason'), 200)}")
    print(f"artifacts    {path}")
    store = RunStore.existing(path)
    if store is None:
        print("checkpoints  none")
        return 0
    with store:
        history = store.history()
    print(f"checkpoints  {len(history)}, the latest last")
    for checkpoint in history:
        print(f"  {_line(path, checkpoint)}")
    return 0


def _line(path: Path, checkpoint: Checkpoint) -> str:
    """Return one line of a checkpoint: its id, when, what was finished, what it is."""
    state, about = read_state(checkpoint.state, f"{path}, checkpoint {checkpoint.id}"), checkpoint.metadata
    statuses = [str(outcome.envelope.get("status")) for outcome in state.outcomes if outcome.stage_id == about.node_id]
    tasks = ", ".join(f"{statuses.count(status)} {status}" for status in dict.fromkeys(statuses))
    what = "the plan" if about.node_id is None and about.step == 0 else f"stage {about.node_id}"
    went = about.custom.get("rolled_back_to")
    notes = [*([tasks] if tasks else []), *([f"back to {went}"] if went else [])]
    stages = f"{state.stage_index} of {len(state.plan.get('stages', []))} stages"
    parts = [checkpoint.id, f"{checkpoint.created_at:%Y-%m-%dT%H:%M:%SZ}", stages, what, *notes]
    return "  ".join(one_line(part) for part in parts)


def _rollback(path: Path, record: RunFile, to: str | None) -> int:
    with alone_in(path):
        _nobody_is_at_it(record)
        store = RunStore.existing(path)
        if store is None:
            raise UsageError("no_checkpoint", f"run {record.run_id} has no checkpoints", "run its cell anew")
        with store:
            checkpoint = store.rollback(to or store.previous().id)
        aside = set_result_aside(path)
        (path / ABANDONED).unlink(missing_ok=True)
    if aside is not None:
        print(f"its result is now {aside}")
    print(f"run {record.run_id} is back at {_line(path, checkpoint)}")
    print(f"go on with: python -m pytest_execgo runs resume {record.run_id}")
    return 0


def _resume(out: Path, record: RunFile, given: dict[str, str | None]) -> int:
    cell, path = record.cell.cell, out / record.run_id
    result = stored_result(path)
    if result is None:
        _nobody_is_at_it(record)
    if result is not None and not was_interrupted(result):
        said = f"run {record.run_id} has ended: {result.outcome}"
        raise UsageError("run_finished", said, f"`runs rollback {record.run_id}` sets it back first")
    if (path / ABANDONED).exists():
        said = f"run {record.run_id} was abandoned: {read_json(path / ABANDONED).get('reason')}"
        raise UsageError("run_abandoned", said, f"remove {path / ABANDONED} to try again")
    earlier = read_sweep_file(out / "sweeps" / record.sweep_id)
    its_own = {"backend": earlier.backend} if earlier is not None else {}
    chosen = {**given, "cell": selector(cell), "seed": cell.seed, "mode": cell.mode, "chaos": cell.chaos}
    settings = Settings.parse(effective(chosen, its_own), Path.cwd())
    if earlier is not None and settings.backend != earlier.backend:
        said = f"run {record.run_id} ran on backend {earlier.backend!r}, not {settings.backend!r}"
        raise UsageError("option_conflict", said, f"add --backend {earlier.backend}")
    with Sweep(settings, sweep_id=record.sweep_id, worker=record.worker) as sweep:
        sweep.check()
        run = take_over(path)
        if run is None:
            raise UsageError("run_in_use", f"somebody else has just taken run {record.run_id} up")
        result = sweep.go_on(cell, run)
    print(f"{result.outcome:<12} {cell}")
    for reason in [*(result.verdict.reasons if result.verdict else []), *([result.error] if result.error else [])]:
        print(f"reason: {reason}")
    print(f"artifacts: {result.artifacts.run_dir}")
    return exit_code([result])


def _nobody_is_at_it(record: RunFile) -> None:
    if record.owner.alive():
        raise UsageError("run_in_use", f"run {record.run_id} is run by process {record.owner.pid}", "wait for its end, or end it")
