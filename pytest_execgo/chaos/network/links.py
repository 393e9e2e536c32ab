"""The links of a stack: a proxy for each leg of its network, all in one thread of this process."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pytest_execgo.chaos.network.legs import LEGS
from pytest_execgo.chaos.network.link import Leg, TcpLink
from pytest_execgo.core.errors import StackError, UsageError

LOOPBACK = "127.0.0.1"
Result = TypeVar("Result")


class Links(Mapping[str, TcpLink]):
    """The links by their names. Use `start`, and `close` or a with statement."""

    def __init__(self, listeners: Mapping[str, socket.socket]) -> None:
        self._legs = {name: Leg() for name in listeners}
        addresses = {name: listener.getsockname() for name, listener in listeners.items()}
        self._links = {name: TcpLink(name, addresses[name], leg, self) for name, leg in self._legs.items()}
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._failures: list[BaseException] = []
        serving: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(dict(listeners), serving), name="pytest-execgo-links", daemon=True)
        self._thread.start()
        serving.result()

    @classmethod
    def start(cls, names: Iterable[str] = LEGS, ports: Mapping[str, int] | None = None, host: str = LOOPBACK) -> Links:
        """Listen for each leg, on a given port or one that the system chooses; upstreams may come later.

        `host` is an address of this machine that everybody can reach who shall pass: another one for services in containers.

        `UsageError` for a port of a leg that is none of `names`, `StackError` for a port that can't be had.
        """
        wanted = dict(ports or {})
        names = tuple(names)
        for name in wanted.keys() - set(names):
            raise UsageError.unknown("link", name, names)
        listeners: dict[str, socket.socket] = {}
        try:
            for name in names:
                listeners[name] = _listener(name, host, wanted.get(name, 0))
        except StackError:
            for listener in listeners.values():
                listener.close()
            raise
        return cls(listeners)

    @property
    def ports(self) -> dict[str, int]:
        """The ports by the names of the links: `ports` for another start with the same addresses."""
        return {name: link.port for name, link in self._links.items()}

    def set_upstream(self, name: str, url: str | None) -> None:
        """Say where a leg leads, `http://host:port`; None: nowhere, so that new connections are closed at once.

        `UsageError` for an unknown leg or another kind of URL. Connections that are there go on.
        """
        if name not in self._legs:
            raise UsageError.unknown("link", name, self._legs)
        leg, address = self._legs[name], None if url is None else _address(name, url)

        async def lead() -> None:
            leg.upstream = address

        self.ask(lead)

    def close(self) -> None:
        """End every connection and the thread. Safe to call twice; `StackError` when the proxy itself has failed in between."""
        with self._lock:
            loop, self._loop = self._loop, None
            if loop is not None:
                loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        failures, self._failures = self._failures, []
        if failures:
            raise StackError("links_failed", f"the network proxy has failed: {failures[0]!r}") from failures[0]

    def ask(self, what: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """Run something in the thread of the proxy and return its result; `StackError` when the links are closed."""
        closed = StackError("links_closed", "the network links are closed", "disturb them before they are closed")
        with self._lock:
            if self._loop is None:
                raise closed
            future = asyncio.run_coroutine_threadsafe(what(), self._loop)
        try:
            return future.result()
        except CancelledError as error:
            raise closed from error

    def __getitem__(self, name: str) -> TcpLink:
        return self._links[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._links)

    def __len__(self) -> int:
        return len(self._links)

    def __enter__(self) -> Links:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _run(self, listeners: dict[str, socket.socket], serving: Future[None]) -> None:
        try:
            asyncio.run(self._serve(listeners, serving))
        except BaseException as error:  # a thread has nobody to raise to
            if serving.done():
                self._failures.append(error)
            else:
                serving.set_exception(error)

    async def _serve(self, listeners: dict[str, socket.socket], serving: Future[None]) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._failed)
        for name, listener in listeners.items():
            await self._legs[name].serve(listener)
        self._loop = loop
        serving.set_result(None)
        await self._stop.wait()
        for leg in self._legs.values():
            await leg.close()

    def _failed(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Keep what went wrong in a callback or a task that nobody waits for; `close` tells it."""
        self._failures.append(context.get("exception") or RuntimeError(context["message"]))


def _listener(name: str, host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1024)
    except (OSError, OverflowError) as error:
        listener.close()
        message = f"the link {name} can't listen on {host}:{port}: {error}"
        raise StackError("link_port", message, "choose a free port, or none for the system's choice") from error
    return listener


def _address(name: str, url: str) -> tuple[str, int]:
    hint = "write http://host:port, without a path"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError("bad_upstream", f"upstream of the link {name}: {url!r} can't be used: {error}", hint) from error
    if parts.scheme != "http" or not parts.hostname or port is None or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise UsageError("bad_upstream", f"upstream of the link {name}: {url!r} can't be used", hint)
    return parts.hostname, port
