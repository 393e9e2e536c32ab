"""Cancelling, deleting and submitting again: what becomes of the task, of its attempt, of its dependants."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from pytest_execgo.kernel.executors.executor import Attempt, Outcome, failed
from pytest_execgo.kernel.metrics import Metrics
from pytest_execgo.kernel.resubmission import Conflict
from pytest_execgo.kernel.scheduler import Scheduler
from pytest_execgo.kernel.store import MemoryStore
from pytest_execgo.kernel.task import RunStatus, TaskSpec
from pytest_execgo.kernel.waiting import Waiters

CANCELLED = {"code": "cancelled", "message": "cancelled", "source": "scheduler"}


class Gated:
    """Ends an attempt with what its gate holds; without a gate, well and at once. Notes what begins and ends, and how."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.gates: dict[str, asyncio.Future[Outcome]] = {}
        self.clearing: asyncio.Event | None = None  # an interrupted attempt is gone only when this is set

    def gate(self, name: str) -> asyncio.Future[Outcome]:
        self.gates[name] = asyncio.get_running_loop().create_future()
        return self.gates[name]

    async def run(self, attempt: Attempt) -> Outcome:
        name = attempt.spec.id
        self.log.append(f"+{name}")
        try:
            gate = self.gates.get(name)
            outcome = Outcome(RunStatus.SUCCESS) if gate is None else await asyncio.shield(gate)
        except asyncio.CancelledError:
            self.log.append(f"!{name}" if attempt.cancelled() else f"?{name}")
            if self.clearing is not None:
                await self.clearing.wait()
            raise
        self.log.append(f"-{name}")
        return outcome

    async def close(self) -> None:
        """Hold nothing."""


class World:
    def __init__(self, slots: int) -> None:
        self.store, self.metrics, self.os, self.waiters = MemoryStore(), Metrics(), Gated(), Waiters()
        self.scheduler = Scheduler(self.store, self.metrics, {"os": self.os}, slots, waiters=self.waiters)

    def task(self, task_id: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.store.envelope(task_id) or "{}")
        return found

    def standing(self, task_id: str) -> bool | None:
        status = self.task(task_id).get("status")
        return None if status is None else status not in ("pending", "running")

    def shown(self, *ids: str) -> list[tuple[str, str]]:
        return [(task["status"], task.get("error", "")) for task in map(self.task, ids)]

    async def ended(self, *ids: str) -> None:
        assert await self.waiters.wait(ids, "all", 60, self.standing)  # `play` ends sooner: a lost wake-up fails

    async def running(self, task_id: str) -> None:
        async with asyncio.timeout(20):
            while self.scheduler.flight(task_id) is None:
                await asyncio.sleep(0)


def spec(task_id: str, *depends_on: str, **more: Any) -> TaskSpec:
    return TaskSpec(task_id, "os", tool_name="noop", depends_on=depends_on, **more)


def play(story: Callable[[World], Coroutine[Any, Any, None]], slots: int = 10) -> World:
    problems: list[dict[str, Any]] = []

    async def run() -> World:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: problems.append(context))
        world = World(slots)
        async with asyncio.timeout(30):
            await story(world)
            await world.scheduler.stop()
        return world

    world = asyncio.run(run())
    assert not problems
    return world


def test_a_pending_task_that_is_cancelled_never_runs() -> None:
    async def story(world: World) -> None:
        gate = world.os.gate("a")
        world.scheduler.submit([spec("a"), spec("b", "a"), spec("c", "b"), spec("d", "c"), spec("e", "a")])
        await world.running("a")
        assert world.scheduler.cancel("b")
        assert world.shown("b", "c", "d") == [
            ("failed", "cancelled"),
            ("skipped", "dependency b failed"),
            ("skipped", "dependency c skipped"),
        ]
        gate.set_result(Outcome(RunStatus.SUCCESS))
        await world.ended("a", "e")

    world = play(story)
    assert [entry for entry in world.os.log if entry[0] == "+"] == ["+a", "+e"]
    task = world.task("b")
    assert (task["run_status"], task["runtime"]) == ("cancelled", {"status": "cancelled", "error": CANCELLED})
    assert (world.metrics.running, world.metrics.succeeded, world.metrics.failed) == (0, 2, 2)  # b, and c as its child


@pytest.mark.parametrize("started", [False, True])
def test_a_task_without_a_slot_or_with_one_it_has_not_used_yet(started: bool) -> None:
    async def story(world: World) -> None:
        gate = world.os.gate("a")
        world.scheduler.submit([spec("a"), spec("b")] if not started else [spec("b")])
        assert world.scheduler.cancel("b")
        gate.set_result(Outcome(RunStatus.SUCCESS))
        await asyncio.sleep(0.01)
        world.scheduler.submit([spec("c")])
        await world.ended("b", "c")

    world = play(story, slots=1)
    assert "+b" not in world.os.log
    assert world.shown("b", "c") == [("failed", "cancelled"), ("success", "")]


