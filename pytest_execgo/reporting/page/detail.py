"""All that the page shows of one run beyond its square: why, what happened, what is proved, where the evidence is."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pytest_execgo.plan.history import HistoryRow, Violation
from pytest_execgo.plan.result import BenchmarkResult
from pytest_execgo.plan.statistics import CellOutcome
from pytest_execgo.reporting.page.columns import Texts
from pytest_execgo.reporting.page.folder import RunPlace
from pytest_execgo.reporting.page.lanes import Lanes
from pytest_execgo.reporting.page.logs import Logs
from pytest_execgo.reporting.page.said import block, ends
from pytest_execgo.reporting.proof import fault_fate
from pytest_execgo.reporting.run_clock import RunClock
from pytest_execgo.reporting.tally import reasons
from pytest_execgo.reporting.text import one_line

Row = Mapping[str, Any]
_NAME, _LINE = 80, 240
_FAULTS, _VIOLATIONS, _WITNESS = 50, 20, 6


@dataclass(frozen=True, slots=True)
class Depth:
    """How much of a run is shown: rows of each lane, lines of each log, reasons and their length; `short`: nothing dull."""

    rows: int
    log_lines: int
    reasons: int
    reason: int
    short: bool


FULL = Depth(rows=600, log_lines=40, reasons=30, reason=4_000, short=False)
"""What did not pass, and everything in sweeps of some hundred cells."""
MEDIUM = Depth(rows=200, log_lines=12, reasons=8, reason=600, short=False)
SHORT = Depth(rows=120, log_lines=0, reasons=4, reason=300, short=True)
"""What passed in a large sweep."""
LEAST = Depth(rows=24, log_lines=0, reasons=2, reason=200, short=True)


def run_detail(
    run: BenchmarkResult, place: RunPlace, logs: Logs, depth: Depth, *, before: CellOutcome | None, rerun: str
) -> dict[str, Any]:
    """Return one run's details; what does not apply is left out. Texts are cut, and single lines.

    Reasons and errors keep their own lines.
    `before` is how the same cell ended in the baseline; `rerun` the command that runs the cell again.
    """
    texts = Texts()
    lanes = Lanes(run.run_id, texts, depth.rows, depth.reason)
    by: dict[str, list[dict[str, Any]]] = {"kernel": [], "sink": []}
    for row in place.history(short=depth.short):
        by.get(str(row.get("process")), []).append(row)
    timeline = place.timeline(short=depth.short and bool(by["kernel"]))
    clock = RunClock(timeline)
    said = reasons(run)
    found: dict[str, Any] = {
        "rerun": rerun,
        "seed": run.seed,
        "began": run.started_at,
        "ended": run.finished_at,
        "backend": one_line(run.backend, _NAME),
        "reasons": [block(_bare(reason, run), depth.reason) for reason in said[: depth.reasons]],
        "more_reasons": max(len(said) - depth.reasons, 0),
        "attribution": _attribution(run, depth),
        "details": _details(run, depth),
        "metrics": _metrics(run),
        "faults": [[fault.action, fault.target, one_line(fault_fate(fault), _LINE)] for fault in run.faults[:_FAULTS]],
        "history": _history(run, lanes, clock),
        "events": lanes.events(timeline, clock),
        "kernel": lanes.kernel(by["kernel"], clock),
        "sink": lanes.sink(by["sink"], clock),
        "end": clock.end_ns // 1000,
        "cut": lanes.cut,
        "before": _before(before, run),
        "resumed": run.resumed,
        "sandbox": _sandbox(run),
        "plan_source": run.plan_source,
        "versions": {one_line(name, _NAME): one_line(version, _NAME) for name, version in run.versions.items()},
        "files": place.files(),
        "log": _log(run, place, logs, depth.log_lines),
        "notes": place.notes,
        "texts": texts.table,
    }
    return {name: value for name, value in found.items() if value or value is False}


def own(text: str, run: BenchmarkResult, limit: int) -> str:
    """Return a text of a run as one line, without the run's id before the names of its tasks and effects."""
    return ends(_bare(text, run), limit)


