"""Waiting: nothing is missed, nothing is asked for nothing, and the budget holds; on a clock of the test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_execgo.client import wait
from pytest_execgo.client.kernel import KernelRefused
from pytest_execgo.client.wait import TERMINAL, wait_for

Graph = dict[str, tuple[str, ...]]
Story = list[tuple[float, str]]
"""When a task (seconds after the start) shows which status."""

FLICKER = 0.00047
RESTLESS: Story = [(0.0, "")]
"""The story of a task that changes its status every `FLICKER` seconds, for ever."""

DIAMOND: Graph = {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}


@dataclass
class Kernel:
    """Tells each task's story on a clock that only sleeping and asking move; each question takes `latency` seconds."""

    stories: dict[str, Story]
    latency: float = 0.0
    now: float = 1000.0
    asked: list[tuple[float, str]] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def monotonic(self) -> float:
        return self.now

    def task(self, task_id: str) -> dict[str, Any]:
        self.now += self.latency
        at = self.now - 1000.0
        self.asked.append((at, task_id))
        assert len(self.asked) < 50_000, "hammered"
        if task_id not in self.stories:
            raise KernelRefused("refused", f"task not found: {task_id}", status_code=404)
        story = self.stories[task_id]
        if story is RESTLESS:
            story = [(0.0, "running" if int(at / FLICKER) % 2 else "pending")]
        status = [name for since, name in [(0.0, "pending"), *story] if since <= at][-1]
        return {"id": task_id, "status": status, "asked_at": at}

    @property
    def elapsed(self) -> float:
        return self.now - 1000.0


@dataclass
class Waited:
    kernel: Kernel
    known: dict[str, dict[str, Any]]
    unfinished: list[str]
    seen: list[tuple[str, str]]

    @property
    def statuses(self) -> dict[str, str]:
        return {task: envelope["status"] for task, envelope in self.known.items()}


Run = Callable[..., Waited]


def run_on(
    monkeypatch: pytest.MonkeyPatch, graph: Graph, stories: dict[str, Story], budget: float, longest: float, latency: float
) -> Waited:
    kernel = Kernel(stories, latency)
    monkeypatch.setattr(wait, "time", SimpleNamespace(monotonic=kernel.monotonic, sleep=kernel.sleep))
    seen: list[tuple[str, str]] = []
    known, unfinished = wait_for(
        kernel, graph, budget=budget, longest_interval=longest, seen=lambda task, envelope: seen.append((task, envelope["status"]))
    )
    return Waited(kernel, known, unfinished, seen)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    def call(graph: Graph, stories: dict[str, Story], budget: float = 60, longest: float = 0.5, latency: float = 0.0) -> Waited:
        return run_on(monkeypatch, graph, stories, budget, longest, latency)

    return call


def done(at: float, begun: float = 0.0, end: str = "success") -> Story:
    return [(begun, "running"), (at, end)]


def asked(waited: Waited, task: str) -> int:
    return sum(name == task for _, name in waited.kernel.asked)


def statuses_of(waited: Waited, task: str) -> list[str]:
    return [status for name, status in waited.seen if name == task]


def test_a_diamond_is_waited_for_to_its_end(run: Run) -> None:
    waited = run(DIAMOND, {"a": done(0.1), "b": done(0.3, 0.1), "c": done(0.2, 0.1), "d": done(0.4, 0.3)})
    assert waited.unfinished == []
    assert waited.statuses == dict.fromkeys("abcd", "success")
    assert 0.4 <= waited.kernel.elapsed <= 0.4 + 0.5


def test_a_graph_that_is_over_already_takes_no_sleep_and_one_question_a_task(run: Run) -> None:
    waited = run(DIAMOND, {task: done(0) for task in DIAMOND})
    assert waited.kernel.slept == []
    assert sorted(task for _, task in waited.kernel.asked) == ["a", "b", "c", "d"]
    assert waited.statuses == dict.fromkeys("abcd", "success")


def test_many_tasks_without_dependencies_that_are_over_take_no_sleep(run: Run) -> None:
    graph: Graph = {f"t{n}": () for n in range(500)}
    waited = run(graph, {task: done(0) for task in graph})
    assert waited.kernel.slept == []
    assert len(waited.kernel.asked) == 500


def test_an_empty_graph_is_over(run: Run) -> None:
    waited = run({}, {})
    assert (waited.known, waited.unfinished, waited.kernel.asked) == ({}, [], [])


