"""Threads of states: saved in a row, gone back to without losing anything."""

from __future__ import annotations

import pytest

from pytest_execgo.core.errors import UsageError
from pytest_execgo.plan.checkpoint import CheckpointerConfig, CheckpointMetadata
from pytest_execgo.runner.checkpoints.memory import MemoryCheckpointer
from pytest_execgo.runner.checkpoints.threads import ThreadManager, previous_of


@pytest.fixture
def threads() -> ThreadManager:
    return ThreadManager(MemoryCheckpointer())


def test_a_thread_without_states(threads: ThreadManager) -> None:
    assert threads.load_state("t") is None
    assert threads.get_history("t") == []
    assert previous_of([]) is None


def test_each_state_follows_the_one_before(threads: ThreadManager) -> None:
    described = CheckpointMetadata(step=2, node_id="b", tags=["x"], custom={"k": "v"})
    first = threads.save_state("t", {"n": 1})
    second = threads.save_state("t", {"n": 2}, described)
    assert threads.load_state("t") == {"n": 2}
    assert threads.load_state("u") is None
    assert threads.get_history("t") == [first, second]
    assert threads.get_history("t", limit=1) == [second]
    assert (first.parent_id, second.parent_id) == (None, first.id)
    assert (second.metadata, second.thread_id) == (described, "t")
    assert first.created_at <= second.created_at


def test_ids_are_never_the_same(threads: ThreadManager) -> None:
    assert len({threads.save_state("t", {}).id for _ in range(50)}) == 50


def test_going_back_makes_an_earlier_state_the_latest_and_loses_nothing(threads: ThreadManager) -> None:
    made = [threads.save_state("t", {"n": n}, CheckpointMetadata(step=n, node_id=f"s{n}")) for n in range(4)]
    back = threads.rollback("t", made[1].id)
    assert threads.load_state("t") == {"n": 1}
    assert threads.get_history("t") == [*made, back]
    assert back.parent_id == made[1].id
    assert (back.metadata.step, back.metadata.node_id, back.metadata.tags) == (1, "s1", ["rollback"])
    assert back.metadata.custom == {"rolled_back_to": made[1].id}
    after = threads.save_state("t", {"n": 10})
    assert after.parent_id == back.id
    forth = threads.rollback("t", made[3].id)
    assert threads.load_state("t") == {"n": 3}
    assert threads.get_history("t") == [*made, back, after, forth]


def test_going_back_to_what_is_not_there(threads: ThreadManager) -> None:
    known = threads.save_state("t", {})
    threads.save_state("u", {})
    with pytest.raises(UsageError, match="unknown checkpoint 'nowhere'") as told:
        threads.rollback("t", "nowhere")
    assert known.id in told.value.hint
    assert len(threads.get_history("t")) == 1


def test_the_checkpoint_before_is_the_one_before_those_that_went_back(threads: ThreadManager) -> None:
    made = [threads.save_state("t", {"n": n}) for n in range(4)]

    def before() -> object:
        found = previous_of(threads.get_history("t"))
        return None if found is None else found.state["n"]

    assert before() == 2
    threads.rollback("t", made[2].id)
    assert before() == 1
    threads.rollback("t", made[1].id)
    assert before() == 0
    threads.rollback("t", made[0].id)
    assert before() is None


def test_of_a_bounded_thread_the_newest_states_stay() -> None:
    threads = ThreadManager(MemoryCheckpointer(CheckpointerConfig(max_checkpoints_per_thread=2)))
    made = [threads.save_state("t", {"n": n}) for n in range(3)]
    assert threads.get_history("t") == made[1:]
    assert made[1].parent_id == made[0].id
