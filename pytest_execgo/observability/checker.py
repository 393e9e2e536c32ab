"""The judgement on a history: which promises it shows broken, and whether it shows enough to say that none was."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from pytest_execgo.observability.checks import accepted, doubts, effects, order, reads
from pytest_execgo.observability.checks.evidence import Evidence
from pytest_execgo.observability.checks.findings import Findings
from pytest_execgo.plan.history import HistoryRow, HistoryVerdict

Need = Literal["client", "kernel", "sink", "quiet", "processes", "every client row", "every kernel row"]


@dataclass(frozen=True, slots=True)
class Part:
    """One way in which a check's promise can be seen broken, and what must be there to be looked at."""

    check: str
    look: Callable[[Evidence, Findings], None]
    needs: tuple[Need, ...]


PARTS = (
    Part("lost", accepted.vanished, ("client", "quiet")),
    Part("lost", accepted.never_durable, ("client", "every kernel row")),
    Part("phantom", accepted.phantom, ("every client row",)),
    Part("duplicated", effects.applied_twice, ()),
    Part("duplicated", effects.spawned_twice, ("kernel",)),
    Part("reordered", order.reordered, ("every kernel row",)),
    Part("zombie_writer", effects.zombie_writer, ()),
    Part("zombie_writer", effects.outdated_token, ()),
    Part("stale_read", reads.stale_read, ("client",)),
    Part("non_monotonic", reads.non_monotonic, ()),
    Part("stuck", accepted.stuck, ("client", "quiet")),
    Part("orphan", accepted.orphan, ("processes",)),
    Part("untruthful", reads.differs_from_kernel, ("every kernel row",)),
    Part("untruthful", reads.without_cause, ("every kernel row",)),
)
CHECKS = tuple(dict.fromkeys(part.check for part in PARTS))
"""The names of all checks."""


def check(rows: Sequence[HistoryRow], *, effects_expected: Mapping[str, str] | None = None) -> HistoryVerdict:
    """Judge a history, in time n log n of its rows, which may come in any order.

    `effects_expected` names, by its idempotency key, each effect that must have been applied if the task (a global id) that it
    is mapped to succeeded.

    `counts` holds for each check that could be made its violations under its name (`lost`) and what it looked at under
    `<name>_checked`; beside them `rows`, `tasks_accepted`, `effects_applied`, `deliveries_repeated`. The verdict is `invalid`
    when there is a violation, else `unknown` when there is a doubt, else `valid`; `reasons` holds the doubts, and which
    checks could not be made, or only in part, because an observer is missing.
    """
    evidence = Evidence(rows)
    findings, notes = _look(evidence, effects_expected)
    doubted = doubts.doubts(evidence, effects_expected)
    violations = [violation for found in findings.values() for violation in found.violations]
    return HistoryVerdict(
        outcome="invalid" if violations else "unknown" if doubted else "valid",
        reasons=[*doubted, *notes],
        counts=_counts(evidence, findings),
        violations=violations,
    )


def _look(evidence: Evidence, expected: Mapping[str, str] | None) -> tuple[dict[str, Findings], list[str]]:
    """Make every check that can be made; say why another can't."""
    parts: tuple[Part, ...] = PARTS
    if expected is not None:
        parts += (Part("lost", partial(accepted.effects_missing, expected=expected), ("client", "sink")),)
    findings: dict[str, Findings] = {}
    skipped: dict[Need, list[str]] = {}
    for part in parts:
        missing = next((need for need in part.needs if not _there(evidence, need)), None)
        if missing is None:
            part.look(evidence, findings.setdefault(part.check, Findings(part.check)))
        elif part.check not in skipped.setdefault(missing, []):
            skipped[missing].append(part.check)
    return findings, [_note(need, checks, findings) for need, checks in skipped.items()]


def _there(evidence: Evidence, need: Need) -> bool:
    if need == "quiet":
        return evidence.quiet is not None
    if need == "processes":
        return bool(evidence.processes)
    if need == "every client row":
        return evidence.whole("client")
    if need == "every kernel row":
        return evidence.whole("kernel")
    return need in evidence.observers


_MISSING: dict[Need, str] = {
    "client": "no client rows",
    "kernel": "no kernel rows",
    "sink": "no deliveries seen by the effect sink",
    "quiet": "no read when everything was quiet",
    "processes": "no look at the processes that were left",
    "every client row": "no complete client rows",
    "every kernel row": "no complete kernel rows",
}


def _note(need: Need, checks: Sequence[str], findings: Mapping[str, Findings]) -> str:
    none = [name for name in checks if name not in findings]
    some = [f"{name} in part" for name in checks if name in findings]
    return f"{_MISSING[need]}: not checked: {', '.join([*none, *some])}"


def _counts(evidence: Evidence, findings: Mapping[str, Findings]) -> dict[str, int]:
    counts = {
        "rows": len(evidence.rows),
        "tasks_accepted": doubts.accepted_tasks(evidence),
        "effects_applied": sum(one.row.value.get("outcome") == "applied" for one in evidence.delivered),
        "deliveries_repeated": effects.repeated(evidence),
    }
    for name in CHECKS:
        if name in findings:
            counts |= {name: len(findings[name].convicted), f"{name}_checked": findings[name].looked}
    return counts