def test_a_branch_that_goes_on_after_every_sink_is_over_is_waited_for(run: Run) -> None:
    stories = {"a": done(0.01), "b": done(0.05, 0.01, "failed"), "c": done(7.0, 0.01), "d": [(0.05, "skipped")]}
    waited = run(DIAMOND, stories)
    assert waited.statuses == {"a": "success", "b": "failed", "c": "success", "d": "skipped"}
    assert waited.unfinished == []
    assert statuses_of(waited, "c") == ["running", "success"]
    assert waited.kernel.elapsed >= 7.0


def test_a_failure_and_what_it_skips_are_terminal(run: Run) -> None:
    graph: Graph = {"a": (), "b": ("a",), "c": ("b",)}
    waited = run(graph, {"a": done(0.1, end="failed"), "b": [(0.1, "skipped")], "c": [(0.1, "skipped")]})
    assert waited.statuses == {"a": "failed", "b": "skipped", "c": "skipped"}
    assert waited.unfinished == []


def test_a_spent_budget_tells_who_is_not_over_and_drops_nobody(run: Run) -> None:
    stories = {"a": done(0.1), "b": done(0.2, 0.1), "c": [(0.1, "running")], "d": []}
    waited = run(DIAMOND, stories, budget=3.0)
    assert waited.unfinished == ["c", "d"]
    assert waited.known["c"]["status"] == "running"
    assert {"a", "b"} <= set(waited.known), "what is over is known even when the sink never was"
    assert waited.kernel.elapsed == pytest.approx(3.0)


def test_what_ended_in_the_last_moment_is_still_seen(run: Run) -> None:
    waited = run({"a": (), "b": ("a",)}, {"a": done(2.999), "b": done(3.0, 2.999)}, budget=3.0, longest=10)
    assert waited.unfinished == []
    assert waited.statuses == {"a": "success", "b": "success"}


def test_what_ended_since_the_last_survey_is_known_when_the_budget_is_spent(run: Run) -> None:
    waited = run({"a": (), "b": ("a",)}, {"a": done(0.15), "b": [(0.15, "running")]}, budget=0.2)
    assert waited.statuses == {"a": "success", "b": "running"}
    assert waited.unfinished == ["b"]


def test_a_budget_of_nothing_still_looks_once(run: Run) -> None:
    waited = run({"a": ()}, {"a": done(5)}, budget=0)
    assert (waited.unfinished, waited.statuses, waited.kernel.elapsed) == (["a"], {"a": "running"}, 0)


def test_every_status_that_lasts_is_seen_once_and_in_order(run: Run) -> None:
    graph: Graph = {"a": (), "b": ("a",), "c": ("b",)}
    stories = {"a": [(0.5, "running"), (2.0, "success")], "b": done(4.0, 2.5), "c": done(6.0, 4.5)}
    waited = run(graph, stories)
    assert statuses_of(waited, "a") == ["pending", "running", "success"]
    assert statuses_of(waited, "b") == ["pending", "running", "success"]
    assert statuses_of(waited, "c") == ["pending", "running", "success"]
    assert waited.seen.index(("a", "success")) < waited.seen.index(("b", "success")) < waited.seen.index(("c", "success"))


def test_no_parent_is_seen_to_end_after_its_child_did_while_it_was_still_being_watched(run: Run) -> None:
    """A child that is asked about before its parents is the sink alone; all others come after their parents."""
    waited = run(DIAMOND, {"a": done(1), "b": done(2, 1), "c": done(3, 1), "d": done(4, 3)})
    ends = [task for task, status in waited.seen if status in TERMINAL]
    assert ends.index("a") < ends.index("b")
    assert ends.index("a") < ends.index("c")


def test_the_last_envelope_is_returned_not_the_first(run: Run) -> None:
    waited = run({"a": ()}, {"a": done(2)})
    assert waited.known["a"]["asked_at"] >= 2


def test_an_unknown_status_is_not_the_end(run: Run) -> None:
    waited = run({"a": ()}, {"a": [(0, "paused"), (1, "success")]})
    assert statuses_of(waited, "a") == ["paused", "success"]


def test_a_task_that_vanishes_is_an_error(run: Run) -> None:
    with pytest.raises(KernelRefused, match="task not found: b") as refused:
        run({"a": (), "b": ("a",)}, {"a": done(0.1)})
    assert refused.value.status_code == 404


