"""The folder for artifacts: there, writable, and nothing that git would pick up by accident."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_execgo.core.errors import UsageError
from pytest_execgo.wiring.options import effective
from pytest_execgo.wiring.settings import Settings
from pytest_execgo.wiring.writable import artifacts_folder


def settings(root: Path, out: str | None = None) -> Settings:
    return Settings.parse(effective({"out": out}, {}, {}), root)


def ignored(root: Path) -> list[str]:
    return sorted(str(file.parent.relative_to(root)) for file in root.rglob(".gitignore"))


def test_what_we_make_is_ignored_as_a_whole(tmp_path: Path) -> None:
    artifacts_folder(settings(tmp_path))
    assert (tmp_path / "var/runs").is_dir()
    assert ignored(tmp_path) == ["var"]
    assert (tmp_path / "var/.gitignore").read_text().splitlines()[-1] == "*"
    (tmp_path / "var/.gitignore").unlink()
    artifacts_folder(settings(tmp_path))
    assert ignored(tmp_path) == [], "what was there already is the user's"


def test_beside_what_is_the_users_only_ours_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    artifacts_folder(settings(tmp_path))
    assert ignored(tmp_path) == ["var/runs"]


def test_a_folder_that_the_user_named_is_theirs(tmp_path: Path) -> None:
    artifacts_folder(settings(tmp_path, "results/today"))
    assert (tmp_path / "results/today").is_dir()
    assert ignored(tmp_path) == []


def test_a_folder_that_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("a file")
    with pytest.raises(UsageError, match="can't write to") as caught:
        artifacts_folder(settings(tmp_path))
    assert caught.value.code == "artifacts_folder_unusable"
