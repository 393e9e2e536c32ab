"""A run's folder: `var/runs/<run_id>/`, where each artifact is absent or whole."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TextIO

from pydantic import ValidationError

from pytest_execgo.core.errors import ExecGoError, UsageError
from pytest_execgo.core.files import checked_name, write_atomic
from pytest_execgo.core.jsonio import dumps, read_json
from pytest_execgo.core.process_identity import ProcessIdentity
from pytest_execgo.observability.clock import rfc3339
from pytest_execgo.observability.history import HISTORY as HISTORY
from pytest_execgo.plan.base import Document
from pytest_execgo.plan.cell import Cell, CellRecord
from pytest_execgo.plan.event import TimelineEvent
from pytest_execgo.plan.events import Stamped, TaskObserved
from pytest_execgo.plan.history import HistoryRow
from pytest_execgo.plan.result import ArtifactManifest

PLAN = "plan.json"
TRACE = "adapter_trace.json"
TIMELINE = "timeline.jsonl"
SNAPSHOTS = "execgo_snapshots.jsonl"
RESULT = "result.json"
SUMMARY = "summary.md"
RUN = "run.json"
_GROWING = (TIMELINE, SNAPSHOTS, HISTORY)
_WRITTEN_EARLY = (PLAN, TRACE)


class RunFile(Document):
    """What `run.json` says from a run's start on: which cell it runs, for whom, on which stack, and which process runs it."""

    schema_version: Literal[1] = 1
    run_id: str
    sweep_id: str
    cell: CellRecord
    worker: str
    stack_folder: str | None
    started_at: str
    owner: ProcessIdentity


class RunFolder:
    """One run's artifacts and its workspace. The folder must not exist yet: run ids are never shared.

    A folder that was reopened has the rows of its earlier life: `timeline_rows`, `history_rows`, and `last_seq`, the
    timeline's last `seq` (0: none).
    """

    def __init__(self, out: Path, run_id: str, *, reopened: bool = False) -> None:
        self.path = out / checked_name("run id", run_id)
        self.workspace = self.path / "workspace"
        self.reopened = reopened
        self.timeline_rows: list[dict[str, Any]] = []
        self.history_rows: list[HistoryRow] = []
        self._hashes: dict[str, str] = {}
        try:
            out.mkdir(parents=True, exist_ok=True)
            self.path.mkdir(exist_ok=reopened)
            self.workspace.mkdir(exist_ok=reopened)
        except OSError as error:
            raise UsageError(
                "artifacts_folder_unusable",
                f"can't create the run's folder {self.path}: {error.strerror or error}",
                "point --execgo-out at a folder that you may write to",
            ) from error

    @classmethod
    def reopen(cls, path: Path) -> Self:
        """Open the folder of a run that was cut short, or set back, such that it can go on in it.

        The workspace and the lines that were written stay; a last line that was torn goes, and so does what kernel and sink
        had told for the history, since they tell all of it again. A result that is already there becomes `result.<n>.json`.
        `UsageError` when there is no such run, or when it can't be read.
        """
        if not path.is_dir():
            raise UsageError("no_such_run", f"there is no run in {path}", "`runs list` lists those that there are")
        folder = cls(path.parent, path.name, reopened=True)
        set_result_aside(path)
        for leftover in path.glob(".*"):  # of a write that was cut short
            if leftover.is_file():
                leftover.unlink()
        for name in _GROWING:
            partial = path / f"{name}.partial"
            if not partial.exists() and (path / name).exists():
                (path / name).rename(partial)
            if partial.exists():
                _drop_torn_end(partial)
        for name in _WRITTEN_EARLY:
            if (path / name).exists():
                folder._hashes[name] = hashlib.sha256((path / name).read_bytes()).hexdigest()
        folder.timeline_rows = read_lines(path / f"{TIMELINE}.partial")
        folder.history_rows = _own_history(path / f"{HISTORY}.partial")
        return folder

    @property
    def last_seq(self) -> int:
        """The `seq` of the last event of the run's earlier life; 0 without one."""
        return max((int(row["seq"]) for row in self.timeline_rows), default=0)

    def write(self, name: str, data: str) -> None:
        """Write one artifact whole."""
        write_atomic(self.path / name, data)
        self._hashes[name] = hashlib.sha256(data.encode("utf-8", "backslashreplace")).hexdigest()

    def write_json(self, name: str, value: Any) -> None:
        """Write one artifact as indented JSON; `ExecGoError` when the value is none."""
        try:
            text = dumps(value, indent=2)
        except (TypeError, ValueError, RecursionError) as error:
            raise ExecGoError("not_json", f"{name} can't be written: {error}", "it must hold JSON values alone") from error
        self.write(name, text + "\n")

    def adopt(self, name: str, path: Path) -> None:
        """Give a finished file its artifact name."""
        path.replace(self.path / name)
        self._hashes[name] = hashlib.sha256((self.path / name).read_bytes()).hexdigest()

    def manifest(self) -> ArtifactManifest:
        """List what has been written so far."""
        return ArtifactManifest(run_dir=str(self.path), files=dict(sorted(self._hashes.items())))


class JsonLines:
    """A JSONL artifact: grows under `<name>.partial`, so that a killed run leaves what it knew, and gets its name when done."""

    def __init__(self, folder: RunFolder, name: str) -> None:
        self._folder = folder
        self._name = name
        self._partial = folder.path / f"{name}.partial"
        self._file: TextIO = self._partial.open("a" if folder.reopened else "w", encoding="utf-8", errors="backslashreplace")

    def append(self, row: Mapping[str, Any]) -> None:
        """Add one line and hand it to the operating system."""
        self._file.write(dumps(row) + "\n")
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())  # else a crash of the machine leaves the name without its lines
        self._file.close()
        if kind is None:
            self._folder.adopt(self._name, self._partial)