def test_a_running_attempt_is_ended_before_its_task_is() -> None:
    async def story(world: World) -> None:
        world.os.gate("a")
        world.os.clearing = asyncio.Event()
        world.scheduler.submit([spec("a", retry=5), spec("b", "a")])
        await world.running("a")
        assert not world.scheduler.cancel("a")
        assert not world.scheduler.cancel("a")
        await asyncio.sleep(0.01)
        assert world.task("a")["status"] == "running"  # what it started is not gone yet
        world.os.clearing.set()
        await world.ended("a", "b")
        before = world.task("a")
        assert world.scheduler.cancel("a")  # it has ended, and stays as it is
        assert world.task("a") == before

    world = play(story)
    assert world.os.log == ["+a", "!a"]
    assert world.shown("a", "b") == [("failed", "cancelled"), ("skipped", "dependency a failed")]
    task = world.task("a")
    assert task["run_status"] == task["runtime"]["status"] == "cancelled"
    assert (task["runtime"]["error"], task["runtime"]["attempt"]) == (CANCELLED, 1)
    assert {"started_at", "finished_at"} <= set(task["runtime"])


def test_what_is_known_of_a_cancelled_run_is_kept() -> None:
    async def story(world: World) -> None:
        class Reporting(Gated):
            async def run(self, attempt: Attempt) -> Outcome:
                attempt.report(Outcome("running", '{"n":1}', handle_id="h1"))
                return await super().run(attempt)

        executor = Reporting()
        world.scheduler = Scheduler(world.store, world.metrics, {"os": executor}, 1, waiters=world.waiters)
        executor.gate("a")
        world.scheduler.submit([spec("a")])
        await world.running("a")
        await asyncio.sleep(0)
        world.scheduler.cancel("a")
        await world.ended("a")

    task = play(story).task("a")
    assert (task["handle_id"], task["result"], task["runtime"]["output"]) == ("h1", {"n": 1}, {"n": 1})


def test_a_wait_for_the_next_attempt_ends_at_once() -> None:
    async def story(world: World) -> None:
        gate = world.os.gate("a")
        gate.set_result(Outcome(RunStatus.FAILED, '"partial"', error=failed("broke")))
        world.scheduler.submit([spec("a", retry=1000)])
        async with asyncio.timeout(20):
            while world.task("a").get("run_status") != "failed":
                await asyncio.sleep(0)
        assert world.scheduler.cancel("a")
        await asyncio.sleep(0.15)  # its next attempt would have begun by now

    world = play(story)
    assert world.os.log.count("+a") == 1
    assert world.shown("a") == [("failed", "cancelled")]
    assert (world.task("a")["result"], world.metrics.running) == ("partial", 0)


@pytest.mark.parametrize("finish_first", [True, False])
@pytest.mark.parametrize("outcome", [Outcome(RunStatus.SUCCESS), Outcome(RunStatus.FAILED, error=failed("broke"))])
def test_cancel_against_finish_has_one_outcome(finish_first: bool, outcome: Outcome) -> None:
    seen: list[str] = []

    async def story(world: World) -> None:
        gate = world.os.gate("a")
        world.scheduler.submit([spec("a", retry=3), spec("b", "a")])
        await world.running("a")
        for step in (lambda: gate.set_result(outcome), lambda: world.scheduler.cancel("a"))[:: 1 if finish_first else -1]:
            step()
        await world.ended("a", "b")
        seen.append(json.dumps(world.task("a")))
        await asyncio.sleep(0.15)
        assert json.dumps(world.task("a")) == seen[0]

    world = play(story)
    assert world.os.log.count("+a") == 1
    assert world.metrics.succeeded + world.metrics.failed == 2
    assert world.shown("a", "b") in (
        [("failed", "cancelled"), ("skipped", "dependency a failed")],
        [("success", ""), ("success", "")],
    )


def test_a_kernel_that_stops_is_not_a_cancelled_task() -> None:
    async def story(world: World) -> None:
        world.os.gate("a")
        world.scheduler.submit([spec("a")])
        await world.running("a")

    world = play(story)
    assert world.os.log == ["+a", "?a"]
    assert world.task("a")["status"] != "failed"


def test_deleting_a_running_task_ends_it_and_skips_its_dependants() -> None:
    async def story(world: World) -> None:
        world.os.gate("a")
        world.scheduler.submit([spec("a", retry=5), spec("b", "a"), spec("c", "b")])
        await world.running("a")
        assert world.scheduler.delete("a")
        await world.ended("b", "c")
        await asyncio.sleep(0.15)

    world = play(story)
    assert world.os.log == ["+a", "!a"]
    assert world.task("a") == {}
    assert world.shown("b", "c") == [("skipped", "dependency a deleted"), ("skipped", "dependency b skipped")]
    assert world.metrics.running == 0


