"""A comparison with a baseline in words: what moved, why, and whether that is more than chance."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_execgo.plan.statistics import CellChange, CellOutcome, Comparison, ComparisonTest
from pytest_execgo.reporting.text import counted, one_line, share

_MOST_CELLS = 8
_REASON = 200  # characters
MOVED = ("regression", "other", "improvement")
"""The kinds of change of cells that both sweeps ran."""


def comparison_text(comparison: Comparison, *, most_cells: int = _MOST_CELLS) -> str:
    """Return a comparison as plain text: totals, a line for each cell that moved (at most so many), the tests, the notes.

    Of the tests, the first of its kind is told (the one of all cells), and any that found something.
    """
    moved = [change for change in comparison.changes if change.kind in MOVED]
    lines = [head(comparison)]
    for change in moved[:most_cells]:
        lines += [f"  {change_line(change)}", *(f"      {reason}" for reason in change_reasons(change))]
    if len(moved) > most_cells:
        lines.append(f"  … and {counted(len(moved) - most_cells, 'more cell')}, in benchmark-summary.json")
    lines += [f"  {finding(test)}" for test in told(comparison.tests)]
    lines += [f"  note: {one_line(note, _REASON)}" for note in comparison.notes]
    return "\n".join(lines)


def head(comparison: Comparison) -> str:
    """Say in one line what a comparison came to."""
    others = sum(change.kind == "other" for change in comparison.changes)
    parts = [counted(comparison.regressions, "regression"), counted(comparison.improvements, "improvement")]
    parts += [counted(others, "other change")] if others else []
    return f"compared with {one_line(comparison.baseline_sweep)}: {counted(comparison.paired, 'pair')}, {', '.join(parts)}"


def change_line(change: CellChange) -> str:
    """Say how one cell moved: `regression: hello[langgraph-replay-none-0]: passed -> failed`."""
    return f"{change.kind}: {changed_cell(change)}: {ended(change.before)} -> {ended(change.after)}"


def changed_cell(change: CellChange) -> str:
    """Return the name of the cell that moved, as tests and summaries have it."""
    cell = change.after or change.before
    if cell is None:
        return "nothing"
    return one_line(f"{cell.scenario_id}[{cell.framework}-{cell.mode}-{cell.chaos_profile}-{cell.repetition}]")


def ended(cell: CellOutcome | None) -> str:
    """Return how a cell ended; `not run` where a sweep did not have it."""
    return cell.outcome if cell is not None else "not run"


def change_reasons(change: CellChange) -> list[str]:
    """Return the first reason before and the first one now, where there is one, each said to be that."""
    sides = (("before", change.before), ("now", change.after))
    return [f"{when}: {one_line(cell.reasons[0], _REASON)}" for when, cell in sides if cell is not None and cell.reasons]


def told(tests: Sequence[ComparisonTest]) -> list[ComparisonTest]:
    """Return the tests worth a line: the first of each method, which is the one of all cells, and those that found something."""
    first = {test.method: index for index, test in reversed(list(enumerate(tests)))}
    return [test for index, test in enumerate(tests) if first[test.method] == index or test.p_adjusted <= test.alpha]


def finding(test: ComparisonTest) -> str:
    """Say what one test found, and what it could have found."""
    (passed, ran), (passed_after, ran_after) = test.before, test.after
    said = (
        f"{one_line(test.what)}: {passed}/{ran} passed before, {passed_after}/{ran_after} now; {METHODS[test.method]} p {p(test.p)}"
    )
    if test.p_adjusted != test.p:
        said += f", {p(test.p_adjusted)} adjusted"
    if test.power is None or test.detectable is None:
        return said
    return f"{said}; power {share(test.power)} to see a drop of {100 * test.detectable:.3g} points"


METHODS = {"mcnemar_exact": "McNemar", "fisher_exact": "Fisher"}
"""What the tests are called."""


def p(value: float) -> str:
    """Render a p value: `0.031`, `1`, `<0.0001`."""
    return f"{value:.2g}" if value >= 0.0001 else "<0.0001"
