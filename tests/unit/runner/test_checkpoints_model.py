"""Both checkpointers against a model that is plainly right: a list of what was put."""

from __future__ import annotations

import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.plan.checkpoint import Checkpoint, Checkpointer, CheckpointerConfig, ListOptions
from pytest_execgo.runner.checkpoints.memory import MemoryCheckpointer
from pytest_execgo.runner.checkpoints.sqlite import SqliteCheckpointer

START = datetime(2025, 3, 1, tzinfo=UTC)
THREADS = st.sampled_from(["t", "u", "T\0'\"\u2028", ""])
IDS = st.sampled_from(["a", "b", "c", "d", "é"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)
SECONDS = st.integers(0, 40)


class Machine(RuleBasedStateMachine):
    """The steps that the model and both checkpointers take together."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.file = self.folder / "c.sqlite"
        self.now = START
        self.model: list[Checkpoint] = []
        self.kept: list[Checkpointer] = []

    @initialize(most=st.integers(1, 4), ttl=st.none() | st.integers(5, 30))
    def begin(self, most: int, ttl: int | None) -> None:
        self.config = CheckpointerConfig(max_checkpoints_per_thread=most, ttl_seconds=ttl)
        self.kept = [MemoryCheckpointer(self.config, now=lambda: self.now), self.open()]

    def open(self) -> SqliteCheckpointer:
        return SqliteCheckpointer(self.file, self.config, now=lambda: self.now)

    def forget_old(self) -> None:
        if self.config.ttl_seconds is not None:
            oldest = self.now - timedelta(seconds=self.config.ttl_seconds)
            self.model = [one for one in self.model if one.created_at >= oldest]

    @rule(thread=THREADS, name=IDS, state=st.dictionaries(st.text(max_size=2), JSON, max_size=2), at=SECONDS)
    def put(self, thread: str, name: str, state: dict[str, Any], at: int) -> None:
        new = Checkpoint(id=name, thread_id=thread, state=state, created_at=START + timedelta(seconds=at))
        known = next((one for one in self.model if (one.thread_id, one.id) == (thread, name)), None)
        for kept in self.kept:
            if known is not None and known != new:
                with pytest.raises(ExecGoError):
                    kept.put(new)
            else:
                kept.put(new)
        if known is None:
            self.model.append(new)
            mine = [one for one in self.model if one.thread_id == thread]
            dropped = mine[: max(0, len(mine) - self.config.max_checkpoints_per_thread)]
            self.model = [one for one in self.model if one not in dropped]

    @rule(thread=THREADS, name=IDS)
    def delete(self, thread: str, name: str) -> None:
        for kept in self.kept:
            kept.delete(thread, name)
        self.model = [one for one in self.model if (one.thread_id, one.id) != (thread, name)]

    @rule(thread=THREADS)
    def delete_thread(self, thread: str) -> None:
        for kept in self.kept:
            kept.delete_thread(thread)
        self.model = [one for one in self.model if one.thread_id != thread]

    @rule(seconds=st.integers(1, 8))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        self.forget_old()

    @rule()
    def reopen(self) -> None:
        file = self.kept[1]
        assert isinstance(file, SqliteCheckpointer)
        file.close()
        self.kept[1] = self.open()

    @rule(thread=THREADS, limit=st.none() | st.integers(1, 3), before=st.none() | SECONDS, after=st.none() | SECONDS)
    def look(self, thread: str, limit: int | None, before: int | None, after: int | None) -> None:
        until = None if before is None else START + timedelta(seconds=before)
        since = None if after is None else START + timedelta(seconds=after)
        expected = [
            one
            for one in self.model
            if one.thread_id == thread and (until is None or one.created_at < until) and (since is None or one.created_at > since)
        ]
        for kept in self.kept:
            found = kept.list(thread, ListOptions(limit=limit, before=until, after=since))
            assert found == (expected[-limit:] if limit else expected)

    @invariant()
    def agree(self) -> None:
        self.forget_old()  # what was put may have been too old already
        for kept in self.kept:
            for thread in {one.thread_id for one in self.model} | {"t"}:
                mine = [one for one in self.model if one.thread_id == thread]
                assert kept.list(thread) == mine
                assert kept.get_latest(thread) == (mine[-1] if mine else None)
                for one in mine:
                    assert kept.get(thread, one.id) == one

    def teardown(self) -> None:
        for kept in self.kept:
            if isinstance(kept, SqliteCheckpointer):
                kept.close()
        shutil.rmtree(self.folder)


TestCheckpointersAgreeWithTheModel = Machine.TestCase
TestCheckpointersAgreeWithTheModel.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
