"""Order, slots, retries, skipping, deleting, replacing: with executors that do as they are told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from pytest_execgo.kernel.attempts import backoff
from pytest_execgo.kernel.executors.executor import Attempt, Outcome, failed
from pytest_execgo.kernel.metrics import Metrics
from pytest_execgo.kernel.scheduler import Scheduler
from pytest_execgo.kernel.store import MemoryStore
from pytest_execgo.kernel.task import RunStatus, TaskSpec


class Scripted:
    """Ends each attempt as `script` says (default: success), once `gates` lets it; notes what started and ended."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.running = 0
        self.most = 0
        self.gates: dict[str, asyncio.Event] = {}
        self.script: Callable[[Attempt], Outcome] = lambda attempt: Outcome(RunStatus.SUCCESS)

    async def run(self, attempt: Attempt) -> Outcome:
        name = attempt.spec.id
        self.log.append(f"+{name}")
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            gate = self.gates.get(f"{name}#{attempt.spec.timeout}", self.gates.get(name))
            if gate is not None:
                await gate.wait()
            else:
                await asyncio.sleep(0)
            return self.script(attempt)
        finally:
            self.running -= 1
            self.log.append(f"-{name}")

    async def close(self) -> None:
        self.log.append("closed")


class Rig:
    def __init__(self, slots: int = 10, *, compat: bool = False) -> None:
        self.store, self.metrics, self.os = MemoryStore(), Metrics(), Scripted()
        self.scheduler = Scheduler(self.store, self.metrics, {"os": self.os}, slots, compat=compat)

    def submit(self, *specs: TaskSpec) -> None:
        self.scheduler.submit(specs)

    def task(self, task_id: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.store.envelope(task_id) or "{}")
        return found

    def status(self, *ids: str) -> list[str | None]:
        return [self.task(task_id).get("status") for task_id in ids]

    async def settled(self, *ids: str) -> None:
        async with asyncio.timeout(20):
            while any(self.task(task_id).get("status") in ("pending", "running") for task_id in ids):
                await asyncio.sleep(0.001)


def spec(task_id: str, *depends_on: str, **more: Any) -> TaskSpec:
    return TaskSpec(task_id, "os", tool_name="noop", depends_on=depends_on, **more)


def fail(*ids: str) -> Callable[[Attempt], Outcome]:
    def script(attempt: Attempt) -> Outcome:
        if attempt.spec.id in ids:
            return Outcome(RunStatus.FAILED, '"out"', error=failed("broke"))
        return Outcome(RunStatus.SUCCESS)

    return script


def play(story: Callable[[Rig], Coroutine[Any, Any, None]], slots: int = 10, *, compat: bool = False) -> Rig:
    async def run() -> Rig:
        rig = Rig(slots, compat=compat)
        async with asyncio.timeout(30):
            await story(rig)
            await rig.scheduler.stop()
        return rig

    return asyncio.run(run())


def test_a_child_starts_after_its_parents_and_slots_are_kept() -> None:
    async def story(rig: Rig) -> None:
        rig.submit(spec("d", "b", "c"), spec("b", "a", "a"), spec("c", "a"), spec("a"), *(spec(f"x{i}") for i in range(9)))
        await rig.settled("d", *(f"x{i}" for i in range(9)))

    rig = play(story, slots=3)
    log = rig.os.log
    assert log.index("-a") < min(log.index("+b"), log.index("+c"))
    assert max(log.index("-b"), log.index("-c")) < log.index("+d")
    assert rig.os.most == 3
    assert [entry for entry in log if entry[0] == "+"][:4] == ["+a", "+x0", "+x1", "+x2"]  # in order of readiness
    assert (rig.metrics.total, rig.metrics.succeeded, rig.metrics.failed, rig.metrics.running) == (13, 13, 0, 0)


def test_failure_skips_descendants_with_execgos_words() -> None:
    async def story(rig: Rig) -> None:
        rig.os.script = fail("a")
        rig.submit(spec("a"), spec("b", "a"), spec("c", "a"), spec("d", "b", "c"), spec("e", "d"), spec("f", "a", "b"), spec("z"))
        await rig.settled("a", "z")

    rig = play(story)
    assert rig.task("a")["status"] == "failed"
    assert (rig.task("a")["error"], rig.task("a")["result"]) == ("broke", "out")
    assert {name: rig.task(name)["error"] for name in "bcdef"} == {
        "b": "dependency a failed",
        "c": "dependency a failed",
        "d": "dependency c skipped",  # of two ways, the last one's words
        "e": "dependency d skipped",
        "f": "dependency a failed",
    }
    assert not {"runtime", "run_status", "result"} & set(rig.task("d"))
    assert rig.status("z") == ["success"]
    assert [entry for entry in rig.os.log if entry[0] == "+"] == ["+a", "+z"]
    assert rig.metrics.failed == 4  # a, and b, c, f as its direct dependants; each once


