"""What comes after a run's verdict: nothing is left behind, the history is judged, and it is said how the run counts."""

from __future__ import annotations

from contextlib import suppress

from pytest_execgo.client.kernel import KernelRefused, KernelUnreachable
from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.plan import events
from pytest_execgo.runner import evidence
from pytest_execgo.runner.conclusion import conclude
from pytest_execgo.runner.course import Course
from pytest_execgo.runner.ending import Ending


def conclude_run(course: Course, ending: Ending) -> Ending:
    """Lift every fault, end what the run left going, judge its history; return how the run counts. Raises nothing of ours."""
    record, nemesis = course.record, course.nemesis
    if ending.interrupted:
        course.order.order("interrupt")
    seq, failure = 0, None
    try:
        if course.order.how is not None:  # before the faults are lifted: one of them may want to see that it was obeyed
            with suppress(KernelUnreachable):  # another of them may keep the kernel from answering
                _leave_nothing_behind(course)
                _stopped(course, course.order.how)
        course.calm()
        _leave_nothing_behind(course)
        if not ending.interrupted:
            seq = _judge(course)
    except ExecGoError as error:
        failure = error
        course.calm()
    course.count_restarts()
    record.faults = nemesis.records if nemesis is not None else ()
    record.expectation = course.parts.profile.recovery_expectation
    if ending.outcome not in ("passed", "failed"):
        return ending
    if failure is not None:
        return Ending("error", ending.attribution, f"the run's evidence can't be had: {failure}")
    ending.verdict = record.verdict
    doubts = nemesis.conclusive() if nemesis is not None else []
    gone = course.guard.failure
    concluded = conclude(ending, course.parts.profile, record.faults, doubts, record.history, seq)
    if gone is not None and ending.outcome == concluded.outcome == "passed":  # it got by without that service, and is not well
        concluded = Ending("error", error=f"a service could not be brought back: {gone}")
    if record.expectation == "should_recover" and any(fault.hit for fault in record.faults):
        record.recovered = concluded.outcome == "passed"
    return concluded


def _leave_nothing_behind(course: Course) -> None:
    """Withdraw tasks that are not over, so that they take nothing from the next run; say which may run on."""
    unfinished = [wire for stage in course.record.stages for wire in stage.unfinished]
    if not unfinished:
        return
    try:
        left = evidence.withdraw(course.observer, unfinished)
        for stage in course.record.stages:
            stage.unfinished = []
    except (KernelUnreachable, KernelRefused):
        left = unfinished
    course.stream.emit(events.TasksAbandoned(status="failed", wire_ids=unfinished))
    if left:
        course.parts.abandon(left)


def _stopped(course: Course, how: str) -> None:
    """Measure how long the run took to obey."""
    wires = evidence.submitted(course.record)
    left = evidence.unfinished(course.observer, wires)
    if left or (course.parts.local and evidence.processes_of(course.run_id)):
        return
    took = round(course.order.obeyed(), 3)
    with suppress(ExecGoError):  # a fault may keep it from answering
        for _ in range(2):  # what was sent by now may still be at the sink's door: it is let in before the second answer
            course.parts.fixtures.applied_effects(course.run_id)
    course.record.stop_time_ms = took
    course.history.client("event", "stop", value={"how": how, "obeyed": True})
    course.stream.emit(events.RunStopped(how=how, stop_time_ms=took, tasks=len(wires)))


def _judge(course: Course) -> int:
    """Read everything once more and judge the history; return the `seq` of the event that says so."""
    history, parts = course.history, course.parts
    history.client("event", "quiet")
    evidence.read_all(course.observer, history, evidence.submitted(course.record, course.folder.history_rows))
    if parts.local:
        left = evidence.processes_of(course.run_id)
        history.client("event", "processes", value={"left": left})
    verdict = course.record.history = evidence.judge_history(parts, history, course.run_id, course.folder.history_rows)
    return course.stream.emit(
        events.HistoryChecked(
            status="failed" if verdict.outcome == "invalid" else "ok",
            verdict=verdict.outcome,
            counts=dict(verdict.counts),
            violations=[f"{violation.check}: {violation.message}" for violation in verdict.violations],
        )
    )
