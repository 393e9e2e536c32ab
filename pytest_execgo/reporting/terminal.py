"""A sweep as a plain-text table, for the terminal."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from statistics import median

from pytest_execgo.plan.result import BenchmarkSummary, GroupSummary
from pytest_execgo.reporting.comparison import comparison_text
from pytest_execgo.reporting.figures import statistics_lines
from pytest_execgo.reporting.gates import gate_lines
from pytest_execgo.reporting.tally import group_verdicts, plans_line, skip_reasons, totals_line, without_sandbox
from pytest_execgo.reporting.text import counted, duration, fit, inert, one_line, times, wrapped

HEADERS = ("scenario", "framework", "mode", "chaos", "verdicts", "wall", "critical path", "overhead")
_RIGHT = frozenset({5, 6, 7})
_CRITICAL_PATH = 6
_SPARE = (_CRITICAL_PATH, 2, 1)  # which columns go first when the table is too wide: overhead tells of the critical path
_SHRINKABLE = (0, 3, 1, 4)  # which columns give way then, the widest first
_MOST_GROUPS = 40
"""Beyond so many lines the table tells of each chaos profile, and of the cells that did not pass."""
_PROFILE_HEADERS = ("chaos", "cells", "wall", "recovery", "violations")
_PROFILE_RIGHT = frozenset({2, 3, 4})
_REASON_LINES = 4
_NARROWEST = 8
_GAP = "  "
_SKIP_REASONS = 10


def sweep_table(summary: BenchmarkSummary, width: int = 100) -> list[str]:
    """Return the lines of a sweep's table: headings, one line a group, totals, statistics, why cells were skipped.

    Between these, what ran without the sandbox that was asked for; then the comparison and the gates, where there are any. Lines
    are at most `width` characters: spare columns give way first, then names. Times are medians. No colours. Where folding would
    make a runner's order of a line, it is one longer.
    """
    groups = summary.groups
    lines: list[str] = []
    if len(groups) > _MOST_GROUPS:
        lines += [*_table([_PROFILE_HEADERS, *_profile_rows(groups)], width, _PROFILE_RIGHT, (0, 1)), ""]
        groups = [group for group in groups if group.passed + group.skipped < group.repetitions]
    lines += _group_table(groups, width) if groups else []
    lines.append(fit(f"{totals_line(summary)} in {duration(summary.wall_time_ms)}", width))
    lines += _folded([plans] if (plans := plans_line(summary)) else [], width)
    lines += _folded(statistics_lines(summary, terse=True), width)
    for line in without_sandbox(summary.runs):
        lines += (fit(part, width) for part in wrapped(line, width, _REASON_LINES))
    skipped = skip_reasons(summary.runs)
    for reason, count in skipped[:_SKIP_REASONS]:
        lines += (fit(line, width) for line in wrapped(f"skipped {counted(count, 'cell')}: {reason}", width, _REASON_LINES))
    if len(skipped) > _SKIP_REASONS:
        more = counted(len(skipped) - _SKIP_REASONS, "more reason")
        lines.append(fit(f"skipped for {more}, in benchmark-summary.md", width))
    compared = comparison_text(summary.comparison).splitlines() if summary.comparison is not None else []
    return [inert(line) for line in (*lines, *_folded([*compared, *gate_lines(summary.gates)], width))]


def _folded(lines: Sequence[str], width: int) -> list[str]:
    """Fold lines that are too long; what goes on is indented a little more than its first line."""
    folded: list[str] = []
    for line in lines:
        indent = line[: len(line) - len(line.lstrip())] + "  "
        folded += textwrap.wrap(line, width, subsequent_indent=indent, break_on_hyphens=False)
    return folded


def _profile_rows(groups: Sequence[GroupSummary]) -> list[tuple[str, ...]]:
    """Return one row a chaos profile of which anything ran: how its cells ended, and its times."""
    rows: list[tuple[str, ...]] = []
    for profile in dict.fromkeys(group.chaos_profile for group in groups):
        mine = [group for group in groups if group.chaos_profile == profile]
        if all(group.skipped == group.repetitions for group in mine):
            continue  # why it was skipped is told beneath, once
        ended = Counter[str]()
        for group in mine:
            ended.update(passed=group.passed, failed=group.failed, errors=group.errors, inconclusive=group.inconclusive)
            ended.update(skipped=group.skipped)
        said = ", ".join(f"{count} {what}" for what, count in ended.items() if count)
        times_ms = [group.recovery_time_ms for group in mine if group.recovery_time_ms is not None]
        walls = [group.wall_time_ms for group in mine if group.wall_time_ms is not None]
        row = (duration(median(walls) if walls else None), duration(median(times_ms) if times_ms else None))
        rows.append((one_line(profile), said, *row, str(sum(group.violations for group in mine))))
    return rows


def _cells(group: GroupSummary) -> tuple[str, ...]:
    return (
        one_line(group.scenario_id),
        one_line(group.framework),
        group.mode,
        one_line(group.chaos_profile),
        _verdicts(group),
        duration(group.wall_time_ms),
        duration(group.critical_path_ms),
        times(group.overhead),
    )


def _verdicts(group: GroupSummary) -> str:
    if group.repetitions != 1:
        return group_verdicts(group)
    counts = (("passed", group.passed), ("failed", group.failed), ("error", group.errors), ("inconclusive", group.inconclusive))
    return next((word for word, count in counts if count), "skipped")


def _group_table(groups: Sequence[GroupSummary], width: int) -> list[str]:
    """Return the table of groups. When it is too wide, it goes without the critical path, and says of what is all alike once."""
    rows = [HEADERS, *map(_cells, groups)]
    kept = list(range(len(HEADERS)))
    alike: list[str] = []
    for column in _SPARE:
        if _width(rows, kept) <= width:
            break
        values = {row[column] for row in rows[1:]}
        if column != _CRITICAL_PATH and len(values) > 1:
            continue
        kept.remove(column)
        if column != _CRITICAL_PATH:
            alike.insert(0, f"{HEADERS[column]} {values.pop()}")
    said = [fit(f"every cell: {', '.join(alike)}", width)] if alike else []
    right = frozenset(place for place, column in enumerate(kept) if column in _RIGHT)
    shrinkable = [kept.index(column) for column in _SHRINKABLE if column in kept]
    return [*said, *_table([[row[column] for column in kept] for row in rows], width, right, shrinkable)]


def _width(rows: Sequence[Sequence[str]], columns: Sequence[int]) -> int:
    return sum(max(len(row[column]) for row in rows) for column in columns) + len(_GAP) * (len(columns) - 1)


def _table(rows: Sequence[Sequence[str]], width: int, right: frozenset[int], shrinkable: Sequence[int]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    excess = sum(widths) + len(_GAP) * (len(widths) - 1) - width
    while excess > 0:
        widest = max(shrinkable, key=lambda column: widths[column])  # of those as wide, the one that is named first
        if widths[widest] <= _NARROWEST:
            break
        widths[widest] -= 1
        excess -= 1
    lines = []
    for row in rows:
        cells = (fit(cell, widths[index]) for index, cell in enumerate(row))
        padded = (c.rjust(widths[i]) if i in right else c.ljust(widths[i]) for i, c in enumerate(cells))
        lines.append(fit(_GAP.join(padded).rstrip(), width))
    return lines
