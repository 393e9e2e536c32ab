"""Waiters: nobody misses an ending, nobody is kept, nothing is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from pytest_execgo.kernel.api.control_api import Control, Dropped, read_duration, while_connected
from pytest_execgo.kernel.submission import Refused
from pytest_execgo.kernel.waiting import MAX_WAIT, Waiters


class World:
    """Tasks that end when told."""

    def __init__(self, *ids: str) -> None:
        self.tasks: dict[str, bool] = dict.fromkeys(ids, False)
        self.waiters = Waiters()

    def end(self, task_id: str) -> None:
        self.tasks[task_id] = True
        self.waiters.changed(task_id)

    def remove(self, task_id: str) -> None:
        del self.tasks[task_id]
        self.waiters.changed(task_id)

    def wait(self, *ids: str, until: Any = "all", timeout: float = 30) -> asyncio.Task[bool]:
        return asyncio.ensure_future(self.waiters.wait(ids, until, timeout, self.tasks.get))


def play(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, 30))


def test_all_waits_for_the_last_and_any_for_the_first() -> None:
    async def story() -> None:
        world = World("a", "b")
        every, first = world.wait("a", "b", "a"), world.wait("a", "b", until="any")
        await asyncio.sleep(0)
        world.end("a")
        assert await first
        assert not every.done()
        world.end("b")
        assert await every
        assert world.waiters.watched == 0

    play(story())


@pytest.mark.parametrize("until", ["all", "any"])
def test_what_has_ended_or_is_unknown_holds_nothing_up(until: str) -> None:
    async def story() -> None:
        world = World("a")
        world.end("a")
        assert await world.wait("a", "unknown", until=until)
        assert await world.wait("unknown", until=until)

    play(story())


def test_a_record_that_goes_is_not_waited_for() -> None:
    async def story() -> None:
        world = World("a", "b")
        every, first = world.wait("a", "b"), world.wait("a", "b", until="any")
        await asyncio.sleep(0)
        world.remove("a")
        await asyncio.sleep(0.01)
        assert not first.done()  # nothing has ended; b still may
        world.end("b")
        assert await every
        assert await first

    play(story())


def test_a_wait_that_is_over_or_dropped_leaves_nothing_behind() -> None:
    async def story() -> None:
        world = World("a", "b")
        assert not await world.wait("a", "b", timeout=0)
        assert not await world.wait("a", "b", timeout=0.01)
        dropped, other = world.wait("a", "b"), world.wait("b")
        await asyncio.sleep(0)
        dropped.cancel()
        await asyncio.sleep(0)
        assert world.waiters.watched == 1
        world.end("b")
        assert await other
        assert world.waiters.watched == 0

    play(story())


def test_a_kernel_that_stops_answers_everybody_and_lets_nobody_wait() -> None:
    async def story() -> None:
        world = World("a")
        held = world.wait("a")
        await asyncio.sleep(0)
        world.waiters.close()
        assert not await held
        assert not await world.wait("a")

    play(story())


def test_ten_thousand_waits_wake_once_each() -> None:
    async def story() -> None:
        ids = [f"t{n}" for n in range(100)]
        world = World(*ids)
        waits = [world.wait(ids[n % 100], ids[(n + 1) % 100]) for n in range(10_000)]
        await asyncio.sleep(0)
        assert world.waiters.watched == 100
        for task_id in ids:
            world.end(task_id)
        assert all(await asyncio.gather(*waits))
        assert world.waiters.watched == 0

    play(story())


def test_who_hangs_up_is_not_answered_and_the_wait_is_dropped() -> None:
    async def story() -> None:
        world = World("a")
        messages = iter(["http.request", "http.disconnect"])

        async def receive() -> dict[str, Any]:
            return {"type": next(messages)}

        with pytest.raises(Dropped):
            await while_connected(world.waiters.wait(["a"], "all", 30, world.tasks.get), receive)
        await asyncio.sleep(0)
        assert world.waiters.watched == 0

    play(story())


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5s", 5), ("500ms", 0.5), ("1m", 60), ("0", 0), ("0s", 0), ("1.5s", 1.5), (".5s", 0.5), ("10s500ms", 10.5), ("2h", MAX_WAIT)],
)
def test_durations_are_gos(text: str, seconds: float) -> None:
    assert read_duration("wait", text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "s", "-5s", "5 s", "1e3s", "5sx", "NaN", "5d"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="is no duration"):
        read_duration("wait", text)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "invalid JSON: EOF"),
        (b"[]", "invalid JSON: "),
        (b"{}", "task_ids: name at least one task"),
        (b'{"task_ids":["a"],"until":"both"}', 'until: "both" is neither all nor any'),
        (b'{"task_ids":["a"],"timeout":"soon"}', 'timeout: "soon" is no duration'),
        (b'{"task_ids":["a"],"timeout":5}', "invalid JSON: "),
        (b'{"task_ids":[%s]}' % b",".join(b'"%d"' % n for n in range(10_001)), "task_ids: 10001 ids are too many"),
    ],
)
def test_a_request_that_cannot_be_used_is_refused(body: bytes, said: str) -> None:
    async def receive() -> dict[str, Any]:
        raise AssertionError

    control = Control(store=None, scheduler=None, waiters=Waiters())  # type: ignore[arg-type]
    with pytest.raises(Refused) as caught:
        asyncio.run(control.wait(body, receive))
    assert caught.value.message.startswith(said)
