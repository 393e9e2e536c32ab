"""A sweep as a plain-text table, for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_execgo.plan.result import BenchmarkSummary, GroupSummary
from pytest_execgo.reporting.tally import group_verdicts, skip_reasons, totals_line
from pytest_execgo.reporting.text import counted, duration, fit, one_line, times

HEADERS = ("scenario", "framework", "mode", "chaos", "verdicts", "wall", "critical path", "overhead")
_RIGHT = frozenset({5, 6, 7})
_SHRINKABLE = (0, 3, 1, 4)  # which columns give way when the table is too wide: names before verdicts
_NARROWEST = 8
_GAP = "  "
_SKIP_REASONS = 10


def sweep_table(summary: BenchmarkSummary, width: int = 100) -> list[str]:
    """Return the lines of a sweep's table: headings, one line a group, totals, and why cells were skipped.

    Lines are at most `width` characters: names give way first. Times are medians. No colours.
    """
    lines = _table([HEADERS, *map(_cells, summary.groups)], width) if summary.groups else []
    lines.append(fit(f"{totals_line(summary)} in {duration(summary.wall_time_ms)}", width))
    skipped = skip_reasons(summary.runs)
    lines += (fit(f"skipped {counted(count, 'cell')}: {reason}", width) for reason, count in skipped[:_SKIP_REASONS])
    if len(skipped) > _SKIP_REASONS:
        more = counted(len(skipped) - _SKIP_REASONS, "more reason")
        lines.append(fit(f"skipped for {more}, in benchmark-summary.md", width))
    return lines


def _cells(group: GroupSummary) -> tuple[str, ...]:
    return (
        one_line(group.scenario_id),
        one_line(group.framework),
        group.mode,
        one_line(group.chaos_profile),
        group_verdicts(group),
        duration(group.wall_time_ms),
        duration(group.critical_path_ms),
        times(group.overhead),
    )


def _table(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    excess = sum(widths) + len(_GAP) * (len(widths) - 1) - width
    for column in _SHRINKABLE:
        if excess <= 0:
            break
        given = min(excess, max(widths[column] - _NARROWEST, 0))
        widths[column] -= given
        excess -= given
    lines = []
    for row in rows:
        cells = (fit(cell, widths[index]) for index, cell in enumerate(row))
        padded = (c.rjust(widths[i]) if i in _RIGHT else c.ljust(widths[i]) for i, c in enumerate(cells))
        lines.append(fit(_GAP.join(padded).rstrip(), width))
    return lines
