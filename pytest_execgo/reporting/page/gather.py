"""Gathers what a page shows from a sweep's summary and its runs' folders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pytest_execgo.observability.artifacts import PLAN
from pytest_execgo.plan.result import BenchmarkResult, BenchmarkSummary
from pytest_execgo.plan.statistics import Comparison
from pytest_execgo.reporting.page.blocks import Blocks
from pytest_execgo.reporting.page.detail import FULL, LEAST, MEDIUM, SHORT, Depth, run_detail
from pytest_execgo.reporting.page.folder import RunPlace
from pytest_execgo.reporting.page.index import sweep_index
from pytest_execgo.reporting.page.logs import Logs
from pytest_execgo.reporting.page.plans import plan_view

_BASE, _PER_RUN = 1_100_000, 1_700
"""Characters that all details together may take: so many, and so many more a run."""
_DEPTHS: tuple[tuple[Depth, Depth], ...] = ((FULL, FULL), (FULL, SHORT), (MEDIUM, SHORT), (SHORT, LEAST), (LEAST, LEAST))
"""How deep runs are shown, those that did not pass and those that did: the first that fits is taken."""
_LARGE = 300
"""In sweeps of more runs than this, what passed is shown shortly from the first."""


class Gatherer:
    """Reads the artifacts of a sweep's runs. `out` is their folder; `rerun` gives the command that runs a run's cell again."""

    def __init__(
        self, summary: BenchmarkSummary, out: Path, compared: Comparison | None, rerun: Callable[[BenchmarkResult], str]
    ) -> None:
        self._summary = summary
        self._out = out
        self._compared = compared
        self._rerun = rerun
        changes = compared.changes if compared is not None else []
        self._before = {one.after.cell_id: one.before for one in changes if one.after is not None and one.before is not None}

    def gather(self) -> tuple[dict[str, Any], list[str]]:
        """Return the page's index, and the blocks of details that it refers to, no larger than they may be."""
        runs = self._summary.runs
        most = _BASE + _PER_RUN * len(runs)
        depths = _DEPTHS[1:] if len(runs) > _LARGE else _DEPTHS
        for depth in depths:
            blocks, places, plans = self._details(runs, depth)
            if blocks.size <= most:
                break
        index = sweep_index(self._summary, places, self._compared)
        return {**index, "plan_places": plans}, blocks.lines

    def _details(
        self, runs: Sequence[BenchmarkResult], depth: tuple[Depth, Depth]
    ) -> tuple[Blocks, list[tuple[int, int, int]], list[tuple[int, int]]]:
        """Return the blocks, where in them each run is with its plan's number, and where each plan is."""
        blocks, logs = Blocks(), Logs(self._out / "stacks")
        plans: dict[str, int] = {}
        views: list[dict[str, Any]] = []
        places = []
        for run in runs:
            place = RunPlace(self._out, run)
            plan = self._plan(run, place, plans, views)
            deep = depth[run.outcome in ("passed", "skipped")]
            before = self._before.get(run.cell_id)
            detail = run_detail(run, place, logs, deep, before=before, rerun=self._rerun(run))
            places.append((*blocks.add(detail), plan))
        blocks.close()
        of_plans = [blocks.add(view) for view in views]
        blocks.close()
        return blocks, places, of_plans

    def _plan(self, run: BenchmarkResult, place: RunPlace, plans: dict[str, int], views: list[dict[str, Any]]) -> int:
        """Return the number of a run's plan; -1 without one. Runs whose `plan.json` is the same share one."""
        digest = run.artifacts.files.get(PLAN)
        if digest is not None and digest in plans:
            return plans[digest]
        plan = place.plan()
        if plan is None:
            return -1
        views.append(plan_view(plan))
        if digest is not None:
            plans[digest] = len(views) - 1
        return len(views) - 1
