"""What a failing cell prints: enough to see what happened, and how to look closer. Each thing is said once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from pytest_execgo.plan.result import BenchmarkResult
from pytest_execgo.plan.verdict import Attribution
from pytest_execgo.reporting.proof import fault_fate, witnesses
from pytest_execgo.reporting.tally import NO_REASON, reasons
from pytest_execgo.reporting.text import abridged, counted, inert, lines_of, one_line, wrapped
from pytest_execgo.reporting.timeline import detail_text, row_at, rows_of, start_of, what_happened

_LABEL = 13
_WIDTH = 100  # characters of what stands beside a label
_MESSAGE_LINES = 3  # of an attribution
_EVIDENCE = 5
_FAULTS, _WITNESS = 3, 6
_EVENTS = 8
_COMPARED, _COMPARED_REASONS = 2_000, 20  # how much of the reasons is looked at to see what repeats them
_TOLD = frozenset({"failure_attributed"})  # what the attribution's own line tells
_KNOWN = ("wire_id", "cell_id", "workspace", "outcome")  # what an event repeats of its own ids, of the cell and of its status


@dataclass(frozen=True, slots=True)
class _Room:
    """How much of the reasons is shown. All but the first line's characters are numbers of lines."""

    first: int = 300  # the first reason's first line: it may begin with a long path, and is all that a short summary shows
    beneath: int = 12  # the first reason's other lines
    others: int = 13  # the other reasons
    said: int = 19  # both of these
    reason: int = 7  # one of the other reasons
    fold: int = 3  # a long line

    def times(self, factor: int) -> _Room:
        return _Room(*(factor * getattr(self, field.name) for field in fields(self)))


_ROOMS = (_Room(), _Room().times(5), _Room().times(1_000_000))
"""By pytest's verbosity: some, more, all."""


def failure_text(result: BenchmarkResult, timeline: Sequence[Mapping[str, Any]], rerun: str, verbosity: int = 0) -> str:
    """Return what to print for a cell that did not pass: at most 50 lines, whatever the run left behind.

    A `verbosity` of 1 (pytest's `-v`) shows more of the reasons, of 2 all of them.

    In this order: the first reason, which pytest's short summary shows, too (after the outcome, unless that is `failed`, which
    pytest says itself); the cell; other reasons; the attribution with its evidence, as numbers of events; what became of each
    fault; what a broken promise is seen by; the evidence and the last events of the timeline (rows of `timeline.jsonl`) with
    their time in the run; the artifacts' folder; and `rerun`, the command that runs the cell again.
    What is cut says how much of it was; the full texts are in `result.json`.
    """
    found = reasons(result)
    said = _said(found)
    room = _ROOMS[min(max(verbosity, 0), len(_ROOMS) - 1)]
    first = _first(result.outcome, found, room)
    others = min(room.others, room.said - (len(first) - 1))
    rows = rows_of(timeline, result.attribution.evidence if result.attribution else ())
    blocks: list[tuple[str, list[str]]] = [
        ("cell", [f"{result.cell}, backend {one_line(result.backend, 40)}"]),
        ("also", _reasons(found[1:], others, room)),
    ]
    if result.attribution is not None:
        blocks.append(("attribution", _attribution(result.attribution, rows, said)))
    blocks += [
        (
            "faults",
            [one_line(f"{fault.action} on {fault.target}: {fault_fate(fault)}", _WIDTH) for fault in result.faults[:_FAULTS]],
        ),
        ("witness", [one_line(line, _WIDTH) for line in witnesses(result.history)[:_WITNESS]]),
        ("events", _events(_telling(timeline, rows[:_EVIDENCE]), start_of(timeline), said)),
        ("artifacts", [one_line(result.artifacts.run_dir)]),
        ("run again", [one_line(rerun)]),
    ]
    told = [line for label, lines in blocks if lines for line in _block(label, lines)]
    return "\n".join(map(inert, [*first, *told]))


def _first(outcome: str, found: Sequence[str], room: _Room) -> list[str]:
    """Return the first reason: its first line, which says what matters, as one; beneath, its others as they stand."""
    head, *others = lines_of(next(iter(found), NO_REASON))
    head = head or NO_REASON
    beneath = abridged(others, room.beneath, _WIDTH, room.fold)
    said = one_line(head if outcome == "failed" else f"{outcome}: {head}", room.first)
    return [said, *(f"  {line}".rstrip() for line in beneath)]


def _reasons(found: Sequence[str], most: int, room: _Room) -> list[str]:
    lines: list[str] = []
    for shown, reason in enumerate(found):
        beside = abridged(lines_of(reason), room.reason, _WIDTH, room.fold)
        last = shown == len(found) - 1  # in the place of one line, a note would spare nothing
        if len(lines) + len(beside) > most + last:
            lines.append(f"… and {counted(len(found) - shown, 'more reason')}, in result.json")
            break
        lines += [f"{'  ' if index else '- '}{line}".rstrip() for index, line in enumerate(beside)]
    return lines


def _attribution(attribution: Attribution, rows: Sequence[Mapping[str, Any]], said: Sequence[str]) -> list[str]:
    notes = ["retryable"] if attribution.retryable else []
    if rows:
        more = f" and {len(rows) - _EVIDENCE} more" if len(rows) > _EVIDENCE else ""
        notes.append(f"seen by {', '.join(map(_seq, rows[:_EVIDENCE]))}{more}")
    head = f"{attribution.layer}: {one_line(attribution.code, 60)}" + (f" ({'; '.join(notes)})" if notes else "")
    message = wrapped(attribution.message, _WIDTH, _MESSAGE_LINES)
    return [head] if _repeats(one_line(attribution.message, _COMPARED), said) else [head, *message]


def _telling(timeline: Sequence[Mapping[str, Any]], evidence: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the evidence and the last events but those that are told already, each once, in their order."""
    last = [row for row in timeline if row.get("event_type") not in _TOLD][-_EVENTS:]
    return [row for row in evidence if row not in last] + last


def _events(rows: Sequence[Mapping[str, Any]], start: int, said: Sequence[str]) -> list[str]:
    columns = [(_seq(row), row_at(row, start), one_line(_event(row, said), _WIDTH)) for row in rows]
    widths = [max((len(column[index]) for column in columns), default=0) for index in (0, 1)]
    return [f"{seq:>{widths[0]}}  {at:>{widths[1]}}  {what}" for seq, at, what in columns]


def _event(row: Mapping[str, Any], said: Sequence[str]) -> str:
    """Describe an event, without what it only repeats."""
    metadata = row.get("metadata")
    if isinstance(metadata, Mapping):
        new = {key: value for key, value in metadata.items() if key not in _KNOWN}
        row = {**row, "metadata": {} if _repeats(detail_text(new), said) else new}
    return what_happened(row)


def _said(found: Sequence[str]) -> list[str]:
    """Return what the reasons say, each alone and the first ones together, as events and attributions put it."""
    first = found[:_COMPARED_REASONS]
    return [one_line(text, _COMPARED) for text in (*first, "; ".join(reason[:_COMPARED] for reason in first))]


def _repeats(text: str, said: Sequence[str]) -> bool:
    """Tell whether a line, which may have been cut, says nothing new."""
    return any(text.partition("… (+")[0] in known for known in said)


def _seq(row: Mapping[str, Any]) -> str:
    return f"#{one_line(row.get('seq', '?'), 12)}"


def _block(label: str, lines: Sequence[str]) -> list[str]:
    return [f"{label if index == 0 else '':<{_LABEL}}{line}" for index, line in enumerate(lines)]
