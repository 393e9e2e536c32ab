"""A run's folder as a report finds it: perhaps moved, perhaps cut short, perhaps damaged."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pytest_execgo.observability.artifacts import PLAN, RESULT, RUN, SNAPSHOTS, SUMMARY, TIMELINE, TRACE
from pytest_execgo.observability.history import HISTORY
from pytest_execgo.plan.model import StandardPlan
from pytest_execgo.plan.result import BenchmarkResult

_NOTE = 240
CHECKPOINTS, WORKSPACE = "checkpoints.sqlite", "workspace/"
LINKED = (RESULT, SUMMARY, WORKSPACE, PLAN, TRACE, TIMELINE, HISTORY, SNAPSHOTS, CHECKPOINTS, RUN)
"""Artifacts that a page links, in this order; a folder's name ends with `/`."""


# Lines are chosen before anything is parsed: a large sweep has a million of them. A quote within a value is escaped, so
# what these patterns find is never content.
_SEEN_BY_SERVICES = re.compile(rb'"process":"(?:kernel|sink)"')
_DULL_STEP = re.compile(rb'"f":"start"|"f":"persist".*\{"status":"success"\}')
_DULL_EVENT = re.compile(rb'"event_type":"(?:binding_applied|checkpoint_saved|task_observed)","status":"(?:ok|success)"')


class RunPlace:
    """Reads one run's artifacts. What can't be read is no error of the report's: `notes` says what and why."""

    def __init__(self, out: Path, run: BenchmarkResult) -> None:
        here, recorded = out / run.run_id, Path(run.artifacts.run_dir)
        self.path: Path | None = None
        self.names: set[str] = set()
        self.notes: list[str] = []
        try:
            self.path = here if here.is_dir() else recorded if recorded.is_absolute() and recorded.is_dir() else None
            self.names = {entry.name for entry in self.path.iterdir()} if self.path is not None else set()
        except OSError as error:
            self.notes.append(f"{here.name}: {error.strerror or error}"[:_NOTE])

    def files(self) -> list[str]:
        """Return which artifacts are there."""
        return [name for name in LINKED if name.rstrip("/") in self.names]

    def timeline(self, *, short: bool = False) -> list[dict[str, Any]]:
        """Return the rows of the timeline, of an unfinished one too; with `short`, without what is dull while all is well."""
        lines = self._lines(TIMELINE)
        return self._parsed(TIMELINE, [line for line in lines if not _DULL_EVENT.search(line)] if short else lines)

    def history(self, *, short: bool = False) -> list[dict[str, Any]]:
        """Return what kernel and sink saw; with `short`, without what is dull while all is well."""
        lines = [line for line in self._lines(HISTORY) if _SEEN_BY_SERVICES.search(line)]
        return self._parsed(HISTORY, [line for line in lines if not _DULL_STEP.search(line)] if short else lines)

    def plan(self) -> StandardPlan | None:
        """Return the plan; None if there is none that can be read."""
        if self.path is None or PLAN not in self.names:
            return None
        try:
            return StandardPlan.model_validate_json((self.path / PLAN).read_bytes())
        except OSError as error:
            self.notes.append(f"{PLAN}: {error.strerror or error}"[:_NOTE])
        except ValidationError as error:
            self.notes.append(f"{PLAN}: no plan ({error.error_count()} problems)")
        return None

    def stack(self) -> str | None:
        """Return the name of the stack that the run ran on."""
        if self.path is None or RUN not in self.names:
            return None
        try:
            folder = json.loads((self.path / RUN).read_bytes()).get("stack_folder")
        except (OSError, ValueError, AttributeError, RecursionError) as error:
            self.notes.append(f"{RUN}: {error}"[:_NOTE])
            return None
        return Path(folder).name if isinstance(folder, str) else None

    def _lines(self, name: str) -> list[bytes]:
        """Return the lines of an artifact, or of what it was when its run was cut short."""
        file = name if name in self.names else f"{name}.partial"
        if self.path is None or file not in self.names:
            return []
        try:
            return [line for line in (self.path / file).read_bytes().splitlines() if line]
        except OSError as error:
            self.notes.append(f"{file}: {error.strerror or error}")
            return []

    def _parsed(self, file: str, lines: list[bytes]) -> list[dict[str, Any]]:
        try:
            rows = json.loads(b"[" + b",".join(lines) + b"]")  # all at once: several times faster than line by line
        except (ValueError, RecursionError):
            rows = [row for line in lines if (row := _row(line)) is not None]
        kept = [row for row in rows if isinstance(row, dict)]
        if len(kept) < len(lines):
            self.notes.append(f"{file}: {len(lines) - len(kept)} of {len(lines)} lines can't be read")
        return kept


def _row(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
