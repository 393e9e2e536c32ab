"""What a failing cell prints: enough to see what happened, and how to look closer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytest_execgo.plan.result import BenchmarkResult
from pytest_execgo.plan.verdict import Attribution
from pytest_execgo.reporting.proof import fault_fate, witnesses
from pytest_execgo.reporting.tally import reasons
from pytest_execgo.reporting.text import counted, one_line, wrapped
from pytest_execgo.reporting.timeline import row_at, rows_of, start_of, what_happened

_LABEL = 13
_WIDTH = 100  # characters of what stands beside a label
_REASONS = 17  # lines of reasons
_REASON_LINES = 3
_EVIDENCE = 5
_FAULTS, _WITNESS = 3, 6
_EVENTS = 8


def failure_text(result: BenchmarkResult, timeline: Sequence[Mapping[str, Any]], rerun: str) -> str:
    """Return what to print for a cell that did not pass: at most 40 lines, whatever the run left behind.

    In this order: the outcome with its first reason (the line that pytest's short summary shows), outcome and reasons,
    attribution with its evidence, what became of each fault, what a broken promise is seen by, the last events of the
    timeline (rows of `timeline.jsonl`) with their time in the run, the artifacts' folder, and `rerun`, the command that runs
    the cell again.
    What is cut says how much of it was; the full texts are in `result.json`.
    """
    start = start_of(timeline)
    first = next(iter(reasons(result)), "no reason was given")
    blocks: list[tuple[str, list[str]]] = [
        ("outcome", [f"{result.outcome}, {result.cell}, backend {one_line(result.backend, 40)}"]),
        ("reasons", _reasons(result)),
    ]
    if result.attribution is not None:
        blocks += _attribution(result.attribution, timeline, start)
    blocks += [
        (
            "faults",
            [one_line(f"{fault.action} on {fault.target}: {fault_fate(fault)}", _WIDTH) for fault in result.faults[:_FAULTS]],
        ),
        ("witness", [one_line(line, _WIDTH) for line in witnesses(result.history)[:_WITNESS]]),
    ]
    blocks += [
        ("last events", _events(timeline[-_EVENTS:], start)),
        ("artifacts", [one_line(result.artifacts.run_dir)]),
        ("run again", [one_line(rerun)]),
    ]
    told = [line for label, lines in blocks if lines for line in _block(label, lines)]
    return "\n".join([f"{result.outcome}: {one_line(first, _WIDTH)}", *told])


def _reasons(result: BenchmarkResult) -> list[str]:
    found = reasons(result)
    lines: list[str] = []
    for shown, reason in enumerate(found):
        beside = wrapped(reason, _WIDTH, _REASON_LINES)
        if len(lines) + len(beside) > _REASONS:
            lines.append(f"… and {counted(len(found) - shown, 'more reason')}, in result.json")
            break
        lines += [f"{'  ' if index else '- '}{line}" for index, line in enumerate(beside)]
    return lines


def _attribution(attribution: Attribution, timeline: Sequence[Mapping[str, Any]], start: int) -> list[tuple[str, list[str]]]:
    retryable = " (retryable)" if attribution.retryable else ""
    head = f"{attribution.layer}: {one_line(attribution.code, 60)}{retryable}"
    rows = rows_of(timeline, attribution.evidence)
    evidence = _events(rows[:_EVIDENCE], start)
    if len(rows) > _EVIDENCE:
        evidence.append(f"… and {counted(len(rows) - _EVIDENCE, 'more event')}, in timeline.jsonl")
    return [("attribution", [head, *wrapped(attribution.message, _WIDTH, _REASON_LINES)]), ("evidence", evidence)]


def _events(rows: Sequence[Mapping[str, Any]], start: int) -> list[str]:
    columns = [(f"#{one_line(row.get('seq', '?'), 12)}", row_at(row, start), one_line(what_happened(row), _WIDTH)) for row in rows]
    widths = [max((len(column[index]) for column in columns), default=0) for index in (0, 1)]
    return [f"{seq:>{widths[0]}}  {at:>{widths[1]}}  {what}" for seq, at, what in columns]


def _block(label: str, lines: Sequence[str]) -> list[str]:
    return [f"{label if index == 0 else '':<{_LABEL}}{line}" for index, line in enumerate(lines)]