class TimelineWriter:
    """Turns events into the lines of `timeline.jsonl`, and remembers them (`rows`) for the run's summary.

    `rows` given at the start are those of the run's earlier life: already written.
    """

    def __init__(
        self, lines: JsonLines, *, run_id: str, framework: str, scenario_id: str, rows: Iterable[dict[str, Any]] = ()
    ) -> None:
        self._lines = lines
        self.rows = list(rows)
        self._names = {"run_id": run_id, "framework": framework, "scenario_id": scenario_id}

    def consume(self, stamped: Stamped) -> None:
        """Write one event."""
        event = stamped.event
        row = TimelineEvent(
            **self._names,
            seq=stamped.seq,
            timestamp=rfc3339(stamped.wall_ns),
            monotonic_ns=stamped.monotonic_ns,
            phase=event.phase,
            event_type=event.event_type,
            status=event.status,
            stage_id=event.stage_id,
            task_id=event.task_id,
            error_code=event.error_code,
            metadata=event.details(),
        )
        self.rows.append(row.model_dump(exclude_none=True))
        self._lines.append(self.rows[-1])


class SnapshotWriter:
    """Keeps the kernel's own answers: one line per observed change of a task."""

    def __init__(self, lines: JsonLines) -> None:
        self._lines = lines

    def consume(self, stamped: Stamped) -> None:
        """Write the envelope of a `TaskObserved`; ignore all else."""
        event = stamped.event
        if isinstance(event, TaskObserved):
            where = {"stage_id": event.stage_id, "task_id": event.task_id}
            self._lines.append({"seq": stamped.seq, "timestamp": rfc3339(stamped.wall_ns), **where, "task": dict(event.envelope)})


def write_run_file(folder: RunFolder, cell: Cell, sweep_id: str, worker: str, stack_folder: Path | None) -> None:
    """Write `run.json` of a run that begins in this process. It is no artifact: it serves to find runs that were cut short."""
    stack = str(stack_folder) if stack_folder is not None else None
    owner = ProcessIdentity.of(os.getpid())
    record = RunFile(
        run_id=folder.path.name,
        sweep_id=sweep_id,
        cell=CellRecord.of(cell),
        worker=worker,
        stack_folder=stack,
        started_at=rfc3339(),
        owner=owner,
    )
    replace_run_file(folder.path, record)


def replace_run_file(path: Path, record: RunFile) -> None:
    """Write `run.json` in a run's folder, whole or not at all; not waiting for the disk, since only the process may die."""
    temporary = path / f".{RUN}.{os.getpid()}"
    temporary.write_text(dumps(record.model_dump(mode="json")) + "\n", "utf-8")
    temporary.replace(path / RUN)


def read_run_file(path: Path) -> RunFile | None:
    """Read `run.json` from a run's folder; None if there is none, `UsageError` names one that can't be understood."""
    file = path / RUN
    if not file.exists():
        return None
    try:
        return RunFile.model_validate(read_json(file))
    except ValidationError as error:
        first = error.errors()[0]
        said = f"{file}: {'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise UsageError("bad_run_file", said, "another version of pytest-execgo may have written it") from error


def set_result_aside(path: Path) -> Path | None:
    """Give a run's `result.json` the next free name `result.<n>.json`, so that the run has none; None if it had none."""
    aside = next(name for n in itertools.count(1) if not (name := path / f"result.{n}.json").exists())
    with contextlib.suppress(FileNotFoundError):
        return (path / RESULT).rename(aside)
    return None


def attempts_begun(path: Path) -> dict[str, int]:
    """Return, by stage, the highest attempt that a run has begun, as the timeline in its folder tells, whole or not."""
    begun: dict[str, int] = {}
    for file in (path / TIMELINE, path / f"{TIMELINE}.partial"):
        for row in read_lines(file) if file.exists() else []:
            if row.get("event_type") == "stage_started":
                stage, attempt = str(row.get("stage_id")), int(row.get("metadata", {}).get("attempt", 1))
                begun[stage] = max(begun.get(stage, 0), attempt)
    return begun


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a JSONL file; none if it is not there. `UsageError` names a line that is no JSON object."""
    if not path.exists():
        return []
    rows = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
        row = _row(line)
        if row is None:
            raise UsageError("malformed_json", f"{path}:{number}: this line is no JSON object")
        rows.append(row)
    return rows


def _own_history(path: Path) -> list[HistoryRow]:
    """Reduce a history to what the run itself saw, the client and the nemesis; return that."""
    rows = [HistoryRow.model_validate(row) for row in read_lines(path)]
    own = [row for row in rows if row.process in ("client", "nemesis")]
    if len(own) < len(rows):
        write_atomic(path, "".join(dumps(row.model_dump(exclude_defaults=True)) + "\n" for row in own))
    return own


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _drop_torn_end(path: Path) -> None:
    """Cut what follows the last whole line: a process that dies while it writes, or a machine, leaves anything there."""
    data = path.read_bytes()
    kept = data[: data.rfind(b"\n") + 1]
    while kept and _row(kept[kept.rfind(b"\n", 0, -1) + 1 :]) is None:
        kept = kept[: kept.rfind(b"\n", 0, -1) + 1]
    if len(kept) < len(data):
        os.truncate(path, len(kept))
