"""`check`: judge the history that a run left behind."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pytest_execgo.core.jsonio import dumps
from pytest_execgo.observability.checker import CHECKS, check
from pytest_execgo.observability.history import StoredHistory, load_history
from pytest_execgo.plan.history import HistoryOutcome, HistoryRow, HistoryVerdict
from pytest_execgo.reporting.text import counted, one_line

_CODES: dict[HistoryOutcome, int] = {"valid": 0, "invalid": 1, "unknown": 3}
_LONGEST = 200  # characters of a value


def main(argv: list[str]) -> int:
    """Print the verdict, what each check looked at, and every violation; 0 valid, 1 invalid, 3 unknown."""
    parser = argparse.ArgumentParser(
        prog="python -m pytest_execgo check",
        description="Judge the history of a run. Exit code: 0 valid, 1 invalid, 3 unknown, 2 a user's mistake.",
    )
    parser.add_argument("history", type=Path, metavar="HISTORY", help="a history.jsonl, or the folder of a run that has one")
    parser.add_argument("--json", action="store_true", help="print the verdict as JSON")
    options = parser.parse_args(argv)
    stored = load_history(options.history)
    verdict = check(stored.rows)
    if options.json:
        print(dumps({"history": str(stored.path), "torn": stored.torn, **verdict.model_dump()}, indent=2))
    else:
        for line in report(stored, verdict):
            print(line)
    return _CODES[verdict.outcome]


def report(stored: StoredHistory, verdict: HistoryVerdict) -> Iterator[str]:
    """Yield the lines of a verdict for people. Times of witnesses are milliseconds since the history's first row."""
    observers = Counter(row.process for row in stored.rows)
    told = ", ".join(f"{name} {observers[name]}" for name in ("client", "kernel", "sink", "nemesis"))
    yield f"{verdict.outcome}: {stored.path} ({counted(len(stored.rows), 'row')}: {told})"
    if stored.torn:
        yield "the last line is torn, as a killed process leaves it; it was left out"
    for reason in verdict.reasons:
        yield f"reason: {one_line(reason)}"
    yield ""
    yield from _table(verdict)
    begin = min((row.monotonic_ns for row in stored.rows), default=0)
    for violation in verdict.violations:
        yield ""
        yield f"{violation.check}: {one_line(violation.message)}"
        yield from (_witness(row, begin) for row in violation.witness)
    yield from _unshown(verdict)


def _table(verdict: HistoryVerdict) -> Iterator[str]:
    width = max(map(len, CHECKS))
    yield f"{'check':<{width}}  checked  violations"
    for name in CHECKS:
        if name in verdict.counts:
            yield f"{name:<{width}}  {verdict.counts[f'{name}_checked']:>7}  {verdict.counts[name]:>10}"
        else:
            yield f"{name:<{width}}        -           -"
    for name, count in verdict.counts.items():
        if name.removesuffix("_checked") not in CHECKS:
            yield f"{name.replace('_', ' ')}: {count}"


def _witness(row: HistoryRow, begin_ns: int) -> str:
    about = {"task": row.task, "attempt": row.attempt, "key": row.idem_key, "digest": row.digest and row.digest[:12]}
    said = [f"{name}={value}" for name, value in about.items() if value is not None]
    said += [dumps(row.value)] if row.value else []
    what = f"{row.process} {row.f}" if row.type == "event" else f"{row.process} {row.f} {row.type}"
    return f"  {(row.monotonic_ns - begin_ns) / 1e6:12.3f} ms  {what:<20}  {one_line(' '.join(said), _LONGEST)}".rstrip()


def _unshown(verdict: HistoryVerdict) -> Iterator[str]:
    shown = Counter(violation.check for violation in verdict.violations)
    for name, count in shown.items():
        if verdict.counts[name] > count:
            yield ""
            yield f"{name}: {verdict.counts[name] - count} more"
