"""One planning's way to its model: an address of its own, a deadline, a record."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from pytest_execgo.plan.planning import ModelExchange, ModelUsage
from pytest_execgo.plan.provider import ModelAccess, Secret
from pytest_execgo.providers.record import ExchangeLog
from pytest_execgo.providers.redaction import Redactor
from pytest_execgo.providers.upstream import Upstream

_LAST_WORDS_S = 5.0  # for what is under way when a session is closed; it was cut, so that only the noting down is left


class Session:
    """Made by `Gateway.open`; used as a context manager, or closed. The deadline runs from the moment when it is made.

    `url` is the base URL for the planner, good for any key or none.
    """

    def __init__(
        self,
        access: ModelAccess,
        url: str,
        *,
        deadline_ms: int,
        retries: int,
        backoff_s: float,
        redact: Iterable[Secret],
        forget: Callable[[], None],
    ) -> None:
        self.url = url
        self.retries = retries
        self.backoff_s = backoff_s
        self.redactor = Redactor([access.api_key, *redact])
        self.log = ExchangeLog(self.redactor)
        self.upstream = Upstream(access)
        self.over = threading.Event()
        """Set when the deadline has passed, and by `close`."""
        self._forget = forget
        self._changed = threading.Condition()
        self._clients: list[socket.socket] = []
        self._closed = False
        self._end = time.monotonic() + deadline_ms / 1000
        self._timer = threading.Timer(deadline_ms / 1000, self._expire)
        self._timer.name, self._timer.daemon = "model-deadline", True
        self._timer.start()

    @property
    def exchanges(self) -> list[ModelExchange]:
        """Every try of every request so far, redacted, in the order in which they ended; final once closed."""
        return self.log.exchanges

    @property
    def usage(self) -> ModelUsage:
        """What all of them cost; final once closed."""
        return self.log.usage

    @property
    def ended(self) -> bool:
        """Whether the deadline has passed, or the session is closed."""
        return self.over.is_set() or not self.left()

    def left(self) -> float:
        """Return the seconds until the deadline."""
        return max(0.0, self._end - time.monotonic())

    @contextmanager
    def serving(self, client: socket.socket) -> Iterator[None]:
        """Count a request as being under way, such that `close` ends it and waits for its end."""
        with self._changed:
            self._clients.append(client)
            closed = self._closed
        if closed:
            _hang_up(client)
        try:
            yield
        finally:
            with self._changed:
                self._clients.remove(client)
                self._changed.notify_all()

    def close(self) -> None:
        """Cut what is under way and forget the address. Safe to call twice."""
        self._forget()
        self._timer.cancel()
        self.over.set()
        self.upstream.close()
        with self._changed:
            self._closed = True
            for client in self._clients:
                _hang_up(client)
            self._changed.wait_for(lambda: not self._clients, _LAST_WORDS_S)
        if threading.current_thread() is not self._timer:
            self._timer.join()

    def _expire(self) -> None:
        self.over.set()
        self.upstream.cut()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _hang_up(client: socket.socket) -> None:
    try:
        client.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the client has gone already
