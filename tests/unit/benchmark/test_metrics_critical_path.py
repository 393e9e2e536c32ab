"""The critical path against a brute force over every path, and at sizes that recursion and squares would not survive."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_execgo.benchmark.metrics import critical_path_ms
from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.plan.record import StageRecord
from pytest_execgo.plan.verdict import TaskOutcome

Durations = dict[str, int | None]


def stage(durations: Durations, depends_on: dict[str, tuple[str, ...]]) -> StageRecord:
    """Build a stage; durations are nanoseconds, None is a task that never ran."""
    outcomes = [
        TaskOutcome("s", task, task, "success", None, None if ns is None else 1000, None if ns is None else 1000 + ns, 1, {})
        for task, ns in durations.items()
    ]
    return StageRecord("s", len(outcomes), len(outcomes), depends_on, outcomes)


def brute_force_ns(durations: Durations, depends_on: dict[str, tuple[str, ...]]) -> int:
    """Walk every path of the graph, one by one."""

    def longest_to(task: str) -> int:
        return (durations.get(task) or 0) + max((longest_to(before) for before in depends_on.get(task, ())), default=0)

    return max((longest_to(task) for task in durations), default=0)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Durations, dict[str, tuple[str, ...]]]:
    names = draw(st.permutations([f"t{index}" for index in range(draw(st.integers(0, 7)))]))
    durations: Durations = {name: draw(st.none() | st.integers(0, 10**9)) for name in draw(st.permutations(names))}
    depends_on: dict[str, tuple[str, ...]] = {}
    for index, name in enumerate(names):
        # with repetitions: a dependency may be named twice
        before = draw(st.lists(st.sampled_from(names[:index]), max_size=index + 1)) if index else []
        if before or index % 2:  # a task without dependencies may be listed or not
            depends_on[name] = tuple(before)
    return durations, depends_on


@settings(deadline=None, max_examples=200)
@given(st.lists(graphs(), max_size=3))
def test_it_is_the_longest_of_all_paths_summed_over_stages(
    made: list[tuple[Durations, dict[str, tuple[str, ...]]]],
) -> None:
    expected = sum(brute_force_ns(*graph) for graph in made) / 1e6
    assert critical_path_ms([stage(*graph) for graph in made]) == expected


def test_a_diamond_counts_its_longer_side() -> None:
    depends_on = {"left": ("top",), "right": ("top",), "bottom": ("left", "right")}
    diamond = stage({"top": 1_000_000, "left": 5_000_000, "right": 2_000_000, "bottom": 500_000}, depends_on)
    assert critical_path_ms([diamond]) == 6.5


def test_a_chain_of_ten_thousand_tasks_is_no_recursion() -> None:
    names = [f"t{index}" for index in range(10_000)]
    chain: dict[str, tuple[str, ...]] = {after: (before,) for before, after in pairwise(names)}
    assert critical_path_ms([stage(dict.fromkeys(names, 1_000), chain)]) == 10.0


def test_a_ladder_of_diamonds_is_walked_once() -> None:
    """It has 2**500 paths."""
    depends_on: dict[str, tuple[str, ...]] = {}
    for rung in range(500):
        for side in "lr":
            depends_on[f"{side}{rung + 1}"] = (f"l{rung}", f"r{rung}")
    names = [f"{side}{rung}" for rung in range(501) for side in "lr"]
    assert critical_path_ms([stage(dict.fromkeys(names, 2_000), depends_on)]) == 501 * 0.002


def test_nanoseconds_are_kept_at_the_size_of_epoch_times() -> None:
    started = 1_790_000_000_123_456_789
    task = TaskOutcome("s", "a", "a", "success", None, started, started + 1, 1, {})
    assert critical_path_ms([StageRecord("s", 1, 1, {}, [task])]) == 1e-6


def test_a_task_that_runs_still_and_a_clock_that_was_set_back_count_nothing() -> None:
    running = TaskOutcome("s", "a", "a", "running", None, 1_000, None, 1, {})
    set_back = TaskOutcome("s", "b", "b", "success", None, 5_000_000, 1_000_000, 1, {})
    after = TaskOutcome("s", "c", "c", "success", None, 0, 3_000_000, 1, {})
    before = TaskOutcome("s", "d", "d", "success", None, 0, 2_000_000, 1, {})
    record = StageRecord("s", 4, 4, {"b": ("d",), "c": ("a", "b")}, [running, set_back, after, before])
    assert critical_path_ms([record]) == 5.0


def test_a_task_without_an_outcome_still_links_those_around_it() -> None:
    assert critical_path_ms([stage({"a": 1_000_000, "c": 1_000_000}, {"b": ("a",), "c": ("b",)})]) == 2.0


def test_no_stages_no_path() -> None:
    assert critical_path_ms([]) == 0.0


def test_a_cycle_is_an_error_that_names_it() -> None:
    with pytest.raises(ExecGoError, match=r"stage s: .*cycle among: a, b") as caught:
        critical_path_ms([stage({"a": 1, "b": 1, "c": 1}, {"a": ("b",), "b": ("a",)})])
    assert caught.value.code == "cyclic_stage"
