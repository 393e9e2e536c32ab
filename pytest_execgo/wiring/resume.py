"""Going on with a sweep that was cut short: which of its cells are done, which of its runs can go on."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError

from pytest_execgo.core.errors import ExecGoError, UsageError
from pytest_execgo.core.files import write_atomic
from pytest_execgo.core.jsonio import dumps, read_json
from pytest_execgo.core.process_identity import ProcessIdentity
from pytest_execgo.observability.artifacts import RESULT, RUN, TIMELINE, RunFile, read_run_file, replace_run_file, set_result_aside
from pytest_execgo.observability.clock import rfc3339
from pytest_execgo.plan.cell import Cell
from pytest_execgo.plan.result import BenchmarkResult
from pytest_execgo.runner.checkpoints.run_state import InterruptedRun, RunStore
from pytest_execgo.wiring.alone import alone_in
from pytest_execgo.wiring.sweep_file import cells_digest, read_sweep_file

ABANDONED = "abandoned.json"
_STRUCK = b'"event_type":"fault_injected"'


class CannotGoOn(ExecGoError):
    """A run that was cut short can't go on; the error says why."""

    def __init__(self, path: Path, reason: ExecGoError) -> None:
        super().__init__(reason.code, f"run {path.name} can't go on: {reason.message}", reason.hint)
        self.path = path


class Resumption:
    """What an earlier life of a sweep left on this backend, handed out cell by cell: each result and each run once in this process.

    A cell that several tests run has as many results as it was run; the next one finds none and runs.
    """

    def __init__(self, out: Path, sweep_id: str, backend: str) -> None:
        """Look through the folder, once: what is written from now on is not of the earlier life."""
        self.earlier = read_sweep_file(out / "sweeps" / sweep_id)
        self._out = out
        self._done: dict[str, list[BenchmarkResult]] = {}
        self._cut: dict[str, list[Path]] = {}
        for record in runs_in(out, sweep_id):
            path, cell_id = out / record.run_id, record.cell.cell.cell_id
            result = stored_result(path)
            if result is not None and not was_interrupted(result):
                if result.backend == backend:
                    here = result.artifacts.model_copy(update={"run_dir": str(path)})  # the folder may have been moved
                    self._done.setdefault(cell_id, []).append(result.model_copy(update={"artifacts": here}))
            elif can_go_on(path):
                self._cut.setdefault(cell_id, []).append(path)
        self._finished = sum(map(len, self._done.values()))
        self._interrupted = sum(map(len, self._cut.values()))

    def describe(self, cells: Sequence[Cell]) -> str:
        """Say what there is to go on with; `cells` are the ones of this command."""
        if self.earlier is None:
            return f"nothing to resume in {self._out}: this is a new sweep"
        axes = "" if self.earlier.digest == cells_digest(cells) else "; it had other cells, those of both keep their results"
        said = f"{self._finished} runs are finished, {self._interrupted} were cut short"
        return f"going on with sweep {self.earlier.sweep_id} of {self.earlier.started_at[:19]}Z: {said}{axes}"

    def unasked(self, cells: Sequence[Cell]) -> list[BenchmarkResult]:
        """Return the results of these cells that were not handed out in this process."""
        wanted = {cell.cell_id for cell in cells}
        return [result for cell_id, results in self._done.items() if cell_id in wanted for result in results]

    def result(self, cell: Cell) -> BenchmarkResult | None:
        """Return the cell's result if it was run to its end; None if it was not."""
        waiting = self._done.get(cell.cell_id)
        return waiting.pop(0) if waiting else None

    def take_over(self, cell: Cell) -> InterruptedRun | None:
        """Take over the cell's run that was cut short; None if there is none that can go on."""
        waiting = self._cut.get(cell.cell_id, [])
        while waiting:
            try:
                run = take_over(waiting.pop(0))
            except CannotGoOn as error:
                abandon(error)
                continue
            if run is not None:
                return run
        return None


def runs_in(out: Path, sweep_id: str | None = None) -> Iterator[RunFile]:
    """Yield `run.json` of every run in a folder, or of one sweep's, in the order in which they began."""
    for file in sorted(out.glob(f"*/{RUN}")):  # a run's id begins with the time of its start
        if sweep_id is None or sweep_id in file.read_text("utf-8", "replace"):  # a folder may hold thousands of others
            record = read_run_file(file.parent)
            if record is not None and sweep_id in (None, record.sweep_id):
                yield record


def stored_result(path: Path) -> BenchmarkResult | None:
    """Read a run's `result.json`; None if it has none, `UsageError` names one that can't be understood."""
    file = path / RESULT
    if not file.exists():
        return None
    try:
        return BenchmarkResult.model_validate(read_json(file))
    except ValidationError as error:
        first = error.errors()[0]
        said = f"{file}: {'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise UsageError("bad_result", said, "another version of pytest-execgo may have written it") from error


def was_interrupted(result: BenchmarkResult) -> bool:
    """Tell whether a result only says that its run was broken off, by Ctrl-C for example."""
    return result.interrupted


def settled(result: BenchmarkResult) -> bool:
    """Tell whether nothing is left to do of a cell: it was run to its end, or can't be run here."""
    return result.outcome == "skipped" or (bool(result.artifacts.run_dir) and not was_interrupted(result))


def can_go_on(path: Path) -> bool:
    """Tell whether a run was cut short: it has no result of its own, nobody is at it, and nobody gave it up."""
    record = read_run_file(path)
    if record is None or (path / ABANDONED).exists():
        return False
    result = stored_result(path)
    return was_interrupted(result) if result is not None else not record.owner.alive()


def take_over(path: Path) -> InterruptedRun | None:
    """Make a run that was cut short this process's own; None when it can't go on, or somebody else was faster.

    `CannotGoOn` when its checkpoints can't be used.
    """
    with alone_in(path):
        record = read_run_file(path)
        if record is None or not can_go_on(path):
            return None
        replace_run_file(path, record.model_copy(update={"owner": ProcessIdentity.of(os.getpid())}))
        try:
            return _interrupted(path, record)
        except ExecGoError as error:
            raise CannotGoOn(path, error) from error
        finally:
            set_result_aside(path)


def _interrupted(path: Path, record: RunFile) -> InterruptedRun:
    if any(_STRUCK in file.read_bytes() for file in path.glob(f"{TIMELINE}*")):
        said = "a fault had struck it, and what that did to its stack is not known"
        raise ExecGoError("fault_had_struck", said)
    store = RunStore.existing(path)
    state = None
    if store is not None:
        with store:
            if stored_result(path) is not None and store.history():
                # it was broken off in an orderly way: the attempt under way was withdrawn, and its ids are used
                store.rollback(store.history()[-1].id)
            state = store.latest()
    return InterruptedRun(path, state, Path(record.stack_folder) if record.stack_folder is not None else None)


def abandon(reason: CannotGoOn) -> None:
    """Leave a run as it is, and write down why it can't go on: its cell is run anew."""
    document = {"schema_version": 1, "abandoned_at": rfc3339(), "code": reason.code, "reason": str(reason)}
    write_atomic(reason.path / ABANDONED, dumps(document, indent=2) + "\n")
