"""The recorder of a run's history, what services tell put into its form, and stored histories."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_execgo.core.errors import UsageError
from pytest_execgo.observability.artifacts import JsonLines, RunFolder
from pytest_execgo.observability.checker import check
from pytest_execgo.observability.clock import parse_rfc3339
from pytest_execgo.observability.history import HISTORY, History, from_kernel, from_sink, load_history, merged, read_history
from pytest_execgo.plan.history import HistoryRow

if TYPE_CHECKING:
    from tests.unit.observability.conftest import Play


def kernel_row(
    seq: int, f: str, task: str | None = None, *, boot: str = "b1", at: int | None = None, **rest: Any
) -> dict[str, Any]:
    moment = seq * 10 if at is None else at
    return {
        "seq": seq,
        "boot_id": boot,
        "monotonic_ns": moment,
        "wall": "",
        "process": "kernel",
        "type": "event",
        "f": f,
        "task": task,
        **rest,
    }


def delivery(sequence: int, key: str = "run-1/k", **rest: Any) -> dict[str, Any]:
    told: dict[str, Any] = {
        "sequence": sequence,
        "monotonic_ns": sequence * 10,
        "wall_ns": 1_000_000_000 + sequence * 10,
        "key": key,
    }
    return {**told, "digest": "d", "outcome": "applied", "effect_id": f"effect-{sequence}", **rest}


def numbers(rows: list[HistoryRow]) -> list[tuple[str, int, str]]:
    return [(row.boot_id, row.seq, row.f) for row in rows]


# -- the recorder ---------------------------------------------------------------------------------------------------------


def test_each_observer_counts_its_own_rows() -> None:
    written: list[Any] = []
    history = History("run-1", written.append)
    history.client("invoke", "submit", digest="g", value={"tasks": ["a"]})
    history.nemesis("fault_start", {"fault": 0, "hit": None})
    row = history.client("ok", "read", task="a", attempt=2, digest="d", value={"status": "success"})
    assert [(one.process, one.seq, one.type, one.f) for one in history.rows] == [
        ("client", 1, "invoke", "submit"),
        ("nemesis", 1, "event", "fault_start"),
        ("client", 2, "ok", "read"),
    ]
    assert (row.run, row.task, row.attempt, row.digest, row.value) == ("run-1", "a", 2, "d", {"status": "success"})
    assert {one.boot_id for one in history.rows} == {history.boot_id}
    assert [HistoryRow.model_validate(one) for one in written] == history.rows
    assert parse_rfc3339(row.wall) > 0


def test_two_recorders_are_two_lives() -> None:
    first, second = History("run-1", lambda row: None), History("run-1", lambda row: None)
    first.client("event", "stop")
    second.take(first.rows)
    second.client("event", "quiet")
    assert [(row.boot_id, row.seq) for row in second.rows] == [(first.boot_id, 1), (second.boot_id, 1)]
    assert first.boot_id != second.boot_id


def test_rows_of_many_threads_have_one_order() -> None:
    written: list[Any] = []
    history = History("run-1", written.append)
    begin = threading.Barrier(8)

    def record() -> None:
        begin.wait()
        for _ in range(200):
            history.client("event", "quiet")

    threads = [threading.Thread(target=record) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [row["seq"] for row in written] == list(range(1, 1601))
    assert [row["monotonic_ns"] for row in written] == sorted(row["monotonic_ns"] for row in written)


def test_a_row_that_can_not_be_written_is_not_counted() -> None:
    written: list[Any] = []

    def append(row: Any) -> None:
        if len(written) == 1:
            written.append("full")
            raise OSError("the disk is full")
        written.append(row)

    history = History("run-1", append)
    history.client("event", "stop")
    with pytest.raises(OSError, match="full"):
        history.client("event", "quiet")
    assert history.client("event", "quiet").seq == 2
    assert [row.f for row in history.rows] == ["stop", "quiet"]


def test_a_run_that_ends_early_leaves_what_it_knew(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "run-1")

    def interrupted() -> None:
        with JsonLines(folder, HISTORY) as lines:
            History("run-1", lines.append).client("event", "stop", value={"how": "half a pair \ud800, line\u2028end"})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not (folder.path / HISTORY).exists()
    (row,) = read_history(folder.path)
    assert row.f == "stop"


# -- the kernel's journal -------------------------------------------------------------------------------------------------


def test_a_runs_rows_are_taken_out_of_the_journal_and_numbered_anew() -> None:
    journal = [
        kernel_row(1, "boot"),
        kernel_row(2, "accept", "run-1:s:t:1", digest="d", value={"effects": True}),
        kernel_row(3, "accept", "run-10:s:t:1"),
        kernel_row(4, "spawn", "run-1:s:t:1", attempt=1),
        kernel_row(5, "stop"),
        kernel_row(1, "boot", boot="b2", at=60),
        kernel_row(2, "recover", "run-2:s:t:1", boot="b2", at=70),
        kernel_row(3, "recover", "run-1:s:t:1", boot="b2", at=80),
    ]
    rows = from_kernel(journal, "run-1")
    assert numbers(rows) == [("b1", 1, "boot"), ("b1", 2, "accept"), ("b1", 3, "spawn"), ("b1", 4, "stop"),
                             ("b2", 1, "boot"), ("b2", 2, "recover")]  # fmt: skip
    assert (rows[1].run, rows[1].process, rows[1].digest, rows[1].value) == ("run-1", "kernel", "d", {"effects": True})
    assert from_kernel(reversed(journal), "run-1") == rows


def test_what_is_missing_in_the_journal_stays_missing() -> None:
    journal = [kernel_row(1, "boot"), kernel_row(2, "accept", "x:s:t:1"), kernel_row(5, "spawn", "run-1:s:t:1")]
    assert numbers(from_kernel(journal, "run-1")) == [("b1", 1, "boot"), ("b1", 4, "spawn")]
    assert numbers(from_kernel(journal, "run-1", whole=False)) == [("b1", 1, "boot"), ("b1", 2, "spawn")]


def test_a_journal_may_be_read_from_any_line_on_but_not_a_later_boot() -> None:
    journal = [kernel_row(41, "accept", "run-1:s:t:1", at=1), kernel_row(2, "recover", "run-1:s:t:1", boot="b2", at=2)]
    assert numbers(from_kernel(journal, "run-1")) == [("b1", 1, "accept"), ("b2", 2, "recover")]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"seq": "2"}, "line 2: seq: Input should be a valid integer"),
        ({"colour": "red"}, "line 2: colour: Extra inputs are not permitted"),
        ({"process": "sink"}, "line 2: process is 'sink', not 'kernel'"),
    ],
)
def test_a_bad_line_of_the_journal_is_named(bad: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=f"the kernel's history, {said}"):
        from_kernel([kernel_row(1, "boot"), {**kernel_row(2, "stop"), **bad}], "run-1")


def test_no_journal_gives_no_rows() -> None:
    assert from_kernel([], "run-1") == []


# -- the effect sink ------------------------------------------------------------------------------------------------------


def test_a_delivery_is_an_intent_and_what_came_of_it() -> None:
    told = {"boot_id": "f1", "received_ns": 3, "kind": "mail", "task": "run-1:s:t:1", "token": 2, "outcome": "fenced"}
    intent, deliver = from_sink([delivery(1, "elsewhere", **told)], "run-1")
    assert (intent.f, intent.monotonic_ns, intent.seq, intent.boot_id, intent.idem_key) == ("intent", 3, 1, "f1", "elsewhere")
    assert parse_rfc3339(intent.wall) == 1_000_000_003
    assert (deliver.f, deliver.monotonic_ns, deliver.seq, deliver.task, deliver.digest) == ("deliver", 10, 2, "run-1:s:t:1", "d")
    assert deliver.value == {"outcome": "fenced", "effect_id": "effect-1", "kind": "mail", "token": 2}


def test_a_sink_that_tells_less_is_understood() -> None:
    (row,) = from_sink([delivery(1)], "run-1")
    assert (row.f, row.task, row.value) == ("deliver", None, {"outcome": "applied", "effect_id": "effect-1"})


def test_deliveries_are_a_runs_by_their_task_or_key() -> None:
    entries = [delivery(1, "other"), delivery(2), delivery(3, "free", task="run-1:s:t:1"), delivery(4, "free", task="run-10:s:t:1")]
    assert [row.idem_key for row in from_sink(entries, "run-1")] == ["run-1/k", "free"]


def test_numbers_go_on_in_each_boot_of_the_sink() -> None:
    entries = [delivery(1, "other", boot_id="a"), delivery(2, boot_id="a"), delivery(3, boot_id="b"), delivery(6, boot_id="b")]
    assert numbers(from_sink(entries, "run-1", whole=True)) == [("a", 1, "deliver"), ("b", 1, "deliver"), ("b", 4, "deliver")]
    assert numbers(from_sink(entries, "run-1")) == [("a", 1, "deliver"), ("b", 1, "deliver"), ("b", 2, "deliver")]


@pytest.mark.parametrize("bad", [{"sequence": None}, {"outcome": "lost"}, {"token": "7"}])
def test_a_bad_delivery_is_named(bad: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"the effect sink's delivery 2: {next(iter(bad))}: "):
        from_sink([delivery(1), {**delivery(2), **bad}], "run-1")


# -- stored ones ----------------------------------------------------------------------------------------------------------


def stored(path: Path, rows: list[HistoryRow]) -> Path:
    path.write_text("".join(json.dumps(row.model_dump(exclude_defaults=True)) + "\n" for row in rows))
    return path


def test_a_stored_history_is_the_same(tmp_path: Path, play: Play) -> None:
    rows = play(1)
    path = stored(tmp_path / HISTORY, rows)
    assert read_history(path) == read_history(tmp_path) == rows
    assert check(read_history(path)) == check(rows)


@pytest.mark.parametrize("cut", [1, 5, 60])
def test_a_torn_last_line_is_left_out_and_counted(tmp_path: Path, play: Play, cut: int) -> None:
    rows = play(1)
    path = stored(tmp_path / "history.jsonl.partial", rows)
    path.write_bytes(path.read_bytes()[: -1 - cut])
    found = load_history(tmp_path)
    assert (found.rows, found.torn) == (rows[:-1], 1)


def test_a_line_that_only_lacks_its_end_is_whole(tmp_path: Path, play: Play) -> None:
    path = stored(tmp_path / HISTORY, play(1))
    path.write_bytes(path.read_bytes()[:-1])
    assert (load_history(path).rows, load_history(path).torn) == (play(1), 0)


def test_a_line_cut_within_a_character_is_torn(tmp_path: Path, play: Play) -> None:
    path = stored(tmp_path / HISTORY, play(1))
    path.write_bytes(path.read_bytes() + '{"run":"ü'.encode()[:-1])
    assert (load_history(path).rows, load_history(path).torn) == (play(1), 1)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{", "no JSON"),
        (b"[]", "Input should be a valid dictionary"),
        (b"", "no JSON"),
        (b"\xff", "no JSON"),
        (b'{"run": 1}', "run: "),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, play: Play, line: bytes, said: str) -> None:
    path = stored(tmp_path / HISTORY, play(1)[:2])
    path.write_bytes(path.read_bytes() + line + b"\n")
    with pytest.raises(UsageError, match=f"{HISTORY}:3: {said}"):
        read_history(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nothing\.jsonl: No such file"):
        read_history(tmp_path / "nothing.jsonl")
    with pytest.raises(UsageError, match=r"there is no history\.jsonl in"):
        read_history(tmp_path)


def test_rows_are_merged_by_time_then_observer_then_number(play: Play) -> None:
    rows = play(3)
    assert merged(reversed(rows)) == rows
    same = [row.model_copy(update={"monotonic_ns": 5}) for row in rows]
    assert [(row.process, row.seq) for row in merged(same)] == sorted((row.process, row.seq) for row in rows)
