"""A server's end: at once where nothing is open, after what is open otherwise."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn
import uvloop

from pytest_execgo.core.serving import serve
from pytest_execgo.core.told_server import ToldServer


class App:
    """Answers at once, `/slow` when it may; notes what it was asked, and has answered."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.asked, self.may = asyncio.Event(), asyncio.Event()

    async def __call__(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
        if scope["type"] == "lifespan":
            for _ in range(2):
                self.seen.append((await receive())["type"])
                await send({"type": f"{self.seen[-1]}.complete"})
            return
        if scope["path"] == "/slow":
            self.asked.set()
            await self.may.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})
        self.seen.append(scope["path"])


@pytest.fixture
def sleeps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long anything has slept."""
    slept: list[float] = []
    sleep = asyncio.sleep

    async def noted(delay: float, result: Any = None) -> Any:
        slept.append(delay)
        return await sleep(delay, result)

    monkeypatch.setattr(asyncio, "sleep", noted)
    return slept


async def served(act: Callable[[App, ToldServer, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> App:
    """Serve an app to one connection until `act` has stopped it, and return it when the server has ended."""
    app, ready = App(), asyncio.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(app, log_level="warning", access_log=False, ws="none", timeout_graceful_shutdown=30)
        server = ToldServer(config, on_ready=ready.set, on_stop=None)
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        await ready.wait()
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        await act(app, server, reader, writer)
        await serving
        assert await reader.read() == b""
        writer.close()
    return app


def stop(server: ToldServer) -> None:
    server.should_exit = True
    server._stop_asked.set()


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_server_whose_connections_are_idle_ends_without_sleeping(sleeps: list[float], run: Callable[..., App]) -> None:
    async def act(app: App, server: ToldServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
        stop(server)

    app = run(served(act))
    assert app.seen == ["lifespan.startup", "/", "lifespan.shutdown"]
    assert set(sleeps) == {0}


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_what_is_asked_by_then_is_answered_first(run: Callable[..., App]) -> None:
    async def act(app: App, server: ToldServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        await app.asked.wait()
        stop(server)
        asyncio.get_running_loop().call_later(0.05, app.may.set)
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")

    assert run(served(act)).seen == ["lifespan.startup", "/slow", "lifespan.shutdown"]


def test_an_idle_connection_is_kept_longer_than_any_client_of_ours_is_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """To close one just when a request is on its way would reset that."""
    kept: list[int] = []

    class Noted(ToldServer):
        def run(self, sockets: list[socket.socket] | None = None) -> None:
            kept.append(self.config.timeout_keep_alive)
            for sock in sockets or ():
                sock.close()

    monkeypatch.setattr("pytest_execgo.core.told_server.ToldServer", Noted)
    serve(App(), "127.0.0.1:0")
    assert kept[0] >= 3600