def test_skipping_is_linear_on_ladders() -> None:
    rungs = 2_000

    async def story(rig: Rig) -> None:
        rig.os.script = fail("root")
        previous: tuple[str, ...] = ("root",)
        specs = [spec("root")]
        for rung in range(rungs):
            pair = (f"l{rung}", f"r{rung}")
            specs += [spec(name, *previous) for name in pair]
            previous = pair
        rig.submit(*specs)
        await rig.settled("root")
        assert rig.status(*previous) == ["skipped", "skipped"]

    rig = play(story)
    assert rig.task("l1999")["error"] == "dependency r1998 skipped"


def test_retries_count_wait_and_free_their_slot_meanwhile() -> None:
    async def story(rig: Rig) -> None:
        rig.os.script = lambda attempt: (
            Outcome(RunStatus.FAILED, '"partial"', error=failed(f"no {attempt.number}"))
            if attempt.spec.id == "r" and attempt.number < 3
            else Outcome(RunStatus.SUCCESS)
        )
        rig.submit(spec("r", retry=5), spec("other"))
        await rig.settled("other")
        waiting = rig.task("r")
        assert (waiting["status"], waiting["run_status"]) == ("running", "failed")
        assert waiting["runtime"]["output"] == "partial"
        assert "error" not in waiting["runtime"]
        await rig.settled("r")

    rig = play(story, slots=1)
    assert rig.os.log[:4] == ["+r", "-r", "+other", "-other"]  # the one slot was free while r waited
    assert rig.os.log.count("+r") == 3
    assert rig.task("r")["status"] == "success"
    assert rig.task("r")["runtime"]["attempt"] == 3
    assert "error" not in rig.task("r")


@pytest.mark.parametrize(("retry", "attempts"), [(0, 1), (-5, 1), (1, 2)])
def test_attempts_are_retry_plus_one_and_never_none(retry: int, attempts: int) -> None:
    async def story(rig: Rig) -> None:
        rig.os.script = fail("a")
        rig.submit(spec("a", retry=retry))
        await rig.settled("a")

    rig = play(story)
    assert rig.os.log.count("+a") == attempts
    assert rig.task("a")["runtime"]["attempt"] == attempts


def test_backoff_doubles_up_to_ten_seconds_whatever_the_count() -> None:
    assert [backoff(count) for count in (1, 2, 3, 7, 8, 10**9, 2**63)] == pytest.approx([0.1, 0.2, 0.4, 6.4, 10, 10, 10])


def test_huge_retries_and_timeouts_neither_overflow_nor_spin() -> None:
    async def story(rig: Rig) -> None:
        rig.os.script = fail("a")
        rig.submit(spec("a", retry=2**63 - 1, timeout=2**63 - 1), spec("b", timeout=10**13))
        await rig.settled("b")

    rig = play(story)
    assert rig.os.log.count("+a") == 1  # the next one is 100 ms away
    assert rig.status("a", "b") == ["running", "success"]


def test_a_type_without_an_executor_fails_and_says_so() -> None:
    async def story(rig: Rig) -> None:
        rig.submit(TaskSpec("m", "mcp", retry=3), spec("n", "m"))
        await rig.settled("m")

    rig = play(story)
    assert rig.task("m")["error"] == 'executor "mcp" is not part of this version'
    assert rig.task("m")["runtime"]["error"]["code"] == "internal"
    assert rig.status("n") == ["skipped"]


def test_an_executor_that_raises_ends_its_task_and_no_other() -> None:
    def script(attempt: Attempt) -> Outcome:
        if attempt.spec.id == "a":
            raise ZeroDivisionError("oops")
        return Outcome(RunStatus.SUCCESS)

    async def story(rig: Rig) -> None:
        rig.os.script = script
        rig.submit(spec("a"), spec("b"))
        await rig.settled("a", "b")

    rig = play(story, slots=1)
    assert rig.task("a")["error"] == "ZeroDivisionError: oops"
    assert rig.status("b") == ["success"]


def test_deleting_a_waiting_task_skips_what_waits_for_it() -> None:
    async def story(rig: Rig) -> None:
        gate = rig.os.gates["a"] = asyncio.Event()
        rig.submit(spec("a"), spec("b", "a"), spec("c", "b"), spec("d", "c"))
        await asyncio.sleep(0.01)
        assert rig.scheduler.delete("b")
        assert not rig.scheduler.delete("b")
        gate.set()
        await rig.settled("a", "c", "d")

    rig = play(story)
    assert rig.task("b") == {}
    assert rig.task("c")["error"] == "dependency b deleted"
    assert rig.task("d")["error"] == "dependency c skipped"
    assert "+b" not in rig.os.log


