"""One connection through a leg: the near side, the upstream, and the two lanes between them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from pytest_execgo.chaos.network.answers import Answers, Hooks
from pytest_execgo.chaos.network.dialogue import Dialogue
from pytest_execgo.chaos.network.endpoint import Endpoint
from pytest_execgo.chaos.network.lane import Lane
from pytest_execgo.chaos.network.rules import Rules


class Leg(Protocol):
    """What a connection needs of its leg."""

    @property
    def rules(self) -> Rules:
        """What is in force."""

    @property
    def upstream(self) -> tuple[str, int] | None:
        """Where the upstream is; None as long as there is none."""

    def opened(self, connection: Connection) -> int:
        """Take note of a connection; return its number, from 1."""

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""

    def spawn(self, doing: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something beside everything else, and have its failure told."""


class Connection:
    """Splices two sockets. Owner of both endpoints."""

    def __init__(self, leg: Leg) -> None:
        self._leg = leg
        self.number = leg.opened(self)
        self.near, self._far = Endpoint(self), Endpoint(self)
        self._there = Lane("request", self.number, leg.rules, self.near, self._far, leg.spawn)
        self._back = Lane("response", self.number, leg.rules, self._far, self.near, leg.spawn)
        self._dialogue = Dialogue(leg.rules)
        hooks = Hooks(self.reset, self._finish(self._back), leg.spawn, lambda: leg.upstream)
        self._answers = Answers(self._dialogue, self._back, hooks)
        self._finished = 0
        self._over = False

    def made(self, endpoint: Endpoint) -> None:
        """Begin with a connection to the upstream, unless a disturbance is against it."""
        if endpoint is self._far:
            if self._over or self.near.gone:
                self._far.reset()
            self.near.release("connecting")
        elif self._over or self._leg.upstream is None or self._leg.rules.turns_away(self.number):
            self.reset()
        else:
            self.near.hold("connecting")
            self._leg.spawn(self._connect(self._leg.upstream))

    def received(self, endpoint: Endpoint, data: bytes) -> None:
        """Pass bytes on; requests first, since following them costs time that the upstream can already use."""
        if endpoint is self.near:
            self._there.put(data)
            self._dialogue.requested(data)
        else:
            self._answers.received(data)

    def ended(self, endpoint: Endpoint) -> None:
        """Pass the end of one direction on."""
        if endpoint is self.near:
            self._there.then(self._finish(self._there))
        else:
            self._answers.ended()

    def lost(self, endpoint: Endpoint, error: Exception | None) -> None:
        """End the other side like this one, in order; a half-open connection's other side is told nothing."""
        other = self._far if endpoint is self.near else self.near
        direction = self._there if endpoint is self.near else self._back
        if other.gone or not other.connected:
            self._there.close()
            self._back.close()
            self._leg.closed(self)
        elif error is None or self._leg.rules.swallow(direction.direction, self.number):
            return
        elif endpoint is self.near:
            other.reset()
        else:
            self._back.cut(self.reset)

    def congested(self, endpoint: Endpoint, full: bool) -> None:
        """Read no faster than the other side does."""
        source = self._far if endpoint is self.near else self.near
        (source.hold if full else source.release)("congested")

    def wake(self) -> None:
        """Tell the lanes that rules have changed."""
        self._there.wake()
        self._back.wake()

    def reset(self) -> None:
        """End both sides at once with a RST."""
        self._over = True
        self.near.reset()
        self._far.reset()

    def abort(self) -> None:
        """End both sides at once."""
        self._over = True
        self.near.abort()
        self._far.abort()

    async def _connect(self, upstream: tuple[str, int]) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: self._far, *upstream)
        except OSError:  # nobody is there; the near side is told in the only way that is left
            self.reset()

    def _finish(self, lane: Lane) -> Callable[[], None]:
        """Return what ends one direction, and the whole connection once both have ended."""

        def finish() -> None:
            if self._leg.rules.swallow(lane.direction, self.number):
                return
            try:
                lane.sink.write_end()
            except OSError:  # broken already, which a socket that isn't read any more does not tell
                self.reset()
                return
            self._finished += 1
            if self._finished == 2:
                self.near.close()
                self._far.close()

        return finish
