"""One direction of a connection: order is kept whatever comes and goes."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from pytest_execgo.chaos.network.endpoint import Endpoint
from pytest_execgo.chaos.network.lane import Lane
from pytest_execgo.chaos.network.parameters import checked
from pytest_execgo.chaos.network.rules import Rules, activate


class Nobody:
    """An owner of endpoints that wants to know nothing."""

    def made(self, endpoint: Endpoint) -> None: ...
    def received(self, endpoint: Endpoint, data: bytes) -> None: ...
    def ended(self, endpoint: Endpoint) -> None: ...
    def lost(self, endpoint: Endpoint, error: Exception | None) -> None: ...
    def congested(self, endpoint: Endpoint, full: bool) -> None: ...


class Sink(Endpoint):
    """An endpoint that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__(Nobody())
        self.written: list[bytes] = []

    def write(self, data: bytes | memoryview) -> None:
        self.written.append(bytes(data))


def spawn(doing: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    return asyncio.get_running_loop().create_task(doing)


def test_bytes_never_overtake_those_that_were_held_back() -> None:
    async def carry() -> list[bytes]:
        rules, sink = Rules(), Sink()
        lane = Lane("request", 1, rules, Endpoint(Nobody()), sink, spawn)
        lane.put(b"at once")
        assert sink.written == [b"at once"]
        active = activate(checked("latency", {"ms": 3_600_000}))
        rules.add(active)
        lane.put(b"held")
        rules.remove(active)
        lane.put(b"after it")
        lane.then(lambda: sink.written.append(b"the end"))
        lane.wake()
        await lane.emptied()
        lane.put(b"at once again")
        return sink.written

    assert asyncio.run(carry()) == [b"at once", b"held", b"after it", b"the end", b"at once again"]


def test_of_several_slices_the_smallest_piece_holds() -> None:
    async def carry() -> list[bytes]:
        rules, sink = Rules(), Sink()
        lane = Lane("response", 1, rules, Endpoint(Nobody()), sink, spawn)
        slices = [activate(checked("slice", {"bytes": size})) for size in (4, 3)]
        for active in slices:
            rules.add(active)
        lane.put(b"abcdefgh")
        await lane.emptied()
        assert [active.hits for active in slices] == [1, 1]
        return sink.written

    assert asyncio.run(carry()) == [b"abc", b"def", b"gh"]