def test_whoever_waits_is_told_of_every_kind_of_end() -> None:
    async def story(world: World) -> None:
        for name in ("ok", "bad", "gone"):
            world.os.gate(name)
        tasks = ["ok", "bad", "child", "gone", "deleted"]
        world.scheduler.submit([spec("ok"), spec("bad"), spec("child", "bad"), spec("gone"), spec("deleted", "ok")])
        await world.running("gone")
        waits = {name: asyncio.ensure_future(world.ended(name)) for name in tasks}
        await asyncio.sleep(0)
        world.scheduler.delete("deleted")
        world.os.gates["ok"].set_result(Outcome(RunStatus.SUCCESS))
        world.os.gates["bad"].set_result(Outcome(RunStatus.FAILED, error=failed("broke")))
        world.scheduler.cancel("gone")
        await asyncio.gather(*waits.values())
        assert world.waiters.watched == 0

    play(story)


def test_the_same_content_is_the_same_task_in_every_state() -> None:
    graph = [spec("a", input='{"x":1,"y":[1.0,"é"]}'), spec("b", "a")]
    again = [spec("a", input='{"y":[1.0,"é"],"x":1}'), spec("b", "a")]

    async def story(world: World) -> None:
        gate = world.os.gate("a")
        world.scheduler.submit(graph)
        world.scheduler.submit(again)  # pending
        await world.running("a")
        world.scheduler.submit(again)  # running
        gate.set_result(Outcome(RunStatus.SUCCESS))
        await world.ended("a", "b")
        before = world.task("a"), world.task("b")
        world.scheduler.submit(again)  # ended
        await asyncio.sleep(0.01)
        assert (world.task("a"), world.task("b")) == before

    world = play(story)
    assert world.os.log == ["+a", "-a", "+b", "-b"]
    assert (world.metrics.total, world.metrics.by_type["os"]) == (2, 2)


@pytest.mark.parametrize(
    "other",
    [
        spec("a", input='{"x":2}'),
        spec("a", input='{"x":1.0}'),
        spec("a", input='{"x":"1"}'),
        spec("a", input="[" * 5000 + "1" + "]" * 5000),
        spec("a"),
        spec("a", input='{"x":1}', retry=1),
        spec("a", input='{"x":1}', timeout=5),
        spec("a", input='{"x":1}', annotations='{"k":"v"}'),
        spec("a", "new", input='{"x":1}'),
        TaskSpec("a", "os", tool_name="sleep", input='{"x":1}'),
    ],
)
def test_other_content_is_refused_and_nothing_of_the_graph_is_stored(other: TaskSpec) -> None:
    async def story(world: World) -> None:
        world.scheduler.submit([spec("a", input='{"x":1}')])
        await world.ended("a")
        before = world.task("a")
        with pytest.raises(Conflict, match='task id "a" already exists with other content'):
            world.scheduler.submit([spec("new"), other])
        assert world.task("new") == {}
        assert world.task("a") == before

    assert play(story).metrics.total == 1


def test_a_deleted_id_is_free_again() -> None:
    async def story(world: World) -> None:
        world.scheduler.submit([spec("a", input="1")])
        await world.ended("a")
        world.scheduler.delete("a")
        world.scheduler.submit([spec("a", input="2")])
        await world.ended("a")

    assert play(story).os.log.count("+a") == 2


def test_new_tasks_link_to_existing_ones_whatever_these_have_come_to() -> None:
    async def story(world: World) -> None:
        gate, waiting = world.os.gate("running"), world.os.gate("bad")
        old = [spec("ok"), spec("running"), spec("pending", "running"), spec("bad"), spec("skipped", "bad")]
        waiting.set_result(Outcome(RunStatus.FAILED, error=failed("broke")))
        world.scheduler.submit(old)
        await world.running("running")
        await world.ended("ok", "bad", "skipped")
        world.scheduler.submit(
            [
                *old,
                spec("n-ok", "ok", "ok"),
                spec("n-running", "running", "running"),
                spec("n-pending", "pending", "ok"),
                spec("n-bad", "bad", "running"),
                spec("n-skipped", "skipped"),
                spec("n-child", "n-bad"),
            ]
        )
        await world.ended("n-ok", "n-bad", "n-skipped", "n-child")
        assert world.shown("n-running", "n-pending") == [("pending", ""), ("pending", "")]
        gate.set_result(Outcome(RunStatus.SUCCESS))
        await world.ended("n-running", "n-pending")

    world = play(story)
    assert world.shown("n-ok", "n-running", "n-pending", "n-bad", "n-skipped", "n-child") == [
        ("success", ""),
        ("success", ""),
        ("success", ""),
        ("skipped", "dependency bad failed"),
        ("skipped", "dependency skipped skipped"),
        ("skipped", "dependency n-bad skipped"),
    ]
    log = world.os.log
    assert max(log.count(f"+{name}") for name in ("ok", "running", "pending", "bad", "n-running")) == 1
    assert log.index("-running") < log.index("+n-running")
    assert log.index("-pending") < log.index("+n-pending")
