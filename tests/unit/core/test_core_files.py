"""Files are whole or absent, and only plain names become paths."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pytest_execgo.core.errors import UsageError
from pytest_execgo.core.files import checked_name, write_atomic


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_text_and_bytes_are_written_and_parents_made(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "file.txt"
    write_atomic(target, "grüße\n")
    assert target.read_bytes() == "grüße\n".encode()
    write_atomic(target, b"\x00\xff")
    assert target.read_bytes() == b"\x00\xff"
    assert names(target.parent) == ["file.txt"]


def test_a_lone_surrogate_becomes_a_json_escape(tmp_path: Path) -> None:
    write_atomic(tmp_path / "f", 'x\ud800"\U0001f600')
    assert (tmp_path / "f").read_text("utf-8") == 'x\\ud800"\U0001f600'


def test_the_file_can_be_read_by_others(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write_atomic(tmp_path / "f", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o644


@pytest.mark.parametrize("step", ["fsync", "replace", "chmod"])
@pytest.mark.parametrize("crash", [OSError("disk full"), KeyboardInterrupt()])
def test_a_crash_in_the_middle_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, crash: BaseException
) -> None:
    target = tmp_path / "state.json"
    write_atomic(target, "old")

    def broken(*_: object, **__: object) -> None:
        raise crash

    monkeypatch.setattr(os if step == "fsync" else Path, step, broken)
    with pytest.raises(type(crash)):
        write_atomic(target, "new")
    monkeypatch.undo()
    assert target.read_text() == "old"
    assert names(tmp_path) == ["state.json"]


def test_the_content_is_synced_before_the_name_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def spy_fsync(fd: int) -> None:
        steps.append(f"fsync {os.fstat(fd).st_size}")
        fsync(fd)

    def spy_replace(self: Path, target: Path) -> Path:
        steps.append("replace")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(Path, "replace", spy_replace)
    write_atomic(tmp_path / "f", "12345")
    assert steps == ["fsync 5", "replace"]


def test_a_folder_in_the_way_is_an_error_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_atomic(tmp_path / "taken", "x")
    assert names(tmp_path) == ["taken"]


def test_a_file_where_a_parent_should_be_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match=r"exists|directory"):
        write_atomic(tmp_path / "file" / "child", "x")


def test_a_long_name_still_fits_its_temporary_neighbour(tmp_path: Path) -> None:
    target = tmp_path / ("\U0001f600" * 63)  # 252 bytes; 255 is the limit
    write_atomic(target, "x")
    assert target.read_text() == "x"


@pytest.mark.parametrize("name", ["a", "_a", "0", "A-b_c.d", "a..b", "x" * 120, "20260101T000000Z-demo-ab12"])
def test_a_plain_name_is_taken_as_it_is(name: str) -> None:
    assert checked_name("run id", name) == name


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "../x", "a/b", "/etc", "\\x", ".hidden", "-rf", "a b", "a\n", "\n", "a\0b", "%2e%2e", "a%2fb"),
        *("x" * 121, "x" * 300, "naïve", "文", "\u200b", "a\ud800", "a:b", "~", "$HOME", "a*"),
    ],
)
def test_any_other_name_is_refused_by_name(name: str) -> None:
    with pytest.raises(UsageError) as refused:
        checked_name("run id", name)
    assert refused.value.code == "bad_name"
    assert refused.value.message == f"run id {name[:80]!r} can't be used as a name"
    assert "1 to 120" in refused.value.hint
