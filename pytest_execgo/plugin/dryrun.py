"""`--execgo-dry-run`: which of the cells that pytest collects would run, and why any is excluded."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import pytest

from pytest_execgo.core.errors import UsageError
from pytest_execgo.plan.cell import Cell
from pytest_execgo.plugin.properties import cell_of
from pytest_execgo.reporting.text import one_line
from pytest_execgo.wiring.matrix import PlannedCell, describe
from pytest_execgo.wiring.sweep import Sweep


class DryRun:
    """Registered in a dry run, which is a mere collection: paths, `-k` and the like choose cells as they do for a run."""

    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep

    def pytest_report_collectionfinish(self, items: Sequence[pytest.Item]) -> list[str]:
        """Give one line a cell: its id, its selector, and whether it would run; then a count."""
        cells = dict.fromkeys(cell for item in items if (cell := cell_of(item)) is not None)
        return describe([self._planned(cell) for cell in cells]) if items else []

    @pytest.hookimpl(wrapper=True)
    def pytest_collection_finish(self, session: pytest.Session) -> Generator[None, None, None]:
        """Keep pytest from printing its own list of what was collected: while this hook runs, nobody sees a mere collection."""
        option = session.config.option
        option.collectonly = False
        try:
            yield
        finally:
            option.collectonly = True

    def _planned(self, cell: Cell) -> PlannedCell:
        """Tell whether a cell would run; in a user's own test it may be one of a scenario that can't be loaded."""
        try:
            return self._sweep.planned(cell)
        except UsageError as error:
            return PlannedCell(cell, one_line(error))