def test_deleting_a_task_that_is_ready_but_has_no_slot_withdraws_it() -> None:
    async def story(rig: Rig) -> None:
        gate = rig.os.gates["a"] = asyncio.Event()
        rig.submit(spec("a"), spec("b"), spec("c"))
        await asyncio.sleep(0.01)
        rig.scheduler.delete("b")
        gate.set()
        await rig.settled("c")

    assert "+b" not in play(story, slots=1).os.log


def test_compat_deleting_a_running_task_lets_it_and_its_children_go_on() -> None:
    async def story(rig: Rig) -> None:
        gate = rig.os.gates["a"] = asyncio.Event()
        rig.submit(spec("a"), spec("b", "a"))
        await asyncio.sleep(0.01)
        rig.scheduler.delete("a")
        gate.set()
        await rig.settled("b")

    rig = play(story, compat=True)
    assert rig.task("a") == {}
    assert rig.status("b") == ["success"]


def test_compat_a_resubmitted_graph_keeps_its_own_order() -> None:
    async def story(rig: Rig) -> None:
        old = rig.os.gates["a#1"] = asyncio.Event()
        new = rig.os.gates["a#2"] = asyncio.Event()
        rig.submit(spec("a", timeout=1), spec("b", "a", timeout=1))
        await asyncio.sleep(0.01)
        rig.submit(spec("a", timeout=2), spec("b", "a", timeout=2))
        await asyncio.sleep(0.01)
        old.set()  # the old parent ends while the new one runs
        await asyncio.sleep(0.02)
        assert rig.status("a", "b") == ["running", "pending"]
        new.set()
        await rig.settled("b")

    rig = play(story, compat=True)
    assert rig.os.log.count("+b") == 1
    assert rig.os.log.index("+b") == len(rig.os.log) - 3  # nothing but its own end and the closing follow
    assert rig.task("b")["timeout"] == 2


def test_compat_replacing_one_waiting_task_hands_its_dependants_over() -> None:
    async def story(rig: Rig) -> None:
        gate = rig.os.gates["a"] = asyncio.Event()
        second = rig.os.gates["b"] = asyncio.Event()
        rig.submit(spec("a"), spec("b", "a", timeout=1), spec("c", "b"))
        await asyncio.sleep(0.01)
        rig.submit(spec("b", timeout=2))
        await asyncio.sleep(0.01)
        gate.set()
        await rig.settled("a")
        while "+b" not in rig.os.log:
            await asyncio.sleep(0)
        assert rig.status("a", "b", "c") == ["success", "running", "pending"]
        second.set()
        await rig.settled("c")

    rig = play(story, compat=True)
    assert rig.os.log.count("+b") == 1
    assert rig.status("c") == ["success"]


def test_a_terminal_task_stays_as_it_is() -> None:
    async def story(rig: Rig) -> None:
        rig.os.script = fail("a", "b")
        gate = rig.os.gates["b"] = asyncio.Event()
        rig.submit(spec("a"), spec("b"), spec("c", "a", "b"))
        await rig.settled("a", "c")
        before = rig.task("c")
        gate.set()
        await rig.settled("b")
        assert rig.task("c") == before

    assert play(story).metrics.failed == 3


def test_what_is_reported_meanwhile_shows() -> None:
    async def story(rig: Rig) -> None:
        class Reporting(Scripted):
            async def run(self, attempt: Attempt) -> Outcome:
                attempt.report(Outcome("accepted", '{"n":1}', handle_id="h1"))
                return await super().run(attempt)

        rig.os = Reporting()
        rig.scheduler = Scheduler(rig.store, rig.metrics, {"os": rig.os}, 1)
        gate = rig.os.gates["a"] = asyncio.Event()
        rig.submit(spec("a"))
        await asyncio.sleep(0.01)
        shown = rig.task("a")
        assert (shown["status"], shown["run_status"], shown["handle_id"]) == ("running", "accepted", "h1")
        assert shown["runtime"]["output"] == {"n": 1}
        assert "finished_at" not in shown["runtime"]
        assert "result" not in shown
        gate.set()
        await rig.settled("a")

    play(story)


def test_stop_cancels_what_runs_and_starts_nothing_more() -> None:
    async def story(rig: Rig) -> None:
        rig.os.gates["a"] = asyncio.Event()
        rig.submit(spec("a"), spec("b"), spec("r", retry=1))
        await asyncio.sleep(0.01)

    rig = play(story, slots=1)
    assert rig.os.log == ["+a", "-a", "closed"]
    assert rig.status("b") == ["pending"]
