"""A run's folder that can't be listed, and a history with an observer of no name: the page is made all the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.reporting.page.columns import Texts
from pytest_execgo.reporting.page.folder import RunPlace
from pytest_execgo.reporting.page.lanes import Lanes
from pytest_execgo.reporting.run_clock import RunClock


def test_a_folder_that_cant_be_listed_is_noted(
    make_result: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run-1").mkdir()

    def refused(path: Path) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refused)
    place = RunPlace(tmp_path, make_result())
    assert place.notes == ["run-1: Permission denied"]
    assert (place.files(), place.timeline(), place.plan(), place.stack()) == ([], [], None, None)


def test_a_row_of_an_observer_without_a_name_is_shown_at_the_start() -> None:
    row = {"f": "start", "monotonic_ns": 5, "boot_id": ["x"], "wall": None}
    assert Lanes("run-1", Texts(), 10, 100).kernel([row], RunClock([]))["t"] == [0]
