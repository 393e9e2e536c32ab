"""A run's folder: `var/runs/<run_id>/`, where each artifact is absent or whole."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from pytest_execgo.core.errors import ExecGoError, UsageError
from pytest_execgo.core.files import checked_name, write_atomic
from pytest_execgo.core.jsonio import dumps
from pytest_execgo.observability.clock import rfc3339
from pytest_execgo.plan.event import TimelineEvent
from pytest_execgo.plan.events import Stamped, TaskObserved
from pytest_execgo.plan.result import ArtifactManifest

PLAN = "plan.json"
TRACE = "adapter_trace.json"
TIMELINE = "timeline.jsonl"
SNAPSHOTS = "execgo_snapshots.jsonl"
RESULT = "result.json"
SUMMARY = "summary.md"


class RunFolder:
    """One run's artifacts and its workspace. The folder must not exist yet: run ids are never shared."""

    def __init__(self, out: Path, run_id: str) -> None:
        self.path = out / checked_name("run id", run_id)
        self.workspace = self.path / "workspace"
        self._hashes: dict[str, str] = {}
        try:
            out.mkdir(parents=True, exist_ok=True)
            self.path.mkdir()
            self.workspace.mkdir()
        except OSError as error:
            raise UsageError(
                "artifacts_folder_unusable",
                f"can't create the run's folder {self.path}: {error.strerror or error}",
                "point --execgo-out at a folder that you may write to",
            ) from error

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
        self._file: TextIO = self._partial.open("w", encoding="utf-8", errors="backslashreplace")

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
    """Turns events into the lines of `timeline.jsonl`, and remembers them (`rows`) for the run's summary."""

    def __init__(self, lines: JsonLines, *, run_id: str, framework: str, scenario_id: str) -> None:
        self._lines = lines
        self.rows: list[dict[str, Any]] = []
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
