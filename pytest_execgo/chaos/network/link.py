"""One leg of the network: a listener, the connections through it, and what disturbs them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from pytest_execgo.chaos.network.connection import Connection
from pytest_execgo.chaos.network.endpoint import Endpoint
from pytest_execgo.chaos.network.parameters import HalfOpen, Order, Reset, checked
from pytest_execgo.chaos.network.rules import Active, Rules, activate
from pytest_execgo.core.errors import StackError
from pytest_execgo.plan.base import Document

Result = TypeVar("Result")


class Courier(Protocol):
    """Runs something in the thread of the proxy, from any other thread."""

    def ask(self, what: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """Return its result; `StackError` when the proxy is closed, and only then."""


class Leg:
    """The part of a link that lives in the thread of the proxy."""

    def __init__(self) -> None:
        self.rules = Rules()
        self.upstream: tuple[str, int] | None = None
        self._connections: dict[int, Connection] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._opened = 0
        self._server: asyncio.Server | None = None

    async def serve(self, listener: socket.socket) -> None:
        """Begin to accept connections."""
        self._server = await asyncio.get_running_loop().create_server(self._accept, sock=listener, backlog=1024)

    async def close(self) -> None:
        """Accept nothing more and end everything."""
        if self._server is not None:
            self._server.close()
        self.upstream = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # what was accepted just now becomes a connection
        while self._connections:
            for connection in list(self._connections.values()):
                connection.abort()
            await asyncio.sleep(0)  # sockets are closed in the loop's next turn
        if self._server is not None:
            await self._server.wait_closed()

    async def disturb(self, order: Order) -> Active[Document]:
        """Put a disturbance in force."""
        active = activate(order)
        self.rules.add(active)
        if isinstance(order.terms, Reset):
            for number, connection in list(self._connections.items()):
                active.suffered(number)
                connection.reset()
        await self._settle()
        return active

    async def lift(self, active: Active[Document]) -> None:
        """Let everything pass again that it held back, and end the connections that it made useless."""
        if self.rules.remove(active) and isinstance(active.terms, HalfOpen):
            for number in active.connections & self._connections.keys():
                self._connections[number].reset()
        await self._settle()

    def opened(self, connection: Connection) -> int:
        """Take note of a connection; return its number, from 1."""
        self._opened += 1
        self._connections[self._opened] = connection
        return self._opened

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        self._connections.pop(connection.number, None)

    def spawn(self, doing: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something beside everything else, until it is over or the leg is closed. A failure is told the loop at once."""
        task = asyncio.get_running_loop().create_task(doing)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            task.get_loop().call_exception_handler({"message": "a task of the proxy failed", "exception": error})

    async def _settle(self) -> None:
        for connection in list(self._connections.values()):
            connection.wake()
        await asyncio.sleep(0)  # sockets that were reset are closed in the loop's next turn

    def _accept(self) -> Endpoint:
        return Connection(self).near


@dataclass(frozen=True, slots=True)
class TcpDisturbance:
    """A `plan.fault.Disturbance` of a leg."""

    _courier: Courier
    _leg: Leg
    _active: Active[Document]

    def lift(self) -> None:
        """Let everything pass again; returns once that is so. Safe to call twice.

        What `call` of an `on_response` raised is raised here, once, after the lifting.
        """
        with suppress(StackError):  # what is closed is not disturbed any more
            self._courier.ask(lambda: self._leg.lift(self._active))
        error, self._active.error = self._active.error, None
        if error is not None:
            raise error

    def hits(self) -> int:
        """Return how many connections, or requests where the kind is about requests, have suffered from it."""
        return self._active.hits


class TcpLink:
    """A `plan.fault.Link`: a proxy in front of one upstream."""

    def __init__(self, name: str, address: tuple[str, int], leg: Leg, courier: Courier) -> None:
        self._name = name
        self._host, self._port = address
        self._leg = leg
        self._courier = courier

    @property
    def name(self) -> str:
        """Name of the leg."""
        return self._name

    @property
    def port(self) -> int:
        """The port on which it listens."""
        return self._port

    @property
    def url(self) -> str:
        """Where the leg begins: the base URL that the near side is given."""
        return f"http://{self._host}:{self._port}"

    def disturb(self, kind: str, parameters: Mapping[str, Any]) -> TcpDisturbance:
        """Disturb what passes from now on, in force on return (kinds and parameters: docs/chaos-network.md).

        `UsageError` for a kind or parameters that make no sense, `StackError` when the links are closed. From any thread.
        """
        order = checked(kind, parameters)
        return TcpDisturbance(self._courier, self._leg, self._courier.ask(lambda: self._leg.disturb(order)))
