from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pytest_execgo.core.folder_lock import FolderHeld, lock_folder


def test_a_folder_is_made_and_has_one_holder_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "here"
    lock = lock_folder(folder, "lock", mode=0o700)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not os.get_inheritable(lock)
    with pytest.raises(FolderHeld) as held:
        lock_folder(folder, "lock")
    assert (held.value.path, held.value.holder) == (folder / "lock", str(os.getpid()))
    os.close(lock_folder(folder, "another lock"))
    os.close(lock)
    os.close(lock_folder(folder, "lock"))


def test_a_copy_of_the_lock_keeps_it(tmp_path: Path) -> None:
    lock = lock_folder(tmp_path, "lock")
    copy = os.dup(lock)
    os.close(lock)
    with pytest.raises(FolderHeld):
        lock_folder(tmp_path, "lock")
    os.close(copy)
    os.close(lock_folder(tmp_path, "lock"))


def test_a_refusal_leaves_the_holder_in_the_file_and_no_descriptor(tmp_path: Path) -> None:
    lock = lock_folder(tmp_path, "lock")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with pytest.raises(FolderHeld):
            lock_folder(tmp_path, "lock")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    os.close(lock)


def test_a_folder_that_can_not_be_had_is_the_systems_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="Not a directory"):
        lock_folder(tmp_path / "file" / "below", "lock")
