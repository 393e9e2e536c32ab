"""What a run remembers of itself when it is cut short: its record as a run state, and back."""

from __future__ import annotations

from pytest_execgo.plan.cell import Cell, CellRecord
from pytest_execgo.plan.model import StandardPlan
from pytest_execgo.plan.record import RunRecord, StageRecord
from pytest_execgo.plan.verdict import TaskOutcome
from pytest_execgo.runner.checkpoints.run_state import RunState, StageAttempt, StageOutcome
from pytest_execgo.runner.execution import Place
from pytest_execgo.runner.outcome import task_outcome


def remember(
    state: RunState, record: RunRecord, finished: dict[str, TaskOutcome], place: Place, timeline_seq: int, fired: list[int]
) -> RunState:
    """Return the state of a run that stands at `place` in its plan; `state` holds what does not change."""
    plan = record.plan
    assert plan is not None  # else there would be no state
    stages = plan.stages
    done = [stage.stage_id for stage in stages[: place.finished]]
    outcomes = [
        StageOutcome(stage_id=outcome.stage_id, task_id=task, wire_id=outcome.wire_id, envelope=dict(outcome.envelope))
        for task, outcome in finished.items()
        if outcome.stage_id in done
    ]
    attempts = dict(state.attempts)
    for stage in record.stages:
        attempts[stage.stage_id] = max(attempts.get(stage.stage_id, 0), stage.attempt)
    current = None
    if place.attempt > 1:
        current = StageAttempt(stage_id=stages[place.finished].stage_id, attempt=place.attempt)
    wasted = sum(len(stage.outcomes) for stage in record.stages if stage.superseded)
    return state.model_copy(
        update={
            "plan_source": record.plan_source,
            "stage_index": place.finished,
            "attempts": attempts,
            "outcomes": outcomes,
            "current": current,
            "timeline_seq": timeline_seq,
            "faults_fired": fired,
            "record": {"elapsed_ms": round(record.elapsed_ms(), 3)},
            "counters": {"restarts": record.restarts, "wasted": record.wasted_before + wasted, "lives": record.lives},
        }
    )


def recall(state: RunState, record: RunRecord) -> tuple[dict[str, TaskOutcome], Place]:
    """Put what a run had done into its record; return the outcomes that bindings and the verifier see, and where it goes on."""
    plan = StandardPlan.model_validate(state.plan)
    record.plan, record.plan_valid, record.plan_source = plan, True, state.plan_source
    record.before_ms = float(state.record.get("elapsed_ms", 0.0))
    record.restarts = state.counters.get("restarts", 0)
    record.wasted_before = state.counters.get("wasted", 0)
    record.lives = state.counters.get("lives", 1) + 1
    finished = {row.task_id: task_outcome(row.stage_id, row.task_id, row.wire_id, row.envelope) for row in state.outcomes}
    for stage in plan.stages[: state.stage_index]:
        mine = [finished[task.id] for task in stage.task_graph.tasks if task.id in finished]
        count = len(stage.task_graph.tasks)
        depends_on = {task.id: tuple(dict.fromkeys(task.depends_on)) for task in stage.task_graph.tasks}
        done = StageRecord(stage.stage_id, count, count, depends_on, mine, attempt=state.attempts.get(stage.stage_id, 1))
        done.wire_ids = {outcome.task_id: outcome.wire_id for outcome in mine}
        record.stages.append(done)
    if state.stage_index >= len(plan.stages):
        return finished, Place(state.stage_index)
    stage_id = plan.stages[state.stage_index].stage_id
    attempt = state.current.attempt if state.current is not None else state.attempts.get(stage_id, 0) + 1
    return finished, Place(state.stage_index, attempt)


def first_state(cell: Cell, run_id: str, sweep_id: str, seed: int, plan: StandardPlan, effects_before: int) -> RunState:
    """Return the state of a run that has its plan and nothing else."""
    document = plan.model_dump(mode="json", exclude_unset=True)
    return RunState(
        run_id=run_id, sweep_id=sweep_id, cell=CellRecord.of(cell), seed=seed, plan=document, effects_before=effects_before
    )
