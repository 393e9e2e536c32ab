"""A run as a trace: its artifacts, put on one clock. What formats there are is written from this."""

from __future__ import annotations

from pytest_execgo.observability.stored import StoredRun
from pytest_execgo.reporting.course_spans import Course
from pytest_execgo.reporting.run_clock import RunClock
from pytest_execgo.reporting.spans import TEXT, RunTrace, Scalar, Span, Status
from pytest_execgo.reporting.tally import reasons
from pytest_execgo.reporting.task_spans import add_tasks
from pytest_execgo.reporting.text import one_line

_STATUS: dict[object, Status] = {"passed": "ok", "failed": "failed", "error": "failed", "inconclusive": "failed"}


def run_trace(run: StoredRun) -> RunTrace:
    """Put what a run's timeline, snapshots and history tell on the run's clock.

    The first span is the run's own. Times of the kernel (tasks, attempts, boots) are wall clock times: they are mapped by the
    event of the timeline that is nearest, and, where they would then contradict what the run saw (a task that starts before
    its stage, or ends after it was seen to have ended), all of them are moved by the least that ends this; the attribute
    `kernel_clock_moved_ns` says by how much.
    """
    clock = RunClock(run.timeline)
    about = about_run(run)
    trace = RunTrace(run.path.name, clock.began_ns, about)
    course = Course(clock)
    course.read(run.timeline)
    trace.spans += course.spans
    trace.moments += course.moments
    add_tasks(trace, course, clock, run.snapshots, run.history)
    name = f"{about.get('scenario', run.path.name)} {about.get('framework', '')} {about.get('chaos', '')}".rstrip()
    end = max(clock.end_ns, trace.end_ns)
    trace.spans.insert(0, Span("run", "run", name, 0, end, _STATUS.get(about["outcome"], "unknown"), None, about))
    return trace


def about_run(run: StoredRun) -> dict[str, Scalar]:
    """Return what identifies a run, and how it ended where that is known."""
    record = run.record
    if run.result is None:
        cell: dict[str, Scalar] = {"run_id": run.path.name, "outcome": "unfinished"}
        if record is not None:
            axes = record.cell.model_dump(exclude_none=True)
            cell |= {"sweep_id": record.sweep_id, "cell_id": record.cell.cell.cell_id, **axes}
        return cell
    result = run.result
    said = next(iter(reasons(result)), None)
    known: dict[str, Scalar | None] = {
        "run_id": result.run_id,
        "sweep_id": result.sweep_id,
        "cell_id": result.cell_id,
        "scenario": result.scenario_id,
        "framework": result.framework,
        "mode": result.mode,
        "chaos": result.chaos_profile,
        "repetition": result.repetition,
        "seed": result.seed,
        "outcome": result.outcome,
        "backend": result.backend,
        "reason": one_line(said, TEXT) if said else None,
        "attribution": f"{result.attribution.layer}:{result.attribution.code}" if result.attribution else None,
        "history": result.history.outcome if result.history else None,
    }
    return {name: value for name, value in known.items() if value is not None}