@pytest.mark.parametrize("longest", [0.001, 0.01, 0.1, 1.0])
def test_the_interval_grows_up_to_its_cap_and_never_beyond(run: Run, longest: float) -> None:
    slept = run({"a": ()}, {"a": done(20)}, longest=longest).kernel.slept
    assert max(slept) == longest
    first = [interval for interval in slept if interval < longest]
    assert first == sorted(first)
    assert slept[0] == min(longest, 0.002)


def test_the_first_looks_are_quick_and_quick_again_after_every_change(run: Run) -> None:
    kernel = run({"a": ()}, {"a": [(0, "pending"), (10, "running"), (20, "success")]}, longest=1.0).kernel
    quick = [number for number, interval in enumerate(kernel.slept) if interval == 0.002]
    assert quick[0] == 0
    assert 10 <= sum(kernel.slept[: quick[1]]) <= 11, "the second quick look follows the change"
    assert len(quick) == 2


def test_no_sleep_is_longer_than_what_is_left_of_the_budget(run: Run) -> None:
    kernel = run({"a": ()}, {"a": []}, budget=1.234, longest=60).kernel
    assert kernel.elapsed == pytest.approx(1.234)
    assert all(interval >= 0 for interval in kernel.slept)


def test_a_deep_graph_is_asked_about_at_its_end_not_task_by_task(run: Run) -> None:
    """200 tasks of 50 ms in a row: the sink is asked about, the others four times a second; one by one takes 2,200 questions."""
    graph: Graph = {f"t{n}": (f"t{n - 1}",) if n else () for n in range(200)}
    waited = run(graph, {task: done(0.05 * (n + 1), 0.05 * n) for n, task in enumerate(graph)})
    surveys = waited.kernel.elapsed / 0.25 + 1
    assert waited.unfinished == []
    assert len(waited.kernel.asked) <= len(waited.kernel.slept) + 1 + len(graph) + 2 * surveys, "one question a tick"
    assert len(waited.kernel.asked) < 1200


def test_a_wide_graph_that_keeps_moving_is_neither_hammered_nor_held_past_its_budget(run: Run) -> None:
    graph: Graph = {"start": ()} | {f"t{n}": ("start",) for n in range(100)}
    waited = run(graph, {"start": done(0)} | {task: RESTLESS for task in graph if task != "start"}, budget=2, latency=0.0003)
    assert len(waited.unfinished) == 100
    assert waited.kernel.elapsed < 2 + 2 * 100 * 0.0003
    assert sum(waited.kernel.slept) > 0.5, "most of the time nothing is asked"


@st.composite
def stories(draw: st.DrawFn) -> tuple[Graph, dict[str, Story]]:
    """A graph whose tasks run after their parents, some failing; a task whose parent failed is skipped."""
    graph: Graph = {}
    told: dict[str, Story] = {}
    end: dict[str, float] = {}
    names = [f"t{n}" for n in range(draw(st.integers(1, 8)))]
    for n, name in enumerate(names):
        parents: Iterable[str] = draw(st.lists(st.sampled_from(names[:n]), unique=True, max_size=3)) if n else ()
        graph[name] = tuple(parents)
        begun = max((end[parent] for parent in graph[name]), default=0.0)
        if any(told[parent][-1][1] != "success" for parent in graph[name]):
            told[name], end[name] = [(min(end[p] for p in graph[name] if told[p][-1][1] != "success"), "skipped")], begun
            continue
        end[name] = begun + draw(st.floats(0, 3))
        told[name] = done(end[name], begun, draw(st.sampled_from(["success", "success", "failed"])))
    return graph, told


@given(stories(), st.floats(0, 12), st.floats(0.001, 2), st.floats(0, 0.01))
def test_whatever_happens_every_task_is_told_truly(
    drawn: tuple[Graph, dict[str, Story]], budget: float, longest: float, latency: float
) -> None:
    graph, told = drawn
    with pytest.MonkeyPatch.context() as monkeypatch:
        waited = run_on(monkeypatch, graph, told, budget, longest, latency)
    over = {task for task, envelope in waited.known.items() if envelope["status"] in TERMINAL}
    assert over | set(waited.unfinished) == set(graph)
    assert not over & set(waited.unfinished)
    assert all(waited.known[task]["status"] == told[task][-1][1] for task in over)
    assert all(waited.seen.count(pair) == 1 for pair in waited.seen)
    assert waited.kernel.elapsed <= budget + latency * (3 * len(graph) + 3) + 1e-6
    assert all(0 <= interval <= longest for interval in waited.kernel.slept)
    if budget > max(story[-1][0] for story in told.values()) + 1e-6:
        assert waited.unfinished == []
