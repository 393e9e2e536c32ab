"""Whom a container's command is, by whom its caller is and what is mounted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_execgo.core.errors import SandboxError
from pytest_execgo.plan.confinement import Mount
from pytest_execgo.sandbox.docker_user import NOBODY, user_for

ROOT, SOMEBODY = (0, 0), (1000, 100)


def folder(path: Path, mode: int, owner: int = os.getuid()) -> Path:
    path.mkdir()
    path.chmod(mode)
    if owner != os.getuid():
        os.chown(path, owner, owner)
    return path


def test_an_ordinary_caller_stays_who_it_is(tmp_path: Path) -> None:
    assert user_for([], SOMEBODY) == SOMEBODY
    assert user_for([Mount(folder(tmp_path / "closed", 0o700), "/a", writable=True)], SOMEBODY) == SOMEBODY


def test_root_is_nobody_where_that_will_do(tmp_path: Path) -> None:
    mounts = [Mount(folder(tmp_path / "read", 0o755), "/a"), Mount(folder(tmp_path / "write", 0o777), "/b", writable=True)]
    assert user_for([], ROOT) == user_for(mounts, ROOT) == (NOBODY, NOBODY)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give folders away")
def test_root_is_the_owner_of_what_is_closed_to_nobody(tmp_path: Path) -> None:
    closed = [Mount(folder(tmp_path / name, 0o755, 1234), f"/{name}", writable=True) for name in ("one", "other")]
    assert user_for(closed, ROOT) == (1234, 1234)
    with pytest.raises(SandboxError) as caught:
        user_for([*closed, Mount(folder(tmp_path / "third", 0o750, 4321), "/third")], ROOT)
    assert caught.value.code == "mount_closed"


@pytest.mark.skipif(os.getuid() != 0, reason="only root owns what is root's")
@pytest.mark.parametrize(("mode", "writable", "need"), [(0o700, False, "o+rx"), (0o755, True, "o+rwx")])
def test_what_only_root_may_use_is_refused_with_what_would_open_it(tmp_path: Path, mode: int, writable: bool, need: str) -> None:
    path = folder(tmp_path / "closed", mode)
    with pytest.raises(SandboxError, match=str(path)) as caught:
        user_for([Mount(path, "/a", writable)], ROOT)
    assert caught.value.hint.startswith("run as an ordinary user"), "what helps wherever the folder comes from is said first"
    assert f"chmod {need} {path}" in caught.value.hint
