"""How runs ended, in words that the terminal and the Markdown summaries share."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_execgo.plan.result import BenchmarkResult, BenchmarkSummary, GroupSummary
from pytest_execgo.reporting.text import one_line

_REASON = 300  # characters of a skip reason
NO_REASON = "no reason was given"


def group_verdicts(group: GroupSummary) -> str:
    """Say how a cell's repetitions ended: `3/3 passed`, `1/3 passed, 1 failed, 1 error`, `2 skipped`."""
    ran = group.repetitions - group.skipped
    others = [
        (group.failed, "failed"),
        (group.errors, "error" if group.errors == 1 else "errors"),
        (group.inconclusive, "inconclusive"),
        (group.skipped, "skipped"),
    ]
    parts = [f"{group.passed}/{ran} passed"] if ran else []
    return ", ".join(parts + [f"{count} {what}" for count, what in others if count])


def totals_line(summary: BenchmarkSummary) -> str:
    """Say how all cells ended: `12 cells: 10 passed, 1 failed, 1 error`; `6 of 36 planned cells: 6 passed`."""
    totals = dict(summary.totals)
    cells = totals.pop("cells", sum(totals.values()))
    names = {"error": "errors"}
    parts = [f"{count} {names.get(what, what) if count > 1 else what}" for what, count in totals.items() if count]
    of = f" of {summary.planned} planned" if summary.planned is not None and summary.planned > cells else ""
    return f"{cells}{of} {'cell' if cells == 1 and not of else 'cells'}: {', '.join(parts) or 'nothing ran'}"


def reasons(result: BenchmarkResult) -> list[str]:
    """Return why a run ended as it did, most telling first; empty when there is nothing to say."""
    judged: list[str] = []
    if result.verdict and not result.verdict.passed:
        judged = result.verdict.reasons or ["the verifier gave no reason"]
    return judged + ([result.error] if result.error else [])


def skip_reasons(runs: Sequence[BenchmarkResult]) -> list[tuple[str, int]]:
    """Return the reasons for which cells were skipped, each with how many, most frequent first."""
    counts: dict[str, int] = {}
    for run in runs:
        if run.outcome == "skipped":
            reason = one_line(next(iter(reasons(run)), NO_REASON), _REASON)
            counts[reason] = counts.get(reason, 0) + 1
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
