"""`summary.md` of a run and `benchmark-summary.md` of a sweep: what they show is chosen here, how in `reports/templates`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pytest_execgo.core.bundle import bundled
from pytest_execgo.plan.result import BenchmarkResult, BenchmarkSummary, PlanComparison, RunMetrics
from pytest_execgo.reporting import comparison, gates
from pytest_execgo.reporting.figures import statistics_rows
from pytest_execgo.reporting.proof import fault_fate, witnesses
from pytest_execgo.reporting.tally import group_verdicts, reasons, skip_reasons, totals_line, without_sandbox
from pytest_execgo.reporting.text import NOT_APPLICABLE, abridged, counted, duration, lines_of, one_line, share, times
from pytest_execgo.reporting.timeline import judged, row_at, rows_of, stages, start_of, what_happened

_CELL = 300  # characters of one value
_REASON = 2_000  # characters of one reason
_REASON_LINES = 40
_CODE = "      "  # what makes a block of code of a line within a list's item, and keeps anything in it from being more
_REASONS = 50
_ROWS = 200
_LAST_EVENTS = 12
_RATES = frozenset(
    {"plan_validity", "submit_accept_rate", "scenario_success", "recovery_success", "determinism_drift", "artifact_hash_match"}
)

_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
# What Markdown (CommonMark with GitHub's tables, strikethrough and formulas) gives a meaning anywhere in a line.
# An underscore has one only at a word's edge, and names are full of others, so those stay readable.
_INLINE = re.compile(r"[\\`*~|\[\]$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_AT_START = re.compile(r"[-+#](?=[-+#\s]|$)|=|\d+(?=[.)](?:\s|$))")


def escape(value: object, limit: int = _CELL) -> str:
    """Render any value as Markdown text that shows just its characters, in a table's cell or in a list's line.

    It becomes one line of at most about `limit` characters (0: whatever its length). None is `n/a`.
    """
    if value is None:
        return NOT_APPLICABLE
    text = _INLINE.sub(r"\\\g<0>", one_line(value, limit))
    text = re.sub("[&<>]", lambda match: _HTML[match[0]], text)
    start = _AT_START.match(text)
    if start is None:
        return text
    return f"{start[0]}\\{text[start.end() :]}" if start[0].isdigit() else f"\\{text}"


def _item(reason: str) -> str:
    """Render a reason as what follows a list's dash: its first line; its others, if it has any, as a block of code."""
    first, *others = lines_of(reason)
    block = [f"{_CODE}{line}".rstrip() for line in abridged(others, _REASON_LINES, _CELL, 1)]
    return "\n".join([escape(first, _REASON), *(["", *block] if block else [])])


class _Escaped(str):
    """Text that a filter has escaped already."""

    __slots__ = ()


def run_summary(result: BenchmarkResult, timeline: Sequence[Mapping[str, Any]]) -> str:
    """Render a run's `summary.md` from its result and the rows of its `timeline.jsonl`."""
    start = start_of(timeline)

    def events(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        return [{"seq": row.get("seq"), "at": row_at(row, start), "what": what_happened(row)} for row in rows]

    evidence = result.attribution.evidence if result.attribution else []
    said = reasons(result)
    views = stages(timeline)
    tasks = [(view.stage_id, task) for view in views for task in view.tasks.values()]
    template = _environment().get_template("summary.md.j2")
    return template.render(
        result=result,
        judged=judged(timeline),
        reasons=said[:_REASONS],
        more_reasons=max(len(said) - _REASONS, 0),
        evidence=events(rows_of(timeline, evidence)),
        metrics=_metric_rows(result.metrics),
        faults=[{"fault": fault, "fate": fault_fate(fault)} for fault in result.faults],
        history=result.history,
        witnesses=witnesses(result.history),
        stages=views[:_ROWS],
        more_stages=max(len(views) - _ROWS, 0),
        tasks=tasks[:_ROWS],
        more_tasks=max(len(tasks) - _ROWS, 0),
        events=events(timeline[-_LAST_EVENTS:]),
        event_count=len(timeline),
    )


def sweep_summary(summary: BenchmarkSummary) -> str:
    """Render a sweep's `benchmark-summary.md`."""
    failing = [run for run in summary.runs if run.outcome not in ("passed", "skipped")]
    rows = [{"run": run, "why": next(iter(_explanations(run)), None)} for run in failing[:_ROWS]]
    template = _environment().get_template("benchmark-summary.md.j2")
    return template.render(
        summary=summary,
        totals=totals_line(summary),
        plans=[row for comparison in summary.plans for row in _plan_rows(comparison)][:_ROWS],
        recoveries=[group for group in summary.groups if group.recovery_success is not None or group.violations],
        failing=rows,
        more_failing=len(failing) - len(rows),
        without_sandbox=without_sandbox(summary.runs),
        skipped=skip_reasons(summary.runs),
        statistics=statistics_rows(summary.statistics) if summary.statistics is not None and summary.statistics.runs else [],
        bounds=summary.statistics.bounds if summary.statistics is not None else [],
        compared=_compared(summary),
        gates=[(gate, gates.gate_word(gate), gates.gate_value(gate)) for gate in summary.gates],
    )


def _compared(summary: BenchmarkSummary) -> dict[str, Any] | None:
    found = summary.comparison
    if found is None:
        return None
    moved = [change for change in found.changes if change.kind in comparison.MOVED]
    return {
        "head": comparison.head(found),
        "changes": [{"change": change, "cell": comparison.changed_cell(change)} for change in moved[:_ROWS]],
        "more": max(len(moved) - _ROWS, 0),
        "tests": [{"test": test, "method": comparison.METHODS[test.method]} for test in found.tests[:_ROWS]],
        "notes": found.notes,
    }


def _plan_rows(comparison: PlanComparison) -> list[dict[str, Any]]:
    differ = ", ".join(comparison.differ_in) or "nothing"
    said = f"{differ}; outcomes differ, too" if comparison.outcomes_differ else differ
    return [
        {
            "scenario": comparison.scenario_id,
            "mode": comparison.mode,
            "framework": framework,
            "shape": shape,
            "tools": ", ".join(f"{tool} {count}" for tool, count in shape.tools.items()),
            "outcome": comparison.outcomes[framework],
            "differ": said,
        }
        for framework, shape in comparison.shapes.items()
    ]


def _explanations(result: BenchmarkResult) -> list[str]:
    return reasons(result) + ([result.attribution.message] if result.attribution else [])


def _metric_rows(metrics: RunMetrics) -> list[tuple[str, str]]:
    return [(name, _metric(name, value)) for name, value in metrics.model_dump().items()]


def _metric(name: str, value: float | None) -> str:
    if value is None:
        return NOT_APPLICABLE
    if name.endswith("_ms"):
        return duration(value)
    if name in _RATES:
        return share(value)
    return times(value) if name == "overhead" else str(value)


def _finalize(value: object) -> str:
    return value if isinstance(value, _Escaped) else escape(value)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(bundled("reports") / "templates"),
        autoescape=False,  # noqa: S701 - this is Markdown: `finalize` escapes every value, whether or not a template asks
        finalize=_finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        reason=lambda value: _Escaped(escape(value, _REASON)),
        item=lambda value: _Escaped(_item(value)),
        duration=duration,
        times=times,
        share=share,
        counted=counted,
        p=comparison.p,
        verdicts=group_verdicts,
    )
    return environment
