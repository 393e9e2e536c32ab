"""What a report carries of a cell: pairs that survive xdist and end up in JUnit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import pytest

from pytest_execgo.plan.cell import Cell
from pytest_execgo.plan.model import Mode
from pytest_execgo.plan.result import BenchmarkResult
from pytest_execgo.reporting.junit import properties


def cell_of(item: pytest.Item) -> Cell | None:
    """Return the cell that an item was parametrised with, if it was."""
    callspec = getattr(item, "callspec", None)
    cell = callspec.params.get("execgo_cell") if callspec is not None else None
    return cell if isinstance(cell, Cell) else None


def cell_properties(cell: Cell) -> list[tuple[str, str]]:
    """Return the pairs that identify a cell."""
    pairs = [
        ("execgo.cell_id", cell.cell_id),
        ("execgo.scenario", cell.scenario),
        ("execgo.framework", cell.framework),
        ("execgo.mode", cell.mode),
        ("execgo.chaos", cell.chaos),
        ("execgo.repetition", str(cell.repetition)),
    ]
    return pairs if cell.seed is None else [*pairs, ("execgo.sweep_seed", str(cell.seed))]


def result_properties(cell: Cell, result: BenchmarkResult) -> list[tuple[str, str]]:
    """Return the pairs of a cell that ran."""
    pairs = properties(result)
    names = {name for name, _ in pairs}
    return [pair for pair in cell_properties(cell) if pair[0] not in names] + pairs


def cell_from(pairs: Iterable[tuple[str, Any]]) -> Cell | None:
    """Return the cell that a report's pairs identify; None when the report is not of ours."""
    known = {name: str(value) for name, value in pairs if name.startswith("execgo.")}
    try:
        return Cell(
            known["execgo.scenario"],
            known["execgo.framework"],
            cast(Mode, known["execgo.mode"]),
            known["execgo.chaos"],
            int(known["execgo.repetition"]),
            int(known["execgo.sweep_seed"]) if "execgo.sweep_seed" in known else None,
        )
    except KeyError:
        return None
