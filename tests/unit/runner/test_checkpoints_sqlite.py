"""The file of checkpoints: what survives which death, and what is said of a file that is not what it was."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from pytest_execgo.core.errors import ExecGoError, UsageError
from pytest_execgo.plan.checkpoint import Checkpoint
from pytest_execgo.runner.checkpoints.serde import JsonSerde
from pytest_execgo.runner.checkpoints.sqlite import SqliteCheckpointer


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints.sqlite"


def filled(path: Path, count: int = 5) -> list[Checkpoint]:
    made = [Checkpoint(id=f"c{n}", thread_id="t", state={"n": n, "text": "x" * 3000}) for n in range(count)]
    with SqliteCheckpointer(path) as kept:
        for one in made:
            kept.put(one)
    return made


def files(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_what_was_put_is_there_after_closing(path: Path) -> None:
    made = filled(path)
    with SqliteCheckpointer(path, create=False) as again:
        assert again.list("t") == made
    assert files(path.parent) == [path.name]
    again.close()


def test_the_file_is_written_ahead_and_not_synced_at_each_put(path: Path) -> None:
    with SqliteCheckpointer(path) as kept:
        assert kept._file.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert kept._file.execute("PRAGMA synchronous").fetchone() == (1,)


WRITER = """
import os, sys
from pathlib import Path
from pytest_execgo.plan.checkpoint import Checkpoint
from pytest_execgo.runner.checkpoints.sqlite import SqliteCheckpointer
kept = SqliteCheckpointer(Path(sys.argv[1]))
n = 0
while True:
    kept.put(Checkpoint(id=f"c{n}", thread_id="t", state={"n": n, "text": "x" * 3000}))
    os.write(1, f"{n}\\n".encode())
    n += 1
"""


def test_nothing_that_was_put_is_lost_when_the_process_is_killed(path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    told = [int(writer.stdout.readline()) for _ in range(30)]
    writer.send_signal(signal.SIGKILL)
    told += [int(line) for line in writer.stdout.read().splitlines()]
    writer.stdout.close()
    writer.wait()
    with SqliteCheckpointer(path) as kept:
        found = [one.state["n"] for one in kept.list("t")]
    assert found in (told[-100:], [*told, told[-1] + 1][-100:])  # the last may have been put and not been told


def test_two_may_have_the_same_file_open(path: Path) -> None:
    with SqliteCheckpointer(path) as one, SqliteCheckpointer(path) as other:
        one.put(Checkpoint(id="a", thread_id="t", state={}))
        other.put(Checkpoint(id="b", thread_id="t", state={}))
        assert [found.id for found in one.list("t")] == ["a", "b"]


def assert_moved_aside(path: Path, before: bytes) -> None:
    with pytest.raises(ExecGoError, match="damaged") as told:
        SqliteCheckpointer(path)
    assert told.value.code == "checkpoints_damaged"
    aside = path.with_name(f"{path.name}.damaged-1")
    assert str(path) in told.value.message
    assert str(aside) in told.value.message
    assert aside.read_bytes() == before
    assert not path.exists()


def test_damage_is_said_and_moved_aside_and_only_then_begun_anew(path: Path) -> None:
    filled(path)
    path.write_bytes(b"this is no database, although it is long enough to hold a header of one. " * 4)
    assert_moved_aside(path, path.read_bytes())
    assert len(filled(path)) == 5
    path.write_bytes(b"")
    with pytest.raises(ExecGoError, match=r"empty.*damaged-2"):
        SqliteCheckpointer(path)
    assert files(path.parent) == [f"{path.name}.damaged-1", f"{path.name}.damaged-2"]


def test_the_log_of_a_damaged_file_goes_with_it(path: Path) -> None:
    with SqliteCheckpointer(path) as kept:
        kept.put(Checkpoint(id="a", thread_id="t", state={}))
        copy = path.parent / "copy" / path.name
        copy.parent.mkdir()
        for file in path.parent.glob(f"{path.name}*"):
            shutil.copy(file, copy.parent)
    copy.write_bytes(b"")
    with pytest.raises(ExecGoError, match="damaged"):
        SqliteCheckpointer(copy)
    assert f"{path.name}.damaged-1-wal" in files(copy.parent)
    assert f"{path.name}-wal" not in files(copy.parent)


def test_a_file_cut_anywhere_is_whole_or_said_to_be_damaged(path: Path, tmp_path: Path) -> None:
    made = filled(path)
    data = path.read_bytes()
    for length in [0, 1, 15, 16, 100, *range(512, len(data), 1500), len(data) - 1]:
        cut = tmp_path / f"cut-{length}" / path.name
        cut.parent.mkdir()
        cut.write_bytes(data[:length])
        with pytest.raises(ExecGoError) as told:
            SqliteCheckpointer(cut)
        assert told.value.code == "checkpoints_damaged", length
        assert cut.with_name(f"{cut.name}.damaged-1").read_bytes()[:length] == data[:length]
    with SqliteCheckpointer(path) as kept:
        assert kept.list("t") == made


def test_a_flipped_bit_is_harmless_or_said(path: Path, tmp_path: Path) -> None:
    made = filled(path)
    data = path.read_bytes()
    outcomes = set()
    for at in range(0, len(data), 97):
        flipped = tmp_path / f"bit-{at}" / path.name
        flipped.parent.mkdir()
        flipped.write_bytes(data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :])
        try:
            with SqliteCheckpointer(flipped) as kept:
                outcomes.add("harmless" if kept.list("t") == made else f"other checkpoints: bit {at}")
        except ExecGoError as error:
            outcomes.add(error.code)
    assert outcomes <= {"harmless", "checkpoints_damaged", "checkpoints_unusable", "checkpoints_too_new"}
    assert "checkpoints_damaged" in outcomes


def test_of_a_log_that_was_cut_the_last_checkpoints_are_missing_and_the_rest_is_whole(path: Path, tmp_path: Path) -> None:
    made = [Checkpoint(id=f"c{n}", thread_id="t", state={"n": n}) for n in range(4)]
    with SqliteCheckpointer(path) as kept:
        for one in made:
            kept.put(one)
        data, log = path.read_bytes(), path.with_name(f"{path.name}-wal").read_bytes()
    counts = set()
    for length in range(0, len(log), 700):
        cut = tmp_path / f"log-{length}" / path.name
        cut.parent.mkdir()
        cut.write_bytes(data)
        cut.with_name(f"{cut.name}-wal").write_bytes(log[:length])
        with SqliteCheckpointer(cut) as again:
            found = again.list("t")
        assert found == made[: len(found)]
        counts.add(len(found))
    assert counts == {0, 1, 2, 3} | ({4} if 4 in counts else set())


class Trap:
    """Unpickled, it would run a command."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, (f"touch {self.proof}",))


