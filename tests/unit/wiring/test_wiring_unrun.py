"""A cell that never ran has a result too: nothing measured, nothing invented."""

from __future__ import annotations

import pytest

from pytest_execgo.core.errors import VerificationFailed
from pytest_execgo.observability.clock import parse_rfc3339
from pytest_execgo.plan.cell import Cell
from pytest_execgo.plan.result import BenchmarkResult, RunMetrics
from pytest_execgo.wiring.unrun import not_run

CELL = Cell("demo", "crewai", "replay", "none", 3, 9)


def test_the_result_of_a_cell_that_never_ran() -> None:
    result = not_run(CELL, "skipped", "not here", sweep_id="sweep-1", backend="embedded")
    assert (result.cell, result.outcome, result.error) == (CELL, "skipped", "not here")
    assert (result.sweep_id, result.backend, result.cell_id) == ("sweep-1", "embedded", CELL.cell_id)
    assert result.metrics == RunMetrics()
    assert set(result.metrics.model_dump().values()) == {None}
    assert (result.verdict, result.attribution, result.artifacts.files) == (None, None, {})
    assert parse_rfc3339(result.started_at) == parse_rfc3339(result.finished_at)
    assert BenchmarkResult.model_validate_json(result.model_dump_json()) == result
    with pytest.raises(VerificationFailed, match="demo skipped: not here"):
        result.raise_for_verdict()


def test_repetitions_that_never_ran_are_told_apart() -> None:
    ids = {not_run(Cell("demo", "crewai", "replay", "none", n), "error", "lost").run_id for n in range(3)}
    assert len(ids) == 3
