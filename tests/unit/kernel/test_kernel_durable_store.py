"""Group commit, what is shown when, a disk that refuses; and the rules of recovery."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

import pytest_execgo.kernel.durable.store as durable_store
from pytest_execgo.kernel.api.paging import PageQuery, read_page
from pytest_execgo.kernel.durable.file import Batch, StoreFile, Written
from pytest_execgo.kernel.durable.recovery import Found, has_effects, leaves_mark, resume, runs_once
from pytest_execgo.kernel.durable.rows import Change, Mark, encode_submission
from pytest_execgo.kernel.durable.store import DurableStore
from pytest_execgo.kernel.executors.executor import Attempt, Outcome
from pytest_execgo.kernel.metrics import Metrics
from pytest_execgo.kernel.scheduler import Scheduler
from pytest_execgo.kernel.store import MemoryStore, Store, StoreFailed
from pytest_execgo.kernel.task import Run, RunStatus, TaskRecord, TaskSpec, TaskStatus


class Gated(StoreFile):
    """A file whose commits wait for `gate`, fail as `refusal` says, and are noted."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.gate = threading.Event()
        self.gate.set()
        self.refusal: str | None = None
        self.batches: list[Batch] = []

    def commit(self, batch: Batch) -> Written:
        self.gate.wait(20)
        if self.refusal is not None:
            raise sqlite3.OperationalError(self.refusal)
        self.batches.append(batch)
        return super().commit(batch)


class Rig:
    def __init__(self, folder: Path, retain: int = 1000) -> None:
        self.file = Gated(folder)
        self.said: list[str] = []
        self.store = DurableStore(self.file, [], retain, self.said.append)


def play(folder: Path, story: Callable[[Rig], Coroutine[Any, Any, None]], **more: Any) -> Rig:
    async def run() -> Rig:
        rig = Rig(folder, **more)
        async with asyncio.timeout(30):
            await story(rig)
            await rig.store.close()
        return rig

    return asyncio.run(run())


def pending(task_id: str, **more: Any) -> TaskRecord:
    now = time.time_ns()
    return TaskRecord(TaskSpec(task_id, "os", tool_name=more.pop("tool", "noop"), **more), now, now)


def ended(record: TaskRecord) -> TaskRecord:
    run = Run(RunStatus.SUCCESS, "", "1", True, None, None, 0, 1)
    return TaskRecord(record.spec, record.created_ns, record.created_ns, TaskStatus.SUCCESS, run, "1")


