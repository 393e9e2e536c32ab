"""The durable store: what was told to be kept is found by the next one, whatever was going on."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.core.bodies import HttpError
from pytest_execgo.core.errors import ExecGoError, UsageError
from pytest_execgo.runtime.data_folder import DataFolder
from pytest_execgo.runtime.models import parse_task
from pytest_execgo.runtime.sqlite_store import SqliteStore
from pytest_execgo.runtime.store import StoreError
from pytest_execgo.runtime.tasks import Outcome, Status, Streams, TaskError, TaskRecord

BODY = b'{"execution": {"kind": "emit", "payload": {"a": [1.5, "\xc3\xa9", null]}}}'


def record(name: str) -> TaskRecord:
    made = TaskRecord(name, f"h-{name}", parse_task(json.loads(BODY)), len(BODY), digest="d")
    made.note("accepted", why="é")
    return made


def with_store(path: Path, scenario: Callable[[SqliteStore], Awaitable[None]], **options: Any) -> None:
    async def run() -> None:
        store = SqliteStore(path, **options)
        try:
            await scenario(store)
        finally:
            store.close()

    asyncio.run(run())


FAILED = Outcome(
    TaskError("timeout", "late", True, {"limit_ms": 5}), None, True, Streams("out é", "", -9, True), {"effective": "plain"}
)


def test_unfinished_tasks_come_back_in_order_and_finished_ones_are_found(tmp_path: Path) -> None:
    path = tmp_path / "tasks.db"
    before: dict[str, dict[str, Any]] = {}

    async def earlier(store: SqliteStore) -> None:
        assert store.unfinished() == []
        for name in ("b", "a", "failed", "emitted"):
            await store.add(record(name), BODY)
        running = store.find("a")
        assert running is not None
        running.start("boot-1")
        await store.save(running)
        for name, outcome in (("failed", FAILED), ("emitted", Outcome(output=[1, None], has_output=True))):
            found = store.find(name)
            assert found is not None
            found.start("boot-1")
            ended = found.ended(outcome)
            assert found.status is Status.RUNNING  # it shows only once it is kept
            await store.save(ended)
            found.become(ended)
            before[name] = {"shown": found.shown(), "events": [event.shown() for event in found.events]}

    async def later(store: SqliteStore) -> None:
        left = store.unfinished()
        assert [(one.task_id, one.status, one.boot) for one in left] == [
            ("b", Status.ACCEPTED, ""),
            ("a", Status.RUNNING, "boot-1"),
        ]
        assert left[0].request == parse_task(json.loads(BODY))
        assert [(event.type, event.details) for event in left[0].events] == [("accepted", {"why": "é"})]
        assert store.find("h-b") is left[0]
        for name, told in before.items():
            for key in (name, f"h-{name}"):
                found = store.find(key)
                assert found is not None
                assert {"shown": found.shown(), "events": [event.shown() for event in found.events]} == told
            with pytest.raises(HttpError) as conflict:
                await store.add(record(name), BODY)
            assert conflict.value.details == {"task_id": name, "handle_id": f"h-{name}", "digest": "d"}

    with_store(path, earlier)
    with_store(path, later)


def test_finished_tasks_beyond_the_bound_are_forgotten_for_good(tmp_path: Path) -> None:
    async def fill(store: SqliteStore) -> None:
        for name in "abc":
            await store.add(record(name), BODY)
            found = store.find(name)
            assert found is not None
            found.start()
            ended = found.ended(Outcome())
            await store.save(ended)
            found.become(ended)
        assert [store.find(name) is not None for name in "abc"] == [False, True, True]

    async def look(store: SqliteStore) -> None:
        assert [store.find(name) is not None for name in "abc"] == [False, True, True]

    with_store(tmp_path / "tasks.db", fill, max_finished=2)
    with_store(tmp_path / "tasks.db", look)


def test_what_can_not_be_kept_is_told_to_who_asked_and_to_nobody_else(tmp_path: Path) -> None:
    async def scenario(store: SqliteStore) -> None:
        bad = record("bad")
        bad.started_ns = 2**70  # no integer of the database's
        results = await asyncio.gather(
            store.add(record("one"), BODY), store.add(bad, BODY), store.add(record("two"), BODY), return_exceptions=True
        )
        assert results[0] is None
        assert results[2] is None
        assert isinstance(results[1], StoreError)
        store.drop(bad)
        assert store.find("bad") is None
        await store.add(record("bad"), BODY)

    with_store(tmp_path / "tasks.db", scenario)


def test_a_row_that_was_damaged_is_said_and_holds_up_nobody(tmp_path: Path) -> None:
    path = tmp_path / "tasks.db"

    async def earlier(store: SqliteStore) -> None:
        for name in "ab":
            await store.add(record(name), BODY)

    async def later(store: SqliteStore) -> None:
        assert [one.task_id for one in store.unfinished()] == ["b"]
        assert ["'a'" in said for said in store.unreadable] == [True]

    with_store(path, earlier)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE tasks SET body = 'no json' WHERE task_id = 'a'")
    connection.close()
    with_store(path, later)


def test_a_database_of_another_version_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "tasks.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()

    async def run() -> None:
        SqliteStore(tmp_path / "tasks.db")

    with pytest.raises(ExecGoError, match="another version"):
        asyncio.run(run())


def test_a_folder_serves_one_at_a_time_and_a_bad_one_is_named(tmp_path: Path) -> None:
    first = DataFolder.open(tmp_path / "data")
    with pytest.raises(UsageError, match="in use"):
        DataFolder.open(tmp_path / "data")
    first.close()
    DataFolder.open(tmp_path / "data").close()
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="-data-dir"):
        DataFolder.open(tmp_path / "file")