def _bare(text: str, run: BenchmarkResult) -> str:
    return text.replace(f"{run.run_id}:", "").replace(f"{run.run_id}-", "")


def finite(value: float | None) -> float | None:
    """Return a figure with three decimals; None for what JSON has no number for."""
    return round(value, 3) if value is not None and math.isfinite(value) else None


def _attribution(run: BenchmarkResult, depth: Depth) -> dict[str, Any] | None:
    found = run.attribution
    if found is None:
        return None
    said = block(_bare(found.message, run), depth.reason)
    evidence = found.evidence[:_VIOLATIONS]
    return {
        "layer": found.layer,
        "code": one_line(found.code, _NAME),
        "said": said,
        "retryable": found.retryable,
        "evidence": evidence,
    }


def _sandbox(run: BenchmarkResult) -> dict[str, Any] | None:
    found = run.sandbox
    if found is None:
        return None
    return {"requested": found.requested, "effective": found.effective, "reason": ends(found.reason or "", _LINE)}


def _details(run: BenchmarkResult, depth: Depth) -> str:
    details = run.verdict.details if run.verdict is not None else {}
    return one_line(json.dumps(details, ensure_ascii=False, default=str), depth.reason) if details else ""


def _metrics(run: BenchmarkResult) -> dict[str, float]:
    figures = ((name, finite(getattr(run.metrics, name))) for name in type(run.metrics).model_fields)
    return {name: value for name, value in figures if value is not None}


def _history(run: BenchmarkResult, lanes: Lanes, clock: RunClock) -> dict[str, Any] | None:
    verdict = run.history
    if verdict is None:
        return None
    violations = [_violation(one, run, lanes, clock) for one in verdict.violations[:_VIOLATIONS]]
    found: dict[str, Any] = {"outcome": verdict.outcome, "counts": verdict.counts, "violations": violations}
    found["reasons"] = [own(reason, run, _LINE) for reason in verdict.reasons[:_VIOLATIONS]]
    return {name: value for name, value in found.items() if value}


def _violation(one: Violation, run: BenchmarkResult, lanes: Lanes, clock: RunClock) -> dict[str, Any]:
    rows = [_witness(row, run, lanes, clock) for row in one.witness[:_WITNESS]]
    return {"check": one_line(one.check, _NAME), "said": own(one.message, run, 2 * _LINE), "witness": rows}


def _witness(row: HistoryRow, run: BenchmarkResult, lanes: Lanes, clock: RunClock) -> list[Any]:
    """Return a row as µs since the run's first event, observer, type, what, task, attempt, key, and what else it says."""
    at = lanes.moment({"monotonic_ns": row.monotonic_ns, "boot_id": row.boot_id, "wall": row.wall}, clock)
    said = ", ".join(f"{name}={value}" for name, value in row.value.items() if name != "invoked_ns")
    task, key = own(row.task or "", run, _LINE), own(row.idem_key or "", run, _LINE)
    return [at, row.process, row.type, one_line(row.f, _NAME), task, row.attempt or 0, key, one_line(said, _LINE)]


def _before(before: CellOutcome | None, run: BenchmarkResult) -> dict[str, Any] | None:
    if before is None:
        return None
    return {
        "outcome": before.outcome,
        "reasons": [ends(reason, _LINE) for reason in before.reasons[:3]],
        "wall": finite(before.wall_time_ms),
        "recovery": finite(before.recovery_time_ms),
        "violations": before.violations,
        "plan": _same(before.plan_digest, run.plan_digest),
        "result": _same(before.outcome_digest, run.outcome_digest),
    }


def _same(before: str | None, after: str | None) -> bool | None:
    return before == after if before is not None and after is not None else None


def _log(run: BenchmarkResult, place: RunPlace, logs: Logs, lines: int) -> dict[str, list[str]]:
    stack = place.stack() if lines else None
    return logs.tails(stack, run.started_at, run.finished_at, lines) if stack is not None else {}
