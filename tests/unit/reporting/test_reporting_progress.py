"""The line that says how far a sweep is."""

from __future__ import annotations

import time

import pytest

from pytest_execgo.reporting.progress import SweepProgress, is_cell, name_of


def cells(scenario: str, count: int) -> list[str]:
    return [f"scenarios/{scenario}/scenario.yaml::test_plan[langgraph-replay-none-{number}]" for number in range(count)]


def end(progress: SweepProgress, ids: list[str], seconds: list[float], outcome: str = "passed") -> None:
    for test_id, took in zip(ids, seconds, strict=True):
        progress.started(test_id)
        progress.ended(test_id, outcome, took)


@pytest.mark.parametrize(
    ("test_id", "name", "cell"),
    [
        ("scenarios/vuln_scan/scenario.yaml::test_plan[a-b-c-0]", "vuln_scan[a-b-c-0]", True),
        ("a/b/scenarios/x/scenario.toml::test_plan[f-m-c-11]", "x[f-m-c-11]", True),
        ("x/scenario.yaml::test_plan[a]", "x[a]", True),
        ("tests/test_own.py::test_plan[a]", "test_plan[a]", False),
        ("tests/test_own.py::Test::test_it[hello-a-b-c-0]", "test_it[hello-a-b-c-0]", False),
        ("odd", "odd", False),
    ],
)
def test_names(test_id: str, name: str, cell: bool) -> None:
    assert (name_of(test_id), is_cell(test_id)) == (name, cell)


def test_what_is_done_and_what_runs() -> None:
    ids = cells("a", 2) + cells("b", 2)
    progress = SweepProgress(ids)
    assert progress.line(100, 0) == "execgo 0/4"
    assert progress.started(ids[0])
    assert progress.started(ids[2])
    assert progress.line(100, 0) == "execgo 0/4 | a[langgraph-replay-none-0] and 1 more"
    assert progress.ended(ids[0], "failed", 1.0)
    assert progress.line(100, 0) == "execgo 1/4: 1 failed | b[langgraph-replay-none-0]"
    for test_id in (ids[1], ids[2], ids[3]):
        progress.ended(test_id, "error", 1.0)
    assert progress.line(100, 0) == "execgo 4/4: 1 failed, 3 errors"


def test_strangers_and_second_ends_do_not_count() -> None:
    ids = cells("a", 1)
    progress = SweepProgress(ids)
    assert not progress.started("tests/test_own.py::test_it")
    assert not progress.ended("tests/test_own.py::test_it", "passed", 1.0)
    assert progress.ended(ids[0], "passed", 1.0)
    assert not progress.ended(ids[0], "failed", 1.0)
    assert not progress.started(ids[0])
    assert progress.line(100, 0) == "execgo 1/1: 1 passed"


def test_the_rest_takes_its_scenarios_medians() -> None:
    quick, slow, unknown = cells("quick", 10), cells("slow", 4), cells("unknown", 2)
    progress = SweepProgress([*quick, *slow, *unknown])
    end(progress, quick[:2], [1.0, 1.0])
    assert progress.seconds_left() is None, "two runs are too few"
    end(progress, quick[2:5], [1.0, 1.0, 500.0])
    end(progress, slow[:3], [60.0, 60.0, 70.0])
    assert progress.seconds_left() == pytest.approx(5 * 1.0 + 1 * 60.0 + 2 * 30.5), "an outlier moves nothing; others are usual"


def test_skipped_cells_take_no_time_and_parallel_ones_share_it() -> None:
    ids, never = cells("a", 12), cells("never", 4)
    progress = SweepProgress(ids + never)
    for test_id in ids[:2]:
        progress.started(test_id)
    end(progress, ids[:3], [10.0, 10.0, 10.0])
    end(progress, ids[3:6], [0.0, 0.0, 0.0], "skipped")
    end(progress, never[:1], [0.0], "skipped")
    assert progress.seconds_left() == pytest.approx((6 * 10.0 / 2 + 3 * 0.0) / 2)


@pytest.mark.parametrize(
    ("each", "said"),
    [(0.1, None), (3.0, "27 s left"), (40.0, "6 min left"), (3600.0, "9 h 0 min left")],
)
def test_how_long_it_takes_is_said_when_it_is_worth_it(each: float, said: str | None) -> None:
    ids = cells("a", 12)
    progress = SweepProgress(ids)
    end(progress, ids[:3], [each] * 3)
    now = 1_900_000_000.0
    line = progress.line(100, now)
    if said is None:
        assert "left" not in line
    else:
        assert line == f"execgo 3/12: 3 passed | {said}, until {time.strftime('%H:%M', time.localtime(now + 9 * each))}"


def test_the_line_is_ascii_and_keeps_to_its_width() -> None:
    ids = ["scenarios/größe\n\x1b[2J/scenario.yaml::test_plan[a-b-c-0]"]
    progress = SweepProgress(ids)
    progress.started(ids[0])
    line = progress.line(200, 0)
    assert line.isascii()
    assert line.isprintable()
    assert len(progress.line(20, 0)) == 20
