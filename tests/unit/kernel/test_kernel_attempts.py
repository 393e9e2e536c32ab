"""Attempts that are over at once: in their graph's order, within their slots, with others' turns between them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from itertools import pairwise
from pathlib import Path
from typing import Any

from pytest_execgo.kernel.durable.file import StoreFile
from pytest_execgo.kernel.durable.store import DurableStore
from pytest_execgo.kernel.executors.executor import Attempt, Outcome, failed
from pytest_execgo.kernel.graph import Node
from pytest_execgo.kernel.history.observer import AttemptEnd, Observer
from pytest_execgo.kernel.metrics import Metrics
from pytest_execgo.kernel.scheduler import Scheduler
from pytest_execgo.kernel.store import MemoryStore, Store
from pytest_execgo.kernel.task import RunStatus, TaskSpec

ONCE = '{"effect":"once"}'


class Quick:
    """Ends noops at once, as `refused` says, and anything else when `gate` opens; notes who was run how."""

    def __init__(self) -> None:
        self.at_once_log: list[str] = []
        self.run_log: list[str] = []
        self.refused: set[str] = set()
        self.gate = asyncio.Event()
        self.seen: Callable[[str], Any] = lambda task_id: None
        self.found: dict[str, Any] = {}

    def is_immediate(self, spec: TaskSpec) -> bool:
        return spec.tool_name == "noop"

    def at_once(self, spec: TaskSpec, now_ns: int) -> Outcome:
        self.at_once_log.append(spec.id)
        if spec.id == "broken":
            raise ZeroDivisionError("oops")
        if spec.id in self.refused:
            self.refused.discard(spec.id)
            return Outcome(RunStatus.FAILED, error=failed("not now"))
        return Outcome(RunStatus.SUCCESS, "1")

    async def run(self, attempt: Attempt) -> Outcome:
        self.run_log.append(attempt.spec.id)
        self.found[attempt.spec.id] = self.seen(attempt.spec.id)
        if attempt.spec.tool_name != "noop":
            await self.gate.wait()
        return Outcome(RunStatus.SUCCESS)

    async def close(self) -> None:
        """Nothing is held."""


class Rig:
    def __init__(self, store: Store, slots: int) -> None:
        self.store, self.metrics, self.quick = store, Metrics(), Quick()
        self.scheduler = Scheduler(store, self.metrics, {"os": self.quick}, slots)

    def task(self, task_id: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.store.envelope(task_id) or "{}")
        return found

    async def ended(self, *ids: str) -> None:
        while not all(self.store.ended(task_id) for task_id in ids):
            await asyncio.sleep(0.001)


def play(story: Callable[[Rig], Coroutine[Any, Any, None]], slots: int = 10, folder: Path | None = None) -> Rig:
    async def run() -> Rig:
        store: Store = MemoryStore() if folder is None else DurableStore(StoreFile(folder), [], 1000, lambda _: None)
        rig = Rig(store, slots)
        async with asyncio.timeout(30):
            await story(rig)
            await rig.scheduler.stop()
            await store.close()
        return rig

    return asyncio.run(run())


def noop(task_id: str, *depends_on: str, **more: Any) -> TaskSpec:
    return TaskSpec(task_id, "os", tool_name="noop", depends_on=depends_on, **more)


def test_a_graph_of_them_runs_in_order_without_a_turn_of_the_loop() -> None:
    async def story(rig: Rig) -> None:
        rig.scheduler.submit([noop("c", "b"), noop("a"), noop("b", "a"), noop("d", "b")])
        assert [rig.store.ended(task_id) for task_id in "abcd"] == [True] * 4

    rig = play(story, slots=1)
    assert rig.quick.at_once_log == ["a", "b", "c", "d"]
    assert rig.quick.run_log == []
    assert rig.task("d")["runtime"]["attempt"] == 1
    assert (rig.metrics.total, rig.metrics.running, rig.metrics.succeeded) == (4, 0, 4)


def test_others_get_their_turn_while_thousands_run() -> None:
    async def story(rig: Rig) -> None:
        loop = asyncio.get_running_loop()
        counts: list[int] = []

        def look() -> None:
            counts.append(rig.metrics.succeeded)
            if counts[-1] < 5000:
                loop.call_soon(look)

        loop.call_soon(look)
        rig.scheduler.submit([noop(f"t{n}", *([f"t{n - 1}"] if n else [])) for n in range(5000)])
        await rig.ended("t4999")
        steps = [after - before for before, after in pairwise(counts)]
        assert max(steps) <= 400  # never more than two turns' worth between two looks
        assert len(counts) > 10

    assert play(story).metrics.succeeded == 5000


def test_they_take_a_slot_as_others_do() -> None:
    async def story(rig: Rig) -> None:
        rig.scheduler.submit([TaskSpec("long", "os", tool_name="shell"), noop("short")])
        await asyncio.sleep(0.01)
        assert rig.quick.at_once_log == []
        rig.quick.gate.set()
        await rig.ended("short")

    assert play(story, slots=1).quick.at_once_log == ["short"]


def test_one_that_fails_is_tried_again_and_shows_so() -> None:
    async def story(rig: Rig) -> None:
        rig.quick.refused = {"a", "b"}
        rig.scheduler.submit([noop("a", retry=1), noop("b"), noop("c", "b")])
        waiting = rig.task("a")
        assert (waiting["status"], waiting["run_status"]) == ("running", "failed")
        assert rig.metrics.running == 1
        await rig.ended("a")

    rig = play(story)
    assert (rig.task("a")["status"], rig.task("a")["runtime"]["attempt"]) == ("success", 2)
    assert (rig.task("b")["status"], rig.task("b")["error"], rig.task("c")["status"]) == ("failed", "not now", "skipped")
    assert rig.metrics.running == 0


def test_one_that_raises_ends_and_others_go_on() -> None:
    async def story(rig: Rig) -> None:
        rig.scheduler.submit([noop("broken"), noop("a")])

    rig = play(story)
    assert (rig.task("broken")["error"], rig.task("a")["status"]) == ("ZeroDivisionError: oops", "success")
    assert rig.metrics.running == 0


class Noting(Observer):
    def __init__(self) -> None:
        self.heard: list[str] = []

    def attempt_counted(self, node: Node) -> None:
        self.heard.append(f"start {node.record.spec.id} {node.attempts}")

    def attempt_spawned(self, node: Node) -> None:
        self.heard.append(f"spawn {node.record.spec.id}")

    def attempt_ended(self, node: Node, outcome: AttemptEnd) -> None:
        self.heard.append(f"end {node.record.spec.id} {outcome}")


def test_whoever_keeps_a_history_hears_of_them_as_of_others() -> None:
    noting = Noting()

    async def story(rig: Rig) -> None:
        rig.scheduler = Scheduler(rig.store, rig.metrics, {"os": rig.quick}, 1, observer=noting)
        rig.quick.refused = {"b"}
        rig.scheduler.submit([noop("a"), noop("b", "a", retry=1)])
        await rig.ended("b")

    play(story)
    heard = "start a 1, spawn a, end a success, start b 1, spawn b, end b retry, start b 2, spawn b, end b success"
    assert noting.heard == heard.split(", ")


def test_after_a_halt_the_rest_is_kept() -> None:
    async def story(rig: Rig) -> None:
        rig.scheduler.submit([noop(f"t{n}") for n in range(1000)])
        rig.scheduler.halt()
        await asyncio.sleep(0.01)

    rig = play(story)
    assert 0 < rig.metrics.succeeded < 1000
    assert rig.task("t999")["status"] == "pending"


def test_one_that_runs_once_is_marked_on_disk_before_it_begins(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        rig.quick.seen = lambda task_id: StoreFile.find(file(rig), task_id)
        await rig.scheduler.accept([noop("once", annotations=ONCE), noop("often")])
        await rig.ended("once", "often")

    rig = play(story, folder=tmp_path)
    assert (rig.quick.run_log, rig.quick.at_once_log) == (["once"], ["often"])
    assert rig.quick.found["once"].status == "running"


def file(rig: Rig) -> StoreFile:
    assert isinstance(rig.store, DurableStore)
    return rig.store._file
