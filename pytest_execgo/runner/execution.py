"""The stages of one run, in their order: each tried again while that can help, each leaving a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pytest_execgo.client.completion import cancel_all
from pytest_execgo.plan.model import PlanStage
from pytest_execgo.plan.record import StageRecord
from pytest_execgo.runner.failure import StageFailed
from pytest_execgo.runner.recovery import Recovery
from pytest_execgo.runner.stage import StageRunner
from pytest_execgo.runner.stopping import StopOrder


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run stands in its plan: stages that are finished, and the attempt of the next one that is made."""

    finished: int = 0
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Execution:
    """Runs a plan's stages. `save` is called before each attempt with where the run stands, so that it can go on from there."""

    stages: StageRunner
    recovery: Recovery
    stop: StopOrder
    save: Callable[[Place, str | None], None]

    def run(self, plan: Sequence[PlanStage], place: Place) -> None:
        """Run what is left; `StageFailed` when a stage failed for good, `RunStopped` when the run was told to stop."""
        for index in range(place.finished, len(plan)):
            attempt = place.attempt if index == place.finished else 1
            self._stage(index, plan[index], attempt)
            self.save(Place(index + 1), plan[index].stage_id)

    def _stage(self, index: int, stage: PlanStage, attempt: int) -> None:
        while True:
            self.stop.check()
            try:
                self.stages.run(stage, attempt)
                self.stop.check()
                return
            except StageFailed as failed:
                self.stop.check()  # a run that is stopped fails at whatever it was about
                record = self._record(stage, attempt)
                ended = record is None or (self._end(record) and not _ran_once(stage, record))
                if not self.recovery.after_failure(stage.stage_id, attempt, failed.attribution, ended=ended):
                    raise
            if record is not None:
                record.superseded = True
            attempt += 1
            self.save(Place(index, attempt), None)

    def _record(self, stage: PlanStage, attempt: int) -> StageRecord | None:
        """Return the attempt's record; None when it failed before there was anything to submit."""
        last = self.stages.record.stages[-1] if self.stages.record.stages else None
        return last if last is not None and (last.stage_id, last.attempt) == (stage.stage_id, attempt) else None

    def _end(self, record: StageRecord) -> bool:
        """End what an attempt left going; tell whether that surely worked."""
        if not record.unfinished:
            return True
        kernel = self.stages.client
        if "cancel" not in kernel.capabilities():
            return False
        cancel_all(kernel, reversed(record.unfinished))
        record.unfinished = [] if kernel.wait(record.unfinished, 5.0).done else record.unfinished
        return not record.unfinished


def _ran_once(stage: PlanStage, record: StageRecord) -> bool:
    """Tell whether an attempt began a task that says `effect: once`: the next attempt would run it a second time."""
    once = {task.id for task in stage.task_graph.tasks if task.annotations.get("effect") == "once"}
    return any(outcome.task_id in once and outcome.attempt > 0 for outcome in record.outcomes)
