"""What a container is given: everything of the work folder, readable, and nobody's but root's."""

from __future__ import annotations

import os
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_execgo.core.errors import SandboxError
from pytest_execgo.plan.sandbox import ConfinedCommand
from pytest_execgo.sandbox.docker_files import archive, start_line

BARE = ConfinedCommand(("prog", "a b"), "/w", timeout=1, memory_bytes=1, cpu_cores=1, disk_bytes=1000, processes=1, output_bytes=1)


def entries(command: ConfinedCommand) -> dict[str, tarfile.TarInfo]:
    with archive(command) as file:
        assert file is not None
        with tarfile.open(fileobj=file) as tar:
            return {entry.name: entry for entry in tar.getmembers()}


def test_files_come_along_readable_and_not_the_users(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("print()")
    (tmp_path / "main.py").chmod(0o600)
    (tmp_path / "run.sh").write_text("true")
    (tmp_path / "run.sh").chmod(0o700)
    (tmp_path / "sub").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("main.py")
    os.mkfifo(tmp_path / "fifo")
    found = entries(replace(BARE, work=tmp_path, stdin=b"typed"))
    assert sorted(found) == ["stdin", "work", "work/link", "work/main.py", "work/run.sh", "work/sub"]
    assert {(entry.uid, entry.gid, entry.uname) for entry in found.values()} == {(0, 0, "")}
    assert [oct(found[f"work/{name}"].mode) for name in ("main.py", "run.sh", "sub")] == ["0o644", "0o755", "0o755"]


def test_more_than_the_disk_may_hold_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 600)
    assert "work/a" in entries(replace(BARE, work=tmp_path))
    (tmp_path / "b").write_bytes(b"x" * 600)
    with pytest.raises(SandboxError, match="1000 bytes"):
        entries(replace(BARE, work=tmp_path))


def test_nothing_given_is_no_archive() -> None:
    with archive(BARE) as file:
        assert file is None


def test_words_of_the_command_are_never_the_shells(tmp_path: Path) -> None:
    assert start_line(BARE) == ("/bin/sh", "-c", 'exec "$@"', "sh", "prog", "a b")
    assert start_line(replace(BARE, work=tmp_path, stdin=b"x"))[2] == 'cp -R /.execgo/work/. . && exec "$@" < /.execgo/stdin'
