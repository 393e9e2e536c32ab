"""What a run's faults and its history say, for people."""

from __future__ import annotations

from pytest_execgo.plan.history import HistoryRow, HistoryVerdict
from pytest_execgo.plan.result import FaultReport


def fault_fate(fault: FaultReport) -> str:
    """Say what became of one fault: spared by its probability, never fired, hit nothing, or hit, and what was seen of it."""
    if not fault.drawn:
        return "spared by its probability"
    if not fault.fired:
        return f"never fired{f': {fault.error}' if fault.error else ''}"
    seen = ", ".join(f"{name}={value}" for name, value in fault.observed.items() if name != "hit")
    what = "hit" if fault.hit else "hit nothing"
    return "; ".join(filter(None, [what, seen, fault.error]))


def witnesses(history: HistoryVerdict | None) -> list[str]:
    """Return the rows that show each broken promise, a line each, under the promise."""
    lines = []
    for violation in history.violations if history is not None else []:
        lines.append(f"{violation.check}: {violation.message}")
        lines += [f"  {_row(row)}" for row in violation.witness]
    return lines


def _row(row: HistoryRow) -> str:
    about = [row.task, f"attempt {row.attempt}" if row.attempt is not None else None, row.idem_key and f"key {row.idem_key}"]
    said = ", ".join(f"{name}={value}" for name, value in row.value.items() if name != "invoked_ns")
    where = " ".join(filter(None, about))
    return f"{row.wall} {row.process} {row.type} {row.f} {where} {said}".rstrip()
