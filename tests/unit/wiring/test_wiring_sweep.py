"""What a sweep loads, it loads once."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_execgo.core.errors import UsageError
from pytest_execgo.wiring.options import effective
from pytest_execgo.wiring.settings import Settings
from pytest_execgo.wiring.sweep import Sweep


def test_a_scenario_that_can_not_be_loaded_is_read_once_and_refused_each_time(tmp_path: Path) -> None:
    file = tmp_path / "scenarios/broken/scenario.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("id: [\n")
    sweep = Sweep(Settings.parse(effective({}, {}, {}), tmp_path))
    assert not sweep.usable("broken")
    file.unlink()
    for _ in range(2):
        with pytest.raises(UsageError, match=r"scenario\.yaml:2:1: ") as refused:
            sweep.scenario("broken")
    assert len(refused.traceback) < 5  # it does not grow from one to the next
    assert not sweep.usable("broken")
    assert sweep.usable("vuln_scan")