def test_what_comes_while_the_disk_is_busy_shares_one_commit(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        rig.file.gate.clear()
        waits = []
        for number in range(50):
            rig.store.add(pending(f"t{number}"))
            waits.append(asyncio.ensure_future(rig.store.flushed()))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert not any(wait.done() for wait in waits)  # and the loop was never held up
        rig.file.gate.set()
        await asyncio.gather(*waits)
        assert {row.id for row in rig.file.page(0, 100)} == {f"t{number}" for number in range(50)}

    assert [len(batch.changes) for batch in play(tmp_path, story).file.batches] == [1, 49]


def test_an_end_is_shown_and_told_once_it_is_on_disk(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        store, told = rig.store, list[str]()
        record = pending("a")
        store.add(record)
        await store.flushed()
        rig.file.gate.clear()
        store.put(ended(record))
        store.when_shown("a", told.append)
        newest = store.get("a")
        assert newest is not None
        assert newest.status is TaskStatus.SUCCESS  # what depends on it may go on
        await asyncio.sleep(0.02)
        assert ('"status":"pending"' in (store.envelope("a") or ""), store.ended("a"), told) == (True, False, [])
        assert '"status":"pending"' in (await read_page(store, PageQuery()))[0]
        rig.file.gate.set()
        await store.settled("a")
        assert ('"status":"success"' in (store.envelope("a") or ""), store.ended("a"), told) == (True, True, ["a"])

    play(tmp_path, story)


def test_what_a_run_reports_meanwhile_shows_at_once_and_is_not_written(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        record = pending("a")
        rig.store.add(record)
        await rig.store.flushed()
        rig.store.put(record.started(1))
        assert '"status":"running"' in (rig.store.envelope("a") or "")
        assert rig.store.page(0, 5, "running")
        assert not rig.store.page(0, 5, "pending")
        await rig.store.flushed()

    assert len(play(tmp_path, story).file.batches) == 1


def test_a_refusing_disk_fails_submissions_and_keeps_ends_for_later(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        store = rig.store
        record = pending("a")
        store.add(record)
        await store.flushed()
        rig.file.refusal = "database or disk is full"
        store.put(ended(record))
        store.add(pending("b"))
        with pytest.raises(StoreFailed, match="disk is full"):
            await store.flushed()
        assert store.delete("b")
        await store.settled("a")
        assert store.ended("a") is False
        rig.file.refusal = None
        await store.lasting()  # it tries again by itself
        assert store.ended("a") is True
        assert [row.id for row in rig.file.page(0, 10)] == ["a"]

    assert play(tmp_path, story).said == ["database or disk is full"]


class Quick:
    """Ends every attempt at once, and notes what was on disk when it began."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.begun: dict[str, str] = {}

    async def run(self, attempt: Attempt) -> Outcome:
        row = self.rig.file.find(attempt.spec.id)
        self.begun[attempt.spec.id] = row.status if row is not None else "nothing"
        return Outcome(RunStatus.SUCCESS)

    async def close(self) -> None:
        """Nothing is held."""


def test_a_refused_submission_is_as_if_it_had_never_been(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        metrics, quick = Metrics(), Quick(rig)
        scheduler = Scheduler(rig.store, metrics, {"os": quick}, 4)
        rig.file.refusal = "disk I/O error"
        specs = [TaskSpec("a", "os", tool_name="noop"), TaskSpec("b", "os", tool_name="noop", depends_on=("a",))]
        with pytest.raises(StoreFailed):
            await scheduler.accept(specs)
        assert (rig.store.get("a"), rig.store.get("b"), metrics.total, quick.begun) == (None, None, 0, {})
        assert (metrics.failed, metrics.succeeded, dict(+metrics.by_type)) == (0, 0, {})
        rig.file.refusal = None
        await scheduler.accept(specs)
        await until_ended(rig.store, "b")
        assert metrics.succeeded == 2
        await scheduler.stop()

    play(tmp_path, story)


def test_the_same_submission_twice_at_once_is_accepted_once_for_both(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        metrics = Metrics()
        scheduler = Scheduler(rig.store, metrics, {"os": Quick(rig)}, 4)
        rig.file.gate.clear()
        both = [asyncio.ensure_future(scheduler.accept([TaskSpec("a", "os", tool_name="shell")])) for _ in range(2)]
        await asyncio.sleep(0.02)
        assert not any(one.done() for one in both)
        rig.file.gate.set()
        await asyncio.gather(*both)
        await until_ended(rig.store, "a")
        assert metrics.total == 1
        await scheduler.stop()

    play(tmp_path, story)


async def until_ended(store: Store, task_id: str) -> None:
    while not store.ended(task_id):
        await asyncio.sleep(0.001)


def test_a_start_is_on_disk_first_where_there_can_be_effects(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        quick = Quick(rig)
        scheduler = Scheduler(rig.store, Metrics(), {"os": quick}, 4)
        parents = [TaskSpec("shell", "os", tool_name="shell"), TaskSpec("noop", "os", tool_name="noop")]
        child = TaskSpec("child", "os", tool_name="file", depends_on=("shell", "noop"))
        await scheduler.accept([*parents, child])
        await until_ended(rig.store, "child")
        assert quick.begun == {"shell": "running", "noop": "pending", "child": "running"}
        await scheduler.stop()

    rig = play(tmp_path, story)
    began = number_of(rig, lambda change: change.record.spec.id == "child" and change.mark is Mark.RUNNING)
    over = number_of(rig, lambda change: change.record.spec.id == "shell" and change.record.status is TaskStatus.SUCCESS)
    assert over <= began  # a child never begins before its parent's end is on disk


def number_of(rig: Rig, wanted: Callable[[Change], bool]) -> int:
    """Return the number of the first commit that has a certain change in it."""
    return next(number for number, batch in enumerate(rig.file.batches) if any(map(wanted, batch.changes)))


def test_an_end_is_written_at_once_when_nothing_else_is_under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable_store, "_PAUSE", 3600.0)

    async def story(rig: Rig) -> None:
        first, second = pending("a"), pending("b")
        rig.store.add(first)
        rig.store.add(second)
        await rig.store.flushed()
        rig.store.put(ended(first))
        await asyncio.sleep(0.05)
        assert rig.store.ended("a") is False  # it waits for the other one, to share a write
        rig.store.put(ended(second))
        await until_ended(rig.store, "b")
        rig.store.add(third := pending("c"))
        await rig.store.flushed()
        rig.store.put(ended(third))
        await until_ended(rig.store, "c")

    assert [len(batch.changes) for batch in play(tmp_path, story).file.batches] == [2, 2, 1, 1]


def test_ids_of_an_earlier_kernel_are_found(tmp_path: Path) -> None:
    async def write(rig: Rig) -> None:
        rig.store.add(record := pending("old"))
        rig.store.put(ended(record))

    async def read(rig: Rig) -> None:
        found = rig.store.get("old")
        assert found is not None
        assert found.status is TaskStatus.SUCCESS
        assert rig.store.get("new") is None

    play(tmp_path, write)
    play(tmp_path, read)


def test_an_end_that_is_only_on_disk_is_found(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        rig.store.add(record := pending("a"))
        rig.store.put(ended(record)._replace(result='"' + "x" * 1_000_000 + '"'))  # larger than what is held in memory
        await rig.store.flushed()
        assert "x" * 1_000_000 in (rig.store.envelope("a") or "")
        found = rig.store.get("a")
        assert found is not None
        assert found.status is TaskStatus.SUCCESS

    play(tmp_path, story)


def test_no_id_counts_as_new_when_the_ids_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def write(rig: Rig) -> None:
        rig.store.add(record := pending("old"))
        rig.store.put(ended(record))

    def refuse(file: StoreFile) -> list[str]:
        raise sqlite3.DatabaseError("database disk image is malformed")

    async def read(rig: Rig) -> None:
        assert rig.store.get("old") is not None
        assert rig.store.get("new") is None

    play(tmp_path, write)
    monkeypatch.setattr(StoreFile, "ids", refuse)
    play(tmp_path, read)


def test_a_submission_is_kept_as_json(tmp_path: Path) -> None:
    hostile = 'é"\\\u0001\u2028<&>'
    spec = TaskSpec("x", "os", f'{{"a":"{"z" * 3}"}}', hostile, None, "", (hostile, "b"), 3, -1, '{"a":"b"}')
    record = TaskRecord(spec, 7, 7)
    assert json.loads(encode_submission(record)) == [7, "os", '{"a":"zzz"}', hostile, None, "", [hostile, "b"], 3, -1, '{"a":"b"}']


def test_deleting_while_a_write_is_on_its_way(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        rig.file.gate.clear()
        rig.store.add(pending("a"))
        wait = rig.store.flushed()
        await asyncio.sleep(0.01)
        assert rig.store.delete("a")
        assert not rig.store.delete("a")
        rig.file.gate.set()
        await wait
        assert rig.store.get("a") is None
        assert (await read_page(rig.store, PageQuery()))[0] == "[]"
        await rig.store.flushed()
        assert rig.file.page(0, 10) == []

    play(tmp_path, story)


@pytest.mark.parametrize("durable", [True, False])
def test_pages_are_stable_and_filtered(tmp_path: Path, durable: bool) -> None:
    async def story(rig: Rig) -> None:
        store: Store = rig.store if durable else MemoryStore()
        records = [pending(f"t{number}") for number in range(1200)]
        for record in records:
            store.add(record)
        for record in records[::2]:
            store.put(ended(record))
        await store.flushed()
        text, following = await read_page(store, PageQuery(limit=3, status="success"))
        assert [text.count(f'"id":"t{n}"') for n in (0, 2, 4, 6)] == [1, 1, 1, 0]
        assert following is not None
        text, _ = await read_page(store, PageQuery(limit=1, after=following, status="success"))
        assert '"id":"t6"' in text
        text, following = await read_page(store, PageQuery(status="pending"))
        assert (text.count('"id"'), following) == (600, None)
        text, following = await read_page(store, PageQuery())
        assert (text.count('"id"'), following) == (1200, None)
        assert text.index('"t9"') < text.index('"t10"') < text.index('"t11"')

    play(tmp_path, story)


def test_the_oldest_ends_go_when_there_are_too_many(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        keeps = pending("pending")
        rig.store.add(keeps)
        for number in range(20):
            record = pending(f"t{number}")
            rig.store.add(record)
            rig.store.put(ended(record))
            await rig.store.flushed()
        rig.store.add(pending("last"))
        await rig.store.flushed()
        assert [row.id for row in rig.file.page(0, 100)] == ["pending", *(f"t{n}" for n in range(10, 20)), "last"]
        assert rig.store.envelope("t9") is None
        assert rig.file.state.tasks == 12

    play(tmp_path, story, retain=10)


ONCE = '{"effect":"once"}'


def test_what_is_found_is_run_again_or_unknown() -> None:
    cases = {
        # mark, attempts, once: attempts and interruptions of what runs again, or None for unknown
        (Mark.PENDING, 0, False): (0, 0),
        (Mark.PENDING, 0, True): (0, 0),
        (Mark.RUNNING, 1, False): (1, 1),
        (Mark.RUNNING, 1, True): None,
        (Mark.INTERRUPTED, 3, False): (3, 1),
        (Mark.INTERRUPTED, 1, True): None,
        (Mark.RETRYING, 2, False): (2, 0),
        (Mark.RETRYING, 1, True): None,
    }
    for (mark, attempts, once), expected in cases.items():
        record = pending("x", tool="shell", annotations=ONCE if once else None)
        (task,) = resume([Found(record, mark, attempts, 0)], 5_000)
        if expected is None:
            assert task.ending is not None
            assert task.ending.run is not None
            assert task.ending.run.error is not None
            assert (task.ending.status, task.ending.run.error.code) == (TaskStatus.FAILED, "unknown")
            assert (task.ending.updated_ns, task.ending.run.attempt) == (5_000, attempts)
            assert "the end of task x is not known" in task.ending.error
        else:
            assert (task.attempts, task.interruptions, task.ending) == (*expected, None), (mark, attempts, once)


def test_which_tasks_have_effects() -> None:
    kinds = {tool: TaskSpec("x", "os", tool_name=tool) for tool in ("noop", "sleep", "shell", "file", "http", "tcp", "dns", "odd")}
    assert {tool for tool, spec in kinds.items() if not has_effects(spec)} == {"noop", "sleep"}
    assert {tool for tool, spec in kinds.items() if not leaves_mark(spec)} == {"noop"}
    for kind in ("runtime", "mcp", "cli-skills"):
        assert has_effects(TaskSpec("x", kind, tool_name="noop"))
    once = TaskSpec("x", "os", tool_name="noop", annotations=ONCE)
    assert (runs_once(once), has_effects(once), leaves_mark(once)) == (True, True, True)
    assert not runs_once(TaskSpec("x", "os", annotations='{"effect":"twice"}'))
    assert not runs_once(TaskSpec("x", "os", annotations='{"note":"effect: once"}'))
