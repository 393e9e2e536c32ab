"""Where the frameworks' plans for one scenario differ, and whether that made a difference to the outcome."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_execgo.plan.result import BenchmarkResult, PlanComparison


def compare_plans(runs: Iterable[BenchmarkResult]) -> list[PlanComparison]:
    """Put the plans of undisturbed runs side by side: one comparison for each scenario, mode and repetition.

    Only what two frameworks or more have planned is compared.
    """
    sets: dict[tuple[str, str, int, int], dict[str, BenchmarkResult]] = {}
    for run in runs:
        if run.chaos_profile == "none" and run.plan_shape is not None and run.plan_digest is not None:
            sets.setdefault((run.scenario_id, run.mode, run.repetition, run.seed), {})[run.framework] = run
    return [_compared(runs_of) for _, runs_of in sorted(sets.items()) if len(runs_of) > 1]


def _compared(runs: dict[str, BenchmarkResult]) -> PlanComparison:
    first = next(iter(runs.values()))
    shapes = {name: run.plan_shape for name, run in sorted(runs.items()) if run.plan_shape is not None}
    digests = {name: run.plan_digest for name, run in sorted(runs.items()) if run.plan_digest is not None}
    outcomes = {name: run.outcome for name, run in sorted(runs.items())}
    fields = ("stages", "tasks", "bindings", "tools")
    differ = [name for name in fields if len({str(getattr(shape, name)) for shape in shapes.values()}) > 1]
    if not differ and len(set(digests.values())) > 1:
        differ = ["details"]
    return PlanComparison(
        scenario_id=first.scenario_id,
        mode=first.mode,
        repetition=first.repetition,
        seed=first.seed,
        shapes=shapes,
        digests=digests,
        outcomes=outcomes,
        differ_in=differ,
        outcomes_differ=len(set(outcomes.values())) > 1,
    )
