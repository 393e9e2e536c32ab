"""The keeper's records: whole or absent, told apart when damaged, and settled when their keeper is no more."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pytest_execgo.core.process_tree import Mark, members, spawn
from pytest_execgo.runtime.keeper_records import (
    CorruptRecord,
    EndRecord,
    LaunchFailure,
    Reason,
    Records,
    StartRecord,
    boot_id,
)

FULL = EndRecord(
    exit_code=None,
    signal=9,
    timed_out=True,
    started_ns=1,
    finished_ns=2,
    stdout=b"out\n\0\xff",
    stderr=b"err\n",
    stdout_truncated=True,
    survivors=[4],
    reason=Reason("cancelled", "why", True),
    launch=LaunchFailure(2, "no such file", "x"),
    isolation={"requested": "strict", "effective": "plain"},
    hit={"pids_max": "max 3"},
)


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(tmp_path / "commands")


def test_an_end_is_read_as_it_was_written(records: Records) -> None:
    records.end("rt-1", FULL)
    assert records.read_end("rt-1") == FULL
    assert records.ended("rt-1")
    assert records.read_end("rt-2") is None
    assert records.handles() == ["rt-1"]
    records.forget("rt-1")
    assert records.handles() == []


def test_any_byte_that_was_changed_or_lost_is_noticed(records: Records) -> None:
    records.end("rt-1", FULL)
    path = records.folder / "rt-1.end"
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(CorruptRecord, match=r"rt-1\.end"):
            records.read_end("rt-1")
    for index in range(len(whole)):
        path.write_bytes(whole[:index] + bytes([whole[index] ^ 0x10]) + whole[index + 1 :])
        with pytest.raises(CorruptRecord, match=r"rt-1\.end"):
            records.read_end("rt-1")


def test_a_handle_never_becomes_another_path(records: Records) -> None:
    for handle in ("../x", "", "a/b", "a\n", "x" * 81):
        with pytest.raises(ValueError, match="no handle"):
            records.end(handle, FULL)


def start(records: Records, handle: str, boot: str, mark: Mark | None = None) -> None:
    records.intend(StartRecord(handle, boot, 7, mark or Mark.new()))


def test_settling_ends_what_runs_and_says_what_was_lost(records: Records) -> None:
    mark = Mark.new()
    with spawn(["sh", "-c", "setsid sleep 300 & sleep 300"], mark, os.environ, stdout=subprocess.DEVNULL) as process:
        start(records, "running", boot_id(), mark)
        start(records, "rebooted", "another boot")
        records.end("ended", FULL)
        assert sorted(records.settle(boot_id())) == ["rebooted", "running"]
        process.wait(20)
        assert [one for one in members(mark) if not one.zombie] == []  # an orphan is collected by whoever adopted it
    running, rebooted = records.read_end("running"), records.read_end("rebooted")
    assert running is not None
    assert running.reason is not None
    assert (running.reason.code, running.reason.retryable, running.started_ns) == ("internal", True, 7)
    assert "keeper" in running.reason.message
    assert rebooted is not None
    assert rebooted.reason is not None
    assert "machine was restarted" in rebooted.reason.message
    assert records.read_end("ended") == FULL
    assert records.settle(boot_id()) == []


def test_a_start_that_was_cut_short_started_nothing_and_is_forgotten(records: Records) -> None:
    start(records, "cut", boot_id())
    path = records.folder / "cut.start"
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert records.read_start("cut") is None
    assert records.settle(boot_id()) == []
    assert records.handles() == []


def test_a_damaged_start_is_not_started_anew(records: Records) -> None:
    (records.folder / "odd.start").write_bytes(b'{"handle": 1\n')
    assert records.settle(boot_id()) == ["odd"]
    found = records.read_end("odd")
    assert found is not None
    assert found.reason is not None
    assert "can't be read" in found.reason.message
