"""What a run must know to go on where it was cut short, and the place where it keeps that."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError

from pytest_execgo.core.errors import ExecGoError, UsageError
from pytest_execgo.observability.artifacts import attempts_begun
from pytest_execgo.plan.base import Document
from pytest_execgo.plan.cell import CellRecord
from pytest_execgo.plan.checkpoint import Checkpoint, CheckpointerConfig, CheckpointMetadata
from pytest_execgo.plan.planning import PlanSource
from pytest_execgo.runner.checkpoints.sqlite import SqliteCheckpointer
from pytest_execgo.runner.checkpoints.threads import ThreadManager, previous_of, rollback_metadata

DATABASE = "checkpoints.sqlite"
_KEPT = CheckpointerConfig(max_checkpoints_per_thread=200)


class StageOutcome(Document):
    """A finished task of a finished stage: the plan's names, the kernel's global id, the kernel's last answer about it."""

    stage_id: str
    task_id: str
    wire_id: str
    envelope: dict[str, Any]


class StageAttempt(Document):
    """A stage that was under way: which attempt (from 1), and the kernel's global ids by the plan's task ids."""

    stage_id: str
    attempt: Annotated[int, Field(ge=1)]
    wire_ids: dict[str, str] = Field(default_factory=dict)


class StackPlace(Document):
    """Where a run's stack keeps its data, and the ports of its services and of the links between them, by name."""

    folder: str
    ports: dict[str, int] = Field(default_factory=dict)
    links: dict[str, int] = Field(default_factory=dict)


class RunState(Document):
    """All that a run needs to go on, as of the last stage that it finished.

    `plan` is the StandardPlan as it is executed (faults that strike the plan have struck). `stage_index` counts finished
    stages. `attempts` counts, by stage, the attempts that were begun, `current` is the last one of these if it is not over.
    `timeline_seq` is the timeline's last `seq`; `counters` are the run's own (`retries`, `restarts`); `faults_fired` are
    indices into the chaos profile. `record` holds what else the runner wants to know again, for its metrics.
    """

    schema_version: Literal[1] = 1
    run_id: str
    sweep_id: str
    cell: CellRecord
    seed: int
    plan: dict[str, Any]
    plan_source: PlanSource | None = None
    stage_index: Annotated[int, Field(ge=0)] = 0
    attempts: dict[str, int] = Field(default_factory=dict)
    outcomes: list[StageOutcome] = Field(default_factory=list)
    current: StageAttempt | None = None
    effects_before: int = 0
    timeline_seq: int = 0
    counters: dict[str, int] = Field(default_factory=dict)
    faults_fired: list[int] = Field(default_factory=list)
    stack: StackPlace | None = None
    record: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class InterruptedRun:
    """A run that was cut short: its folder, its last state (None: it had no plan yet), its stack's folder where that is known."""

    path: Path
    state: RunState | None
    stack_folder: Path | None

    @property
    def run_id(self) -> str:
        """Identity of the run."""
        return self.path.name


def read_state(document: dict[str, Any], where: str) -> RunState:
    """Return the run state that a checkpoint holds, of this or an earlier version; `ExecGoError` names what can't be used."""
    version = document.get("schema_version")
    if isinstance(version, int) and version > 1:
        said = f"{where}: a run state of version {version}; this version of pytest-execgo reads up to 1"
        raise ExecGoError("state_too_new", said, "use the version of pytest-execgo that wrote it")
    try:
        return RunState.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the document"
        said = f"{where}: this is no run state: {place}: {first['msg']}"
        raise ExecGoError("bad_run_state", said, "run the cell anew") from error


class RunStore:
    """The checkpoints of one run, in `checkpoints.sqlite` of the run's folder. The run is the thread; its id is the folder's name.

    Step 0 is the plan, obtained; each further step is a finished stage. `ExecGoError` for a file that can't be used.
    """

    def __init__(self, folder: Path, *, create: bool = True) -> None:
        self.run_id = folder.name
        self.path = folder / DATABASE
        self._checkpointer = SqliteCheckpointer(self.path, _KEPT, create=create)
        self._threads = ThreadManager(self._checkpointer)

    @classmethod
    def existing(cls, folder: Path) -> Self | None:
        """Open the checkpoints that a run has; None if it has none."""
        return cls(folder, create=False) if (folder / DATABASE).exists() else None

    def save(self, state: RunState, *, node_id: str | None, step: int, tags: Iterable[str] = ()) -> Checkpoint:
        """Keep a state as the run's latest checkpoint; once this returns, the death of the process can't undo it."""
        if state.run_id != self.run_id:
            raise ExecGoError("foreign_state", f"{self.path}: a state of run {state.run_id!r} does not belong here")
        return self._threads.save_state(
            self.run_id, state.model_dump(), CheckpointMetadata(step=step, node_id=node_id, tags=list(tags))
        )

    def latest(self) -> RunState | None:
        """Return the state from which the run goes on; None if it has none."""
        checkpoint = self._checkpointer.get_latest(self.run_id)
        return None if checkpoint is None else self._read(checkpoint)

    def history(self) -> list[Checkpoint]:
        """Return every checkpoint of the run in the order of their creation, the oldest first."""
        return self._threads.get_history(self.run_id)

    def previous(self) -> Checkpoint:
        """Return the checkpoint before the one that the run would go on from; `UsageError` if there is none."""
        found = previous_of(self.history())
        if found is None:
            raise UsageError(
                "no_checkpoint", f"run {self.run_id} has no earlier checkpoint to go back to", "`runs show` lists them"
            )
        return found

    def rollback(self, checkpoint_id: str) -> Checkpoint:
        """Let the run go on from an earlier checkpoint, and return the new one that says so; `UsageError` if there is none such.

        What happened stays so: how often each stage was tried (what runs again needs ids of its own), which faults struck,
        the counters, the timeline's length. What was begun after the last checkpoint, the timeline knows.
        """
        target = self._checkpointer.get(self.run_id, checkpoint_id)
        if target is None:
            raise UsageError.unknown("checkpoint", checkpoint_id, [checkpoint.id for checkpoint in self.history()])
        then, now = self._read(target), self.latest() or self._read(target)
        state = then.model_copy(
            update={
                "attempts": _most(_most(then.attempts, _begun(now)), attempts_begun(self.path.parent)),
                "counters": _most(then.counters, now.counters),
                "faults_fired": sorted({*then.faults_fired, *now.faults_fired}),
                "timeline_seq": max(then.timeline_seq, now.timeline_seq),
                "stack": now.stack,
                "current": None,
            }
        )
        return self._threads.save_state(self.run_id, state.model_dump(), rollback_metadata(target), parent_id=target.id)

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        self._checkpointer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _read(self, checkpoint: Checkpoint) -> RunState:
        return read_state(checkpoint.state, f"{self.path}, checkpoint {checkpoint.id}")


def _begun(state: RunState) -> dict[str, int]:
    """Return how often each stage may have been begun, by now: the next one, too, may have been under way."""
    stages = state.plan.get("stages", [])
    if state.stage_index >= len(stages):
        return state.attempts
    stage_id = stages[state.stage_index]["stage_id"]
    attempt = state.current.attempt if state.current is not None else state.attempts.get(stage_id, 0) + 1
    return {**state.attempts, stage_id: attempt}


def _most(first: dict[str, int], second: dict[str, int]) -> dict[str, int]:
    return {name: max(first.get(name, 0), second.get(name, 0)) for name in {**first, **second}}
