"""A sweep as a plain-text table, for the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median

from pytest_execgo.plan.result import BenchmarkSummary, GroupSummary
from pytest_execgo.reporting.tally import group_verdicts, skip_reasons, totals_line
from pytest_execgo.reporting.text import counted, duration, fit, one_line, times, wrapped

HEADERS = ("scenario", "framework", "mode", "chaos", "verdicts", "wall", "critical path", "overhead")
_RIGHT = frozenset({5, 6, 7})
_SHRINKABLE = (0, 3, 1, 4)  # which columns give way when the table is too wide: names before verdicts
_MOST_GROUPS = 40
"""Beyond so many lines the table tells of each chaos profile, and of the cells that did not pass."""
_PROFILE_HEADERS = ("chaos", "cells", "wall", "recovery", "violations")
_PROFILE_RIGHT = frozenset({2, 3, 4})
_REASON_LINES = 4
_NARROWEST = 8
_GAP = "  "
_SKIP_REASONS = 10


def sweep_table(summary: BenchmarkSummary, width: int = 100) -> list[str]:
    """Return the lines of a sweep's table: headings, one line a group, totals, and why cells were skipped.

    Lines are at most `width` characters: names give way first. Times are medians. No colours.
    """
    groups = summary.groups
    lines: list[str] = []
    if len(groups) > _MOST_GROUPS:
        lines += [*_table([_PROFILE_HEADERS, *_profile_rows(groups)], width, _PROFILE_RIGHT), ""]
        groups = [group for group in groups if group.passed + group.skipped < group.repetitions]
    lines += _table([HEADERS, *map(_cells, groups)], width) if groups else []
    lines.append(fit(f"{totals_line(summary)} in {duration(summary.wall_time_ms)}", width))
    skipped = skip_reasons(summary.runs)
    for reason, count in skipped[:_SKIP_REASONS]:
        lines += (fit(line, width) for line in wrapped(f"skipped {counted(count, 'cell')}: {reason}", width, _REASON_LINES))
    if len(skipped) > _SKIP_REASONS:
        more = counted(len(skipped) - _SKIP_REASONS, "more reason")
        lines.append(fit(f"skipped for {more}, in benchmark-summary.md", width))
    return lines


def _profile_rows(groups: Sequence[GroupSummary]) -> list[tuple[str, ...]]:
    """Return one row a chaos profile: how its cells ended, how many recovered of those that were to, and its times."""
    rows: list[tuple[str, ...]] = []
    for profile in dict.fromkeys(group.chaos_profile for group in groups):
        mine = [group for group in groups if group.chaos_profile == profile]
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
        group_verdicts(group),
        duration(group.wall_time_ms),
        duration(group.critical_path_ms),
        times(group.overhead),
    )


def _table(rows: Sequence[Sequence[str]], width: int, right: frozenset[int] = _RIGHT) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    excess = sum(widths) + len(_GAP) * (len(widths) - 1) - width
    for column in _SHRINKABLE:
        if excess <= 0 or column >= len(widths):
            break
        given = min(excess, max(widths[column] - _NARROWEST, 0))
        widths[column] -= given
        excess -= given
    lines = []
    for row in rows:
        cells = (fit(cell, widths[index]) for index, cell in enumerate(row))
        padded = (c.rjust(widths[i]) if i in right else c.ljust(widths[i]) for i, c in enumerate(cells))
        lines.append(fit(_GAP.join(padded).rstrip(), width))
    return lines
