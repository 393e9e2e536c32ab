"""One direction of a connection: bytes go straight through, or wait in order for what shapes them."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pytest_execgo.chaos.network.endpoint import Endpoint
from pytest_execgo.chaos.network.parameters import Direction, Latency
from pytest_execgo.chaos.network.rules import Active, Rules

Spawn = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]
"""Runs something beside everything else, and has its failure told."""

_MOST_BYTES = 1 << 20
_MOST_ITEMS = 1024


@dataclass(frozen=True, slots=True)
class _Item:
    """Bytes, or something to do after the bytes before it; `holds` are the latencies that hold it back, in seconds each."""

    what: bytes | Callable[[], None]
    arrived: float
    holds: tuple[tuple[Active[Latency], float], ...]
    cuts: bool = False

    @property
    def size(self) -> int:
        return len(self.what) if isinstance(self.what, bytes) else 0

    def due(self) -> float:
        return self.arrived + sum(seconds for active, seconds in self.holds if not active.lifted)


def delays(terms: Latency, number: int, direction: Direction) -> Iterator[float]:
    """Yield the delay of each read in turn, in seconds; the same ones for the same seed, connection and direction."""
    source = random.Random(f"{terms.seed}/{number}/{direction}")  # noqa: S311 - repeatable on purpose
    while True:
        yield max(0.0, terms.ms + source.uniform(-terms.jitter_ms, terms.jitter_ms)) / 1000


class Lane:
    """Carries bytes from `source` to `sink`, at most about 1 MiB of them at a time; then `source` is not read."""

    def __init__(self, direction: Direction, number: int, rules: Rules, source: Endpoint, sink: Endpoint, spawn: Spawn) -> None:
        self.direction = direction
        self.source, self.sink = source, sink
        self._number = number
        self._rules = rules
        self._spawn = spawn
        self._queue: deque[_Item] = deque()
        self._size = 0
        self._delays: dict[Active[Latency], Iterator[float]] = {}
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._sent_at = float("-inf")

    def put(self, data: bytes) -> None:
        """Pass bytes on, at once when nothing shapes them and none wait."""
        if self._queue or self._rules.shapes(self.direction):
            self._enqueue(data)
        else:
            self.sink.write(data)

    def then(self, do: Callable[[], None]) -> None:
        """Do something once every byte before is sent."""
        if self._queue or self.sink.full or self._rules.shapes(self.direction):
            self._enqueue(do)
        else:
            do()

    def cut(self, do: Callable[[], None]) -> None:
        """End the connection by `do` once the system has sent every byte before."""
        self._enqueue(do, cuts=True)

    def wake(self) -> None:
        """Look at the rules again: some have changed."""
        self._changed.set()

    async def emptied(self) -> None:
        """Return once every byte that was put here is sent."""
        if self._task is not None:
            await asyncio.wait([self._task])
        await self.sink.flushed()

    def close(self) -> None:
        """Drop what waits."""
        self._queue.clear()
        if self._task is not None:
            self._task.cancel()

    def _enqueue(self, what: bytes | Callable[[], None], *, cuts: bool = False) -> None:
        holds = tuple((active, self._delay(active)) for active in self._rules.latencies())
        item = _Item(what, asyncio.get_running_loop().time(), holds, cuts)
        self._queue.append(item)
        self._size += item.size
        if self._size > _MOST_BYTES or len(self._queue) > _MOST_ITEMS:
            self.source.hold("queue")
        if self._task is None or self._task.done():
            self._task = self._spawn(self._drain())

    def _delay(self, active: Active[Latency]) -> float:
        if active not in self._delays:
            self._delays[active] = delays(active.terms, self._number, self.direction)
        seconds = next(self._delays[active])
        if seconds:
            active.suffered(self._number)
        return seconds

    async def _drain(self) -> None:
        while self._queue:
            item = self._queue[0]
            await self._until(item.due)
            if isinstance(item.what, bytes):
                await self._deliver(memoryview(item.what))
            else:
                await (self.sink.delivered() if item.cuts else self.sink.flushed())
                item.what()
            if self._queue:  # what was done may have closed this lane
                self._queue.popleft()
                self._size -= item.size
            if self._size <= _MOST_BYTES // 2 and len(self._queue) <= _MOST_ITEMS // 2:
                self.source.release("queue")

    async def _deliver(self, rest: memoryview) -> None:
        while rest and not self.sink.gone:
            slices = self._rules.slices()
            if await self._until(self._next_piece):
                for active in slices:
                    active.suffered(self._number)
            if self._rules.swallow(self.direction, self._number):
                return
            slices = self._rules.slices()
            size = min((active.terms.bytes for active in slices), default=len(rest))
            for active in slices:
                if active.terms.bytes < len(rest):
                    active.suffered(self._number)
            self.sink.write(rest[:size])
            rest = rest[size:]
            await self.sink.flushed()
            self._sent_at = asyncio.get_running_loop().time()
            if slices:
                await asyncio.sleep(0)  # small pieces without a pause must not keep everything else waiting

    def _next_piece(self) -> float:
        """Return when the next piece may be sent, by the loop's clock."""
        return self._sent_at + max((active.terms.pause_ms for active in self._rules.slices()), default=0) / 1000

    async def _until(self, due: Callable[[], float]) -> bool:
        """Wait for a moment that the rules may move; tell whether there was anything to wait for."""
        loop = asyncio.get_running_loop()
        waited = False
        while (left := due() - loop.time()) > 0:
            waited = True
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._changed.wait()
        return waited
