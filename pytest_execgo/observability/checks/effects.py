"""What tasks did to the world: twice, or when it was no longer theirs to do."""

from __future__ import annotations

from pytest_execgo.observability.checks.evidence import Answer, Evidence, TaskEvidence
from pytest_execgo.observability.checks.findings import Findings
from pytest_execgo.plan.history import HistoryRow

_TAKEN = ("applied", "repeated")


def applied_twice(evidence: Evidence, findings: Findings) -> None:
    """Duplicated: one key's effect was applied twice, or the sink named two effects for one key."""
    for key, deliveries in evidence.deliveries.items():
        findings.looked += 1
        applied = [one.row for one in deliveries if one.row.value.get("outcome") == "applied"]
        if len(applied) > 1:
            findings.convict(key, f"the effect {key} was applied {len(applied)} times", *applied[:2])
            continue
        first: dict[str, HistoryRow] = {}
        for one in deliveries:
            effect = one.row.value.get("effect_id")
            if effect is not None and one.row.value.get("outcome") != "fenced":  # a fenced one stands for no effect
                first.setdefault(str(effect), one.row)
        if len(first) > 1:
            findings.convict(key, f"the key {key} stands for {len(first)} effects: {', '.join(first)}", *list(first.values())[:2])


def spawned_twice(evidence: Evidence, findings: Findings) -> None:
    """Duplicated: an attempt was spawned twice, or a task twice that must run at most once.

    That an attempt began is durable only where it can have effects; of another, a kernel that was killed may have forgotten
    the attempt, and count it anew.
    """
    for task in evidence.tasks.values():
        seen: dict[object, HistoryRow] = {}
        once: HistoryRow | None = None
        for row in task.of("spawn"):
            findings.looked += 1
            if once is not None and task.once:
                findings.convict(task.task, f"task {task.task} must run at most once, and was spawned twice", once, row)
            attempt = row.attempt if task.effects else (row.boot_id, row.attempt)
            if row.attempt is not None and attempt in seen:
                findings.convict(task.task, f"attempt {row.attempt} of task {task.task} was spawned twice", seen[attempt], row)
            seen.setdefault(attempt, row)
            once = once or row


def repeated(evidence: Evidence) -> int:
    """Count deliveries that came again and changed nothing: no violation."""
    return sum(one.row.value.get("outcome") == "repeated" for one in evidence.delivered)


def zombie_writer(evidence: Evidence, findings: Findings) -> None:
    """Zombie writer: an effect was applied by a task that had ended, or after the run had stopped.

    What had arrived in time is not held against its task, however late the sink applied it.
    """
    stopped = _obeyed(evidence)
    ends: dict[str, HistoryRow | None] = {}
    for one in evidence.delivered:
        if one.row.value.get("outcome") == "applied":
            findings.looked += 1
            _late(evidence, findings, one, ends, stopped)


def outdated_token(evidence: Evidence, findings: Findings) -> None:
    """Zombie writer: an effect was applied with a lower fencing token than one before it.

    Tokens are compared under one key, and between submissions of one task: global ids that differ in the last part alone.
    """
    highest: dict[tuple[str, str | None], HistoryRow] = {}
    for one in evidence.delivered:
        row, token = one.row, _token(one.row)
        if token is None or row.value.get("outcome") not in _TAKEN:
            continue
        scopes: list[tuple[str, str | None]] = [("key", row.idem_key)]
        if row.task is not None:
            scopes.append(("task", row.task.rpartition(":")[0]))
        for scope in scopes:
            best = highest.setdefault(scope, row)
            if token >= (_token(best) or 0):
                highest[scope] = row
            elif row.value.get("outcome") == "applied" and (scope[0] == "key" or best.task != row.task):
                said = f"the effect {row.idem_key} was applied with token {token}, after one with token {_token(best)}"
                findings.convict(row.idem_key or "", said, best, row)


def _late(
    evidence: Evidence, findings: Findings, one: Answer, ends: dict[str, HistoryRow | None], stopped: HistoryRow | None
) -> None:
    key, name = one.row.idem_key or "", one.row.task
    if stopped is not None and one.begun_ns > stopped.monotonic_ns:
        findings.convict(key, f"the effect {key} was applied after the run had stopped", stopped, one.row)
        return
    task = evidence.tasks.get(name) if name is not None else None
    if task is None:
        return
    end = ends[task.task] if task.task in ends else ends.setdefault(task.task, _end(task))
    again = task.deleted_ns is not None and one.row.monotonic_ns > task.deleted_ns
    if end is not None and one.begun_ns > end.monotonic_ns and not again:
        findings.convict(key, f"task {task.task} had ended when its effect {key} was applied", end, one.row)


def _end(task: TaskEvidence) -> HistoryRow | None:
    """Return the first row by which a task had ended: the kernel's, a read's, or a confirmed cancel's."""
    rows = [row for row in task.of("persist", "skip")]
    rows += [read.row for read in task.reads if read.terminal]
    rows += [row for row in task.cancels if row.value.get("final") is True]
    return min(rows, key=lambda row: row.monotonic_ns, default=None)


def _obeyed(evidence: Evidence) -> HistoryRow | None:
    """Return the row by which an order to stop was obeyed: one that says so, else the `quiet` after it."""
    if not evidence.orders:
        return None
    said = (row for row in evidence.orders if row.value.get("obeyed") is True)
    quiet = evidence.quiet
    late = quiet is not None and quiet.monotonic_ns >= evidence.orders[0].monotonic_ns
    return next(said, quiet if late else None)


def _token(row: HistoryRow) -> int | None:
    token = row.value.get("token")
    return token if isinstance(token, int) else None
