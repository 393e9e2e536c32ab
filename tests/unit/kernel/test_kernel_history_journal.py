"""The journal: true rows in a true order, on a disk that lags or refuses, in a file that earlier lives left."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.core.errors import UsageError
from pytest_execgo.core.jsonio import digest
from pytest_execgo.kernel.api.control_api import Control
from pytest_execgo.kernel.durable.file import Batch, StoreFile, Written
from pytest_execgo.kernel.durable.store import DurableStore
from pytest_execgo.kernel.executors.executor import Attempt, Outcome, failed
from pytest_execgo.kernel.history import reading
from pytest_execgo.kernel.history.digests import content_digest, end_digest
from pytest_execgo.kernel.history.journal import Journal
from pytest_execgo.kernel.metrics import Metrics
from pytest_execgo.kernel.scheduler import Scheduler
from pytest_execgo.kernel.store import MemoryStore, StoreFailed
from pytest_execgo.kernel.task import RunStatus, TaskRecord, TaskSpec, TaskStatus
from pytest_execgo.kernel.waiting import Waiters
from pytest_execgo.plan.history import HistoryRow


class Gated(StoreFile):
    """A file whose commits wait for `gate` and fail as `refusal` says."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.gate = threading.Event()
        self.gate.set()
        self.refusal = ""

    def commit(self, batch: Batch) -> Written:
        self.gate.wait(20)
        if self.refusal:
            raise sqlite3.OperationalError(self.refusal)
        return super().commit(batch)


class Told:
    """Ends attempts as it was told to: with an error, well, or never ("hang"); `begun` names those that began."""

    def __init__(self) -> None:
        self.endings: dict[str, list[str]] = {}
        self.begun: list[str] = []

    async def run(self, attempt: Attempt) -> Outcome:
        self.begun.append(attempt.spec.id)
        endings = self.endings.get(attempt.spec.id, ["good"])
        ending = endings.pop(0) if len(endings) > 1 else endings[0]
        if ending == "hang":
            await asyncio.Event().wait()
        return Outcome(RunStatus.SUCCESS, "1") if ending == "good" else Outcome(RunStatus.FAILED, error=failed(ending))

    async def close(self) -> None:
        """Hold nothing."""


