"""Collects the sweep's results in the process that reports: from the cells' own files, which are the truth."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from pytest_execgo.core.errors import UsageError
from pytest_execgo.core.jsonio import read_json
from pytest_execgo.observability.artifacts import RESULT
from pytest_execgo.plan.cell import Cell
from pytest_execgo.plan.result import BenchmarkResult
from pytest_execgo.plugin.properties import cell_from
from pytest_execgo.wiring.resume import settled
from pytest_execgo.wiring.unrun import not_run

_CLOCK_SLACK_NS = 1_000_000_000  # a file system's clock may lag behind ours


class Recorder:
    """Every cell's result, once, in the order in which they came."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._found: dict[str, BenchmarkResult] = {}

    @property
    def results(self) -> list[BenchmarkResult]:
        """What has been recorded so far."""
        return list(self._found.values())

    def take(self, report: pytest.TestReport) -> None:
        """Record what one report says of a cell: its `result.json`, or that it never got one."""
        cell = cell_from(report.user_properties)
        if cell is None:
            return
        path = dict(report.user_properties).get("execgo.result")
        if path is not None:
            self._add(str(path), self._load(cell, Path(str(path))))
        elif report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            self._add(report.nodeid, not_run(cell, "skipped", reason.removeprefix("Skipped: ")))
        elif report.failed:
            self._add(report.nodeid, not_run(cell, "error", str(report.longrepr)))

    def take_crash(self, nodeid: str, report: pytest.TestReport, cells: Iterable[Cell]) -> None:
        """Record a cell whose worker died: its report carries nothing but the test's id."""
        for cell in cells:
            in_matrix = nodeid.endswith(f"::test_plan[{cell.axes}]") and f"/{cell.scenario}/" in f"/{nodeid}"
            if in_matrix or nodeid.endswith(f"[{cell.scenario}-{cell.axes}]"):
                self._add(nodeid, not_run(cell, "error", str(report.longrepr)))

    @property
    def concluded(self) -> int:
        """How many cells nothing is left to do of: they were run to their end, or can't be run here."""
        return sum(map(settled, self._found.values()))

    def complete(self, out: Path, sweep_id: str, since_ns: int, earlier: Iterable[BenchmarkResult] = ()) -> None:
        """Add what workers of this sweep finished but no longer reported: an interrupted controller hears only some of them.

        Results written before the sweep began (`since_ns`, since the epoch) are not looked into: a folder may hold thousands.
        `earlier` are results of the life of the sweep that this one goes on with.
        """
        for path in sorted(out.glob(f"*/{RESULT}")):
            if str(path) not in self._found:
                result = _written_since(path, since_ns - _CLOCK_SLACK_NS)
                if result is not None and result.sweep_id == sweep_id:
                    self._add(str(path), result)
        for result in earlier:
            self._add(str(Path(result.artifacts.run_dir) / RESULT), result)

    def _add(self, key: str, result: BenchmarkResult) -> None:
        if key not in self._found:
            self._found[key] = result
            self._config.hook.pytest_execgo_cell_finished(config=self._config, result=result)

    def _load(self, cell: Cell, path: Path) -> BenchmarkResult:
        try:
            return BenchmarkResult.model_validate(read_json(path))
        except (UsageError, ValueError) as error:
            return not_run(cell, "error", f"{path} can't be read back: {error}")


def _written_since(path: Path, since_ns: int) -> BenchmarkResult | None:
    """Read a result that is younger than a time; None for one that is older, and for one of which nobody can tell whose it is."""
    try:
        return BenchmarkResult.model_validate(read_json(path)) if path.stat().st_mtime_ns >= since_ns else None
    except (OSError, UsageError, ValueError):  # damaged, or just removed: this sweep's would be missed among its planned cells
        return None
