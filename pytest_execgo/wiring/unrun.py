"""Results of cells that never ran: excluded, or lost before they had a folder."""

from __future__ import annotations

from pytest_execgo.observability.clock import rfc3339
from pytest_execgo.plan.cell import Cell
from pytest_execgo.plan.result import ArtifactManifest, BenchmarkResult
from pytest_execgo.plan.verdict import Outcome


def not_run(cell: Cell, outcome: Outcome, reason: str, *, sweep_id: str = "unknown", backend: str = "none") -> BenchmarkResult:
    """Return a result without a run: every metric null, no artifacts, the reason as its error."""
    now = rfc3339()
    return BenchmarkResult(
        run_id=f"not-run-{cell.cell_id}",
        sweep_id=sweep_id,
        cell_id=cell.cell_id,
        scenario_id=cell.scenario,
        framework=cell.framework,
        mode=cell.mode,
        chaos_profile=cell.chaos,
        repetition=cell.repetition,
        seed=cell.seed or 0,
        sweep_seed=cell.seed,
        outcome=outcome,
        error=reason,
        artifacts=ArtifactManifest(run_dir=""),
        started_at=now,
        finished_at=now,
        backend=backend,
    )
