"""Whether what was read agrees: one read with another, and with what the kernel made durable."""

from __future__ import annotations

from pytest_execgo.observability.checks.evidence import Answer, Evidence, TaskEvidence
from pytest_execgo.observability.checks.findings import Findings
from pytest_execgo.plan.history import HistoryRow

_ENDED = 2
_RANK = {"pending": 0, "running": 1}


def stale_read(evidence: Evidence, findings: Findings) -> None:
    """Stale read: it shows an older state than a read that was over before it began, or than the kernel had made durable."""
    for task in evidence.tasks.values():
        completed, at, newest = task.reads, 0, None
        for read in sorted(completed, key=lambda read: read.begun_ns):
            findings.looked += 1
            while at < len(completed) and completed[at].row.monotonic_ns < read.begun_ns:
                newest = completed[at] if newest is None or _rank(completed[at]) >= _rank(newest) else newest
                at += 1
            if newest is not None and _older(evidence, read, newest):
                said = f"task {task.task} was read as {_shown(read)} after it had been read as {_shown(newest)}"
                findings.convict(task.task, said, newest.row, read.row)
        _behind_the_kernel(task, findings)


def _behind_the_kernel(task: TaskEvidence, findings: Findings) -> None:
    end = next(task.of("persist"), None)
    late = (read for read in task.reads if end is not None and not read.terminal and read.begun_ns > end.monotonic_ns)
    for read in late:
        findings.convict(task.task, f"task {task.task} was read as {_shown(read)} after its end was durable", end, read.row)


def _rank(read: Answer) -> tuple[int, int]:
    """Order states; within an attempt, more is known of a task that ended than of one that runs or waits."""
    if read.terminal:
        return (_ENDED, 0)
    return (_RANK.get(read.status, 1), read.attempt or 0)


def _older(evidence: Evidence, read: Answer, newest: Answer) -> bool:
    if read.terminal:
        return False
    if newest.terminal:
        return True
    if "kernel" not in evidence.observers or evidence.booted_between(newest.begun_ns, read.row.monotonic_ns):
        return False  # a kernel that was started anew finds what ran waiting, and counts attempts anew
    attempts = read.attempt is not None and newest.attempt is not None and read.attempt < newest.attempt
    return _rank(read)[0] < _rank(newest)[0] or attempts


def _shown(read: Answer) -> str:
    return read.status if read.terminal or read.attempt is None else f"{read.status} (attempt {read.attempt})"


def non_monotonic(evidence: Evidence, findings: Findings) -> None:
    """Non-monotonic: an end changed, in what the kernel made durable or in reads; or a task ran again after its end."""
    for task in evidence.tasks.values():
        end: HistoryRow | None = None
        for row in task.of("persist", "spawn"):
            if row.f == "spawn":
                if end is not None:
                    findings.convict(task.task, f"task {task.task} was spawned again after its end was durable", end, row)
                continue
            findings.looked += 1
            if end is not None and not agree(end, row):
                findings.convict(task.task, f"the durable end of task {task.task} changed", end, row)
            end = end or row
        ends = [read.row for read in task.reads if read.terminal]
        findings.looked += len(ends)
        other = next((row for row in ends if not agree(ends[0], row)), None)
        if other is not None:
            said = f"task {task.task} was read as {ends[0].value.get('status')}, and then with another end"
            findings.convict(task.task, said, ends[0], other)


def agree(one: HistoryRow, other: HistoryRow) -> bool:
    """Whether two rows say the same of a task's end, as far as both say something."""
    if one.value.get("status") != other.value.get("status"):
        return False
    return one.digest is None or other.digest is None or one.digest == other.digest


def differs_from_kernel(evidence: Evidence, findings: Findings) -> None:
    """Untruthful: a read shows an end that the kernel never made durable, or with another content than it did.

    Reads that contradict each other are not judged here: that is `non_monotonic`.
    """
    for task in evidence.tasks.values():
        ends = [read.row for read in task.reads if read.terminal]
        if not ends or task.accept is None:  # what the kernel never accepted is lost, or a phantom
            continue
        findings.looked += 1
        persists = list(task.of("persist"))
        if any(not agree(ends[0], row) for row in ends) or any(agree(ends[-1], row) for row in persists):
            continue
        status = ends[-1].value.get("status")
        if not persists:
            said = f"task {task.task} was read as {status}, and the kernel has no durable end of it"
        elif persists[-1].value.get("status") != status:
            said = f"task {task.task} was read as {status}, and its durable end is {persists[-1].value.get('status')}"
        else:
            said = f"the {status} of task {task.task} was read with another content than was made durable"
        findings.convict(task.task, said, persists[-1] if persists else None, ends[-1])


def without_cause(evidence: Evidence, findings: Findings) -> None:
    """Untruthful: a success without an attempt that succeeded, or a skipped task of which nothing before it failed."""
    for task in evidence.tasks.values():
        success, skipped = task.persisted("success"), task.persisted("skipped")
        if success is not None:
            findings.looked += 1
            if not any(row.value.get("outcome") == "success" for row in task.of("end")):
                findings.convict(task.task, f"task {task.task} is a success, and no attempt of it succeeded", success)
        if skipped is not None:
            findings.looked += 1
            if not _has_cause(evidence, task):
                findings.convict(task.task, f"task {task.task} was skipped, and nothing that it depends on failed", skipped)


def _has_cause(evidence: Evidence, task: TaskEvidence) -> bool:
    if task.accept is None:
        return True
    named = [str(row.value["cause"]) for row in task.of("skip") if row.value.get("cause")]
    for name in [*task.parents, *named]:
        parent = evidence.tasks.get(name)
        if parent is None or parent.accept is None:  # one that the kernel had before this history begins
            return True
        if parent.deleted_ns is not None or parent.persisted("failed", "skipped") or next(parent.of("cancel"), None):
            return True
    return False
