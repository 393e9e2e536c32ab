"""Axes become pytest parametrisation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from pytest_execgo.core.errors import UsageError
from pytest_execgo.plan.cell import Cell
from pytest_execgo.plugin.entry import AXIS_FIXTURES
from pytest_execgo.plugin.session import ExecGoSession
from pytest_execgo.wiring.matrix import expand

MARK_ARGUMENTS = ("scenarios", "frameworks", "modes", "chaos")
_WHAT = {"scenarios": "scenario", "frameworks": "framework", "modes": "mode", "chaos": "chaos profile"}


def generate(session: ExecGoSession, metafunc: pytest.Metafunc) -> None:
    """Parametrise a test that asks for a cell, or for axes of its own choice."""
    try:
        _generate(session, metafunc)
        return
    except UsageError as error:
        said = str(error)
    pytest.fail(said, pytrace=False)


def _generate(session: ExecGoSession, metafunc: pytest.Metafunc) -> None:
    wanted = constraints(session, metafunc.definition)
    if "execgo_cell" in metafunc.fixturenames:
        _cells(session, metafunc, wanted)
        return
    for fixture, name in zip(AXIS_FIXTURES, MARK_ARGUMENTS, strict=True):
        if fixture in metafunc.fixturenames:
            values = [value for value in getattr(session.sweep.axes, name) if value in wanted.get(name, (value,))]
            metafunc.parametrize(fixture, values, indirect=True)


def constraints(session: ExecGoSession, definition: pytest.Item) -> dict[str, tuple[str, ...]]:
    """Return, by axis, the names that every `@pytest.mark.execgo(…)` on a test leaves; an axis that none narrows is absent."""
    wanted: dict[str, tuple[str, ...]] = {}
    for mark in definition.iter_markers("execgo"):
        if mark.args:
            raise UsageError("bad_marker", "pytest.mark.execgo takes no positional arguments", f"use {', '.join(MARK_ARGUMENTS)}")
        for axis, value in mark.kwargs.items():
            if axis not in MARK_ARGUMENTS:
                raise UsageError.unknown("argument of pytest.mark.execgo", axis, MARK_ARGUMENTS)
            names = expand(_WHAT[axis], _listed(value), getattr(session.sweep.known, axis))
            wanted[axis] = tuple(name for name in names if name in wanted.get(axis, (name,)))
    return wanted


def _listed(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(str(item) for item in value)


def _cells(session: ExecGoSession, metafunc: pytest.Metafunc, wanted: Mapping[str, tuple[str, ...]]) -> None:
    own = getattr(metafunc.module, "execgo_scenario_id", None)
    cells = [cell for cell in _offered(session, wanted) if own in (None, cell.scenario) and _within(cell, wanted)]
    metafunc.parametrize("execgo_cell", [_param(session, cell, own) for cell in cells], indirect=True)


def _offered(session: ExecGoSession, wanted: Mapping[str, tuple[str, ...]]) -> list[Cell]:
    """Return the sweep's cells. A scenario that a marker names may be any, unless the options chose scenarios themselves."""
    sweep = session.sweep
    if "scenarios" in wanted and session.settings.scenarios == ("all",) and not session.settings.cells:
        return replace(sweep.axes, scenarios=wanted["scenarios"]).cells()
    return sweep.cells


def _within(cell: Cell, wanted: Mapping[str, tuple[str, ...]]) -> bool:
    values = (cell.scenario, cell.framework, cell.mode, cell.chaos)
    return all(value in wanted.get(name, (value,)) for name, value in zip(MARK_ARGUMENTS, values, strict=True))


def _param(session: ExecGoSession, cell: Cell, own: str | None) -> Any:
    excluded = session.sweep.planned(cell).excluded if session.sweep.usable(cell.scenario) else None  # else see execgo_cell
    marks: Sequence[pytest.MarkDecorator] = [pytest.mark.skip(reason=excluded)] if excluded else []
    return pytest.param(cell, id=cell.axes if own else f"{cell.scenario}-{cell.axes}", marks=marks)
