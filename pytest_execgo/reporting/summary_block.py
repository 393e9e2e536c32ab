"""What stands above pytest-html's table: the sweep in a few lines of HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from pytest_execgo.plan.result import BenchmarkResult, BenchmarkSummary
from pytest_execgo.reporting.figures import statistics_lines
from pytest_execgo.reporting.gates import gate_lines
from pytest_execgo.reporting.tally import reasons, skip_reasons, totals_line
from pytest_execgo.reporting.text import counted, duration, one_line

_ITEMS = 20
_TEXT = 300


def summary_block(
    summary: BenchmarkSummary, links: Sequence[tuple[str, str]], without_row: Sequence[BenchmarkResult] = ()
) -> list[str]:
    """Return the pieces of HTML that sum a sweep up: totals, pass rate, gates, skips, links, cells that the table lacks.

    `links` are names and addresses fit for an attribute (see `columns.address`). Everything else is escaped here.
    """
    said = [f"{totals_line(summary)} in {duration(summary.wall_time_ms)}", *statistics_lines(summary)]
    pieces = ["<h2>execgo</h2>", *map(_line, said), *_list("Gates", gate_lines(summary.gates))]
    pieces += _list("Skipped", [f"{counted(count, 'cell')}: {reason}" for reason, count in skip_reasons(summary.runs)])
    pieces += _list(
        "Cells without a row below", [f"{run.cell}: {': '.join([run.outcome, *reasons(run)[:1]])}" for run in without_row]
    )
    anchors = [f'<a href="{address}">{escape(name)}</a>' for name, address in links]
    return [*pieces, f"<p>{', '.join(anchors)}</p>"] if anchors else pieces


def _list(title: str, lines: Sequence[str]) -> list[str]:
    if not lines:
        return []
    shown = [f"<li>{escape(one_line(line, _TEXT))}</li>" for line in lines[:_ITEMS]]
    more = [f"<li>… and {len(lines) - _ITEMS} more</li>"] if len(lines) > _ITEMS else []
    return [_line(f"{title}:"), f"<ul>{''.join(shown + more)}</ul>"]


def _line(text: str) -> str:
    return f"<p>{escape(one_line(text))}</p>"
