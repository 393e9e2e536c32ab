"""What the page shows of a whole sweep: its axes, groups and runs as columns, its figures, and how it compares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel

from pytest_execgo.core.errors import UsageError
from pytest_execgo.core.jsonio import digest
from pytest_execgo.plan.result import BenchmarkResult, BenchmarkSummary, GroupSummary, PlanShape
from pytest_execgo.plan.statistics import CellChange, Comparison, GateResult
from pytest_execgo.reporting.page.columns import Texts
from pytest_execgo.reporting.page.detail import finite, own
from pytest_execgo.reporting.tally import reasons, skip_reasons
from pytest_execgo.reporting.text import one_line

AXES = ("scenario_id", "framework", "mode", "chaos_profile")
_REASON, _LINE, _NAME = 140, 240, 80
_MANY, _BECAUSE = 200, 20


def sweep_index(summary: BenchmarkSummary, places: Sequence[tuple[int, int, int]], compared: Comparison | None) -> dict[str, Any]:
    """Return what the page needs to open. `places` has, for each run, its block, its place in that, and its plan's number.

    A group or a run is a row across the columns; names on the axes are numbers into `axes`, outcomes words.
    """
    texts = Texts()
    axes = [_axis(summary, name) for name in AXES]
    numbers = [{value: number for number, value in enumerate(axis)} for axis in axes]
    plans = _plans(summary)
    groups = {_key(group): number for number, group in enumerate(summary.groups)}
    return {
        "sweep": _sweep(summary),
        "axes": axes,
        "groups": _columns(_group(group, numbers) for group in summary.groups),
        "runs": _columns(_run(run, _group_of(run, groups), place, texts) for run, place in zip(summary.runs, places, strict=True)),
        "texts": texts.table,
        "statistics": _plain(summary.statistics),
        "comparison": _comparison(compared, summary.runs),
        "gates": [_gate(gate) for gate in summary.gates[:_MANY]],
        "plans": plans[:_MANY],
        "more_plans": max(len(plans) - _MANY, 0),
        "skipped": [list(pair) for pair in skip_reasons(summary.runs)[:_MANY]],
    }


def _sweep(summary: BenchmarkSummary) -> dict[str, Any]:
    versions = {name: version for run in summary.runs for name, version in run.versions.items()}
    return {
        "id": summary.sweep_id,
        "began": summary.started_at,
        "ended": summary.finished_at,
        "wall": finite(summary.wall_time_ms),
        "planned": summary.planned,
        "totals": summary.totals,
        "backends": sorted({one_line(run.backend, _NAME) for run in summary.runs if run.outcome != "skipped"}),
        "versions": {one_line(name, _NAME): one_line(version, _NAME) for name, version in sorted(versions.items())[:_BECAUSE]},
    }


def _axis(summary: BenchmarkSummary, name: str) -> list[str]:
    return sorted({getattr(group, name) for group in summary.groups}, key=lambda value: (value != "none", value))


def _key(thing: GroupSummary | BenchmarkResult) -> tuple[str, str, str, str]:
    return (thing.scenario_id, thing.framework, thing.mode, thing.chaos_profile)


def _group_of(run: BenchmarkResult, groups: dict[tuple[str, str, str, str], int]) -> int:
    number = groups.get(_key(run))
    if number is None:
        raise UsageError("bad_summary", f"the summary has run {run.run_id}, and no group for it", "it must be a whole sweep's")
    return number


def _group(group: GroupSummary, numbers: Sequence[dict[str, int]]) -> dict[str, Any]:
    named = dict(zip("sfmc", (found[value] for found, value in zip(numbers, _key(group), strict=True)), strict=True))
    interval = group.pass_interval
    return {
        **named,
        "passed": group.passed,
        "failed": group.failed,
        "error": group.errors,
        "inconclusive": group.inconclusive,
        "skipped": group.skipped,
        "rate": finite(group.pass_rate),
        "low": finite(interval.low) if interval is not None else None,
        "high": finite(interval.high) if interval is not None else None,
        "wall": finite(group.wall_time_ms),
        "recovery": finite(group.recovery_time_ms),
        "drift": finite(group.determinism_drift),
        "violations": group.violations,
    }


def _run(run: BenchmarkResult, group: int, place: tuple[int, int, int], texts: Texts) -> dict[str, Any]:
    code = f"{run.attribution.layer}: {one_line(run.attribution.code, _NAME)}" if run.attribution is not None else ""
    block, at, plan = place
    return {
        "g": group,
        "rep": run.repetition,
        "outcome": texts.number(run.outcome),
        "id": run.run_id,
        "cell": run.cell_id,
        "wall": finite(run.metrics.wall_time_ms),
        "why": texts.number(next((own(reason, run, _REASON) for reason in reasons(run)), "")),
        "code": texts.number(code),
        "violations": len(run.history.violations) if run.history is not None else 0,
        "block": block,
        "at": at,
        "plan": plan,
    }


def _columns(rows: Iterable[dict[str, Any]]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for row in rows:
        for name, value in row.items():
            found.setdefault(name, []).append(value)
    return found


def _comparison(compared: Comparison | None, runs: Sequence[BenchmarkResult]) -> dict[str, Any] | None:
    if compared is None:
        return None
    number = {run.cell_id: index for index, run in enumerate(runs)}
    changes = [change for change in compared.changes if change.kind != "other" or _moved(change)]
    listed = sorted(changes, key=lambda change: ("regression", "improvement", "other", "added", "removed").index(change.kind))
    return {
        "sweep": compared.baseline_sweep,
        "paired": compared.paired,
        "unpaired": compared.unpaired,
        "regressions": compared.regressions,
        "improvements": compared.improvements,
        "kinds": dict(Counter(change.kind for change in compared.changes)),
        "changes": [_change(change, number) for change in listed[: 10 * _MANY]],
        "tests": [_plain(test) for test in compared.tests[:_MANY]],
        "notes": [one_line(note, _LINE) for note in compared.notes[:_MANY]],
    }


def _moved(change: CellChange) -> bool:
    return change.before is not None and change.after is not None and change.before.outcome != change.after.outcome


def _change(change: CellChange, number: dict[str, int]) -> list[Any]:
    """Return a change as its kind, the run's number (-1: not in this sweep), the cell's name, and both outcomes."""
    one = change.after or change.before
    name = f"{one.scenario_id} {one.framework}-{one.mode}-{one.chaos_profile}-{one.repetition}" if one is not None else ""
    run = number.get(change.after.cell_id, -1) if change.after is not None else -1
    outcomes = [end.outcome if end is not None else None for end in (change.before, change.after)]
    return [change.kind, run, name, *outcomes]


def _gate(gate: GateResult) -> dict[str, Any]:
    because = [one_line(line, _LINE) for line in gate.because[:_BECAUSE]]
    more = len(gate.because) - len(because)
    return {
        "condition": one_line(gate.condition, _LINE),
        "passed": gate.passed,
        "value": finite(gate.value),
        "because": because,
        "more": more,
    }


def _plans(summary: BenchmarkSummary) -> list[dict[str, Any]]:
    """Return the comparisons of plans, with where each plan came from; repetitions in which all of that was the same are one."""
    undisturbed = [run for run in summary.runs if run.chaos_profile == "none" and run.plan_source is not None]
    sources: dict[tuple[str, str, int, int], dict[str, str | None]] = {}
    for run in undisturbed:
        sources.setdefault((run.scenario_id, run.mode, run.repetition, run.seed), {})[run.framework] = run.plan_source
    found: dict[str, dict[str, Any]] = {}
    for one in summary.plans:
        source = sources.get((one.scenario_id, one.mode, one.repetition, one.seed), {})
        alike = digest([one.scenario_id, one.mode, one.digests, one.outcomes, source])
        if alike in found:
            found[alike]["repetitions"].append(one.repetition)
            continue
        dumped = one.model_dump(mode="json", include={"scenario_id", "mode", "outcomes", "outcomes_differ", "differ_in"})
        digests = {name: text[:8] for name, text in one.digests.items()}
        shapes = {name: _shape(shape) for name, shape in one.shapes.items()}
        found[alike] = {**dumped, "repetitions": [one.repetition], "shapes": shapes, "digests": digests, "sources": source}
    return list(found.values())


def _shape(shape: PlanShape) -> list[Any]:
    tools = ", ".join(f"{tool} {count}" for tool, count in shape.tools.items())
    return [shape.stages, shape.tasks, shape.bindings, one_line(tools, _LINE)]


def _plain(thing: BaseModel | None) -> Any:
    return thing.model_dump(mode="json", exclude_none=True) if thing is not None else None
