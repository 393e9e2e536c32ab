"""What becomes of the upstream's answers on one connection: passed on, lost, asked for again, or the occasion for something."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import h11

from pytest_execgo.chaos.network.dialogue import Dialogue, Exchange
from pytest_execgo.chaos.network.lane import Lane, Spawn
from pytest_execgo.chaos.network.parameters import OnResponse
from pytest_execgo.chaos.network.redelivery import redeliver
from pytest_execgo.chaos.network.rules import Active


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the answers need of their connection: its hard end, its ordinary end, tasks, and where the upstream is."""

    cut: Callable[[], None]
    end: Callable[[], None]
    spawn: Spawn
    upstream: Callable[[], tuple[str, int] | None]


class Answers:
    """Takes the bytes of the upstream, and hands those that are to arrive to the lane, in order."""

    def __init__(self, dialogue: Dialogue, lane: Lane, hooks: Hooks) -> None:
        self._dialogue = dialogue
        self._lane = lane
        self._hooks = hooks
        self._rest = b""
        self._ended = False

    def received(self, data: bytes) -> None:
        """Take bytes of the upstream."""
        while data:
            exchange = self._dialogue.first
            if exchange is None or self._dialogue.plain:
                self._lane.put(data)
                self._dialogue.answered(data)
                return
            answer = exchange.answer
            try:
                rest = self._dialogue.take(exchange, data)
            except h11.ProtocolError:
                self._no_http(exchange, data)
                return
            exchange.withheld.append(data[: len(data) - len(rest)])
            data = rest
            if not exchange.fate or answer.interim:
                self._pass_withheld(exchange)
            elif answer.head is not None and self._suffer(exchange, answer.done):
                self._rest = data
                return

    def ended(self) -> None:
        """Take the end of the upstream's bytes."""
        self._ended = True
        exchange = self._dialogue.first
        if exchange is not None and exchange.begun and exchange.fate:
            if not exchange.answer.feed_end():
                self._lane.cut(self._hooks.cut)
                return
            if self._suffer(exchange, True):
                return
        elif exchange is not None:
            self._pass_withheld(exchange)
        self._lane.then(self._hooks.end)

    def _suffer(self, exchange: Exchange, done: bool) -> bool:
        """Let a final answer suffer its fate; True when what comes after it has to wait, or will never be wanted."""
        fate = exchange.fate
        if not exchange.begun:
            exchange.begun = True
            fate.spare_lifted()
            if not exchange.whole:  # the upstream has answered early, and what would be sent again is not there
                fate.duplicate = None
        if fate.on_response is not None:
            fate.on_response.struck()
            return self._busy(self._strike(fate.on_response))
        if fate.duplicate is not None:
            self._keep_last(exchange)
            return done and self._busy(self._again(exchange))
        if fate.lose_response is not None:
            exchange.withheld.clear()
            if done:
                self._lose(exchange)
            return done
        self._pass_withheld(exchange)
        return False

    def _keep_last(self, exchange: Exchange) -> None:
        """Pass on what the near side may have before the second delivery: all of the first answer but its last bytes."""
        fate = exchange.fate
        if fate.lose_response is not None or (fate.duplicate is not None and fate.duplicate.terms.answer == "second"):
            exchange.withheld.clear()
        for data in exchange.withheld[:-1]:
            self._lane.put(data)
        del exchange.withheld[:-1]

    def _pass_withheld(self, exchange: Exchange) -> None:
        for data in exchange.withheld:
            self._lane.put(data)
        exchange.withheld.clear()

    def _lose(self, exchange: Exchange) -> None:
        if exchange.fate.lose_response is not None:
            exchange.fate.lose_response.struck()
        self._lane.source.hold("answer")
        self._lane.cut(self._hooks.cut)

    def _no_http(self, exchange: Exchange, data: bytes) -> None:
        """Pass on what can't be followed; where a part was held back for good, there is nothing sensible to pass on."""
        self._dialogue.give_up()
        if exchange.begun and exchange.fate:
            self._lane.cut(self._hooks.cut)
            return
        self._pass_withheld(exchange)
        self._lane.put(data)

    def _busy(self, doing: Coroutine[Any, Any, None]) -> bool:
        self._lane.source.hold("answer")
        self._hooks.spawn(doing)
        return True

    async def _strike(self, active: Active[OnResponse]) -> None:
        assert active.order.call is not None
        try:
            await asyncio.get_running_loop().run_in_executor(None, active.order.call)
        except Exception as error:  # whoever lifts the disturbance gets it
            active.error = error
        self._lane.cut(self._hooks.cut)

    async def _again(self, exchange: Exchange) -> None:
        duplicate, upstream = exchange.fate.duplicate, self._hooks.upstream()
        assert duplicate is not None
        assert exchange.copy is not None
        assert upstream is not None
        second = duplicate.terms.answer == "second"
        lost = exchange.fate.lose_response is not None

        async def pass_on(data: bytes) -> None:
            if second and not lost:
                self._lane.put(data)
                await self._lane.emptied()

        broken = False
        try:
            await redeliver(upstream, bytes(exchange.copy), exchange.method, duplicate.struck, pass_on)
        except OSError:  # the second delivery has failed, as it may; the first answer is there
            broken = True
        if lost:
            self._lose(exchange)
        elif second and broken:
            self._lane.cut(self._hooks.cut)
        else:
            self._pass_withheld(exchange)
            self._go_on()

    def _go_on(self) -> None:
        rest, self._rest = self._rest, b""
        self._lane.source.release("answer")
        self.received(rest)
        if self._ended:
            self._lane.then(self._hooks.end)
