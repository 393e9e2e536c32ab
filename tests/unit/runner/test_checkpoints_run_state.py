"""What a run keeps of itself, and that what an earlier version kept still serves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.core.errors import ExecGoError, UsageError
from pytest_execgo.plan.cell import Cell, CellRecord
from pytest_execgo.runner.checkpoints.run_state import (
    RunState,
    RunStore,
    StackPlace,
    StageAttempt,
    StageOutcome,
    read_state,
)

SAMPLE = Path(__file__).parent / "data" / "checkpoints-v1.sqlite"
PLAN = {"plan_id": "p", "stages": [{"stage_id": "one"}, {"stage_id": "two"}, {"stage_id": "three"}]}
ENVELOPE = {"id": "run-1:one:a:1", "status": "success", "result": {"stdout": "é\n"}, "runtime": {"attempt": 1}}


def state(finished: int = 0, **fields: Any) -> RunState:
    cell = CellRecord.of(Cell("demo", "crewai", "replay", "none", 2, 9))
    return RunState(run_id="run-1", sweep_id="sweep-1", cell=cell, seed=9, plan=PLAN, stage_index=finished, **fields)


def full() -> RunState:
    return state(
        1,
        attempts={"one": 2},
        outcomes=[StageOutcome(stage_id="one", task_id="a", wire_id="run-1:one:a:2", envelope=ENVELOPE)],
        current=StageAttempt(stage_id="two", attempt=1, wire_ids={"b": "run-1:two:b:1"}),
        effects_before=3,
        timeline_seq=17,
        counters={"retries": 1, "restarts": 2},
        faults_fired=[0, 2],
        stack=StackPlace(folder="/stack", ports={"kernel": 20000}, links={"client-kernel": 20001}),
        record={"wall_ms": 12.5},
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "run-1"
    path.mkdir()
    return path


def test_a_run_state_comes_back_as_it_was_saved(folder: Path) -> None:
    with RunStore(folder) as store:
        assert store.latest() is None
        first = store.save(state(), node_id=None, step=0)
        second = store.save(full(), node_id="one", step=1, tags=["stage"])
        assert store.latest() == full()
    with RunStore(folder) as again:
        assert again.latest() == full()
        assert again.history() == [first, second]
    assert (second.thread_id, second.parent_id) == ("run-1", first.id)
    assert (second.metadata.step, second.metadata.node_id, second.metadata.tags) == (1, "one", ["stage"])
    assert full().cell.cell == Cell("demo", "crewai", "replay", "none", 2, 9)


def test_what_a_run_has_is_opened_and_what_it_has_not_is_not_made(folder: Path) -> None:
    assert RunStore.existing(folder) is None
    assert list(folder.iterdir()) == []
    RunStore(folder).close()
    store = RunStore.existing(folder)
    assert store is not None
    store.close()


def test_a_state_of_another_run_is_refused(folder: Path) -> None:
    with RunStore(folder) as store, pytest.raises(ExecGoError, match="'run-2' does not belong here"):
        store.save(state().model_copy(update={"run_id": "run-2"}), node_id=None, step=0)


def test_going_back_keeps_what_can_not_be_undone(folder: Path) -> None:
    with RunStore(folder) as store:
        start = store.save(state(stack=StackPlace(folder="/old")), node_id=None, step=0)
        store.save(full(), node_id="one", step=1)
        late = full().model_copy(update={"stage_index": 2, "attempts": {"one": 2, "two": 1}, "current": None, "timeline_seq": 30})
        store.save(late, node_id="two", step=2)
        back = store.rollback(start.id)
        went = store.latest()
    assert went is not None
    assert back.parent_id == start.id
    assert (went.stage_index, went.outcomes, went.record, went.current) == (0, [], {}, None)
    assert went.attempts == {"one": 2, "two": 1, "three": 1}, "the third may have been under way: its ids are used"
    assert (went.timeline_seq, went.counters, went.faults_fired) == (30, {"retries": 1, "restarts": 2}, [0, 2])
    assert went.stack == full().stack


def test_the_attempt_that_was_under_way_counts_as_begun(folder: Path) -> None:
    with RunStore(folder) as store:
        start = store.save(state(), node_id=None, step=0)
        store.save(state(1, attempts={"one": 1, "two": 3}, current=StageAttempt(stage_id="two", attempt=4)), node_id=None, step=1)
        store.rollback(start.id)
        went = store.latest()
    assert went is not None
    assert went.attempts == {"one": 1, "two": 4}


@pytest.mark.parametrize("name", ["timeline.jsonl", "timeline.jsonl.partial"])
def test_what_was_begun_after_the_last_checkpoint_is_known_from_the_timeline(folder: Path, name: str) -> None:
    rows = [{"event_type": "stage_started", "stage_id": "three", "metadata": {"attempt": attempt}} for attempt in (1, 3, 2)]
    rows.append({"event_type": "stage_finished", "stage_id": "three", "metadata": {"attempt": 9}})
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    with RunStore(folder) as store:
        store.rollback(store.save(state(), node_id=None, step=0).id)
        went = store.latest()
    assert went is not None
    assert went.attempts["three"] == 3


def test_the_checkpoint_before_and_an_unknown_one(folder: Path) -> None:
    with RunStore(folder) as store:
        with pytest.raises(UsageError, match="no earlier checkpoint"):
            store.previous()
        start = store.save(state(), node_id=None, step=0)
        store.save(full(), node_id="one", step=1)
        assert store.previous() == start
        with pytest.raises(UsageError, match="unknown checkpoint") as told:
            store.rollback("nowhere")
        assert start.id in told.value.hint


def test_what_the_first_version_kept_still_serves(tmp_path: Path) -> None:
    folder = tmp_path / "run-1"
    folder.mkdir()
    shutil.copy(SAMPLE, folder / "checkpoints.sqlite")
    with RunStore(folder) as store:
        assert store.latest() == full()
        first, second = store.history()
        assert read_state(first.state, "sample") == state()
        assert (first.metadata.step, second.metadata.step, second.metadata.node_id) == (0, 1, "one")
        store.rollback(first.id)
        assert len(store.history()) == 3


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"schema_version": 2}, "state_too_new"),
        ({"schema_version": "1"}, "bad_run_state"),
        ({"stage_index": -1}, "bad_run_state"),
        ({"stage_index": True}, "bad_run_state"),
        ({"cell": {"scenario": "../x"}}, "bad_run_state"),
        ({"unknown": 1}, "bad_run_state"),
        ({"plan": None}, "bad_run_state"),
    ],
)
def test_a_state_that_is_none_is_told_with_its_place(change: dict[str, Any], code: str) -> None:
    with pytest.raises(ExecGoError, match=r"^run-1, checkpoint c") as told:
        read_state({**state().model_dump(), **change}, "run-1, checkpoint c")
    assert told.value.code == code
