"""The runs of a folder, wherever that folder is now: their results, and what of them can't be read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from pytest_execgo.core.errors import ExecGoError, UsageError
from pytest_execgo.core.jsonio import read_json
from pytest_execgo.observability.artifacts import RESULT, RUN, read_run_file
from pytest_execgo.observability.stored import load_result, load_summary
from pytest_execgo.plan.base import Document, Name
from pytest_execgo.plan.result import BenchmarkResult, BenchmarkSummary

SUMMARY = "benchmark-summary.json"
MERGE = "merge.json"


class MergedSweep(Document):
    """One of the sweeps that a merge is made of: its folder at that time, and how many of its runs were taken."""

    folder: str
    sweep_id: Name
    runs: int
    backends: list[str]


class MergeFile(Document):
    """What `sweeps/<sweep_id>/merge.json` says: the runs that were taken together as one sweep, and what is to be known of them."""

    schema_version: Literal[1] = 1
    sweep_id: Name
    merged_at: str
    sources: list[MergedSweep]
    runs: list[Name]
    notes: list[str]


@dataclass(slots=True)
class FoundRuns:
    """What a folder of runs holds. Results know where they are now; `problems` name each file that can't be used, and why.

    `unfinished` are runs without a result, each with its sweep: cut short, or still going on.
    """

    folder: Path
    results: list[BenchmarkResult] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    unfinished: list[tuple[Path, str]] = field(default_factory=list)
    merges: dict[str, MergeFile] = field(default_factory=dict)

    def sweep_ids(self) -> list[str]:
        """Return the sweeps that there are, the latest last; one that was merged is as late as its merge."""
        latest: dict[str, str] = {}
        for result in self.results:
            latest[result.sweep_id] = max(latest.get(result.sweep_id, ""), result.started_at)
        latest |= {sweep_id: merge.merged_at for sweep_id, merge in self.merges.items()}
        return sorted(latest, key=lambda sweep_id: (latest[sweep_id], sweep_id))

    def of_sweep(self, sweep_id: str) -> list[BenchmarkResult]:
        """Return a sweep's results, or those that a merge took together."""
        merge = self.merges.get(sweep_id)
        if merge is None:
            return [result for result in self.results if result.sweep_id == sweep_id]
        taken = set(merge.runs)
        return [result for result in self.results if result.run_id in taken]

    def unfinished_of(self, sweep_id: str | None) -> list[Path]:
        """Return the runs without a result, of one sweep or of all (None)."""
        return [path for path, its_sweep in self.unfinished if sweep_id in (None, its_sweep)]

    def left_out(self, sweep_id: str) -> list[str]:
        """Say what can't be in a sweep's reports, and why: files that can't be used, runs of it without a result."""
        return [*self.problems, *map(_no_result, self.unfinished_of(sweep_id))]

    def chosen(self, sweep_id: str | None) -> str:
        """Return the sweep that is asked for (None: the latest one); `UsageError` if it is not there."""
        known = self.sweep_ids()
        if not known:
            raise self._nothing()
        if sweep_id is None:
            return known[-1]
        if sweep_id not in known:
            error = UsageError.unknown("sweep", sweep_id, known)
            raise UsageError(error.code, f"{error.message} in {self.folder}", error.hint)
        return sweep_id

    def _nothing(self) -> UsageError:
        if self.problems or self.unfinished:
            said = [*self.problems, *map(_no_result, self.unfinished_of(None))]
            more = f"\n  … and {len(said) - 5} more" if len(said) > 5 else ""
            listed = "".join(f"\n  {line}" for line in said[:5])
            return UsageError("no_results", f"none of the runs in {self.folder} has a result that can be read:{listed}{more}")
        return no_runs(self.folder)


def _no_result(run: Path) -> str:
    return f"{run}: no {RESULT}: cut short, or still going on"


def no_runs(folder: Path) -> UsageError:
    """Return the error for a folder in which there is no run, with the place where they may be."""
    near = next((place for place in (folder / "var" / "runs", folder / "runs", folder.parent) if _holds_runs(place)), None)
    hint = f"did you mean {near}?" if near is not None else "give a folder that holds the folders of runs, as var/runs"
    return UsageError("no_runs", f"there are no runs in {folder}", hint)


def find_runs(folder: Path) -> FoundRuns:
    """Read every run's result in a folder; `UsageError` when it is no folder."""
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise UsageError("no_folder", f"{folder} {what}", "give a folder that holds the folders of runs, as var/runs")
    found = FoundRuns(folder)
    seen: dict[str, Path] = {}
    for path in _folders(folder, found.problems):
        try:
            has_result, has_record = (path / RESULT).is_file(), (path / RUN).is_file()
        except OSError as error:
            found.problems.append(f"{path}: {error.strerror or error}")
            continue
        if has_result:
            _take(found, path, seen)
        elif has_record:
            _note_unfinished(found, path)
    for file in sorted(folder.glob(f"sweeps/*/{MERGE}")):
        try:
            merge = MergeFile.model_validate(read_json(file))
            found.merges[merge.sweep_id] = merge
        except (ExecGoError, ValidationError) as error:
            found.problems.append(f"{file}: {_first_line(error)}")
    return found


def earlier_summary(folder: Path, sweep_id: str, problems: list[str]) -> BenchmarkSummary | None:
    """Return the summary that a sweep wrote when it ended; None where there is none. One that can't be read is a problem."""
    file = folder / "sweeps" / sweep_id / SUMMARY
    if not file.is_file():
        return None
    try:
        return load_summary(file)
    except UsageError as error:
        problems.append(error.message)
        return None


def _take(found: FoundRuns, path: Path, seen: dict[str, Path]) -> None:
    try:
        result = load_result(path)
    except UsageError as error:
        found.problems.append(error.message)
        return
    if result.run_id in seen:
        found.problems.append(f"{path / RESULT}: the same run as in {seen[result.run_id]}")
        return
    seen[result.run_id] = path
    found.results.append(result)


def _note_unfinished(found: FoundRuns, path: Path) -> None:
    try:
        record = read_run_file(path)
    except UsageError as error:
        found.problems.append(error.message)
        return
    if record is not None:
        found.unfinished.append((path, record.sweep_id))


def _folders(folder: Path, problems: list[str]) -> Iterable[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.is_dir())
    except OSError as error:
        problems.append(f"{folder}: {error.strerror or error}")
        return ()


def _holds_runs(place: Path) -> bool:
    try:
        return any(True for _ in place.glob(f"*/{RESULT}"))
    except OSError:
        return False


def _first_line(error: ExecGoError | ValidationError) -> str:
    if isinstance(error, ExecGoError):
        return error.message
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
