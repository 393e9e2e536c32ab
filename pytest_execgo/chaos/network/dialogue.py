"""The HTTP exchanges on one connection: which request an answer belongs to, and what it is to suffer."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import h11

from pytest_execgo.chaos.network.framing import Framing, request_framing, response_framing
from pytest_execgo.chaos.network.rules import Fate, Rules

MOST_COPIED = 64 << 20
"""Bytes of a request that can be delivered twice; a larger one is delivered once."""


@dataclass(slots=True, eq=False)
class Exchange:
    """A request, once its head is complete, and its answers so far. `copy` holds the request's bytes where they are needed again.

    `withheld`: bytes of an answer that are not passed on yet; `begun`: the final answer has begun.
    """

    method: str
    fate: Fate
    answer: Framing
    copy: bytearray | None = None
    whole: bool = False
    begun: bool = False
    withheld: list[bytes] = field(default_factory=list)

    def next_answer(self) -> None:
        """Expect another answer: the one before was an interim one."""
        self.answer = response_framing(self.method)


class Dialogue:
    """Follows both directions of a connection. What is no HTTP/1.1 is not followed any further, and suffers nothing."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._request: Framing | None = request_framing()
        self._raw = bytearray()
        self._current: Exchange | None = None
        self._open: deque[Exchange] = deque()

    @property
    def plain(self) -> bool:
        """Whether no answer that is still to come is to suffer anything."""
        return not any(exchange.fate for exchange in self._open)

    @property
    def first(self) -> Exchange | None:
        """The exchange that the next bytes of the upstream belong to; None when they belong to none."""
        return self._open[0] if self._open else None

    def requested(self, data: bytes) -> None:
        """Take bytes of the near side."""
        try:
            while data and self._request is not None:
                data = self._take_request(data)
        except h11.ProtocolError:
            self._request = None

    def answered(self, data: bytes) -> None:
        """Take bytes of the upstream that suffer nothing."""
        try:
            while data and self._open:
                data = self.take(self._open[0], data)
        except h11.ProtocolError:
            self.give_up()
        if data:  # an answer that nobody asked for
            self.give_up()

    def take(self, exchange: Exchange, data: bytes) -> bytes:
        """Take what belongs to one answer, interim or final; return what comes after it. `h11.ProtocolError` for what is none."""
        rest = exchange.answer.feed(data)
        head = exchange.answer.head
        if isinstance(head, h11.InformationalResponse) and head.status_code == 101:
            raise h11.RemoteProtocolError("another protocol from here on")
        if exchange.answer.done:
            if exchange.answer.interim:
                exchange.next_answer()
            else:
                self._open.popleft()
        return rest

    def give_up(self) -> None:
        """Follow nothing any more."""
        self._request = None
        self._current = None
        self._open.clear()

    def _take_request(self, data: bytes) -> bytes:
        assert self._request is not None
        rest = self._request.feed(data)
        own = data[: len(data) - len(rest)] if rest else data
        if self._current is None:
            self._raw += own
            self._begin()
        elif self._current.copy is not None:
            self._copy(self._current, own)
        if self._request.done:
            if self._current is not None:
                self._current.whole = True
            self._current = None
            self._request = request_framing()
        return rest

    def _begin(self) -> None:
        head = self._request.head if self._request is not None else None
        if not isinstance(head, h11.Request):
            return
        if head.method == b"CONNECT":
            raise h11.RemoteProtocolError("a tunnel from here on")
        method = head.method.decode("ascii")
        fate = self._rules.fate(method, _path(head.target))
        self._current = Exchange(method, fate, response_framing(method))
        if fate.duplicate is not None:
            self._current.copy = bytearray(self._raw)
        self._raw.clear()
        self._open.append(self._current)

    def _copy(self, exchange: Exchange, data: bytes) -> None:
        assert exchange.copy is not None
        exchange.copy += data
        if len(exchange.copy) > MOST_COPIED:
            exchange.copy = None
            exchange.fate.duplicate = None


def _path(target: bytes) -> str:
    """Return the path of a request's target, which may be a whole URL, without its query."""
    text = target.decode("ascii", "replace")
    if not text.startswith("/"):
        text = "/" + text.partition("://")[2].partition("/")[2]
    return text.partition("?")[0]
