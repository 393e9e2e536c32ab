"""Why nothing can be concluded from a history, although it shows no promise broken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytest_execgo.observability.checks.accepted import unread
from pytest_execgo.observability.checks.evidence import Evidence
from pytest_execgo.plan.history import HistoryRow

_NAMED = 3  # how many of a kind are named


def doubts(evidence: Evidence, effects_expected: Mapping[str, str] | None = None) -> list[str]:
    """Return every doubt, a sentence each; none when the history shows enough."""
    found = []
    if not accepted_tasks(evidence):
        found.append("nothing was accepted")
    if evidence.quiet is None:
        found.append("the history has no quiet: it was not waited for, or the run was cut short")
    left = unread(evidence)
    if left:
        found.append(f"accepted, and not read when everything was quiet: {_some(left)}")
    if effects_expected and "sink" not in evidence.observers:
        found.append("effects were expected, and the effect sink told of none")
    runs = sorted({row.run for row in evidence.rows})
    if len(runs) > 1:
        found.append(f"the rows are of {len(runs)} runs: {_some(runs)}")
    return [*found, *_unfired(evidence.faults), *_holes(evidence)]


def accepted_tasks(evidence: Evidence) -> int:
    """Count the tasks whose submission was taken in, by the client's account or by the kernel's."""
    return sum(task.taken is not None or task.accept is not None for task in evidence.tasks.values())


def _unfired(rows: Sequence[HistoryRow]) -> list[str]:
    """Name the faults that were to strike and never did, or of which it is not known that they hit anything."""
    last: dict[Any, HistoryRow] = {str(row.value.get("fault")): row for row in rows}
    found = []
    for row in last.values():
        what = f"fault {row.value.get('fault')} ({row.value.get('action')} {row.value.get('target')})"
        if row.f == "fault_spared":
            if row.value.get("drawn") is not False:
                found.append(f"{what} never struck")
        elif row.f == "fault_start":
            found.append(f"{what} was never taken back")
        elif row.value.get("hit") is not True:
            found.append(f"{what} struck, but hit nothing")
    return found


def _holes(evidence: Evidence) -> list[str]:
    found: dict[tuple[str, str], list[str]] = {}
    for row, expected in evidence.gaps:
        found.setdefault((row.process, row.boot_id), []).append(f"{row.seq} where {expected} should be")
    return [f"rows of the {process} are missing or twice there ({boot}): {_some(said)}" for (process, boot), said in found.items()]


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
