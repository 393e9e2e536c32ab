"""Artifacts read back from where they are now: a run's, whole or as a run that was killed left them, and a sweep's summary."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pytest_execgo.core.errors import UsageError
from pytest_execgo.core.jsonio import read_json
from pytest_execgo.observability.artifacts import RESULT, RUN, SNAPSHOTS, TIMELINE, RunFile, read_lines, read_run_file
from pytest_execgo.observability.history import HISTORY
from pytest_execgo.plan.result import BenchmarkResult, BenchmarkSummary


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run as its folder tells it. `result` and `record` (`run.json`) are None where there are none; rows are as they stand."""

    path: Path
    result: BenchmarkResult | None = None
    record: RunFile | None = None
    timeline: list[dict[str, Any]] = field(default_factory=list)
    snapshots: list[dict[str, Any]] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)


def load_run(path: Path) -> StoredRun:
    """Read a run's folder. `UsageError` when it is none, or names what in it can't be read.

    The result's `run_dir` is where the folder is now, whatever the file says.
    """
    try:
        return _load(path)
    except OSError as error:
        raise UsageError.unreadable(error.filename or path, error) from error


def _load(path: Path) -> StoredRun:
    if not any((path / name).is_file() for name in (RESULT, RUN, TIMELINE, f"{TIMELINE}.partial")):
        raise UsageError("no_such_run", f"there is no run in {path}", "give a run's folder, as var/runs/<run_id>")
    return StoredRun(
        path=path,
        result=load_result(path) if (path / RESULT).is_file() else None,
        record=read_run_file(path),
        timeline=_rows(path, TIMELINE),
        snapshots=_rows(path, SNAPSHOTS),
        history=_rows(path, HISTORY),
    )


def load_result(path: Path) -> BenchmarkResult:
    """Read `result.json` from a run's folder, such that its `run_dir` is that folder; `UsageError` names what is wrong with it."""
    file = path / RESULT
    try:
        result = BenchmarkResult.model_validate(read_json(file))
    except ValidationError as error:
        raise _bad("bad_result", file, error) from error
    here = result.artifacts.model_copy(update={"run_dir": str(path.resolve())})
    return result.model_copy(update={"artifacts": here})


def load_summary(file: Path) -> BenchmarkSummary:
    """Read a `benchmark-summary.json`; `UsageError` names what is wrong with it."""
    try:
        return BenchmarkSummary.model_validate_json(file.read_bytes())
    except OSError as error:
        raise UsageError.unreadable(file, error) from error
    except ValidationError as error:
        raise _bad("bad_summary", file, error) from error


def _bad(code: str, file: Path, error: ValidationError) -> UsageError:
    first = error.errors(include_url=False, include_input=False)[0]
    said = f"{file}: {'.'.join(map(str, first['loc'])) or 'the whole file'}: {first['msg']}"
    return UsageError(code, said, "it is damaged, or another version of pytest-execgo has written it")


def _rows(path: Path, name: str) -> list[dict[str, Any]]:
    whole = path / name
    return read_lines(whole if whole.exists() else path / f"{name}.partial")
