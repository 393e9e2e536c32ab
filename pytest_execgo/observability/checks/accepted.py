"""What became of what was submitted: lost, stuck; and what nobody submitted: phantoms, orphans."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_execgo.observability.checks.evidence import Evidence, TaskEvidence
from pytest_execgo.observability.checks.findings import Findings


def unread(evidence: Evidence) -> list[str]:
    """Return the accepted tasks of which no read after `quiet` was told anything: whether they are lost is not known."""
    quiet = evidence.quiet
    kept = (task for task in evidence.tasks.values() if task.taken is not None and task.deleted_ns is None)
    return [task.task for task in kept if quiet is not None and task.last_answer(quiet.monotonic_ns) is None]


def vanished(evidence: Evidence, findings: Findings) -> None:
    """Lost: a submission was taken in, and the last read after `quiet` was told that there is no such task."""
    quiet = evidence.quiet
    for task in evidence.tasks.values():
        taken = task.taken
        if quiet is None or taken is None or task.deleted_ns is not None:
            continue
        findings.looked += 1
        answer = task.last_answer(quiet.monotonic_ns)
        if answer is not None and answer.gone:
            message = f"task {task.task} was accepted, and was not there at the end"
            findings.convict(task.task, message, taken, answer.row)


def never_durable(evidence: Evidence, findings: Findings) -> None:
    """Lost: a submission was answered ok that the kernel never made durable.

    When the kernel was started anew meanwhile, the life before may have made it durable without having noted that.
    """
    for task in evidence.tasks.values():
        if not task.accepted or task.accept is not None:
            continue
        answered = task.accepted[0]
        if not evidence.booted_between(task.first_ns, answered.monotonic_ns):
            findings.convict(task.task, f"task {task.task} was answered ok, but the kernel never accepted it", answered)


def effects_missing(evidence: Evidence, findings: Findings, expected: Mapping[str, str]) -> None:
    """Lost: a task was read as succeeded whose expected effect was never applied. `expected`: key to task."""
    for key, name in expected.items():
        findings.looked += 1
        task = evidence.tasks.get(name)
        success = next((read.row for read in task.reads if read.status == "success"), None) if task is not None else None
        if success is not None and not any(one.row.value.get("outcome") == "applied" for one in evidence.deliveries.get(key, ())):
            findings.convict(key, f"task {name} succeeded, and its effect {key} was never applied", success)


def phantom(evidence: Evidence, findings: Findings) -> None:
    """Phantom: the kernel, or a read, knows a task that no client submitted, or that was refused each time."""
    for task in evidence.tasks.values():
        seen = task.kernel[0] if task.kernel else next((read.row for read in task.reads), None)
        if seen is None:
            continue
        findings.looked += 1
        if not task.submitted:
            said = f"task {task.task} is there, although its submission was refused" if task.refused else ""
            refused = task.refused[-1] if task.refused else None
            findings.convict(task.task, said or f"task {task.task} is there, and nobody submitted it", refused, seen)


def stuck(evidence: Evidence, findings: Findings) -> None:
    """Stuck: everything was quiet, and the last read shows a task that has not ended; or it has no end by the kernel's account."""
    quiet = evidence.quiet
    for task in evidence.tasks.values():
        if quiet is None or not task.submitted or task.deleted_ns is not None:
            continue
        answer = task.last_answer(quiet.monotonic_ns)
        if answer is None:
            _stuck_in_kernel(evidence, task, findings)
        elif not answer.gone:
            findings.looked += 1
            if not answer.terminal:
                message = f"task {task.task} was still {answer.status} when everything was quiet"
                findings.convict(task.task, message, quiet, answer.row)


def _stuck_in_kernel(evidence: Evidence, task: TaskEvidence, findings: Findings) -> None:
    if not evidence.whole("kernel") or task.accept is None:
        return
    findings.looked += 1
    if next(task.of("persist"), None) is None:
        message = f"task {task.task} was accepted, and the kernel has no end of it"
        findings.convict(task.task, message, task.accept, task.kernel[-1] if len(task.kernel) > 1 else None, evidence.quiet)


def orphan(evidence: Evidence, findings: Findings) -> None:
    """Orphan: processes of the run were left when it was over."""
    for row in evidence.processes:
        findings.looked += 1
        left = row.value.get("left")
        for process in left if isinstance(left, list) else ():
            told = process if isinstance(process, dict) else {"command": process}
            message = f"process {told.get('pid')} of the run was left: {told.get('command')}"
            findings.convict(f"{told.get('pid')} {told.get('command')}", message, row)