class World:
    def __init__(self, folder: Path) -> None:
        self.file, self.os, waiters = Gated(folder), Told(), Waiters()
        self.store = DurableStore(self.file, [], 1000, lambda reason: None)
        self.journal = Journal(folder / "history.jsonl")
        self.scheduler = Scheduler(self.store, Metrics(), {"os": self.os}, 4, waiters=waiters, observer=self.journal)
        self.control = Control(self.store, self.scheduler, waiters)

    def rows(self) -> list[dict[str, Any]]:
        return read(self.journal.path)

    def seen(self) -> list[str]:
        return [told(row) for row in self.rows()]

    async def until(self, reached: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not reached():
                await asyncio.sleep(0.001)


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def told(row: dict[str, Any]) -> str:
    """Write a row as a word or two: `end a 1 success`."""
    detail = row["value"].get("outcome") or row["value"].get("status") or row["value"].get("cause")
    return " ".join(str(part) for part in (row["f"], row["task"], row["attempt"], detail) if part is not None)


def play(folder: Path, story: Callable[[World], Coroutine[Any, Any, None]]) -> World:
    async def run() -> World:
        world = World(folder)
        async with asyncio.timeout(30):
            await story(world)
            await world.scheduler.stop()
            await world.store.close()
        return world

    return asyncio.run(run())


def spec(task_id: str, *depends_on: str, tool: str = "shell", **more: Any) -> TaskSpec:
    return TaskSpec(task_id, "os", tool_name=tool, depends_on=depends_on, **more)


def test_the_life_of_a_graph(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.os.endings = {"a": ["first", "good"], "b": ["broke"]}
        once = '{"effect":"once"}'
        await world.scheduler.accept(
            [spec("a", retry=1), spec("b", "a", annotations=once), spec("c", "b"), spec("d", "a", tool="noop")]
        )
        await world.until(lambda: all(world.store.ended(task_id) for task_id in "abcd"))
        await world.scheduler.accept([spec("d", "a", tool="noop")])  # the same task: nothing is accepted anew

    world = play(tmp_path, story)
    assert [seen for seen in world.seen() if seen.split()[1] == "a"] == [
        "accept a", "start a 1", "spawn a 1", "end a 1 retry",
        "start a 2", "spawn a 2", "end a 2 success", "persist a success",
    ]  # fmt: skip
    assert [seen for seen in world.seen() if seen.split()[1] in "bc"] == [
        "accept b", "accept c", "start b 1", "spawn b 1", "end b 1 failed", "skip c b", "persist b failed", "persist c skipped",
    ]  # fmt: skip
    accepted = {row["task"]: row["value"] for row in world.rows() if row["f"] == "accept"}
    assert accepted == {
        "a": {"depends_on": [], "effects": True, "once": False},
        "b": {"depends_on": ["a"], "effects": True, "once": True},
        "c": {"depends_on": ["b"], "effects": True, "once": False},
        "d": {"depends_on": ["a"], "effects": False, "once": False},
    }


def test_lines_are_rows_of_a_history(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.journal.booted(world.store)
        await world.scheduler.accept([spec("a\n\u2028\u00fc"), spec("b")])
        await world.until(lambda: world.store.ended("a\n\u2028\u00fc"))
        world.journal.stopped()

    play(tmp_path, story)
    play(tmp_path, story)  # a second life goes on in the same file
    rows = read(tmp_path / "history.jsonl")
    parsed = [HistoryRow(run="r", **row) for row in rows]
    assert all(set(row) == set(HistoryRow.model_fields) - {"run", "idem_key"} for row in rows)
    lives = list(dict.fromkeys(row.boot_id for row in parsed))
    assert len(lives) == 2
    for life in lives:
        own = [row for row in parsed if row.boot_id == life]
        assert [row.seq for row in own] == list(range(1, len(own) + 1))
        assert (own[0].f, own[-1].f) == ("boot", "stop")
    assert [row.monotonic_ns for row in parsed] == sorted(row.monotonic_ns for row in parsed)
    assert {(row.process, row.type) for row in parsed} == {("kernel", "event")}
    assert {row.wall[-1] for row in parsed} == {"Z"}
    assert "a\n\u2028\u00fc" in {row.task for row in parsed}


def test_nothing_counts_as_durable_before_its_commit_has_landed(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.file.gate.clear()
        accepting = asyncio.ensure_future(world.scheduler.accept([spec("a", tool="noop"), spec("long")]))
        await asyncio.sleep(0.02)
        assert not world.seen()
        world.os.endings["long"] = ["hang"]
        world.file.gate.set()
        await accepting
        assert world.seen()[:2] == ["accept a", "accept long"]
        await world.until(lambda: world.store.ended("a") and "long" in world.os.begun)
        await world.store.flushed()

        world.file.gate.clear()
        cancelling = asyncio.ensure_future(world.control.cancel("long"))
        deleting = asyncio.ensure_future(world.control.delete("a"))
        await world.until(lambda: "end long 1 cancelled" in world.seen())
        assert not {"cancel long", "persist long failed", "delete a"} & set(world.seen())
        world.file.gate.set()
        assert await cancelling
        await deleting
        await world.until(lambda: world.store.ended("long"))
        seen = world.seen()
        assert seen.index("cancel long") < seen.index("persist long failed")
        assert "delete a" in seen

    play(tmp_path, story)


def test_what_is_skipped_or_cancelled_before_it_is_accepted_is_noted_after_that(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.os.endings["a"] = ["broke"]
        await world.scheduler.accept([spec("a")])
        await world.until(lambda: world.store.ended("a"))
        world.file.gate.clear()
        accepting = asyncio.ensure_future(world.scheduler.accept([spec("a"), spec("b", "a"), spec("c")]))
        await asyncio.sleep(0)
        cancelling = asyncio.ensure_future(world.control.cancel("c"))
        await asyncio.sleep(0.01)
        world.file.gate.set()
        await accepting
        assert await cancelling
        await world.store.flushed()

    seen = play(tmp_path, story).seen()
    assert [one for one in seen if one.split()[1] == "b"] == ["accept b", "skip b a", "persist b skipped"]
    assert [one for one in seen if one.split()[1] == "c"] == ["accept c", "cancel c", "persist c failed"]


def test_what_the_disk_refuses_did_not_happen(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.os.endings["a"] = ["hang"]
        await world.scheduler.accept([spec("a"), spec("b", tool="noop")])
        await world.until(lambda: "a" in world.os.begun and world.store.ended("b"))
        world.file.refusal = "disk I/O error"
        with pytest.raises(StoreFailed):
            await world.scheduler.accept([spec("never")])
        with pytest.raises(StoreFailed):
            await world.control.cancel("a")
        world.scheduler.delete("b")
        with pytest.raises(StoreFailed):
            await world.store.flushed()
        assert not {"cancel a", "persist a failed", "delete b"} & set(world.seen())
        world.file.refusal = ""
        await world.store.lasting()
        await world.until(lambda: {"cancel a", "persist a failed", "delete b"} <= set(world.seen()))

    world = play(tmp_path, story)
    assert not [row for row in world.rows() if row["task"] == "never"]
    assert world.seen().count("delete b") == world.seen().count("cancel a") == 1


def test_a_torn_line_is_cut_off_wherever_it_tore(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    first = Journal(path)
    first.stopped()
    first.booted(MemoryStore())
    first.close()
    whole = path.read_bytes()
    begin = whole.index(b"\n") + 1
    for size in (*range(7), *range(begin, len(whole))):
        path.write_bytes(whole[:size])
        journal = Journal(path)
        journal.stopped()
        journal.close()
        rows = read(path)
        assert len(rows) == (2 if size >= begin else 1)
        assert (rows[-1]["f"], rows[-1]["seq"]) == ("stop", 1)


def test_a_file_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("dear diary")
    with pytest.raises(UsageError, match=r"notes\.txt' holds something else"):
        Journal(path)
    assert path.read_text() == "dear diary"
    with pytest.raises(UsageError, match=r"none/x' can't be used: No such file or directory"):
        Journal(tmp_path / "none" / "x")


def test_a_journal_that_cannot_be_written_says_so_once_and_waits(capsys: pytest.CaptureFixture[str]) -> None:
    journal = Journal(Path("/dev/full"))
    journal.stopped()
    journal.stopped()
    journal.close()
    assert (journal.trouble, journal.failure) == ("No space left on device", "")
    assert capsys.readouterr().err.count("can't be written to /dev/full at present: No space left on device") == 1


def test_what_the_disk_refused_is_written_when_it_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "h")
    journal.stopped()
    space = [10, 0]  # bytes that the disk takes before it refuses, in the middle of a line
    really = os.write

    def write(file: int, data: bytes) -> int:
        taken = space.pop(0) if space else 0
        if not taken:
            raise OSError(errno.ENOSPC, "No space left on device")
        return really(file, bytes(data[:taken]))

    monkeypatch.setattr("pytest_execgo.kernel.history.journal.os.write", write)
    journal.stopped()
    journal.stopped()
    assert journal.trouble
    monkeypatch.undo()
    journal.write_on()
    journal.close()
    assert [row["seq"] for row in read(journal.path)] == [1, 2, 3]


def test_a_journal_that_would_keep_too_much_stops_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_execgo.kernel.history.journal._MOST_UNWRITTEN", 300)
    journal = Journal(Path("/dev/full"))
    for _ in range(3):
        journal.stopped()
    assert journal.failure == "No space left on device"


def test_the_next_life_notes_the_ends_that_the_last_one_had_no_time_to_note(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.os.endings["open"] = ["hang"]
        await world.scheduler.accept([spec("done"), spec('n"oted'), spec("open")])
        await world.until(lambda: all(world.store.ended(task_id) for task_id in ("done", 'n"oted')))
        lines = world.journal.path.read_text().splitlines(keepends=True)
        kept = [line for line in lines if '"f":"persist","task":"done"' not in line]
        assert len(kept) == len(lines) - 1
        world.journal.path.write_text("".join(kept))
        Journal(world.journal.path).booted(world.store)

    rows = play(tmp_path, story).rows()
    last_life = [row for row in rows if row["boot_id"] == rows[-1]["boot_id"]]
    assert [told(row) for row in last_life] == ["boot", "persist done success"]
    persisted = [row for row in rows if row["f"] == "persist"]
    assert {row["digest"] for row in persisted} == {digest(["success", 1, None])}


def test_reading_goes_on_where_it_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "h")
    for _ in range(20):
        journal.stopped()
    monkeypatch.setattr(reading, "MAX_ANSWER", 500)
    text = journal.path.read_text()
    lines, after = list[str](), 0
    while True:
        found, following = reading.read_lines(journal.file, after)
        if not found:
            break
        assert following - after <= 500
        lines, after = lines + found, following
    assert ("\n".join(lines) + "\n", following) == (text, len(text))
    monkeypatch.setattr(reading, "MAX_ANSWER", 10)  # less than a line: one comes all the same
    assert reading.read_lines(journal.file, 0) == ([lines[0]], len(lines[0]) + 1)
    borders = {at + 1 for at, letter in enumerate(text) if letter == "\n"} | {0}
    for after in set(range(len(text) + 3)) - borders:
        with pytest.raises(UsageError, match="not where a line"):
            reading.read_lines(journal.file, after)
    with journal.path.open("a") as torn:
        torn.write('{"seq":')
    assert reading.read_lines(journal.file, len(text)) == ([], len(text))
    journal.close()


@pytest.mark.parametrize("bad", ["", "-1", "x", "1.0", " 1", "9" * 20, "\u0661"])
def test_a_bad_offset_is_named(bad: str) -> None:
    with pytest.raises(UsageError, match="after must be a whole number"):
        reading.read_after(bad)


def test_digests_are_of_what_things_mean() -> None:
    one, same = spec("a", input='{"x":1,"y":[2]}'), spec("a", input='{"y":[2],"x":1}')
    ran = spec("a", params='{"x":1,"y":[2]}', input='{"x":1,"y":[2]}')  # as a record shows it once it ran
    assert content_digest(one) == content_digest(same) == content_digest(ran)
    others = [spec("b", input='{"x":1,"y":[2]}'), spec("a", input='{"x":1.0,"y":[2]}'), spec("a", "b", input='{"x":1,"y":[2]}')]
    assert len({content_digest(other) for other in (one, *others)}) == 4
    assert content_digest(spec("a", input="[" * 5000 + "]" * 5000))
    now = time.time_ns()
    for result, error in (('{"b":[1.5,null],"a":"\\u00e9"}', ""), (None, 'bad "thing"\n\u00e9'), ("null", "")):
        record = TaskRecord(one, now, now, TaskStatus.FAILED, None, result, error)
        envelope = json.loads(record.encode())
        assert end_digest(record) == digest([envelope["status"], envelope.get("result"), envelope.get("error")])
    assert end_digest(TaskRecord(one, now, now, TaskStatus.SUCCESS, None, "1e999")) is None
