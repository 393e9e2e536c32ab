"""A store that was cut or changed: never shown as right, never refused without a word, never silently begun anew."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_execgo.kernel.durable.file import DATABASE, WITNESS, Batch, StoreFile
from pytest_execgo.kernel.durable.open import DataFolderError, FolderInUse, Opened, open_folder
from pytest_execgo.kernel.durable.rows import Change, Mark
from pytest_execgo.kernel.envelope import record_of
from pytest_execgo.kernel.golang.time import Moment
from pytest_execgo.kernel.task import Run, RunStatus, TaskRecord, TaskSpec, TaskStatus

ONCE = '{"effect":"once"}'
WAL = f"{DATABASE}-wal"


def record(task_id: str, status: TaskStatus, *, once: bool = False) -> TaskRecord:
    spec = TaskSpec(task_id, "os", f'{{"script":"{task_id * 40}"}}', "shell", annotations=ONCE if once else None)
    now = time.time_ns()
    if status is TaskStatus.PENDING:
        return TaskRecord(spec, now, now)
    run = Run(RunStatus.SUCCESS, "", f'"{task_id}"', True, Moment(now), Moment(now), 0, 1)
    return TaskRecord(spec, now, now, status, run, f'"{task_id}"')


def change(seq: int, status: TaskStatus, mark: Mark, *, new: bool, once: bool = False) -> Change:
    return Change(seq, record(f"t{seq}", status, once=once), mark, int(mark is not Mark.PENDING), 0, new)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder in memory where there is one: a thousand stores are opened here, each with its waits for the disk."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as path:
        yield Path(path)


@pytest.fixture(scope="module")
def written(folder: Path) -> Path:
    """A store as a kernel leaves it that was killed, part of it in the file, part in the log (`closed`: as one that was stopped).

    t24 and t29 run only once.
    """
    store = folder / "store"
    store.mkdir()
    file = StoreFile(store)
    pending, done = TaskStatus.PENDING, TaskStatus.SUCCESS
    file.commit(Batch([change(seq, pending, Mark.PENDING, new=True) for seq in range(1, 21)]))
    file.commit(Batch([change(seq, done, Mark.RUNNING, new=False) for seq in range(1, 11)]))
    file.close()
    file = StoreFile(store)
    file.commit(Batch([change(seq, pending, Mark.PENDING, new=True, once=seq in (24, 29)) for seq in range(21, 31)]))
    file.commit(Batch([change(seq, pending, Mark.RUNNING, new=False, once=seq in (24, 29)) for seq in range(23, 26)]))
    for seq in (11, 21, 22):
        file.commit(Batch([change(seq, done, Mark.RUNNING, new=False)]))
    shutil.copytree(store, folder / "killed")
    file.close()
    shutil.copytree(store, folder / "closed")
    return folder / "killed"


ENDED = {f"t{seq}" for seq in (*range(1, 12), 21, 22)}
OPEN = {f"t{seq}" for seq in range(1, 31)} - ENDED


def looked_at(folder: Path, original: dict[str, str]) -> Opened:
    """Open a damaged folder and hold what it says against what was written."""
    opened = open_folder(folder)
    try:
        rows = {row.id: row for row in opened.file.page(0, 1000)}
        ended = {name: row.body for name, row in rows.items() if row.ended and "damaged, so it may" not in row.body}
        assert ended.items() <= original.items(), "an end that never was"
        if opened.damage is None:
            assert ended == original
            assert all(row == opened.file.find(name) for name, row in rows.items()), "can't be found by its id"
            assert rows.keys() - ended.keys() == OPEN
            assert {name for name, row in rows.items() if row.status == "running"} == {"t23", "t24", "t25"}
        else:
            assert not {"t24", "t29"} & {row.id for row in opened.file.unfinished()}, "would run twice"
            assert list(Path(opened.damage.moved_to).rglob("kernel.db*")), "the damaged store was not kept"
            kinds = [kind for (kind,) in opened.file._read("SELECT kind FROM events")]
            assert kinds == ["damage"]
        return opened
    finally:
        opened.close()


@pytest.fixture(scope="module")
def original(written: Path, folder: Path) -> dict[str, str]:
    shutil.copytree(written, folder / "original" / "store")
    opened = open_folder(folder / "original")
    found = {row.id: row.body for row in opened.file.page(0, 1000) if row.ended}
    opened.close()
    assert opened.damage is None
    assert found.keys() == ENDED
    return found


@pytest.fixture
def damaged(written: Path, folder: Path) -> Path:
    """A folder whose store may be broken."""
    shutil.rmtree(folder / "data", ignore_errors=True)
    shutil.copytree(written, folder / "data" / "store")
    return folder / "data"


def again(written: Path, folder: Path) -> Path:
    """Put the store back as it was written; return where it is."""
    shutil.rmtree(folder)
    shutil.copytree(written, folder / "store")
    return folder / "store"


@pytest.mark.parametrize("name", [DATABASE, WAL])
def test_a_store_that_was_cut_anywhere(written: Path, original: dict[str, str], damaged: Path, name: str) -> None:
    written = written if name == WAL else written.with_name("closed")
    data = (written / name).read_bytes()
    frames = range(32, len(data), 4096 + 24) if name == WAL else range(0, len(data), 4096)
    sample = random.Random(7)  # the same places each time
    cuts = sorted({*frames, *(sample.randrange(len(data)) for _ in range(260)), 0, 1, len(data) - 1})
    noticed = 0
    for cut in cuts:
        (again(written, damaged) / name).write_bytes(data[:cut])
        noticed += looked_at(damaged, original).damage is not None
    assert noticed >= len(cuts) - 8  # the last bytes of the last page may be ones that nobody uses; what is read is right anyway


def test_a_store_in_which_bits_were_flipped(written: Path, original: dict[str, str], damaged: Path) -> None:
    sample = random.Random(11)
    names = (DATABASE, WAL, f"{DATABASE}-shm", WITNESS)
    noticed = 0
    for _ in range(500):
        name = sample.choices(names, [10, 10, 1, 1])[0]
        store = again(written.with_name("closed") if name == DATABASE else written, damaged)
        data = bytearray((store / name).read_bytes())
        data[sample.randrange(len(data))] ^= 1 << sample.randrange(8)
        (store / name).write_bytes(data)
        noticed += looked_at(damaged, original).damage is not None
    assert 100 < noticed < 500


def test_a_lost_log_an_old_copy_and_no_database_are_noticed(written: Path, original: dict[str, str], damaged: Path) -> None:
    (damaged / "store" / WAL).unlink()
    found = looked_at(damaged, original)
    assert found.damage is not None
    assert "commits" in found.damage.reason
    assert found.damage.kept == 20
    store = again(written, damaged)
    (store / DATABASE).unlink()
    found = looked_at(damaged, original)
    assert found.damage is not None
    assert "missing" in found.damage.reason
    store = again(written, damaged)
    (store / DATABASE).write_bytes(b"nothing like a database" * 500)
    (store / WAL).unlink()
    found = looked_at(damaged, original)
    assert found.damage is not None
    assert (found.damage.kept, "not a database" in found.damage.reason) == (0, True)


def test_one_bad_record_costs_nobody_else(written: Path, original: dict[str, str], damaged: Path) -> None:
    again(written.with_name("closed"), damaged)
    data = (damaged / "store" / DATABASE).read_bytes()
    at = data.index(b'"result":"t3"')
    (damaged / "store" / DATABASE).write_bytes(data[: at + 11] + b"9" + data[at + 12 :])
    found = looked_at(damaged, original)
    assert found.damage is not None
    assert (found.damage.kept, found.damage.lost) == (29, 1)
    assert "of task 't3'" in found.damage.reason


def test_an_index_that_was_changed_is_noticed(written: Path, original: dict[str, str], damaged: Path) -> None:
    store = again(written.with_name("closed"), damaged)
    data = (store / DATABASE).read_bytes()
    entry = data.index(bytes((0x03, 0x11, 0x01)) + b"t5")  # in an index, a row's id stands before its number
    (store / DATABASE).write_bytes(data[: entry + 4] + b"~" + data[entry + 5 :])
    assert looked_at(damaged, original).damage is not None


def test_a_record_that_vanished_is_noticed(written: Path, original: dict[str, str], damaged: Path) -> None:
    connection = sqlite3.connect(damaged / "store" / DATABASE)
    connection.execute("DELETE FROM tasks WHERE id = 't7'")
    connection.commit()
    connection.close()
    found = looked_at(damaged, original)
    assert found.damage is not None
    assert "it has 29 tasks, and should have 30" in found.damage.reason


def test_a_crash_while_a_store_is_replaced_is_made_up_for(written: Path, original: dict[str, str], damaged: Path) -> None:
    (damaged / "store").rename(damaged / "store.building")  # whole, but not in its place yet
    assert looked_at(damaged, original).damage is None
    (damaged / "store.building").mkdir()  # half done
    (damaged / "store.building" / DATABASE).write_bytes(b"x")
    assert looked_at(damaged, original).damage is None
    assert not (damaged / "store.building").exists()


def test_a_folder_in_use_and_one_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    opened = open_folder(tmp_path / "data")
    with pytest.raises(FolderInUse, match="in use by another kernel"):
        open_folder(tmp_path / "data")
    opened.close()
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataFolderError, match="can't be used"):
        open_folder(tmp_path / "file" / "below")


def test_a_state_json_that_cannot_be_read_is_set_aside_and_said(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text('{"a": {"id": "a", "type": "os", "stat')
    opened = open_folder(tmp_path)
    opened.close()
    assert opened.damage is not None
    assert "state.json can't be read: unexpected end of JSON input" in opened.damage.reason
    assert not (tmp_path / "state.json").exists()
    assert (Path(opened.damage.moved_to) / "state.json").read_text().startswith('{"a"')


def test_records_survive_the_way_to_disk_and_back(tmp_path: Path) -> None:
    opened = open_folder(tmp_path)
    texts = ["", "\x00", "a\x00b", "\u00fc", "\U0001f600", "'\"\\", "x" * 70_000]
    specs = [TaskSpec(text, "os", json.dumps(text), text, depends_on=(text,), retry=2**63 - 1) for text in texts]
    opened.file.commit(Batch([Change(n, TaskRecord(s, n, n), Mark.PENDING, 0, 0, True) for n, s in enumerate(specs, 1)]))
    opened.close()
    opened = open_folder(tmp_path)
    assert [record_of(row).spec for row in opened.file.unfinished()] == specs
    for text in texts:
        found = opened.file.find(text)
        assert found is not None
        assert found.id == text
    opened.close()
