"""One run: from a cell to its `result.json`, through DESIGN's steps: plan, normalise, stages, verify, history, measure."""

from __future__ import annotations

import time
from contextlib import ExitStack

from pytest_execgo.observability import artifacts as files
from pytest_execgo.observability.clock import rfc3339
from pytest_execgo.observability.history import History
from pytest_execgo.observability.stream import EventStream
from pytest_execgo.plan.cell import Cell
from pytest_execgo.plan.events import Consumer, RunFinished, Stamped, TaskObserved
from pytest_execgo.plan.record import RunRecord
from pytest_execgo.plan.result import BenchmarkResult, FaultReport
from pytest_execgo.runner.aftermath import conclude_run
from pytest_execgo.runner.checkpoints.run_state import InterruptedRun, RunStore
from pytest_execgo.runner.course import Course
from pytest_execgo.runner.ending import Ending, outcome_digest, plan_digest, shape_of
from pytest_execgo.runner.parts import RunParts
from pytest_execgo.runner.workspace import new_run_id


def run_cell(cell: Cell, parts: RunParts, resume: InterruptedRun | None = None) -> BenchmarkResult:
    """Run one cell to its end and return what its `result.json` says; with `resume`, go on with a run that was cut short.

    A plan that fails is an outcome `failed`; what we or the machine could not do is an outcome `error`; neither is raised.
    `UsageError` when the artifacts folder can't be used. Artifacts are written in every case.
    """
    if resume is None:
        folder = files.RunFolder(parts.out, new_run_id(cell))
        files.write_run_file(folder, cell, parts.sweep_id, parts.worker, parts.stack_folder)
    else:
        folder = files.RunFolder.reopen(resume.path)
    record = RunRecord(workspace=folder.workspace)
    started_ns = time.time_ns()
    interruption: BaseException | None = None
    with ExitStack() as open_files:
        timeline = open_files.enter_context(files.JsonLines(folder, files.TIMELINE))
        snapshots = open_files.enter_context(files.JsonLines(folder, files.SNAPSHOTS))
        lines = open_files.enter_context(files.JsonLines(folder, files.HISTORY))
        store = open_files.enter_context(RunStore(folder.path))
        writer = files.TimelineWriter(
            timeline, run_id=folder.path.name, framework=cell.framework, scenario_id=cell.scenario, rows=folder.timeline_rows
        )
        watchers: list[Consumer] = [writer, files.SnapshotWriter(snapshots), Progress(record), *parts.watchers]
        stream = EventStream(watchers, after=folder.last_seq)
        history = History(folder.path.name, lines.append)
        state = resume.state if resume is not None else None
        course = Course(cell, parts, folder, record, stream, history, store, state)
        with course:
            try:
                ending = course.to_the_end()
            except BaseException as error:  # an interrupt, or a test outcome: whole artifacts, then on it goes
                said = f"interrupted: {type(error).__name__} {error}".rstrip()
                ending, interruption = Ending("inconclusive", error=said, interrupted=True), error
            record.wall_ms = record.elapsed_ms()
            ending = conclude_run(course, ending)
        stream.emit(RunFinished(status=ending.outcome, outcome=ending.outcome, wall_time_ms=round(record.wall_ms, 3)))
    result = _result(course, ending, started_ns)
    folder.write_json(files.RESULT, result.model_dump(mode="json"))
    folder.write(files.SUMMARY, parts.summarise(result, writer.rows))
    if interruption is not None:
        raise interruption
    return result


class Progress:
    """Notes when tasks were seen to succeed."""

    def __init__(self, record: RunRecord) -> None:
        self._record = record

    def consume(self, stamped: Stamped) -> None:
        """Take one event."""
        if isinstance(stamped.event, TaskObserved) and stamped.event.status == "success":
            self._record.progress_ns.append(stamped.monotonic_ns)


def _result(course: Course, ending: Ending, started_ns: int) -> BenchmarkResult:
    cell, parts, record = course.cell, course.parts, course.record
    return BenchmarkResult(
        run_id=course.run_id,
        sweep_id=parts.sweep_id,
        cell_id=cell.cell_id,
        scenario_id=cell.scenario,
        framework=cell.framework,
        mode=cell.mode,
        chaos_profile=cell.chaos,
        repetition=cell.repetition,
        seed=course.seed,
        sweep_seed=cell.seed,
        outcome=ending.outcome,
        verdict=ending.verdict or record.verdict,
        attribution=ending.attribution,
        error=ending.error,
        metrics=parts.measure(record),
        faults=[
            FaultReport(
                fault=fault.index,
                action=fault.action,
                target=fault.target,
                drawn=fault.drawn,
                fired=fault.fired_ns is not None,
                hit=fault.hit,
                observed=dict(fault.observed),
                error=fault.error,
            )
            for fault in record.faults
        ],
        history=record.history,
        resumed=record.lives - 1,
        artifacts=course.folder.manifest(),
        plan_shape=shape_of(record.plan) if record.plan else None,
        plan_source=record.plan_source,
        plan_digest=plan_digest(record.plan) if record.plan else None,
        outcome_digest=outcome_digest(record, ending),
        started_at=rfc3339(started_ns),
        finished_at=rfc3339(),
        backend=parts.stack.backend,
        versions=dict(parts.versions),
        sandbox=parts.sandbox,
    )