def planted(path: Path, body: bytes) -> None:
    """Put a body into the file as somebody would who knows its format."""
    with closing(sqlite3.connect(path)) as file, file:
        crc = crc32(body, crc32(b"t\0evil\x001700000000000000"))
        values = ("t", "evil", 1_700_000_000_000_000, body, crc)
        file.execute("INSERT INTO checkpoints (thread, id, created_us, body, crc) VALUES (?, ?, ?, ?, ?)", values)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'{"id": "evil"}',
        b'{"id": 1, "thread_id": "t", "state": {}}',
        b'{"id": "evil", "thread_id": "t", "state": {"x": NaN}}',
        b'{"id": "evil", "thread_id": "t", "state": {"x": 1e999}}',
        b'{"id": "evil", "thread_id": "t", "state": {"x": ' + b"9" * 5000 + b"}}",
        b'{"id": "evil", "thread_id": "t", "state": {}, "more": 1}',
        b'{"id": "evil", "thread_id": "t", "state": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001,
        b'{"id": "evil", "thread_id": "t", "state": ' + b'{"a":' * 300 + b"1" + b"}" * 301,
        "ä".encode("latin-1"),
    ],
    ids=lambda body: body[:60].decode("latin-1"),
)
def test_a_body_that_is_no_checkpoint_is_an_error_and_no_more(path: Path, body: bytes) -> None:
    filled(path, 1)
    planted(path, body)
    with SqliteCheckpointer(path) as kept:
        with pytest.raises(ExecGoError) as told:
            kept.get_latest("t")
        assert told.value.code == "bad_state"
        assert kept.get("t", "c0") is not None


def test_pickled_bytes_are_inert(path: Path, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    body = pickle.dumps(Trap(proof))
    assert os.system in Trap(proof).__reduce__()
    filled(path, 1)
    planted(path, body)
    with SqliteCheckpointer(path) as kept, pytest.raises(ExecGoError, match="can't be used"):
        kept.get("t", "evil")
    with pytest.raises(ExecGoError):
        JsonSerde().loads(body)
    assert not proof.exists()


def test_a_file_of_somebody_else_is_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("CREATE TABLE theirs (x)")
    before = path.read_bytes()
    with pytest.raises(UsageError, match="none of checkpoints"):
        SqliteCheckpointer(path)
    assert path.read_bytes() == before
    assert files(path.parent) == [path.name]


def test_a_file_of_a_newer_format_is_left_alone(path: Path) -> None:
    filled(path)
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("PRAGMA user_version = 2")
    with pytest.raises(UsageError, match="format 2") as told:
        SqliteCheckpointer(path)
    assert told.value.code == "checkpoints_too_new"
    assert path.exists()


@pytest.mark.parametrize("where", ["missing/checkpoints.sqlite", "folder"])
def test_a_place_that_can_not_be_used_is_a_users_mistake(tmp_path: Path, where: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match="can't open"):
        SqliteCheckpointer(tmp_path / where)


def test_a_file_that_is_not_there_is_not_made_where_one_is_expected(path: Path) -> None:
    with pytest.raises(UsageError, match="can't open"):
        SqliteCheckpointer(path, create=False)
    assert files(path.parent) == []


def test_after_closing_nothing_works_and_that_is_said(path: Path) -> None:
    kept = SqliteCheckpointer(path)
    kept.close()
    with pytest.raises(ExecGoError, match="can't be used"):
        kept.list("t")
